package natsapi

import (
	"context"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// asked is a request of a client, decoded but for its body.
type asked struct {
	gateway.Request
	id      string // of the virtual actor
	timeout time.Duration
	trace   rpc.Trace
	async   bool // it is to be a job
}

const (
	maxHeaders     = 16 << 10 // bytes of a request's headers
	maxHeaderLines = 64
)

// ask reads a request to an endpoint that takes ids if many.
func (c *Config) ask(m micro.Request, many bool) (a asked, err error) {
	if len(m.Data()) > c.MaxBody {
		return a, rpc.Errorf(rpc.TooLarge, rpc.NotRun, "the body is over %d bytes", c.MaxBody)
	}
	token, id, err := tokens(c.Prefix, m.Subject(), many)
	if err != nil {
		return a, err
	}
	a = asked{Request: gateway.Request{Body: m.Data()}, id: id, timeout: c.MaxTimeout}
	if a.Principal, err = c.principal(token); err != nil {
		return a, err
	}
	if len(m.Headers()) == 0 {
		return a, nil
	}
	h, err := headersOf(m.Headers())
	if err != nil {
		return a, err
	}
	if a.Key, err = gateway.ParseKey(h.Values(gateway.HeaderKey)); err != nil {
		return a, err
	}
	if text := h.Get(gateway.HeaderTimeout); text != "" {
		if a.timeout, err = gateway.ParseTimeout(text, c.MaxTimeout); err != nil {
			return a, err
		}
	}
	a.trace = gateway.ParseTrace(h.Get(gateway.HeaderTrace))
	_, a.async = gateway.Preference(h.Values("Prefer"), "respond-async")
	return a, nil
}

// context returns the context of the request, which ends with ctx or after its time.
func (a *asked) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if !a.trace.IsZero() {
		ctx = rpc.WithTrace(ctx, a.trace)
	}
	return context.WithTimeout(ctx, a.timeout)
}

// principal is who a token stands for.
func (c *Config) principal(token string) (string, error) {
	if token == anonymous {
		return gateway.Anonymous, nil
	}
	p, err := c.Principal(token)
	if err != nil || p == "" || len(p) > gateway.MaxKey {
		return "", rpc.Errorf(rpc.Denied, rpc.NotRun, "the client is not known")
	}
	return p, nil
}

// headersOf returns headers whose names do not depend on upper and lower case, as they do in NATS: a key that is overlooked
// would make a request run twice.
func headersOf(from micro.Headers) (http.Header, error) {
	h, lines, size := http.Header{}, 0, 0
	for name, values := range from {
		for _, v := range values {
			lines++
			size += len(name) + len(v)
			name := textproto.CanonicalMIMEHeaderKey(name)
			h[name] = append(h[name], strings.TrimSpace(v))
		}
	}
	if size > maxHeaders || lines > maxHeaderLines {
		return nil, rpc.Errorf(rpc.TooLarge, rpc.NotRun, "the headers are over %d lines or %d bytes", maxHeaderLines, maxHeaders)
	}
	return h, nil
}

package httpapi

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// keyOf returns the request's key; empty for none. The header is a string of RFC 8941, §3.3.3, in quotes; without quotes it
// is taken as it is.
func keyOf(h http.Header) (string, error) {
	all := h.Values(gateway.HeaderKey)
	if len(all) == 0 {
		return "", nil
	}
	key, ok := all[0], len(all) == 1
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	}
	if !ok || key == "" || len(key) > gateway.MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s must be one string of 1 to %d printable ASCII characters", gateway.HeaderKey, gateway.MaxKey)
	}
	return key, nil
}

// unquote reads a string of RFC 8941.
func unquote(text string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), i == len(text)-1
		case c == '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// prefers reports whether the client prefers that (RFC 7240).
func prefers(h http.Header, name string) bool {
	_, ok := preference(h, name)
	return ok
}

// preference returns the value of a preference, without its parameters.
func preference(h http.Header, name string) (value string, ok bool) {
	for _, line := range h.Values("Prefer") {
		for p := range strings.SplitSeq(line, ",") {
			p, _, _ = strings.Cut(p, ";")
			key, value, _ := strings.Cut(p, "=")
			if strings.EqualFold(strings.TrimSpace(key), name) {
				return strings.Trim(strings.TrimSpace(value), `"`), true
			}
		}
	}
	return "", false
}

// waitOf is how long the client prefers to wait, at most that long.
func waitOf(h http.Header, most time.Duration) time.Duration {
	text, _ := preference(h, "wait")
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, most)
}

// accepts reports whether the client takes answers of that media type. What it prefers does not matter, because there is one.
func accepts(h http.Header, want string) bool {
	lines := h.Values("Accept")
	if len(lines) == 0 {
		return true
	}
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			kind, params, err := mime.ParseMediaType(part)
			all, _, _ := strings.Cut(want, "/")
			if err == nil && (kind == want || kind == "*/*" || kind == all+"/*") && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}

// running are the keys whose requests run at a handler. Its zero value is empty.
type running struct {
	mu  sync.Mutex // guards what follows
	all map[[3]string]bool
}

// enter adds a key, until leave is called. free is false if it is there.
func (r *running) enter(principal, path, key string) (leave func(), free bool) {
	id := [3]string{principal, path, key}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[id] {
		return nil, false
	}
	if r.all == nil {
		r.all = map[[3]string]bool{}
	}
	r.all[id] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.all, id)
	}, true
}

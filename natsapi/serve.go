package natsapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// work carries a request out and sends its answers. It returns the error that was its answer.
type work func(ctx context.Context, a *asked, to string) error

// post is where the requests to an endpoint come.
type post struct {
	*Server
	many  bool // it takes ids
	count *counts
	do    work
	carry func(micro.Request) // carryOut, as a value that costs nothing for each request
}

func (s *Server) post(many bool, count *counts, do work) *post {
	p := &post{Server: s, many: many, count: count, do: do}
	p.carry = p.carryOut
	return p
}

// Handle is what micro calls for each request, one after the other: it has a goroutine of the crew do the work, or refuses. Only
// requests with an inbox to answer to are served: see the package's documentation.
func (p *post) Handle(m micro.Request) {
	to, size := m.Reply(), len(m.Data())
	if !p.cfg.isInbox(to) {
		p.count.unanswerable.Add(1)
		p.cfg.Logger.LogAttrs(context.Background(), slog.LevelDebug, "natsapi: a request without an inbox to answer to", slog.String("subject", m.Subject()), slog.String("reply", to))
		return
	}
	p.count.requests.Add(1)
	if err := p.door.enter(size); err != nil {
		p.count.refused.Add(1)
		p.send(failure(to, err))
		return
	}
	p.crew.take(order{p.carry, m})
}

// carryOut serves a request that the door has let in.
func (p *post) carryOut(m micro.Request) {
	to, size := m.Reply(), len(m.Data())
	defer p.door.leave(size)
	start := time.Now()
	a, err := p.cfg.ask(m, p.many)
	if err != nil {
		p.send(failure(to, err))
	} else {
		ctx, done := a.context(p.ctx)
		err = p.do(ctx, &a, to)
		done()
	}
	p.count.done(time.Since(start), err)
}

// isInbox reports whether a subject is one at which clients get answers.
func (c *Config) isInbox(subject string) bool {
	for _, prefix := range c.Inboxes {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// send sends an answer, or says that it is too large. An answer that does not arrive is one that its client asks for again.
func (s *Server) send(m *nats.Msg) error {
	fitting, err := fit(m, s.conn.MaxPayload())
	if err != nil {
		fitting = failure(m.Subject, err)
	}
	if bad := s.conn.PublishMsg(fitting); bad != nil {
		s.cfg.Logger.LogAttrs(context.Background(), slog.LevelDebug, "natsapi: an answer was not sent", slog.Any("error", bad))
	}
	return err
}

// serve returns the work of an endpoint.
func (s *Server) serve(e *gateway.Endpoint) work {
	return func(ctx context.Context, a *asked, to string) error {
		call, err := s.cfg.Table.Find(e.Target, a.id, e.Name)
		switch {
		case err != nil:
			s.send(failure(to, err))
			return err
		case e.Message.Items != nil:
			return s.stream(ctx, call, a, to)
		case a.async && e.Message.Reply != nil:
			return s.submit(ctx, call, a, to)
		}
		answer, err := call.Do(ctx, a.Request)
		if err != nil {
			m := failure(to, err)
			if answer.Replayed {
				m.Header[gateway.HeaderReplayed] = []string{"true"}
			}
			s.send(m)
			return err
		}
		ran := rpc.HasRun
		if e.Message.Reply == nil { // it is in the mailbox, and nobody knows yet whether its handler runs
			ran = rpc.Unknown
		}
		return s.send(s.headers.reply(to, answer, ran))
	}
}

// stream sends the items of a stream, and its end.
func (s *Server) stream(ctx context.Context, call gateway.Call, a *asked, to string) error {
	n := 0
	for body, err := range call.Stream(ctx, a.Request) {
		if err != nil {
			s.send(end(to, n, err))
			return err
		}
		m, err := fit(item(to, body, n+1), s.conn.MaxPayload())
		if err != nil {
			s.send(end(to, n, err))
			return err
		}
		if err := s.conn.PublishMsg(m); err != nil {
			return rpc.Errorf(rpc.Unavailable, rpc.HasRun, "%w", err)
		}
		n++
	}
	return s.send(end(to, n, nil))
}

// submit has the request run as a job.
func (s *Server) submit(ctx context.Context, call gateway.Call, a *asked, to string) error {
	j, err := call.Submit(ctx, a.Request)
	if err != nil {
		s.send(failure(to, err))
		return err
	}
	return s.sendJob(to, j)
}

// ofJob returns the work of an endpoint about jobs.
func (s *Server) ofJob(about func(ctx context.Context, a *asked, token string) (gateway.Job, error)) work {
	return func(ctx context.Context, a *asked, to string) error {
		var body struct {
			Token string `json:"token"`
		}
		err := json.Unmarshal(a.Body, &body)
		if err != nil || body.Token == "" {
			err = rpc.Errorf(rpc.Undecodable, rpc.NotRun, `the body must be {"token": "..."}`)
			s.send(failure(to, err))
			return err
		}
		j, err := about(ctx, a, body.Token)
		if err != nil {
			s.send(failure(to, err))
			return err
		}
		return s.sendJob(to, j)
	}
}

func (s *Server) sendJob(to string, j gateway.Job) error {
	body, err := json.Marshal(j)
	if err != nil { // a result is what the codec has made
		err = rpc.Errorf(rpc.Internal, rpc.HasRun, "%w", err)
		s.send(failure(to, err))
		return err
	}
	return s.send(s.headers.reply(to, gateway.Answer{Body: body}, j.Ran))
}

func (s *Server) poll(ctx context.Context, a *asked, token string) (gateway.Job, error) {
	return s.cfg.Table.Redeem(ctx, a.Principal, token, 0)
}

// await waits for three quarters of the request's time, so that its client is still there to hear how far the job is. A busy
// node may then take longer than the rest of it to say that.
func (s *Server) await(_ context.Context, a *asked, token string) (gateway.Job, error) {
	ctx, done := context.WithTimeout(s.ctx, a.timeout+pollWait)
	defer done()
	return s.cfg.Table.Redeem(ctx, a.Principal, token, a.timeout*3/4)
}

// pollWait is how long it may take to find out how far a job is that was awaited.
const pollWait = 5 * time.Second

func (s *Server) cancel(ctx context.Context, a *asked, token string) (gateway.Job, error) {
	return s.cfg.Table.Cancel(ctx, a.Principal, token)
}

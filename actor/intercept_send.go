package actor

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The interceptors of senders, Config.Outgoing. A verb that finds some runs them, and the
// innermost next calls the verb again, under a context that says so.

// passedKey is the key of the value of a context under which a verb has run the interceptors: a
// *client.Report, which learns how the request to another node went.
type passedKey struct{}

// intercepts reports whether interceptors are still to run for a message that is sent to t under ctx.
func (s *System) intercepts(ctx context.Context, t *target) bool {
	return len(s.cfg.Outgoing) > 0 && hasToPass(ctx, t)
}

func hasToPass(ctx context.Context, t *target) bool {
	return !strings.HasPrefix(t.addr.name, hidden) && ctx.Value(passedKey{}) == nil
}

// sending returns what interceptors see of m, which is sent to an address under ctx. ask is what it
// asks for, unless its type says so.
func (s *System) sending(ctx context.Context, to string, m any, ask access.Op) *intercept.Operation {
	op := &intercept.Operation{Side: intercept.Outgoing, Op: ask, To: to, Message: m}
	s.describe(op, m)
	if from := handling(ctx); from != nil {
		op.From = from.cell.self.addr.String()
	}
	return op
}

// through runs the interceptors around send, which sends m to t under the context and with the options that
// it is given.
func (t *target) through(ctx context.Context, m any, ask access.Op, opts []rpc.Option, send func(context.Context, []rpc.Option) error) error {
	return t.sys.through(ctx, t.sys.sending(ctx, t.addr.String(), m, ask), opts, send)
}

// through runs the interceptors around send, which does what op says.
func (s *System) through(ctx context.Context, op *intercept.Operation, opts []rpc.Option, send func(context.Context, []rpc.Option) error) error {
	if set := settingsOf(opts); set != nil {
		for _, h := range set.Headers {
			op.Came(h.Key, h.Value)
		}
	}
	return intercept.Run(ctx, s.cfg.Outgoing, op, func(ctx context.Context) error {
		with := append([]rpc.Option(nil), opts...)
		op.Added(func(key, value string) { with = append(with, rpc.WithHeader(key, value)) })
		report := new(client.Report)
		err := send(context.WithValue(ctx, passedKey{}, report), with)
		if op.Attempts, op.Replayed = report.Attempts, report.Replayed; op.Attempts == 0 && rpc.Ran(err) != rpc.NotRun {
			op.Attempts = 1
		}
		return err
	})
}

// describe says in op what message m is.
func (s *System) describe(op *intercept.Operation, m any) {
	if g, ok := m.(withOp); ok {
		op.Op, _ = g.neededOp()
	}
	if p, ok := m.(interface{ pushed() any }); ok {
		op.Message = p.pushed()
	}
	if op.Message != nil {
		op.Type = s.types.get(reflect.TypeOf(op.Message)).name
	}
}

// pushed is the item that is pushed to a queue.
func (m enqueue[T]) pushed() any { return m.Item }

// tellThrough is Tell with interceptors.
func tellThrough[M any](ctx context.Context, t *target, to Ref, m M, opts []rpc.Option) error {
	return t.through(ctx, m, access.Send, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) error {
		return Tell(ctx, to, m, opts...)
	})
}

// callThrough is Call with interceptors.
func callThrough[M Question[R], R any](ctx context.Context, t *target, to Ref, m M, opts []rpc.Option) (R, error) {
	var r, none R
	err := t.through(ctx, m, access.Call, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) (err error) {
		r, err = Call(ctx, to, m, opts...)
		return err
	})
	if err != nil {
		return none, err
	}
	return r, nil
}

// askThrough is Ask with interceptors. They run in a goroutine that ends with the request.
// askThrough returns when the request was sent or refused, so that requests leave in the order of the calls.
func askThrough[M Question[R], R any](ctx context.Context, t *target, to Ref, m M, opts []rpc.Option) *rpc.Future[R] {
	p, own := new(promise.Promise[R]), append([]rpc.Option(nil), opts...)
	sent := make(chan struct{})
	var f *promise.Promise[R] // the request itself; nil: not sent
	go func() {
		var r, none R
		err := error(rpc.Errorf(rpc.Panicked, rpc.Unknown, "an interceptor of the sender ended its goroutine"))
		defer func() {
			if f == nil {
				close(sent)
			}
			if err != nil {
				r = none
			}
			p.Resolve(r, err)
		}()
		err = t.through(ctx, m, access.Call, own, func(ctx context.Context, opts []rpc.Option) (err error) {
			f = (*promise.Promise[R])(Ask(ctx, to, m, opts...))
			p.Of(f)
			close(sent)
			f.Wait(nil)
			r, err = f.Result()
			return err
		})
	}()
	<-sent
	return future(p)
}

// submitThrough is Submit with interceptors.
func submitThrough[M Question[R], R any](ctx context.Context, t *target, to Ref, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var token, none rpc.Token[R]
	err := t.through(ctx, m, access.Submit, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) (err error) {
		token, err = Submit(ctx, to, m, opts...)
		return err
	})
	if err != nil {
		return none, err
	}
	return token, nil
}

// openThrough is open with interceptors. They run around the opening only, so the stream itself
// lives under ctx.
func openThrough(ctx context.Context, t *target, to Ref, m any, typ reflect.Type, opts []rpc.Option) (*clientStream, error) {
	var f *clientStream
	err := t.through(ctx, m, access.Stream, opts, func(under context.Context, opts []rpc.Option) (err error) {
		f, err = open(under, ctx, to, m, typ, opts)
		return err
	})
	if err != nil && f != nil {
		f.close(errBrokenOff)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// publishThrough is Publish with interceptors, which see the message once, whoever gets it.
func (at topicAt) publishThrough(ctx context.Context, m any, opts []rpc.Option) error {
	op := at.sys.sending(ctx, at.pattern, m, access.Publish)
	op.Topic = at.pattern
	return at.sys.through(ctx, op, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) error {
		return at.publish(ctx, handling(ctx), m, settingsOf(opts))
	})
}

// through runs the interceptors around send, which makes the attempt to send the letter, with the
// headers that they have added.
func (a *letterAttempt) through(ctx context.Context, s *System, send func(context.Context) error) error {
	op := &intercept.Operation{Side: intercept.Outgoing, Op: access.Send, Cause: intercept.Resent, To: cmp.Or(a.At, a.Asked), Type: a.Type, Message: a.Message, From: a.From}
	given := a.Carried.headers()
	for _, h := range given {
		op.Came(h.Key, h.Value)
	}
	return intercept.Run(ctx, s.cfg.Outgoing, op, func(ctx context.Context) error {
		all := slices.Clip(given)
		op.Added(func(key, value string) { all = append(all, transport.Header{Key: key, Value: value}) })
		if len(all) > len(given) {
			a.Carried = a.Carried.with(all)
		}
		err := send(ctx)
		if rpc.Ran(err) != rpc.NotRun {
			op.Attempts = 1
		}
		return err
	})
}

// headers are those of the message of a letter.
func (c letterCarries) headers() []transport.Header {
	switch {
	case c.came != nil && c.came.meta != nil:
		return c.came.meta.Headers
	case c.own != nil:
		return c.own.headers
	}
	return nil
}

// with returns what c carries, with other headers.
func (c letterCarries) with(headers []transport.Header) letterCarries {
	if c.came != nil {
		came := *c.came
		came.meta = &wire.Meta{Headers: headers}
		if c.came.meta != nil {
			*came.meta = *c.came.meta
			came.meta.Headers = headers
		}
		return letterCarries{came: &came}
	}
	return letterCarries{own: c.own.with(&settings{Headers: headers})}
}

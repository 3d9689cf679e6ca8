package actor

import (
	"context"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
)

// The interceptors of senders, Config.Outgoing. A verb that finds some runs them, and the
// innermost next calls the verb again, under a context that says so.

// passedKey is the key of the value of a context under which a verb has run the interceptors: a
// *client.Report, which learns how the request to another node went.
type passedKey struct{}

// intercepts reports whether interceptors are still to run for a message that is sent to t under ctx.
func (s *System) intercepts(ctx context.Context, t *target) bool {
	return len(s.cfg.Outgoing) > 0 && s.hasToPass(ctx, t)
}

func (s *System) hasToPass(ctx context.Context, t *target) bool {
	return !strings.HasPrefix(t.addr.name, hidden) && ctx.Value(passedKey{}) == nil
}

// through runs the interceptors around send, which sends m to t under the context and with the options that
// it is given. ask is what the message asks for, unless its type says so.
func (s *System) through(ctx context.Context, t *target, m any, ask access.Op, opts []rpc.Option, send func(context.Context, []rpc.Option) error) error {
	op := &intercept.Operation{Side: intercept.Outgoing, Op: ask, To: t.addr.String(), Message: m}
	s.describe(op, m)
	if from := handling(ctx); from != nil {
		op.From = from.cell.self.addr.String()
	}
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
	return t.sys.through(ctx, t, m, access.Send, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) error {
		return Tell(ctx, to, m, opts...)
	})
}

// callThrough is Call with interceptors.
func callThrough[M Question[R], R any](ctx context.Context, t *target, to Ref, m M, opts []rpc.Option) (R, error) {
	var r, none R
	err := t.sys.through(ctx, t, m, access.Call, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) (err error) {
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
		err = t.sys.through(ctx, t, m, access.Call, own, func(ctx context.Context, opts []rpc.Option) (err error) {
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
	err := t.sys.through(ctx, t, m, access.Submit, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) (err error) {
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
	err := t.sys.through(ctx, t, m, access.Stream, opts, func(under context.Context, opts []rpc.Option) (err error) {
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

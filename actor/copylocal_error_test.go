package actor_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of a wall. Most of them fail.
type (
	Opaque struct {
		actor.Returns[int]
		C chan int
	}
	Hidden struct{ n int }
	Glass  struct {
		Seen   int
		hidden int `msgpack:"-"`
	}
	Choosy struct {
		actor.Returns[int]
		Word mute
	}
	Speak     struct{ actor.Returns[mute] }
	Leak      struct{ actor.Returns[chan int] }
	LeakLate  struct{ actor.Returns[chan int] }
	LeakList  struct{ actor.Streams[chan int] }
	BlameList struct{ actor.Streams[int] }
	LeakIn    struct{ actor.Collects[chan int, int] }
	Wrong     struct{ actor.Returns[string] } // handled by Receive
	Foreign   struct{ actor.Returns[int] }    // Receive would handle it, but the kind does not accept it
	Nameless  struct{ actor.Returns[struct{ A int }] }
	Blame     struct{ actor.Returns[int] }
	Own       struct{ actor.Returns[int] }
	Bound     struct {
		actor.Returns[bool]
		To actor.Ref
	}
	Seen struct{ actor.Returns[Glass] }
)

// mute is a word that cannot be decoded.
type mute struct{}

func (mute) MarshalText() ([]byte, error) { return []byte("word"), nil }

func (*mute) UnmarshalText(text []byte) error { return errors.New("no such word") }

var errSecret = errors.New("only here")

// wall is the actor at which the tests' messages fail.
type wall struct{ seen Glass }

func (w *wall) Receive(ctx *actor.Context) error { return ctx.Reply(1) }

var WallKind = actor.Define("test.wall", func() *wall { return new(wall) },
	actor.Accepts[*wall, Wrong](),
	actor.Answer(func(*wall, *actor.Context, Opaque) (int, error) { return 1, nil }),
	actor.Handle(func(*wall, *actor.Context, Hidden) error { return nil }),
	actor.Handle(func(w *wall, _ *actor.Context, m *Glass) error { w.seen = *m; return nil }),
	actor.Answer(func(w *wall, _ *actor.Context, _ Seen) (Glass, error) { w.seen.hidden += 100; return w.seen, nil }),
	actor.Answer(func(*wall, *actor.Context, Choosy) (int, error) { return 1, nil }),
	actor.Answer(func(*wall, *actor.Context, Speak) (mute, error) { return mute{}, nil }),
	actor.Answer(func(*wall, *actor.Context, Leak) (chan int, error) { return nil, nil }),
	actor.Answer(func(_ *wall, ctx *actor.Context, _ LeakLate) (chan int, error) {
		_ = actor.Defer[chan int](ctx).Answer(make(chan int))
		return nil, nil
	}),
	actor.Produce(func(*wall, *actor.Context, LeakList) (iter.Seq2[chan int, error], error) {
		return func(yield func(chan int, error) bool) { yield(make(chan int), nil) }, nil
	}),
	actor.Produce(func(*wall, *actor.Context, BlameList) (iter.Seq2[int, error], error) {
		return func(yield func(int, error) bool) { yield(0, errSecret) }, nil
	}),
	actor.Collect(func(*wall, *actor.Context, LeakIn, iter.Seq2[chan int, error]) (func() (int, error), error) {
		return func() (int, error) { return 0, nil }, nil
	}),
	actor.Answer(func(*wall, *actor.Context, Nameless) (struct{ A int }, error) { return struct{ A int }{1}, nil }),
	actor.Answer(func(*wall, *actor.Context, Blame) (int, error) { return 0, errors.Join(errSecret, context.Canceled) }),
	actor.Answer(func(*wall, *actor.Context, Own) (int, error) { return 0, errFunds }),
	actor.Answer(func(_ *wall, _ *actor.Context, m Bound) (bool, error) { return m.To.Bound(), nil }))

// called returns a function that sends m with Call and with Ask, which must fail alike.
func called[M actor.Question[R], R any](m M) func(context.Context, actor.Ref) error {
	return func(ctx context.Context, to actor.Ref) error {
		_, err := actor.Call(ctx, to, m)
		if _, err2 := actor.Ask(ctx, to, m).Await(ctx); rpc.CodeOf(err) != rpc.CodeOf(err2) || rpc.Ran(err) != rpc.Ran(err2) {
			return errors.Join(errors.New("Call and Ask differ"), err2)
		}
		return err
	}
}

// submitted returns a function that submits m and awaits its result.
func submitted[M actor.Question[R], R any](m M) func(context.Context, actor.Ref) error {
	return func(ctx context.Context, to actor.Ref) error {
		tok, err := actor.Submit(ctx, to, m)
		_, err = awaited(ctx, tok, err)
		return err
	}
}

// told returns a function that tells m.
func told(m any, opts ...rpc.Option) func(context.Context, actor.Ref) error {
	return func(ctx context.Context, to actor.Ref) error { return actor.Tell(ctx, to, m, opts...) }
}

// With CopyLocal, what fails between nodes fails within a system, with the same code and
// verdict.
func TestCopyLocalFailsAsBetweenNodes(t *testing.T) {
	rows := []struct {
		what string
		send func(context.Context, actor.Ref) error
		code rpc.Code
		ran  rpc.Verdict
	}{
		{"a channel, called", called(Opaque{C: make(chan int)}), rpc.Undecodable, rpc.NotRun},
		{"a channel, submitted", submitted(Opaque{C: make(chan int)}), rpc.Undecodable, rpc.NotRun},
		{"a channel, told", told(Opaque{C: make(chan int)}), rpc.Undecodable, rpc.NotRun},
		{"nothing exported", told(Hidden{1}), rpc.Undecodable, rpc.NotRun},
		{"a nil", told(nil), rpc.Invalid, rpc.NotRun},
		{"no name", told(struct{ A int }{1}), rpc.Invalid, rpc.NotRun},
		{"a reply without a name", called(Nameless{}), rpc.Invalid, rpc.NotRun},
		{"not decoded", called(Choosy{}), rpc.Undecodable, rpc.NotRun},
		{"not decoded, submitted", submitted(Choosy{}), rpc.Undecodable, rpc.NotRun},
		{"not handled", called(KeepAsk{}), rpc.Unhandled, rpc.NotRun},
		{"not handled, acked", told(Keep{}, rpc.Acked()), rpc.Unhandled, rpc.NotRun},
		{"not accepted", called(Foreign{}), rpc.Unhandled, rpc.NotRun},
		{"not accepted, submitted", submitted(Foreign{}), rpc.Unhandled, rpc.NotRun},
		{"a reply with a channel", called(Leak{}), rpc.Undecodable, rpc.HasRun},
		{"a reply with a channel, later", called(LeakLate{}), rpc.Undecodable, rpc.HasRun},
		{"a result with a channel", submitted(Leak{}), rpc.Undecodable, rpc.HasRun},
		{"a reply that is not decoded", called(Speak{}), rpc.Undecodable, rpc.HasRun},
		{"a result that is not decoded", submitted(Speak{}), rpc.Undecodable, rpc.HasRun},
		{"a reply of another type", called(Wrong{}), rpc.WrongReply, rpc.HasRun},
		{"the handler's error", called(Blame{}), rpc.Failed, rpc.HasRun},
		{"the application's error", called(Own{}), rpc.Failed, rpc.HasRun},
		{"an item with a channel", func(ctx context.Context, to actor.Ref) error {
			_, err := first(actor.Stream(ctx, to, LeakList{}))
			return err
		}, rpc.Undecodable, rpc.HasRun},
		{"an error in place of an item", func(ctx context.Context, to actor.Ref) error {
			_, err := first(actor.Stream(ctx, to, BlameList{}))
			return err
		}, rpc.Failed, rpc.HasRun},
		{"a channel, sent", func(ctx context.Context, to actor.Ref) error {
			up, err := actor.Open(ctx, to, LeakIn{})
			if err != nil {
				return err
			}
			defer up.Cancel()
			return up.Send(ctx, make(chan int))
		}, rpc.Undecodable, rpc.NotRun},
	}
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		spawn(t, b, "w", WallKind)
		dead := letters(t, b)
		for where, to := range map[string]actor.Ref{"another node": a.Ref("w@b"), "this node": b.Ref("w@b")} {
			for _, row := range rows {
				err := row.send(t.Context(), to)
				wantErr(t, where+": "+row.what, err, row.code, row.ran)
				if errors.Is(err, errSecret) {
					t.Errorf("%s: %s: the cause has come along", where, row.what)
				}
				if row.what == "the application's error" && !errors.Is(err, errFunds) {
					t.Errorf("%s: %v", where, err)
				}
			}
			had := len(dead())
			for _, m := range []any{Choosy{}, Keep{}, Foreign{}} {
				if err := actor.Tell(t.Context(), to, m); err != nil {
					t.Errorf("%s: a %T told: %v", where, m, err)
				}
			}
			if n := len(dead()) - had; n != 3 {
				t.Errorf("%s: %d dead letters, want 3", where, n)
			}
			if err := actor.Tell(t.Context(), to, &Glass{1, 2}); err != nil {
				t.Error(err)
			}
			if g, err := actor.Call(t.Context(), to, Seen{}); err != nil || g != (Glass{Seen: 1}) {
				t.Errorf("%s: unexported: %v, %v", where, g, err)
			}
			if is, err := actor.Call(t.Context(), to, Bound{To: to}); err != nil || is {
				t.Errorf("%s: a ref came bound: %v, %v", where, is, err)
			}
		}
	}, func(c *actor.Config) { c.CopyLocal = true })
}

// An item that cannot be encoded does not block the queue: it is nacked, as between nodes.
func TestCopyLocalItemThatCannotTravel(t *testing.T) {
	type Put struct{ actor.Returns[int] }
	for _, line := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			sys := newSystem(t, actor.Config{Logger: quiet, CopyLocal: true})
			of := func(o *actor.Offer[any]) *actor.Offer[any] { return o }
			items := []any{1, make(chan int), 3}
			ref := spawn(t, sys, "q", actor.Define("test.any", func() *actor.Offer[any] { return actor.NewOffer[any](queue.Config{Attempts: 1}) },
				actor.ServePull(of),
				actor.Answer(func(o *actor.Offer[any], ctx *actor.Context, _ Put) (int, error) {
					for _, v := range items {
						if err := o.Push(ctx, v); err != nil {
							return 0, err
						}
					}
					return len(items), nil
				})))
			pull := func() *rpc.Future[actor.Dequeued[any]] {
				return actor.Ask(t.Context(), ref, actor.Dequeue[any]{Op: queuestore.Pull, Max: 8})
			}
			var waits *rpc.Future[actor.Dequeued[any]]
			if line {
				waits = actor.Ask(t.Context(), ref, actor.Dequeue[any]{Op: queuestore.Pull, Max: 8, Wait: 1 << 40})
			}
			if _, err := actor.Call(t.Context(), ref, Put{}); err != nil {
				t.Fatal(err)
			}
			n, refused := 0, 0
			for range len(items) + 1 {
				f := waits
				if waits = nil; f == nil {
					f = pull()
				}
				d, err := f.Await(t.Context())
				if n += len(d.Items); err != nil {
					wantErr(t, "a pull", err, rpc.Undecodable, rpc.HasRun)
					refused++
				}
			}
			s, err := actor.QueueStats[any](t.Context(), ref)
			if n != 2 || refused != 1 || err != nil || s.Dead != 1 {
				t.Errorf("in line: %v: %d items and %d errors, want 2 and 1; %+v, %v", line, n, refused, s, err)
			}
		})
	}
}

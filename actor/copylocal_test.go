package actor_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of a copier, which keeps what it gets and hands out what it has.
type (
	table   map[string]int
	Keep    struct{ M table }
	KeepAsk struct {
		actor.Returns[int]
		M table
	}
	KeepList struct {
		actor.Streams[int]
		M table
	}
	KeepAll     struct{ actor.Collects[table, int] }
	KeepEach    struct{ actor.Converses[table, int] }
	Have        struct{ actor.Returns[table] }
	HaveAny     struct{ actor.Returns[any] }
	HaveLate    struct{ actor.Returns[table] }
	HaveLateAny struct{ actor.Returns[any] }
	HaveList    struct{ actor.Streams[table] }
	HaveSum     struct{ actor.Collects[int, table] }
	HaveEach    struct{ actor.Converses[int, table] }
	HaveRaw     struct{ actor.Returns[table] } // for Receive
	Enlist      struct{ actor.Returns[int] }
)

// copier shares what it has and gets with its test.
type copier struct {
	have  table
	kept  chan table
	offer *actor.Offer[table]
}

func (c *copier) keep(m table) int {
	n := len(m) // before the test has it, and writes to it
	c.kept <- m
	return n
}

func (c *copier) Receive(ctx *actor.Context) error {
	switch m := ctx.Message().(type) {
	case HaveRaw:
		return ctx.Reply(c.have)
	case *Keep:
		c.keep(m.M)
	}
	return nil
}

func newCopier() *copier {
	return &copier{have: table{"a": 1}, kept: make(chan table, 4), offer: actor.NewOffer[table](queue.Config{})}
}

func (c *copier) kind() *actor.Kind {
	ended := func(yield func(table, error) bool) { yield(c.have, nil) }
	return actor.Define("test.copier", func() *copier { return c },
		actor.Accepts[*copier, HaveRaw](), actor.Accepts[*copier, *Keep](),
		actor.Offers(func(c *copier) *actor.Offer[table] { return c.offer }),
		actor.TakesIn(func(c *copier) *actor.Offer[table] { return c.offer }),
		actor.Handle(func(c *copier, _ *actor.Context, m Keep) error { c.keep(m.M); return nil }),
		actor.Handle(func(c *copier, _ *actor.Context, m table) error { c.keep(m); return nil }),
		actor.Answer(func(c *copier, _ *actor.Context, m KeepAsk) (int, error) { return c.keep(m.M), nil }),
		actor.Answer(func(c *copier, _ *actor.Context, _ Have) (table, error) { return c.have, nil }),
		actor.Answer(func(c *copier, _ *actor.Context, _ HaveAny) (any, error) { return 7, nil }),
		actor.Answer(func(c *copier, ctx *actor.Context, _ HaveLate) (table, error) {
			return nil, actor.Defer[table](ctx).Answer(c.have)
		}),
		actor.Answer(func(c *copier, ctx *actor.Context, _ HaveLateAny) (any, error) {
			return nil, actor.Defer[any](ctx).Answer(7)
		}),
		actor.Answer(func(c *copier, ctx *actor.Context, _ Enlist) (int, error) { return 1, c.offer.Push(ctx, c.have) }),
		actor.Produce(func(c *copier, _ *actor.Context, _ HaveList) (iter.Seq2[table, error], error) { return ended, nil }),
		actor.Produce(func(c *copier, _ *actor.Context, m KeepList) (iter.Seq2[int, error], error) {
			c.keep(m.M)
			return func(func(int, error) bool) {}, nil
		}),
		actor.Collect(func(c *copier, _ *actor.Context, _ KeepAll, in iter.Seq2[table, error]) (func() (int, error), error) {
			return func() (n int, err error) {
				for m, err := range in {
					if err != nil {
						return n, err
					}
					n += c.keep(m)
				}
				return n, nil
			}, nil
		}),
		actor.Converse(func(c *copier, _ *actor.Context, _ KeepEach, in iter.Seq2[table, error]) (iter.Seq2[int, error], error) {
			return func(yield func(int, error) bool) {
				for m, err := range in {
					if err != nil || !yield(c.keep(m), nil) {
						return
					}
				}
			}, nil
		}),
		actor.Collect(func(c *copier, _ *actor.Context, _ HaveSum, in iter.Seq2[int, error]) (func() (table, error), error) {
			return func() (table, error) { return c.have, nil }, nil
		}),
		actor.Converse(func(c *copier, _ *actor.Context, _ HaveEach, in iter.Seq2[int, error]) (iter.Seq2[table, error], error) {
			return ended, nil
		}))
}

// first is the first item of a stream.
func first[T any](items iter.Seq2[T, error]) (v T, err error) {
	for v, err := range items {
		return v, err
	}
	return v, errors.New("no item")
}

// awaited is the result of a job.
func awaited[R any](ctx context.Context, tok rpc.Token[R], err error) (R, error) {
	if err != nil {
		var none R
		return none, err
	}
	return tok.Await(ctx)
}

// pulled is the next item of a queue.
func pulled(ctx context.Context, ref actor.Ref) (table, error) {
	d, err := actor.Pull[table](ctx, ref)
	if err != nil || len(d) != 1 {
		return nil, errors.Join(err, errors.New("not one item"))
	}
	return d[0].Message, d[0].Ack(ctx)
}

// shared reports whether a and b are one map.
func shared(a, b table) bool {
	a["probe"] = 1
	_, is := b["probe"]
	delete(a, "probe")
	return is
}

// What a receiver gets and what a caller gets is shared within a system, by all verbs, and
// with CopyLocal by none.
func TestCopyLocal(t *testing.T) {
	sent := map[string]func(ctx context.Context, to, svc actor.Ref, m table) error{
		"Tell":           func(ctx context.Context, to, _ actor.Ref, m table) error { return actor.Tell(ctx, to, Keep{m}) },
		"Tell a map":     func(ctx context.Context, to, _ actor.Ref, m table) error { return actor.Tell(ctx, to, m) },
		"Tell a pointer": func(ctx context.Context, to, _ actor.Ref, m table) error { return actor.Tell(ctx, to, &Keep{m}) },
		"Tell any":       func(ctx context.Context, to, _ actor.Ref, m table) error { return actor.Tell(ctx, to, any(Keep{m})) },
		"Tell, acked": func(ctx context.Context, to, _ actor.Ref, m table) error {
			return actor.Tell(ctx, to, Keep{m}, rpc.Acked())
		},
		"Tell a service": func(ctx context.Context, _, svc actor.Ref, m table) error { return actor.Tell(ctx, svc, Keep{m}) },
		"Call": func(ctx context.Context, to, _ actor.Ref, m table) error {
			_, err := actor.Call(ctx, to, KeepAsk{M: m})
			return err
		},
		"Call a service": func(ctx context.Context, _, svc actor.Ref, m table) error {
			_, err := actor.Call(ctx, svc, KeepAsk{M: m})
			return err
		},
		"Ask": func(ctx context.Context, to, _ actor.Ref, m table) error {
			_, err := actor.Ask(ctx, to, KeepAsk{M: m}).Await(ctx)
			return err
		},
		"Ask a service": func(ctx context.Context, _, svc actor.Ref, m table) error {
			_, err := actor.Ask(ctx, svc, KeepAsk{M: m}).Await(ctx)
			return err
		},
		"Submit": func(ctx context.Context, to, _ actor.Ref, m table) error {
			tok, err := actor.Submit(ctx, to, KeepAsk{M: m})
			_, err = awaited(ctx, tok, err)
			return err
		},
		"Stream": func(ctx context.Context, to, _ actor.Ref, m table) error {
			for _, err := range actor.Stream(ctx, to, KeepList{M: m}) {
				return err
			}
			return nil
		},
		"an item sent": func(ctx context.Context, to, _ actor.Ref, m table) error {
			up, err := actor.Open(ctx, to, KeepAll{})
			if err == nil {
				err = up.Send(ctx, m)
			}
			if err == nil {
				_, err = up.CloseAndReceive(ctx)
			}
			return err
		},
		"an item said": func(ctx context.Context, _, svc actor.Ref, m table) error {
			talk, err := actor.Talk(ctx, svc, KeepEach{})
			if err == nil {
				err = talk.Send(ctx, m)
			}
			if err == nil {
				_, err = first(talk.Items())
			}
			return err
		},
	}
	got := map[string]func(ctx context.Context, to, svc actor.Ref) (table, error){
		"Call":           func(ctx context.Context, to, _ actor.Ref) (table, error) { return actor.Call(ctx, to, Have{}) },
		"Call a service": func(ctx context.Context, _, svc actor.Ref) (table, error) { return actor.Call(ctx, svc, Have{}) },
		"Ask": func(ctx context.Context, to, _ actor.Ref) (table, error) {
			return actor.Ask(ctx, to, Have{}).Await(ctx)
		},
		"Ask a service": func(ctx context.Context, _, svc actor.Ref) (table, error) {
			return actor.Ask(ctx, svc, Have{}).Await(ctx)
		},
		"all of two": func(ctx context.Context, to, svc actor.Ref) (table, error) {
			both, err := rpc.All(actor.Ask(ctx, to, Have{}), actor.Ask(ctx, svc, HaveLate{})).Await(ctx)
			if err != nil {
				return nil, err
			}
			return both[0], nil
		},
		"Defer":    func(ctx context.Context, to, _ actor.Ref) (table, error) { return actor.Call(ctx, to, HaveLate{}) },
		"Receiver": func(ctx context.Context, to, _ actor.Ref) (table, error) { return actor.Call(ctx, to, HaveRaw{}) },
		"Submit": func(ctx context.Context, to, _ actor.Ref) (table, error) {
			tok, err := actor.Submit(ctx, to, Have{})
			return awaited(ctx, tok, err)
		},
		"Submit to a service, deferred": func(ctx context.Context, _, svc actor.Ref) (table, error) {
			tok, err := actor.Submit(ctx, svc, HaveLate{})
			return awaited(ctx, tok, err)
		},
		"Stream": func(ctx context.Context, to, _ actor.Ref) (table, error) {
			return first(actor.Stream(ctx, to, HaveList{}))
		},
		"CloseAndReceive": func(ctx context.Context, to, _ actor.Ref) (table, error) {
			up, err := actor.Open(ctx, to, HaveSum{})
			if err != nil {
				return nil, err
			}
			return up.CloseAndReceive(ctx)
		},
		"Talk": func(ctx context.Context, _, svc actor.Ref) (table, error) {
			talk, err := actor.Talk(ctx, svc, HaveEach{})
			if err != nil {
				return nil, err
			}
			return first(talk.Items())
		},
		"Pull what the actor pushed": func(ctx context.Context, to, _ actor.Ref) (table, error) {
			if _, err := actor.Call(ctx, to, Enlist{}); err != nil {
				return nil, err
			}
			return pulled(ctx, to)
		},
		"Pull, in line": func(ctx context.Context, to, _ actor.Ref) (table, error) {
			f := actor.Ask(ctx, to, actor.Dequeue[table]{Op: actor.OpPull, Wait: 1 << 40})
			if _, err := actor.Call(ctx, to, Enlist{}); err != nil {
				return nil, err
			}
			d, err := f.Await(ctx)
			if err != nil || len(d.Items) != 1 {
				return nil, errors.Join(err, errors.New("not one item"))
			}
			return d.Items[0].Message, nil
		},
	}
	for _, on := range []bool{false, true} {
		what := map[bool]string{false: "shared", true: "copied"}[on]
		start := func(t *testing.T) (to, svc actor.Ref, c *copier) {
			sys := newSystem(t, actor.Config{Logger: quiet, CopyLocal: on})
			c = newCopier()
			to = spawn(t, sys, "c", c.kind(), actor.Expose("copiers"))
			return to, sys.Service("copiers"), c
		}
		for name, send := range sent {
			t.Run(what+"/to the actor/"+name, func(t *testing.T) {
				to, svc, c := start(t)
				m := table{"a": 1}
				if err := send(t.Context(), to, svc, m); err != nil {
					t.Fatal(err)
				}
				if got := <-c.kept; got["a"] != 1 || shared(m, got) == on {
					t.Errorf("it got %v, shared: %v", got, !on)
				}
			})
		}
		for name, get := range got {
			t.Run(what+"/from the actor/"+name, func(t *testing.T) {
				to, svc, c := start(t)
				m, err := get(t.Context(), to, svc)
				if err != nil {
					t.Fatal(err)
				}
				if m["a"] != 1 || shared(m, c.have) == on {
					t.Errorf("the caller got %v, shared: %v", m, !on)
				}
			})
		}
		t.Run(what+"/from sender to consumer", func(t *testing.T) {
			to, _, _ := start(t)
			m := table{"a": 1}
			if err := actor.Push(t.Context(), to, m); err != nil {
				t.Fatal(err)
			}
			if got, err := pulled(t.Context(), to); err != nil || got["a"] != 1 || shared(m, got) == on {
				t.Errorf("%v, %v, shared: %v", got, err, !on)
			}
		})
		t.Run(what+"/replies in an interface", func(t *testing.T) {
			to, _, _ := start(t)
			a, err := actor.Call(t.Context(), to, HaveAny{})
			b, err2 := actor.Call(t.Context(), to, HaveLateAny{})
			if err != nil || err2 != nil || a == nil || b == nil {
				t.Errorf("%v, %v; %v, %v", a, err, b, err2)
			}
		})
	}
}

// The messages of a wall, at which much fails.
type (
	Opaque struct {
		actor.Returns[int]
		C chan int
	}
	Hidden struct{ n int }
	Glass  struct{ Seen, hidden int }
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
	Wrong     struct{ actor.Returns[string] } // for Receive
	Foreign   struct{ actor.Returns[int] }    // which Receive would take, but the kind does not accept
	Nameless  struct{ actor.Returns[struct{ A int }] }
	Blame     struct{ actor.Returns[int] }
	Own       struct{ actor.Returns[int] }
	Bound     struct {
		actor.Returns[bool]
		To actor.Ref
	}
	Seen struct{ actor.Returns[Glass] }
)

// mute is a word that cannot be read.
type mute struct{}

func (mute) MarshalText() ([]byte, error)     { return []byte("word"), nil }
func (*mute) UnmarshalText(text []byte) error { return errors.New("no such word") }

var errSecret = errors.New("only here")

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

func called[M actor.Question[R], R any](m M) func(context.Context, actor.Ref) error {
	return func(ctx context.Context, to actor.Ref) error {
		_, err := actor.Call(ctx, to, m)
		if _, err2 := actor.Ask(ctx, to, m).Await(ctx); rpc.CodeOf(err) != rpc.CodeOf(err2) || rpc.Ran(err) != rpc.Ran(err2) {
			return errors.Join(errors.New("Call and Ask differ"), err2)
		}
		return err
	}
}

func submitted[M actor.Question[R], R any](m M) func(context.Context, actor.Ref) error {
	return func(ctx context.Context, to actor.Ref) error {
		tok, err := actor.Submit(ctx, to, m)
		_, err = awaited(ctx, tok, err)
		return err
	}
}

func told(m any, opts ...rpc.Option) func(context.Context, actor.Ref) error {
	return func(ctx context.Context, to actor.Ref) error { return actor.Tell(ctx, to, m, opts...) }
}

// With CopyLocal what fails between nodes fails within one, with the same code and verdict.
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

// An item that cannot be encoded does not stay in the way: it is nacked, as between nodes.
func TestCopyLocalItemThatCannotTravel(t *testing.T) {
	type Put struct{ actor.Returns[int] }
	for _, line := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			sys := newSystem(t, actor.Config{Logger: quiet, CopyLocal: true})
			of := func(o *actor.Offer[any]) *actor.Offer[any] { return o }
			items := []any{1, make(chan int), 3}
			ref := spawn(t, sys, "q", actor.Define("test.any", func() *actor.Offer[any] { return actor.NewOffer[any](queue.Config{Attempts: 1}) },
				actor.Offers(of),
				actor.Answer(func(o *actor.Offer[any], ctx *actor.Context, _ Put) (int, error) {
					for _, v := range items {
						if err := o.Push(ctx, v); err != nil {
							return 0, err
						}
					}
					return len(items), nil
				})))
			pull := func() *rpc.Future[actor.Dequeued[any]] {
				return actor.Ask(t.Context(), ref, actor.Dequeue[any]{Op: actor.OpPull, Max: 8})
			}
			var waits *rpc.Future[actor.Dequeued[any]]
			if line {
				waits = actor.Ask(t.Context(), ref, actor.Dequeue[any]{Op: actor.OpPull, Max: 8, Wait: 1 << 40})
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

// Inward is a message that only its own actor can read.
type Inward struct{ f func() }

// What an actor sends to itself in its turn, and what Pipe brings back, is no message that
// could come from elsewhere.
func TestCopyLocalLeavesAnActorItsOwn(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet, CopyLocal: true})
	type Go struct{ actor.Returns[int] }
	ran := make(chan string, 4)
	other := spawn(t, sys, "other", AccountKind)
	ref := spawn(t, sys, "self", actor.Define("test.self", func() int { return 0 },
		actor.Handle(func(_ int, _ *actor.Context, m Inward) error { m.f(); return nil }),
		actor.Answer(func(_ int, ctx *actor.Context, _ Go) (int, error) {
			actor.Pipe(ctx, actor.Ask(ctx.Detached(), other, Balance{}), func(int64, error) Inward {
				return Inward{func() { ran <- "piped" }}
			})
			if err := actor.Tell(ctx.Detached(), ctx.Self(), Inward{}); rpc.CodeOf(err) != rpc.Undecodable {
				t.Errorf("detached: %v", err)
			}
			return 1, actor.Tell(ctx, ctx.Self(), Inward{func() { ran <- "told" }})
		})))
	if _, err := actor.Call(t.Context(), ref, Go{}); err != nil {
		t.Fatal(err)
	}
	if a, b := <-ran, <-ran; a == b {
		t.Errorf("%s twice", a)
	}
	wantErr(t, "from outside", actor.Tell(t.Context(), ref, Inward{}), rpc.Undecodable, rpc.NotRun)
}

// A request that goes on at another instance has what its sender sent, whatever that has
// made of it since.
func TestCopyLocalAskGoesOn(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet, CopyLocal: true})
	var n atomic.Int32
	entered, refuse := make(chan bool), make(chan bool)
	kind := actor.Define("test.fickle", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m KeepAsk) (int, error) {
			if n.Add(1) > 1 {
				return m.M["a"], nil
			}
			close(entered)
			<-refuse
			return 0, actor.Defer[int](ctx).Refuse(rpc.Unavailable, errors.New("not here"))
		}))
	spawn(t, sys, "one", kind, actor.Expose("fickle"))
	spawn(t, sys, "two", kind, actor.Expose("fickle"))
	m := table{"a": 1}
	f := actor.Ask(t.Context(), sys.Service("fickle"), KeepAsk{M: m})
	<-entered
	m["a"] = 2
	close(refuse)
	if got, err := f.Await(t.Context()); got != 1 || err != nil || n.Load() != 2 {
		t.Errorf("%d, %v after %d attempts", got, err, n.Load())
	}
}

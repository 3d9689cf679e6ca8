package actor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/rpc"
)

// Without CopyLocal, messages and results are shared between sender and receiver in one
// system, with all verbs. With CopyLocal they are copied with all verbs.
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
			f := actor.Ask(ctx, to, actor.Dequeue[table]{Op: queuestore.Pull, Wait: 1 << 40})
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

// Inward has nothing but an unexported function, so it cannot be copied.
type Inward struct{ f func() }

// CopyLocal does not copy what an actor sends to itself from its handler, nor what Pipe
// brings back, because these messages never come from another actor.
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

// A request that is retried at another instance has the content that it had when it was sent,
// even if its sender has changed the message since.
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

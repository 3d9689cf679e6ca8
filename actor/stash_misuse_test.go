package actor_test

// What cannot be put aside.

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// A message that cannot be put aside stays in hand, with an error that says why.
func TestMisusedStash(t *testing.T) {
	bubble := func(name string, kind func(*Diary) *actor.Kind, do func(t *testing.T, sys *actor.System, to actor.Ref, d *Diary)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys, d := newSystem(t, actor.Config{Logger: quiet}), new(Diary)
				do(t, sys, spawn(t, sys, "gate", kind(d)), d)
			})
		})
	}
	gate := func(d *Diary) *actor.Kind { return gateKind(d, 5) }
	in := func(what string, f func(ctx *actor.Context) error) {
		bubble(what, gate, func(t *testing.T, sys *actor.System, to actor.Ref, _ *Diary) {
			_, err := actor.Call(t.Context(), to, run(func(ctx *actor.Context) (string, error) {
				if err := f(ctx); rpc.CodeOf(err) != rpc.Invalid {
					t.Errorf("%v", err)
				}
				return "done", nil
			}))
			if what == "deferred" || what == "replied" {
				err = nil
			}
			if a := inspected(t, sys, "gate"); err != nil || a.Stashed != 0 {
				t.Errorf("%v, %d are put aside", err, a.Stashed)
			}
		})
	}
	in("deferred", func(ctx *actor.Context) error {
		later := actor.Defer[string](ctx)
		defer later.Answer("later")
		return ctx.Stash()
	})
	in("replied", func(ctx *actor.Context) error { _ = ctx.Reply("early"); return ctx.Stash() })
	bubble("no stash", func(d *Diary) *actor.Kind { return PuppetKind }, func(t *testing.T, _ *actor.System, to actor.Ref, _ *Diary) {
		inside(t, to, func(ctx *actor.Context) error {
			if err := ctx.Stash(); !errors.Is(err, actor.ErrNoStash) || ctx.Unstash() != 0 {
				t.Errorf("%v", err)
			}
			return nil
		})
	})
	bubble("after the handler", gate, func(t *testing.T, _ *actor.System, to actor.Ref, d *Diary) {
		tell(t, to, Walk{N: 1})
		if _, err := actor.Call(t.Context(), to, Ticket{Does: "stash late"}); err == nil {
			t.Error("put aside")
		}
		if _, err := actor.Call(t.Context(), to, Ticket{Does: "stash late"}); err == nil {
			t.Error("put aside")
		}
	})
	bubble("twice, and with a result", gate, func(t *testing.T, sys *actor.System, to actor.Ref, d *Diary) {
		f := actor.Ask(t.Context(), to, Ticket{Does: "stash twice"})
		tell(t, to, Walk{Does: "stash and fail"})
		if a := inspected(t, sys, "gate"); a.Stashed != 2 || a.Failed != 0 {
			t.Errorf("seen as %+v", a)
		}
		d.want(t, "rpc: invalid: there is no message in hand that can be put aside [ran]")
		select {
		case <-f.Done():
			t.Error("the request has been answered")
		default:
		}
	})
	bubble("then deferred", gate, func(t *testing.T, sys *actor.System, to actor.Ref, d *Diary) {
		f := actor.Ask(t.Context(), to, run(func(ctx *actor.Context) (string, error) {
			if len(d.read()) > 0 {
				return "second", nil
			}
			d.note("first")
			err := ctx.Stash()
			if later := actor.Defer[string](ctx); later.Answer("deferred") == nil {
				t.Error("answered")
			}
			return "", err
		}))
		_ = f
	})
	bubble("then a panic", gate, func(t *testing.T, sys *actor.System, to actor.Ref, d *Diary) {
		_, err := actor.Call(t.Context(), to, Ticket{Does: "stash and crash"})
		wantErr(t, "a request", err, rpc.Panicked, rpc.HasRun)
		tell(t, to, Walk{Does: "stash and crash"})
		time.Sleep(time.Minute)
		if a := inspected(t, sys, "gate"); a.Stashed != 0 || a.Restarts != 2 {
			t.Errorf("seen as %+v", a)
		}
		_, err = actor.Call(t.Context(), to, run(func(ctx *actor.Context) (string, error) {
			_ = ctx.Stash()
			actor.Defer[string](ctx)
			panic("on purpose")
		}))
		wantErr(t, "a request, deferred", err, rpc.Panicked, rpc.HasRun)
	})
	bubble("a hook, a timer, a watch", func(d *Diary) *actor.Kind {
		return diarist(d, func(k *Diarist) {
			k.onStart = func(ctx *actor.Context) error { d.note("%v", rpc.CodeOf(ctx.Stash())); return nil }
		}, actor.Stash(5))
	}, func(t *testing.T, sys *actor.System, to actor.Ref, d *Diary) {
		inside(t, to, func(ctx *actor.Context) error {
			_, err := actor.After(ctx, time.Second, note(func(ctx *actor.Context) { d.note("tick %v", rpc.CodeOf(ctx.Stash())) }))
			return err
		})
		time.Sleep(2 * time.Second)
		d.want(t, "gate/1 started", "rpc: invalid", "tick rpc: invalid")
	})
	bubble("a stream", func(*Diary) *actor.Kind {
		return actor.Define("test.parade", func() int { return 0 }, actor.Produce(func(_ int, ctx *actor.Context, m Series) (seqOfInts, error) {
			return nil, ctx.Stash()
		})).With(actor.Stash(5))
	}, func(t *testing.T, sys *actor.System, to actor.Ref, _ *Diary) {
		for _, err := range actor.Stream(t.Context(), to, Series{}) {
			wantErr(t, "a stream", err, rpc.Failed, rpc.HasRun)
		}
		if a := inspected(t, sys, "gate"); a.Stashed != 0 {
			t.Errorf("%d are put aside", a.Stashed)
		}
	})
}

// What is on record cannot be put aside; one-way messages are on no record.
func TestStashOfADurableKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, disk := new(Diary), new(disk)
		kind := gateKind(d, 5, actor.Durable())
		sys := newSystem(t, actor.Config{Name: "b", Logger: quiet, Store: disk, Kinds: []*actor.Kind{kind}})
		to := spawn(t, sys, "gate", kind)
		tell(t, to, Walk{Does: "shut"})
		_, err := actor.Call(t.Context(), to, Ticket{N: 1})
		wantErr(t, "a request", err, rpc.Failed, rpc.HasRun)
		tok, err := actor.Submit(t.Context(), to, Ticket{N: 2})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tok.Await(t.Context())
		wantErr(t, "a job", err, rpc.Failed, rpc.HasRun)
		tell(t, to, Walk{N: 3})
		if got := d.read(); len(got) != 2 {
			t.Errorf("%q", got)
		}
		tell(t, to, Walk{Does: "open"})
		tell(t, to, Walk{N: 4})
		d.want(t, "1 back", "3", "4")
	})
}

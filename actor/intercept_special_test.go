package actor_test

// Interceptors of pools, of Receivers, of publications and of letters that are sent again.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// addressing returns an interceptor that notes to whom each message goes.
func addressing(log *notes) intercept.Func {
	return func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		log.add(op.To())
		return next(ctx)
	}
}

// A message to a pool is seen once by the sender's interceptors, and once by those of the system and of the
// kind for each worker that handles it, at that worker.
func TestInterceptedPool(t *testing.T) {
	for _, row := range []struct {
		by    route.Policy
		loose bool
		want  int // workers that handle each message
	}{
		{route.RoundRobin(), true, 1},
		{route.RoundRobin(), false, 1},
		{route.LeastBusy(), false, 1},
		{route.Broadcast(), true, 3},
		{route.FirstOf(2), false, 1},
	} {
		out, in, kind := new(notes), new(notes), new(notes)
		world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
			log := new(notes)
			spawn(t, b, "pool", tapKind(log, actor.Incoming(addressing(kind))), actor.Pool(3, row.by))
			for _, sys := range []*actor.System{a, b} {
				for i := range 6 {
					text := fmt.Sprint(sys.Name(), i)
					var err error
					if row.loose {
						err = actor.Tell(t.Context(), sys.Ref("pool@b"), Tapped{text})
					} else {
						_, err = actor.Call(t.Context(), sys.Ref("pool@b"), Tap{Text: text})
					}
					if err != nil {
						t.Errorf("%v: %v", row.by, err)
					}
					handled := len(log.take())
					system, own := in.take(), kind.take()
					if len(system) != handled || len(own) != handled || handled < row.want || row.by.Races() == 0 && handled > row.want {
						t.Errorf("%v: handled %d times, seen %v by the system, %v by the kind", row.by, handled, system, own)
					}
					for _, to := range append(system, own...) {
						if !strings.HasPrefix(to, "pool/") {
							t.Errorf("%v: seen at %s", row.by, to)
						}
					}
					out.want(t, fmt.Sprint(row.by), "pool@b")
				}
			}
		}, func(cfg *actor.Config) {
			cfg.Outgoing = []intercept.Func{addressing(out)}
			if cfg.Name == "b" {
				cfg.Incoming = []intercept.Func{addressing(in)}
			}
		})
	}
}

// ear is a Receiver that notes what it gets.
type ear struct{ log *notes }

func (e *ear) Receive(ctx *actor.Context) error {
	if m, ok := ctx.Message().(Note); ok {
		return m.F(ctx)
	}
	e.log.add(fmt.Sprintf("%T", ctx.Message()))
	return nil
}

// A Receiver's interceptors see its messages, also those of timers, but not what the system tells it.
func TestInterceptedReceiver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		log, in := new(notes), new(notes)
		see := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
			in.add(fmt.Sprintf("%v %T", op.Cause, op.Message()))
			return next(ctx)
		}
		sys := newSystem(t, actor.Config{Logger: quiet})
		kind := actor.Define("test.ear", func() *ear { return &ear{log} }, actor.Accepts[*ear, Tapped](), actor.Accepts[*ear, actor.WentIdle]())
		ref, other := spawn(t, sys, "ear", kind.With(actor.Incoming(see), actor.Idle(time.Minute))), spawn(t, sys, "other", PuppetKind)
		tell(t, ref, note(func(ctx *actor.Context) {
			if err := errors.Join(ctx.Watch(other), second(actor.After(ctx, time.Second, Tapped{}))); err != nil {
				t.Error(err)
			}
		}))
		time.Sleep(2 * time.Second)
		in.want(t, "a timer", "sent actor_test.Note", "ticked actor_test.Tapped")
		_ = sys.Stop(t.Context(), other)
		time.Sleep(10 * time.Minute)
		in.want(t, "an end, and idleness")
		log.want(t, "all", "actor_test.Tapped", "actor.Terminated", "actor.WentIdle")
	})
}

// A publication is seen once where it is published, and once at each subscriber, on each node. A header
// that is added gets to all of them.
func TestInterceptedPublish(t *testing.T) {
	out, in := new(notes), new(notes)
	world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		log := new(notes)
		kind := allTaps(log)
		for _, at := range []struct {
			sys  *actor.System
			name string
		}{{a, "x"}, {b, "y"}, {b, "z"}} {
			inside(t, spawn(t, at.sys, at.name, kind), func(ctx *actor.Context) error { return ctx.Subscribe(tapTopic) })
		}
		time.Sleep(time.Minute)
		out.take()
		in.take()
		if err := actor.Publish(t.Context(), tapTopic.At("taps.1").Bind(a), Tapped{"m"}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		out.want(t, "published", "taps.1")
		if seen, handled := in.take(), log.take(); len(seen) != 3 || len(handled) != 3 || strings.Count(fmt.Sprint(handled), `header="h1"`) != 3 {
			t.Errorf("seen at %v, handled %v", seen, handled)
		}
	}, func(cfg *actor.Config) {
		cfg.Incoming = []intercept.Func{addressing(in)}
		cfg.Outgoing = []intercept.Func{addressing(out), tagging("h1")}
	})
}

// A letter whose message an interceptor refuses stays as it is; one whose message has arrived is gone,
// whatever an interceptor says then. Headers that are added arrive, those that were there stay.
func TestInterceptedResend(t *testing.T) {
	var refuse, lie bool
	check := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		switch {
		case op.Cause != intercept.Resent:
			return next(ctx)
		case refuse:
			return errors.New("refused")
		case op.Header("was") != "there" || !strings.HasSuffix(op.Type(), "Tapped"):
			t.Errorf("%q of type %s", op.Header("was"), op.Type())
		}
		op.SetHeader("h", "added")
		err := next(ctx)
		if lie {
			return errors.Join(err, errors.New("a lie"))
		}
		return err
	}
	world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		log := new(notes)
		spawn(t, a, "near", tapKind(log))
		spawn(t, b, "far", tapKind(log))
		for _, from := range []*actor.System{a, b} {
			for _, to := range []string{"near@a", "far@b"} {
				if err := actor.Tell(t.Context(), from.Ref("nobody@a"), Tapped{"m"}, rpc.WithHeader("was", "there")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				id := onlyLetter(t, a).ID
				refuse, lie = true, false
				wantErr(t, "refused", a.ResendLetter(t.Context(), id, a.Ref(to)), rpc.Denied, rpc.NotRun)
				if l := onlyLetter(t, a); l.State != deadletter.Undelivered {
					t.Errorf("refused, the letter is %v", l.State)
				}
				refuse, lie = false, true
				if err := a.ResendLetter(t.Context(), id, a.Ref(to)); err == nil || rpc.Ran(err) == rpc.NotRun {
					t.Errorf("arrived: %v", err)
				}
				log.want(t, to, `handler m header="added" value=""`)
				if kept := a.KeptLetters(deadletter.Filter{}); len(kept) > 0 {
					t.Errorf("arrived, and kept: %+v", kept)
				}
			}
		}
	}, func(cfg *actor.Config) {
		if cfg.Name == "a" {
			cfg.Outgoing = []intercept.Func{check}
		}
	})
}

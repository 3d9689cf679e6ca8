package actor_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
)

// Sleeper is told when it is idle.
type Sleeper struct{ diary *Diary }

func (s *Sleeper) WentIdle(ctx *actor.Context, _ actor.WentIdle) error {
	s.diary.note("idle")
	return nil
}
func (s *Sleeper) Note(ctx *actor.Context, m Note) error { return m.F(ctx) }

func TestIdleStops(t *testing.T) {
	nothing := func(*actor.Context) {}
	for _, row := range []struct {
		name  string
		do    func(*testing.T, actor.Ref)
		lives time.Duration
	}{
		{"no message", func(*testing.T, actor.Ref) {}, 10 * time.Second},
		{"a message", func(t *testing.T, r actor.Ref) { time.Sleep(9 * time.Second); tell(t, r, note(nothing)) }, 20 * time.Second},
		{"messages", func(t *testing.T, r actor.Ref) {
			for range 8 {
				time.Sleep(9 * time.Second)
				tell(t, r, note(nothing))
			}
		}, 90 * time.Second},
		{"a long handler", func(t *testing.T, r actor.Ref) {
			tell(t, r, note(func(*actor.Context) { time.Sleep(35 * time.Second) }))
		}, 50 * time.Second},
		{"a message of a timer", func(t *testing.T, r actor.Ref) {
			tell(t, r, note(func(ctx *actor.Context) { _, _ = actor.After(ctx, 15*time.Second, note(nothing)) }))
		}, 30 * time.Second},
		{"a restart", func(t *testing.T, r actor.Ref) { time.Sleep(5 * time.Second); tell(t, r, crash()) }, 20 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				sys, d := newSystem(t, actor.Config{Logger: quiet}), new(Diary)
				began := time.Now()
				stopped := make(chan time.Duration, 1)
				kind := diarist(d, func(k *Diarist) {
					k.onStop = func(_ *actor.Context, why error) {
						if !errors.Is(why, actor.ErrIdle) {
							t.Errorf("it ends because of %v", why)
						}
						stopped <- time.Since(began)
					}
				}, actor.Idle(10*time.Second))
				by, heard := watching(t, sys)
				ref := spawn(t, sys, "x", kind)
				inside(t, by, func(ctx *actor.Context) error { return ctx.Watch(ref) })
				row.do(t, ref)
				if lives := <-stopped; lives > row.lives || lives <= row.lives-10*time.Second {
					t.Errorf("it has lived for %v, want %v", lives, row.lives)
				}
				if m := <-heard; !errors.Is(m.Why, actor.ErrIdle) {
					t.Errorf("who watches it is told %v", m.Why)
				}
			})
		})
	}
}

// A kind with a handler for WentIdle is told once, and again only after another message.
func TestIdleTells(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, d := newSystem(t, actor.Config{Logger: quiet}), new(Diary)
		kind := actor.Define("test.sleeper", func() *Sleeper { return &Sleeper{d} }, actor.Handle((*Sleeper).WentIdle), actor.Handle((*Sleeper).Note))
		ref := spawn(t, sys, "x", kind.With(actor.Idle(10*time.Second), always(supervise.Restart)))
		time.Sleep(10500 * time.Millisecond)
		d.want(t, "idle")
		time.Sleep(time.Hour)
		d.want(t)
		tell(t, ref, note(func(*actor.Context) { d.note("message") }))
		time.Sleep(time.Hour)
		d.want(t, "message", "idle")
		tell(t, ref, note(func(*actor.Context) { time.Sleep(35 * time.Second); d.note("long") }))
		time.Sleep(36 * time.Second)
		d.want(t, "long")
		time.Sleep(time.Hour)
		d.want(t, "idle")
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		d.want(t)
	})
}

// Senders whose messages come when the actor is about to be stopped: each one was handled once, or
// its sender knows that it was not.
func TestIdleLosesNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const idle = time.Millisecond
		var mu sync.Mutex
		handled, incarnations := 0, 0
		kind := actor.Define("test.short", func() *Puppet { mu.Lock(); incarnations++; mu.Unlock(); return new(Puppet) },
			actor.Answer(func(_ *Puppet, ctx *actor.Context, m Run) (string, error) {
				mu.Lock()
				handled++
				mu.Unlock()
				return "", nil
			})).With(actor.Idle(idle))
		sys := newSystem(t, actor.Config{Logger: quiet})
		answered := make(chan int)
		const senders, each = 4, 1000
		for range senders {
			go func() {
				n := 0
				for range each {
					time.Sleep(2 * idle)
					ref, err := sys.GetOrSpawn("x", kind)
					if err != nil {
						t.Error(err)
						continue
					}
					_, err = actor.Call(t.Context(), ref, run(nil))
					switch {
					case err == nil:
						n++
					case rpc.Ran(err) != rpc.NotRun:
						t.Error(err)
					}
				}
				answered <- n
			}()
		}
		n := 0
		for range senders {
			n += <-answered
		}
		mu.Lock()
		defer mu.Unlock()
		if n != handled || n < senders*each/2 {
			t.Errorf("%d answers, %d handled, of %d", n, handled, senders*each)
		}
		t.Logf("%d answers, %d actors", n, incarnations)
	})
}

func TestIdleOfNoTime(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	actor.Idle(0)
}

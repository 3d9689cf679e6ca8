package actor_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
)

// Ring is a message of a timer of a Clock.
type Ring struct{ Name string }

// Clock writes down when its ticks come, in the diary, in seconds since its first start.
type Clock struct {
	diary *Diary
	since time.Time
	start func(*actor.Context)
	slow  time.Duration // how long it handles a tick
}

func (k *Clock) Started(ctx *actor.Context) error {
	if k.start != nil {
		k.start(ctx)
	}
	return nil
}

func (k *Clock) Ring(ctx *actor.Context, m Ring) error {
	k.diary.note("%s %v", m.Name, time.Since(k.since).Seconds())
	time.Sleep(k.slow)
	return nil
}
func (k *Clock) Run(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }
func (k *Clock) Note(ctx *actor.Context, m Note) error         { return m.F(ctx) }

// clockKind defines clocks. change may set fields of each state.
func clockKind(d *Diary, change func(*Clock)) *actor.Kind {
	since := time.Now()
	return actor.Define("test.clock", func() *Clock {
		k := &Clock{diary: d, since: since}
		if change != nil {
			change(k)
		}
		return k
	}, actor.Handle((*Clock).Ring), actor.Answer((*Clock).Run), actor.Handle((*Clock).Note))
}

// clock runs a test with an actor that is a clock.
func clock(t *testing.T, change func(*Clock), test func(t *testing.T, d *Diary, sys *actor.System, ref actor.Ref), opts ...actor.KindOption) {
	bubble.Test(t, func(t *testing.T) {
		sys, d := newSystem(t, actor.Config{Logger: quiet}), new(Diary)
		test(t, d, sys, spawn(t, sys, "clock", clockKind(d, change).With(opts...), small(3, mailbox.Block)))
	})
}

func every(t *testing.T, ref actor.Ref, d time.Duration, name string) (timer actor.Timer) {
	t.Helper()
	inside(t, ref, func(ctx *actor.Context) (err error) {
		timer, err = actor.Every(ctx, d, Ring{name})
		return err
	})
	return timer
}

func after(t *testing.T, ref actor.Ref, d time.Duration, name string) (timer actor.Timer) {
	t.Helper()
	inside(t, ref, func(ctx *actor.Context) (err error) {
		timer, err = actor.After(ctx, d, Ring{name})
		return err
	})
	return timer
}

func TestTimers(t *testing.T) {
	clock(t, nil, func(t *testing.T, d *Diary, sys *actor.System, ref actor.Ref) {
		once, again := after(t, ref, 2*time.Second, "once"), every(t, ref, 3*time.Second, "again")
		inside(t, ref, func(ctx *actor.Context) error {
			_, err := actor.Cron(ctx, "* * * * *", "", Ring{"minute"}) // a bubble begins at midnight
			return err
		})
		time.Sleep(7 * time.Second)
		d.want(t, "once 2", "again 3", "again 6")
		if once.Cancel() || !again.Cancel() || again.Cancel() || (actor.Timer{}).Cancel() {
			t.Error("Cancel does not say whether the timer had ended")
		}
		time.Sleep(3 * time.Minute)
		d.want(t, "minute 60", "minute 120", "minute 180")
	})
}

// An Every does not pile up while its actor is slow, and keeps its times.
func TestEveryOfSlowActor(t *testing.T) {
	clock(t, func(k *Clock) { k.slow = 2500 * time.Millisecond }, func(t *testing.T, d *Diary, _ *actor.System, ref actor.Ref) {
		timer := every(t, ref, time.Second, "tick")
		time.Sleep(8800 * time.Millisecond)
		timer.Cancel()
		time.Sleep(time.Minute)
		d.want(t, "tick 1", "tick 3.5", "tick 6", "tick 8.5")
	})
	clock(t, nil, func(t *testing.T, d *Diary, _ *actor.System, ref actor.Ref) {
		timer := every(t, ref, time.Second, "tick")
		tell(t, ref, note(func(*actor.Context) { time.Sleep(100500 * time.Millisecond) }))
		time.Sleep(102100 * time.Millisecond)
		timer.Cancel()
		d.want(t, "tick 100.5", "tick 101", "tick 102")
	})
}

// A shutdown does not wait for an actor whose next tick has come before it is through with one. While
// others finish, it gets its ticks.
func TestShutdownOfTicking(t *testing.T) {
	clock(t, func(k *Clock) { k.slow = 1500 * time.Millisecond }, func(t *testing.T, d *Diary, sys *actor.System, ref actor.Ref) {
		every(t, ref, time.Second, "tick")
		other, begun := spawn(t, sys, "other", clockKind(d, nil)), time.Now()
		tell(t, other, note(func(*actor.Context) { time.Sleep(5250 * time.Millisecond); d.note("through") }))
		time.Sleep(1250 * time.Millisecond)
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		d.want(t, "tick 1", "tick 2.5", "tick 4", "through")
		if at := time.Since(begun); at > 6*time.Second {
			t.Errorf("the system was down after %v", at)
		}
	})
}

// A full mailbox neither loses a tick nor holds it up. A tick that is cancelled when it is due does not come.
func TestTimerOfBusyActor(t *testing.T) {
	clock(t, nil, func(t *testing.T, d *Diary, _ *actor.System, ref actor.Ref) {
		after(t, ref, time.Second, "kept")
		cancelled := after(t, ref, time.Second, "cancelled")
		unplug := plug(t, ref)
		for range 3 {
			tell(t, ref, note(func(*actor.Context) { d.note("message") }))
		}
		time.Sleep(2 * time.Second)
		if !cancelled.Cancel() {
			t.Error("the timer had ended before its message was handled")
		}
		unplug()
		d.want(t, "kept 2", "message", "message", "message")
	})
}

// Timers end with the incarnation, also those whose message waits. Those of Started are set anew.
func TestTimersOfIncarnation(t *testing.T) {
	started := func(k *Clock) {
		k.start = func(ctx *actor.Context) { _, _ = actor.After(ctx, 10*time.Second, Ring{"started"}) }
	}
	clock(t, started, func(t *testing.T, d *Diary, sys *actor.System, ref actor.Ref) {
		every(t, ref, time.Second, "old")
		after(t, ref, 2*time.Second, "due")
		time.Sleep(1500 * time.Millisecond)
		d.want(t, "old 1")
		tell(t, ref, note(func(*actor.Context) { time.Sleep(time.Second); panic("on purpose") }))
		time.Sleep(20 * time.Second)
		d.want(t, "started 12.5")
		tell(t, ref, note(func(ctx *actor.Context) { _, _ = actor.Every(ctx, time.Second, Ring{"last"}); ctx.Stop() }))
		time.Sleep(time.Minute)
		d.want(t)
	})
}

// A tick that comes due while the actor is suspended waits for the strategy's decision.
func TestTimerOfResumedActor(t *testing.T) {
	decide := actor.Supervise(actor.Strategy{Decide: func(supervise.Failure) supervise.Directive {
		time.Sleep(5 * time.Second)
		return supervise.Resume
	}})
	clock(t, nil, func(t *testing.T, d *Diary, sys *actor.System, ref actor.Ref) {
		after(t, ref, time.Second, "due")
		tell(t, ref, note(func(*actor.Context) { time.Sleep(2 * time.Second); panic("on purpose") }))
		tell(t, ref, note(func(*actor.Context) { d.note("message") }))
		time.Sleep(time.Minute)
		d.want(t, "due 7", "message")
	}, decide)
}

func TestTimerErrors(t *testing.T) {
	clock(t, nil, func(t *testing.T, d *Diary, sys *actor.System, ref actor.Ref) {
		var kept *actor.Context
		inside(t, ref, func(ctx *actor.Context) error {
			kept = ctx
			for _, row := range []struct {
				name string
				set  func() (actor.Timer, error)
				want rpc.Code
			}{
				{"no time", func() (actor.Timer, error) { return actor.After(ctx, 0, Ring{}) }, rpc.Invalid},
				{"negative time", func() (actor.Timer, error) { return actor.Every(ctx, -1, Ring{}) }, rpc.Invalid},
				{"no handler", func() (actor.Timer, error) { return actor.After(ctx, 1, Count{}) }, rpc.Unhandled},
				{"no message", func() (actor.Timer, error) { return actor.Every(ctx, 1, nil) }, rpc.Unhandled},
				{"no expression", func() (actor.Timer, error) { return actor.Cron(ctx, "soon", "", Ring{}) }, rpc.Invalid},
				{"no zone", func() (actor.Timer, error) { return actor.Cron(ctx, "* * * * *", "Atlantis", Ring{}) }, rpc.Invalid},
				{"no such day", func() (actor.Timer, error) { return actor.Cron(ctx, "0 0 30 2 *", "", Ring{}) }, rpc.Invalid},
			} {
				if timer, err := row.set(); rpc.CodeOf(err) != row.want || timer.Cancel() {
					t.Errorf("%s: %v, want %v", row.name, err, row.want)
				}
			}
			return nil
		})
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if _, err := actor.After(kept, time.Second, Ring{}); rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("a timer of an actor that has stopped: %v", err)
		}
		time.Sleep(time.Minute)
		d.want(t)
	})
}

// A model of timers: those that wait, with their next times.
func TestTimersModel(t *testing.T) {
	type step struct {
		do     string
		period int // seconds
		which  int
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.SampledFrom([]string{"after", "every", "cancel", "pass", "pass", "busy", "crash"}).Draw(t, "do"),
				rapid.IntRange(1, 7).Draw(t, "period"), rapid.IntRange(0, 9).Draw(t, "which")}
		}), 1, 40).Draw(rt, "steps")
		var wrong error
		atOnce := actor.Supervise(actor.Strategy{Window: time.Nanosecond})
		clock(t, nil, func(t *testing.T, d *Diary, _ *actor.System, ref actor.Ref) {
			type model struct {
				real       actor.Timer
				due, every int
				name       string
				ended      bool
			}
			var all []*model
			now := 0
			live := func(m *model) bool { return !m.ended }
			pass := func(to int, busy bool) (ticks []string) { // the ticks until then
				for busy && now < to || !busy {
					var next *model
					for _, m := range all {
						if live(m) && m.due <= to && (next == nil || m.due < next.due) {
							next = m
						}
					}
					if next == nil {
						break
					}
					at := next.due
					if busy {
						at = to
					}
					ticks = append(ticks, fmt.Sprintf("%s %d", next.name, at))
					switch {
					case next.every == 0:
						next.ended = true
					case busy:
						next.due += (to - next.due + next.every) / next.every * next.every
					default:
						next.due += next.every
					}
				}
				now = to
				return ticks
			}
			for i, s := range steps {
				var want []string
				switch m := (&model{due: now + s.period, name: fmt.Sprint(i)}); s.do {
				case "after":
					m.real = after(t, ref, time.Duration(s.period)*time.Second, m.name)
					all = append(all, m)
				case "every":
					m.every = s.period
					m.real = every(t, ref, time.Duration(s.period)*time.Second, m.name)
					all = append(all, m)
				case "cancel":
					if len(all) == 0 {
						continue
					}
					m := all[s.which%len(all)]
					if got := m.real.Cancel(); got == m.ended {
						wrong = errors.Join(wrong, fmt.Errorf("step %d: Cancel is %v", i, got))
					}
					m.ended = true
				case "pass":
					want = pass(now+s.period, false)
					time.Sleep(time.Duration(s.period) * time.Second)
				case "busy":
					want = pass(now+s.period, true)
					tell(t, ref, note(func(*actor.Context) { time.Sleep(time.Duration(s.period) * time.Second) }))
					time.Sleep(time.Duration(s.period) * time.Second)
				case "crash":
					tell(t, ref, crash())
					for _, m := range all {
						m.ended = true
					}
					time.Sleep(time.Second) // so that no failure is one too many within the window
					now++
				}
				got := d.read()
				slices.Sort(got) // those of one moment have no order
				slices.Sort(want)
				if !slices.Equal(got, want) {
					wrong = errors.Join(wrong, fmt.Errorf("step %d, %+v: %q, want %q", i, s, got, want))
				}
			}
		}, atOnce)
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

// Many timers are set, come due and are cancelled at once, from several goroutines.
func TestTimersAtOnce(t *testing.T) {
	var ticks atomic.Int64
	kind := actor.Define("test.counter", func() *Puppet { return new(Puppet) },
		actor.Handle(func(*Puppet, *actor.Context, Ring) error { ticks.Add(1); return nil }),
		actor.Answer(func(p *Puppet, ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }))
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", kind)
		var ctx *actor.Context
		inside(t, ref, func(c *actor.Context) error { ctx = c; return nil })
		cancelled := make(chan int)
		for range 8 {
			go func() {
				n := 0
				for i := range 1000 {
					timer, err := actor.After(ctx, time.Duration(1+i%10)*time.Millisecond, Ring{})
					if err != nil {
						t.Error(err)
					}
					if i%100 == 99 {
						time.Sleep(5 * time.Millisecond)
					}
					if i%3 == 0 && timer.Cancel() {
						n++
					}
				}
				cancelled <- n
			}()
		}
		n := 0
		for range 8 {
			n += <-cancelled
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := int(ticks.Load()); got != 8000-n {
			t.Errorf("%d ticks, %d cancelled, of 8000", got, n)
		}
	})
}

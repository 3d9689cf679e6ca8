package actor

import (
	"reflect"
	"time"

	"github.com/tandem-go/tandem/internal/crontime"
	"github.com/tandem-go/tandem/rpc"
)

// Timer is a timer of an actor, see After, Every and Cron.
type Timer struct{ t *timer }

// After has the actor of ctx get msg from itself, once, when d has passed. The message is handled in
// the actor's turn, before those that wait in its mailbox, and is not lost if that is full. It has no
// sender.
//
// The timer ends with Cancel, and when the actor ends or is restarted: Started may set it anew. While
// the actor is suspended after a failure, the message waits. A timer that waits owns no goroutine.
// Shutdown does not wait for a timer: once only actors run that its messages keep busy, it ends.
//
// The error says that the actor's kind has no handler for such messages (rpc.Unhandled), that d is not
// above zero (rpc.Invalid), or that the actor ends (rpc.Unavailable). After may be called by any goroutine.
func After(ctx *Context, d time.Duration, msg any) (Timer, error) {
	if d <= 0 {
		return Timer{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a timer of %v", d)
	}
	return ctx.cell.startTimer(d, &timer{msg: msg})
}

// Every is After again and again: when d has passed, twice d, and so on. The actor gets the same
// value each time. At most one message of a timer waits for its turn: those that come due until then
// are left out, and the next one comes at its usual time.
func Every(ctx *Context, d time.Duration, msg any) (Timer, error) {
	if d <= 0 {
		return Timer{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a timer of %v", d)
	}
	return ctx.cell.startTimer(d, &timer{msg: msg, plan: plan{due: time.Now().Add(d), every: d}})
}

// Cron is Every for the times of a cron expression: minute, hour, day of the month, month and day of
// the week, such as "30 9 * * 1-5". They are times in a zone of the IANA database, such as
// "Europe/Berlin"; "" is UTC, and "Local" that of the node. If clocks there are set forward, a time
// that they skip comes at that moment. If they are set back, a time that they show twice comes once,
// when it is shown first; but it comes twice if the field of the hour begins with an asterisk.
//
// If the expression or the zone is none, or no such time ever comes, the error is rpc.Invalid.
func Cron(ctx *Context, expression, zone string, msg any) (Timer, error) {
	s, err := crontime.Parse(expression, zone)
	if err != nil {
		return Timer{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", err)
	}
	now := time.Now()
	t := &timer{msg: msg, plan: plan{cron: s}}
	if !t.plan.advance(now) {
		return Timer{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "no time is ever %q", expression)
	}
	return ctx.cell.startTimer(t.plan.wait(now), t)
}

// Cancel ends the timer. None of its messages is handled any more, not even one whose time has come
// already. Cancel returns false if the timer had ended before. Any goroutine may call it.
func (t Timer) Cancel() bool {
	if t.t == nil {
		return false
	}
	a := t.t.of.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.endTimer(t.t)
}

// timer is behind a Timer. It is the signal that its time has come. The mu of the annex guards it.
type timer struct {
	of         *cell
	msg        any
	plan       plan
	clock      *time.Timer
	state      timerState
	prev, next *timer // in the annex
}

// timerState is how far a timer has come:
//
//	ticking ──its time has come──► due ──its message is handled, and it has another time──► ticking
//	   └────────────cancelled──────► ended ◄──cancelled, or it has none──┘
type timerState uint8

const (
	timerTicks timerState = iota // the clock runs
	timerDue                     // it is in the lane; the clock is stopped
	timerEnded
)

// startTimer starts t, whose first time comes after d.
func (c *cell) startTimer(d time.Duration, t *timer) (Timer, error) {
	switch h := c.kind.handlers[reflect.TypeOf(t.msg)]; {
	case t.msg == nil, h == nil && !c.kind.receiver:
		return Timer{}, rpc.Errorf(rpc.Unhandled, rpc.NotRun, "kind %s has no handler for %T", c.kind.name, t.msg)
	case h != nil && (h.opens || h.asked):
		return Timer{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a %T is accepted only as a request", t.msg)
	}
	t.of = c
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.life.now() >= ending {
		return Timer{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a timer of %v, which ends", c.self.addr)
	}
	if t.next = a.timers; t.next != nil {
		t.next.prev = t
	}
	a.timers = t
	a.ticking++
	if t.plan.due.IsZero() {
		t.plan.due = time.Now().Add(d)
	}
	t.clock = time.AfterFunc(d, t.strike)
	return Timer{t}, nil
}

// strike is called when the clock has run down.
func (t *timer) strike() {
	a := t.of.annexed()
	a.mu.Lock()
	if t.state != timerTicks || t.plan.cron != nil && t.waits(time.Now()) {
		a.mu.Unlock()
		return
	}
	t.state = timerDue
	a.mu.Unlock()
	t.of.signal(t)
}

// waits starts the clock, and reports true if the time has not come.
func (t *timer) waits(now time.Time) bool {
	d := t.plan.wait(now)
	if d > 0 {
		t.clock.Reset(d)
	}
	return d > 0
}

// arrive hands out the message, and starts the clock for the next one.
func (t *timer) arrive(c *cell) any {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.state != timerDue {
		return nil
	}
	msg := t.msg
	if sys := c.self.sys; sys.draining() && sys.loops.only(c) {
		a.endTimer(t)
		return nil
	}
	now := time.Now()
	if t.plan.isOnce() || !t.plan.advance(now) {
		a.endTimer(t)
		return msg
	}
	t.state = timerTicks
	t.clock.Reset(t.plan.wait(now))
	return msg
}

// endTimer ends t. It returns false if it had ended. a.mu is held.
func (a *annex) endTimer(t *timer) bool {
	if t.state == timerEnded {
		return false
	}
	t.state = timerEnded
	t.clock.Stop()
	t.msg = nil // the runtime may keep a stopped clock for a while, and with it t
	a.ticking--
	if t.prev == nil {
		a.timers = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	return true
}

// due returns when the first of the latest n timers comes; zero: there is none. a.mu is held.
func (a *annex) due(n int) (first time.Time) {
	for t := a.timers; t != nil && n > 0; t, n = t.next, n-1 {
		if first.IsZero() || t.plan.due.Before(first) {
			first = t.plan.due
		}
	}
	return first.Round(0)
}

// dropTimers ends all timers, because the incarnation ends.
func (c *cell) dropTimers() {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.timers != nil {
		a.endTimer(a.timers)
	}
}

// plan says when the next time of a timer comes. It reads no clock. The zero plan has one time only.
type plan struct {
	due   time.Time          // the next time
	every time.Duration      // 0 unless the timer is Every
	cron  *crontime.Schedule // nil unless the timer is Cron
}

func (p *plan) isOnce() bool { return p.every == 0 && p.cron == nil }

// advance goes on to the first time after now. It returns false if there is none.
func (p *plan) advance(now time.Time) bool {
	if p.cron != nil {
		p.due = p.cron.Next(now.Round(0)) // its times are those of the wall clock, which may be set
		return !p.due.IsZero()
	}
	if late := now.Sub(p.due); late >= 0 {
		p.due = p.due.Add((late/p.every + 1) * p.every)
	}
	return true
}

// checkWall is how long a clock runs at most for a time of the wall clock, which may be set meanwhile.
const checkWall = time.Hour

// wait returns how long the clock is to run.
func (p *plan) wait(now time.Time) time.Duration {
	if p.cron != nil {
		return min(p.due.Sub(now.Round(0)), checkWall)
	}
	return p.due.Sub(now)
}

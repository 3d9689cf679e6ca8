// Package supervise decides what becomes of an actor that has failed: whether it is restarted,
// goes on, stops or fails its parent, and how long it waits before a restart. It has no lock,
// clock, goroutine or I/O; package actor asks it, and carries the decision out.
//
//	kind := actor.Define("importer", newImporter, ...).With(actor.Supervise(actor.Strategy{
//		Max:    3,
//		Window: time.Hour,
//		Decide: func(f supervise.Failure) supervise.Directive {
//			if errors.Is(f.Err, errLicence) {
//				return supervise.Stop
//			}
//			return supervise.Restart
//		},
//	}))
//
// The promise: within any Window there are at most Max restarts; the next failure stops the
// actor instead. The first restart after a window without one is at once. Each further one waits
// for a random time (exponential back-off with full jitter), so that actors that fail together
// do not come back together.
package supervise

import (
	"errors"
	"fmt"
	"time"
)

// Directive says what becomes of an actor that has failed.
type Directive uint8

// The directives.
const (
	Restart  Directive = iota // it goes on with fresh state; its children are stopped first
	Resume                    // it goes on with the state that it has
	Stop                      // it ends
	Escalate                  // it ends, and its parent fails; an actor without a parent ends
)

var directiveNames = [...]string{"restart", "resume", "stop", "escalate"}

// String returns the directive's name.
func (d Directive) String() string {
	if int(d) >= len(directiveNames) {
		return fmt.Sprintf("directive(%d)", uint8(d))
	}
	return directiveNames[d]
}

// Failure is what has happened to an actor.
type Failure struct {
	Actor    string // the address of the actor that has failed
	Err      error  // the panic, the error of Started, or the Err of the child's failure
	Message  string // the type of the message that was being handled; empty if none was
	Child    string // the address of the child that has escalated its failure; empty if the failure is the actor's own
	Restarts int    // how many restarts there were within the window until now
}

// Defaults of Strategy.
const (
	DefaultMax        = 10
	DefaultWindow     = time.Minute
	DefaultBackoff    = 50 * time.Millisecond
	DefaultMaxBackoff = 5 * time.Second

	MaxRestarts = 10_000 // the largest Max: a record keeps the time of each restart in the window
)

// Strategy says how a kind of actor is supervised. Its zero value restarts an actor that has
// failed, at most 10 times a minute. Decide may be called for several actors at once.
type Strategy struct {
	Decide     func(Failure) Directive // nil: Restart. If it panics, the actor stops
	Max        int                     // how many restarts there may be within Window; 0: 10; negative: none
	Window     time.Duration           // 0: a minute
	Backoff    time.Duration           // bound of the wait before the second restart in a window, doubled for each further one; 0: 50 ms
	MaxBackoff time.Duration           // the largest bound; 0: 5 s
	AllForOne  bool                    // Restart and Stop apply to the other children of the actor's parent, too
}

// Validate returns everything that is wrong with s, joined, or nil.
func (s Strategy) Validate() error {
	var errs []error
	if s.Max > MaxRestarts {
		errs = append(errs, fmt.Errorf("supervise: Max is %d: want %d at most", s.Max, MaxRestarts))
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"Window", s.Window}, {"Backoff", s.Backoff}, {"MaxBackoff", s.MaxBackoff}} {
		if d.v < 0 {
			errs = append(errs, fmt.Errorf("supervise: %s is negative: %v", d.name, d.v))
		}
	}
	return errors.Join(errs...)
}

// limits returns Max, Window, Backoff and MaxBackoff with the defaults filled in.
func (s *Strategy) limits() (most int, window, backoff, maxBackoff time.Duration) {
	or := func(d, def time.Duration) time.Duration {
		if d == 0 {
			return def
		}
		return d
	}
	most = s.Max
	if most == 0 {
		most = DefaultMax
	}
	return max(most, 0), or(s.Window, DefaultWindow), or(s.Backoff, DefaultBackoff), or(s.MaxBackoff, DefaultMaxBackoff)
}

// Decision is what is to be done about a failure.
type Decision struct {
	Directive
	Delay     time.Duration // before a Restart
	Exhausted bool          // Stop, because the next restart would be one too many
}

// Record is when an actor was restarted of late. Its zero value is that of a new actor.
type Record struct {
	recent []time.Time // restarts, oldest first; at most Strategy.Max
}

// Restarts returns how many restarts there were within the window until now.
func (r *Record) Restarts(s *Strategy, now time.Time) int {
	_, window, _, _ := s.limits()
	r.forget(now.Add(-window))
	return len(r.recent)
}

// forget removes the restarts that are not later than a time.
func (r *Record) forget(until time.Time) {
	n := 0
	for n < len(r.recent) && !r.recent[n].After(until) {
		n++
	}
	r.recent = append(r.recent[:0], r.recent[n:]...)
}

// Next turns the directive for a failure at the time now into a decision, and notes the restart
// if it is one. now never goes back. random is a number from 0 to 1, without 1.
func (r *Record) Next(s *Strategy, now time.Time, d Directive, random float64) Decision {
	if d > Escalate {
		d = Stop
	}
	if d != Restart {
		return Decision{Directive: d}
	}
	most, _, backoff, maxBackoff := s.limits()
	n := r.Restarts(s, now)
	if n >= most {
		return Decision{Directive: Stop, Exhausted: true}
	}
	r.recent = append(r.recent, now)
	if n == 0 {
		return Decision{}
	}
	bound := min(backoff, maxBackoff)
	for i := 1; i < n && bound < maxBackoff; i++ {
		bound += min(bound, maxBackoff-bound)
	}
	return Decision{Delay: time.Duration(random * float64(bound))}
}

// Package breaker keeps a system from sending requests to what does not serve them: a circuit breaker for
// each target and type of message, as an interceptor.
//
//	b, err := breaker.New(breaker.Config{Targets: []string{"prices@*"}})
//	...
//	actor.NewSystem(actor.Config{Outgoing: []intercept.Func{b.Outgoing}})
//
// A target is what a message is sent to: an actor, or a service with all its instances. A circuit is
// closed at first, and lets requests pass. It opens when several in a row have failed, or a share of
// those of the last seconds. While it is open, requests are refused at once, as rpc.Unavailable,
// rpc.NotRun; their error wraps ErrOpen and says when to try again. After Config.Pause it lets a few
// through (it is half open): if all of them succeed it closes, and if one fails it opens again.
//
// Only what speaks of the target counts as a failure: that it cannot be reached or has too much to do,
// that the time was up, or that nobody knows whether the request ran. If the handler has run, the target
// serves, whatever its error says. What the caller has cancelled does not count, nor what is refused
// for what it asks (no such actor, denied). A request that is retried counts once, when it has ended.
//
// Each change of a circuit is an event of the system, Changed, and a line in its log. A Breaker is for one
// system. The circuit breaker itself is that of github.com/sony/gobreaker.
package breaker

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// Changed is the event of a circuit that has changed. Its Err is a *Change.
const Changed rpc.EventType = "circuit changed"

// ErrOpen is wrapped by the error of a request that was refused because its circuit is open, or half open
// with enough requests on trial.
var ErrOpen = errors.New("breaker: the circuit is open")

// Config says which circuits there are and when they open. The zero value of each field is the default
// that its comment gives.
type Config struct {
	// Targets are addresses as intercept.Operation.To has them: of actors ("cart@shop"), services
	// ("prices@*", which here stands for every address that begins with "prices@"; "prices?*" for those with
	// selectors, as "prices?version=^2@*"), and virtual actors;
	// Messages are the wire names of types. As in an access.Rule, an empty list matches everything, and a
	// name that ends in "*" all names with that beginning. Other messages pass.
	Targets, Messages []string

	InRow  int           // failures in a row that open a circuit; default 5
	Share  float64       // share of failures that opens it, of at least 20 requests within Window; default 0.5
	Window time.Duration // default 10 s
	Pause  time.Duration // how long it stays open; default 5 s
	Trials int           // how many requests a half-open circuit lets through, all of which must succeed; default 3

	// MaxCircuits bounds the circuits; default 10,000. Beyond, that which was used longest ago is
	// forgotten, as if it were closed.
	MaxCircuits int
}

// leastRequests is of how many requests Share must be.
const leastRequests = 20

// buckets is in how many parts Window is forgotten.
const buckets = 10

// Breaker has the circuits of a system. Its methods may be called concurrently.
type Breaker struct {
	plan atomic.Pointer[plan]

	mu  sync.Mutex // guards what follows
	all map[key]*list.Element
	use list.List // of *circuit, that which was used last in front
}

// plan is a Config with its defaults filled in, compiled. It is immutable.
type plan struct {
	Config
	targets, messages access.Names
}

type key struct{ target, message string }

// circuit is one circuit breaker.
type circuit struct {
	key
	of     *Breaker // whose plan says when it opens
	timing timing
	two    *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu      sync.Mutex // guards what follows; it is taken last of all locks
	retryAt time.Time  // when an open circuit will be half open
	changes []*Change  // which are no events yet
	quiet   bool       // its changes are nothing to tell: it gets the counts of another one, or is replaced by one
}

// Change says how a circuit has changed.
type Change struct {
	Target, Message string
	From, To        State
	Cause           error // to Open: the latest failure
}

// State is that of a circuit.
type State uint8

// The states.
const (
	Closed   State = iota // requests pass
	HalfOpen              // a few pass, on trial
	Open                  // none pass
)

// String returns "closed", "half-open" or "open".
func (s State) String() string { return gobreaker.State(s).String() }

// Error says what has changed.
func (c *Change) Error() string {
	text := fmt.Sprintf("breaker: %s to %s: %v, was %v", c.Message, c.Target, c.To, c.From)
	if c.Cause != nil {
		text += ": " + c.Cause.Error()
	}
	return text
}

// Unwrap returns the Cause.
func (c *Change) Unwrap() error { return c.Cause }

// New returns a Breaker whose circuits are closed. The error names everything that is wrong with cfg.
func New(cfg Config) (*Breaker, error) {
	b := &Breaker{all: map[key]*list.Element{}}
	if err := b.Set(cfg); err != nil {
		return nil, err
	}
	return b, nil
}

// newPlan checks cfg. The error names everything that is wrong with it.
func newPlan(cfg Config) (*plan, error) {
	p := &plan{}
	var errs []error
	for what, n := range map[string]int{"InRow": cfg.InRow, "Trials": cfg.Trials, "MaxCircuits": cfg.MaxCircuits, "Window": int(cfg.Window), "Pause": int(cfg.Pause)} {
		if n < 0 || n > math.MaxInt32 && what != "Window" && what != "Pause" {
			errs = append(errs, fmt.Errorf("breaker: %s is %d", what, n))
		}
	}
	if !(cfg.Share >= 0 && cfg.Share <= 1) {
		errs = append(errs, fmt.Errorf("breaker: Share is %v: want 0 to 1", cfg.Share))
	}
	var err error
	if p.targets, err = access.NamesOf(cfg.Targets); err != nil {
		errs = append(errs, fmt.Errorf("breaker: Targets: %w", err))
	}
	if p.messages, err = access.NamesOf(cfg.Messages); err != nil {
		errs = append(errs, fmt.Errorf("breaker: Messages: %w", err))
	}
	p.Config = cfg.withDefaults()
	return p, errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	set(&c.InRow, 5)
	set(&c.Share, 0.5)
	set(&c.Window, 10*time.Second)
	set(&c.Pause, 5*time.Second)
	set(&c.Trials, 3)
	set(&c.MaxCircuits, 10_000)
	return c
}

func set[T comparable](to *T, def T) {
	var zero T
	if *to == zero {
		*to = def
	}
}

// Outgoing is the interceptor, for actor.Config.Outgoing.
func (b *Breaker) Outgoing(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
	k, p := key{op.To(), op.Type()}, b.plan.Load()
	if op.Cause == intercept.Resent || !p.targets.Match(k.target) || !p.messages.Match(k.message) {
		return next(ctx)
	}
	c := b.circuit(k, p)
	done, refused := c.two.Allow()
	c.report(op, nil)
	if refused != nil {
		return c.refusal()
	}
	err := errEnded
	defer func() {
		done(err)
		c.report(op, err)
	}()
	err = next(ctx)
	if err == nil && op.Verdict != rpc.HasRun { // a one-way message, of which nobody says more
		err = errNothing
		return nil
	}
	return err
}

var (
	errEnded   = errors.New("breaker: the sender has ended its goroutine")
	errNothing = errors.New("breaker: it was sent")
)

// IsFailure reports whether err says that the target of a request does not serve.
func IsFailure(err error) bool { return judge(err) == failure }

// effect is what the outcome of a request says of its target.
type effect uint8

const (
	nothing effect = iota
	success
	failure
)

func judge(err error) effect {
	code := rpc.CodeOf(err)
	switch {
	case err == nil, rpc.Ran(err) == rpc.HasRun:
		return success
	case errors.Is(err, errNothing), errors.Is(err, errEnded), code == rpc.Canceled:
		return nothing
	case rpc.Ran(err) == rpc.Unknown:
		return failure
	}
	switch code {
	case rpc.Unavailable, rpc.Overloaded, rpc.Leaving, rpc.SessionLost, rpc.Expired:
		return failure
	}
	return nothing
}

// circuit returns the circuit of k. It makes it if there is none.
func (b *Breaker) circuit(k key, p *plan) *circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.all[k]; e != nil {
		b.use.MoveToFront(e)
		c := e.Value.(*circuit)
		if c.timing != p.timing() && c.two.State() == gobreaker.StateClosed {
			c = c.successor(p)
			e.Value = c
		}
		return c
	}
	for range shrinks {
		if len(b.all) < p.MaxCircuits {
			break
		}
		last := b.use.Back()
		delete(b.all, b.use.Remove(last).(*circuit).key)
	}
	c := b.newCircuit(k, p)
	b.all[k] = b.use.PushFront(c)
	return c
}

// shrinks is how many circuits one request removes at most, after MaxCircuits was lowered.
const shrinks = 4

func (b *Breaker) newCircuit(k key, p *plan) *circuit {
	c := &circuit{key: k, of: b, timing: p.timing()}
	c.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: uint32(p.Trials), Interval: p.Window, BucketPeriod: max(p.Window/buckets, 1), Timeout: p.Pause,
		ReadyToTrip:   c.trips,
		IsSuccessful:  func(err error) bool { return judge(err) == success },
		IsExcluded:    func(err error) bool { return judge(err) == nothing },
		OnStateChange: func(_ string, from, to gobreaker.State) { c.changed(State(from), State(to)) },
	})
	return c
}

// trips reports whether the circuit opens.
func (c *circuit) trips(n gobreaker.Counts) bool {
	c.mu.Lock()
	quiet := c.quiet
	c.mu.Unlock()
	return !quiet && c.of.plan.Load().trips(n)
}

// trips reports whether a circuit opens.
func (c Config) trips(n gobreaker.Counts) bool {
	counted := n.TotalSuccesses + n.TotalFailures
	return int64(n.ConsecutiveFailures) >= int64(c.InRow) ||
		counted >= leastRequests && float64(n.TotalFailures) >= c.Share*float64(counted)
}

// changed notes a change. gobreaker calls it under its lock.
func (c *circuit) changed(from, to State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet {
		return
	}
	if c.changes = append(c.changes, &Change{Target: c.target, Message: c.message, From: from, To: to}); to == Open {
		c.retryAt = time.Now().Add(c.timing.pause + 1) // it is half open after the pause, not at its end
	}
}

// takeChanges returns the changes that are no events yet.
func (c *circuit) takeChanges() []*Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := c.changes
	c.changes = nil
	return changes
}

// report makes events of the changes that an outcome has had; nil: none has.
func (c *circuit) report(op *intercept.Operation, err error) {
	for _, change := range c.takeChanges() {
		if change.To == Open {
			change.Cause = err
		}
		op.Raise(Changed, change)
	}
}

// refusal is the error of a request that an open circuit refuses.
func (c *circuit) refusal() error {
	c.mu.Lock()
	wait := time.Until(c.retryAt)
	c.mu.Unlock()
	if wait <= 0 { // it is half open
		wait = min(c.timing.pause, 100*time.Millisecond)
	}
	err := rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w: %s to %s", ErrOpen, c.message, c.target)
	err.RetryAfter = wait
	return err
}

// Fallback returns a function that passes on the result of a request, or if its target does not serve
// (IsFailure) what instead returns:
//
//	price, err := breaker.Fallback(lastKnown)(actor.Call(ctx, prices, Get{ID: 7}))
//
// After a failure whose verdict is rpc.Unknown the request may have run: instead should not do it again.
func Fallback[R any](instead func(error) (R, error)) func(R, error) (R, error) {
	return func(r R, err error) (R, error) {
		if IsFailure(err) {
			return instead(err)
		}
		return r, err
	}
}

package actor

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/retry"
	"github.com/tandem-go/tandem/rpc"
)

// routedCall is one request to a service, which goes from one instance to the next until one
// of them has run it, or to a virtual actor, which goes from node to node until one has the actor. Each attempt begins with next and ends with end. Once the request has
// gone to another node, the engine makes the further attempts, and asks the routedCall, its
// client.Route, where to send them.
type routedCall struct {
	svc        *service  // nil: it is for a virtual actor
	selected   *selected // which of its instances; nil: all
	search     search    // for the virtual actor
	until      time.Time // when a request to a virtual actor is not tried again
	retry      *rpc.Retry
	named      requestName // at a stored actor
	repeatable bool        // the actor recognises a request that has run
	unsure     bool        // an attempt on this node may have run
	key        string      // requests with the same key go to the same instance
	not        *target     // the sender, if it would wait for itself; nil: no instance is excluded
	ticket     balance.Ticket
	live       bool // an attempt is in progress; svc.mu guards this and what follows
	sent       bool // it is a one-way message, which gets no answer
	waits      bool // a handler waits for the answer
	made       int
	cost       int
	n          int // number of entries in tried
	tried      [maxTried]*balance.Candidate

	shared bool        // the engine may refer to it
	rare   client.Rare // of its request to another node
	set    settings    // the caller's, and its name
}

// maxTried is how many instances a request tries without a pause.
const maxTried = 8

// routedCalls has spare ones, which nothing refers to.
var routedCalls = sync.Pool{New: func() any { return new(routedCall) }}

// routedCall begins a request to a service or to a virtual actor.
func (s *System) routedCall(ctx context.Context, from *Context, to *target, opts *settings) *routedCall {
	v := routedCalls.Get().(*routedCall)
	if to.addr.node == anywhere {
		v.until = s.deadline(ctx)
		v.search.sys, v.search.placedTarget = s, to.searched()
	} else {
		v.toService(s, to)
	}
	if opts != nil {
		v.key, v.retry = opts.Affinity, opts.Retry
	}
	if v.retry == nil && from != nil {
		v.retry = from.cell.kind.retry
	}
	if v.retry == nil {
		v.retry = s.retry.Load()
	}
	return v
}

// toService makes v a request to a service.
func (v *routedCall) toService(s *System, to *target) {
	name := to.addr.name
	if v.selected = to.selected; v.selected != nil {
		name = v.selected.service
	}
	v.svc = s.services.get(name)
}

// malformed is the error of a request to a service whose address makes no sense.
func (v *routedCall) malformed() *rpc.Error {
	if v.selected == nil {
		return nil
	}
	return v.selected.err
}

// free ends a request whose caller has waited for its outcome, and keeps its memory for another one.
func (v *routedCall) free() {
	v.named.end()
	if !v.shared {
		*v = routedCall{}
		routedCalls.Put(v)
	}
}

// isVirtual reports whether it is for a virtual actor.
func (v *routedCall) isVirtual() bool { return v.svc == nil }

// keyOf is the key by which the service's policy chooses an instance for m.
func keyOf[M any](v *routedCall, m M) string {
	if v.svc != nil && v.key == "" && v.svc.policy.Keyed() {
		return v.svc.policy.KeyOf(m)
	}
	return v.key
}

// next begins an attempt, and returns where to send the request.
func (v *routedCall) next() (*target, *rpc.Error) {
	if v.isVirtual() {
		t, err := v.search.target()
		v.live = err == nil
		return t, err
	}
	if err := v.malformed(); err != nil {
		return nil, err
	}
	s := v.svc
	s.refresh()
	now := s.sys.node.Client.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	plan := s.planOf(v.selected)
	if v.not != nil && v.n == 0 {
		v.exclude()
	}
	var ok bool
	v.ticket, ok = s.picker.Pick(now, balance.Request{Key: v.key, Random: rand.Uint64(), Tried: v.tried[:v.n], Plan: plan})
	var t *target
	if v.live = ok; ok {
		t = v.ticket.To.Data.(*instance).target
		if v.n < len(v.tried) {
			v.tried[v.n] = v.ticket.To
			v.n++
		}
	}
	s.tend()
	switch {
	case ok:
		return t, nil
	case v.not != nil && len(s.picker.Among(plan)) > 0:
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v is the only instance of service %s, calls itself and would wait for ever", v.not.addr, s.name)
	}
	return nil, s.none(v.selected)
}

// nextOrWait is next, but waits for an instance, or for a node that hosts the kind, if all have gone. If there is one
// and it cannot be asked now, it waits as before any further attempt.
func (v *routedCall) nextOrWait(ctx context.Context) (*target, *rpc.Error) {
	waits := v.made == 0 && v.retry.Attempts != 1
	t, err := v.next()
	for waits && err != nil && err.Code == rpc.Unavailable {
		if none := v.arrival(ctx); none != nil {
			return nil, none
		}
		if t, err = v.next(); err != nil && v.isVirtual() && !v.waitAgain(ctx, err) {
			return nil, err
		}
	}
	return t, err
}

func (v *routedCall) arrival(ctx context.Context) *rpc.Error {
	if v.isVirtual() {
		return v.search.arrival(ctx)
	}
	return v.svc.arrival(ctx, v.selected)
}

// excludeSender keeps a handler that waits for the answer from choosing its own actor.
func (v *routedCall) excludeSender(from *Context) {
	if v.svc != nil && from != nil && slices.Contains(from.cell.services(), v.svc.name) && from.isIn(from.cell) {
		v.not = from.cell.self
	}
}

// spareRare is memory for the rare options of v's request, or nil if v is nil.
func (v *routedCall) spareRare() *client.Rare {
	if v == nil {
		return nil
	}
	v.rare = client.Rare{}
	return &v.rare
}

// setRoute has the engine ask v where to send further attempts of r.
func (v *routedCall) setRoute(r *client.Rare) {
	v.shared = true
	if r.Route = v; r.LinkWait == 0 {
		r.LinkWait = linkWait
	}
}

// exclude marks the sender as already tried. svc.mu is held.
func (v *routedCall) exclude() {
	for _, c := range v.svc.picker.All() {
		if c.Data.(*instance).target == v.not {
			v.tried[0], v.n = c, 1
			return
		}
	}
}

// system is the system that makes the request.
func (v *routedCall) system() *System {
	if v.isVirtual() {
		return v.search.sys
	}
	return v.svc.sys
}

// end ends the attempt that is in progress, if there is one.
func (v *routedCall) end(err error) {
	if v.isVirtual() {
		v.search.mu.Lock()
		defer v.search.mu.Unlock()
		if v.live {
			v.live = false
			v.search.over(err)
		}
		return
	}
	s := v.svc
	now := s.sys.node.Client.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !v.live {
		return
	}
	v.live = false
	o := outcomeOf(err)
	switch {
	case err == nil && v.sent:
		o = balance.Sent
	case err == nil:
	case rpc.CodeOf(err) == rpc.Expired && rpc.Ran(err) == rpc.Unknown && !v.ticket.To.Signs.Linked():
		o = balance.Missed
	}
	s.picker.End(v.ticket, now, o, rand.Uint64())
	s.tend()
}

// outcomeOf is what the result of an attempt says about its instance.
func outcomeOf(err error) balance.Outcome {
	if err == nil || rpc.Ran(err) == rpc.HasRun {
		return balance.Answered
	}
	if err == errShutdown { // it is this system that shuts down
		return balance.Given
	}
	if e := (*rpc.Error)(nil); errors.As(err, &e) && e.Code == rpc.Denied && e.Node != "" {
		return balance.Given // others may be allowed what this caller is not
	}
	switch rpc.CodeOf(err) {
	case rpc.Overloaded:
		return balance.Refused
	case rpc.Unavailable, rpc.Leaving, rpc.NotFound, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Denied:
		return balance.Missed
	}
	return balance.Given
}

// again reports whether to make another attempt, after an attempt on this node has ended with err,
// and after which pause; at a service, only at once.
func (v *routedCall) again(err error) (pause time.Duration, again bool) {
	var e *rpc.Error
	if !errors.As(err, &e) || e == errShutdown {
		return 0, false
	}
	f := retry.Failure{Err: e, Service: true, Idempotent: v.repeatable, Named: v.named.open != nil, Untried: v.Untried(), Left: time.Minute}
	v.unsure = v.unsure || e.Verdict == rpc.Unknown
	if v.isVirtual() {
		f.Left = time.Until(v.until)
	}
	v.made++
	if f.Costs() {
		v.cost++
	}
	f.Made, f.Cost = v.made, v.cost
	pause, again = retry.Next(*v.retry, f, rand.Float64())
	return pause, again && (f.Untried || v.isVirtual())
}

// judged is the error of the whole request, after the last attempt on this node has ended with err.
func (v *routedCall) judged(err error) error {
	if !v.unsure {
		return err
	}
	var e *rpc.Error
	if !errors.As(err, &e) || e.Verdict != rpc.NotRun {
		return err
	}
	worse := *e
	worse.Verdict = rpc.Unknown
	return &worse
}

// waitAgain is again, and waits for the pause. It returns false if ctx ends before.
func (v *routedCall) waitAgain(ctx context.Context, err error) bool {
	pause, again := v.again(err)
	return again && sleep(ctx, pause)
}

// sleep returns true after a pause, or false if ctx ends before.
func sleep(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return true
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Over implements client.Route.
func (v *routedCall) Over(err *rpc.Error) {
	if err == nil {
		v.end(nil)
	} else {
		v.end(err)
	}
}

// Untried implements client.Route.
func (v *routedCall) Untried() bool {
	if v.isVirtual() {
		return v.search.untried()
	}
	v.svc.mu.Lock()
	defer v.svc.mu.Unlock()
	return v.n < len(v.tried) && v.svc.picker.Untried(v.svc.planOf(v.selected), v.tried[:v.n])
}

// Next implements client.Route.
func (v *routedCall) Next() (node, name string, err *rpc.Error) {
	if v.isVirtual() { // it is asked over the wire, also if it is this node
		node, err = v.search.next()
		v.live = err == nil
		return node, v.search.name, err
	}
	if !v.Untried() {
		v.svc.mu.Lock()
		v.n = 0
		v.svc.mu.Unlock()
	}
	t, err := v.next()
	if err != nil {
		return "", "", err
	}
	return t.addr.node, t.addr.name, nil
}

// hold counts a stream at the instance that serves it, until release is called.
func (v *routedCall) hold() (release func()) {
	if v.isVirtual() {
		return func() {}
	}
	s, c := v.svc, v.ticket.To
	s.mu.Lock()
	s.picker.Hold(c)
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.picker.Release(c)
		s.mu.Unlock()
	}
}

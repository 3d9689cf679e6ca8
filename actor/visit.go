package actor

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/rpc"
)

// visit is one request to a service on its way from one instance to the next, until one
// of them has run it. Each attempt begins with next, and ends with over. Once it has gone
// to another node it is an rpc.Route, and rpc makes what attempts follow.
type visit struct {
	svc    *service
	retry  *rpc.Retry
	key    string  // what has the same goes to the same instance
	not    *target // the sender, which cannot wait for itself; nil: none
	ticket balance.Ticket
	live   bool // an attempt is under way; guarded by svc.mu, as is what follows
	sent   bool // it is a one-way message, of which no answer comes
	waits  bool // a handler waits for its answer
	made   int
	cost   int
	n      int // of tried
	tried  [maxTried]*balance.Candidate
}

// maxTried is how many instances a request is turned to without a pause.
const maxTried = 8

// visit begins one.
func (s *System) visit(ctx context.Context, from *Context, to *target, opts []rpc.Option) visit {
	v := visit{svc: s.services.of(to.addr.name)}
	if len(opts) > 0 {
		o := rpc.Apply(opts)
		v.key, v.retry = o.Affinity, o.Retry
	}
	if v.retry == nil && from != nil {
		v.retry = from.cell.kind.retry
	}
	if v.retry == nil {
		v.retry = &s.cfg.Retry
	}
	return v
}

// keyOf is the key under which the service's policy has m go.
func keyOf[M any](v *visit, m M) string {
	if v.key == "" && v.svc.policy.Keyed() {
		return v.svc.policy.KeyOf(m)
	}
	return v.key
}

// next begins an attempt, and returns where.
func (v *visit) next() (*target, *rpc.Error) {
	s := v.svc
	s.refresh()
	now := s.sys.node.Now()
	s.mu.Lock()
	if v.not != nil && v.n == 0 {
		v.exclude()
	}
	var ok bool
	v.ticket, ok = s.picker.Pick(now, balance.Request{Key: v.key, Random: rand.Uint64(), Tried: v.tried[:v.n]})
	var t *target
	if v.live = ok; ok {
		t = v.ticket.To.Data.(*spot).target
		if v.n < len(v.tried) {
			v.tried[v.n] = v.ticket.To
			v.n++
		}
	}
	s.tend()
	known, n := s.known, s.picker.Len()
	s.mu.Unlock()
	switch {
	case ok:
		return t, nil
	case v.not != nil && n > 0:
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v is the only instance of service %s, calls itself and would wait for ever", v.not.addr, s.name)
	case known:
		return nil, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "all instances of service %s have gone", s.name)
	}
	return nil, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no instance of service %s", s.name)
}

// nextWhen is next, but waits for an instance if all have gone.
func (v *visit) nextWhen(ctx context.Context) (*target, *rpc.Error) {
	t, err := v.next()
	for err != nil && err.Code == rpc.Unavailable && v.made == 0 && v.retry.Attempts != 1 {
		if none := v.svc.arrival(ctx); none != nil {
			return nil, none
		}
		t, err = v.next()
	}
	return t, err
}

// setNot has an actor that waits for an answer not wait for its own.
func (v *visit) setNot(from *Context) {
	if from != nil && slices.Contains(from.cell.services(), v.svc.name) && from.isIn(from.cell) {
		v.not = from.cell.self
	}
}

// leads has rpc ask v where further attempts go.
func (v *visit) leads(r *rpc.Rare) {
	if r.Route = v; r.LinkWait == 0 {
		r.LinkWait = linkWait
	}
}

// exclude has the sender not chosen. svc.mu is held.
func (v *visit) exclude() {
	for _, c := range v.svc.picker.All() {
		if c.Data.(*spot).target == v.not {
			v.tried[0], v.n = c, 1
			return
		}
	}
}

// split hands the attempt under way over to a visit that rpc leads further.
func (v *visit) split() visit {
	v.svc.mu.Lock()
	defer v.svc.mu.Unlock()
	other := *v
	v.live = false
	return other
}

// over ends the attempt under way, if one is.
func (v *visit) over(err error) {
	s := v.svc
	now := s.sys.node.Now()
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

// outcomeOf is what an attempt's end says of its instance.
func outcomeOf(err error) balance.Outcome {
	if err == nil || rpc.Ran(err) == rpc.HasRun {
		return balance.Answered
	}
	if err == errShutdown { // this system's own
		return balance.Given
	}
	if e := (*rpc.Error)(nil); errors.As(err, &e) && e.Code == rpc.Denied && e.Node != "" {
		return balance.Given // what this caller may not do, others may
	}
	switch rpc.CodeOf(err) {
	case rpc.Overloaded:
		return balance.Refused
	case rpc.Unavailable, rpc.Leaving, rpc.NotFound, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Denied:
		return balance.Missed
	}
	return balance.Given
}

// again reports whether to make another attempt at once, after one on this node that has
// ended with err.
func (v *visit) again(err error) bool {
	var e *rpc.Error
	if !errors.As(err, &e) || e == errShutdown {
		return false
	}
	f := rpc.Failure{Err: e, Service: true, Untried: v.Untried(), Left: time.Minute}
	v.made++
	if f.Costs() {
		v.cost++
	}
	f.Made, f.Cost = v.made, v.cost
	_, again := v.retry.Next(f, 0)
	return again && f.Untried
}

// Over implements rpc.Route.
func (v *visit) Over(err *rpc.Error) {
	if err == nil {
		v.over(nil)
	} else {
		v.over(err)
	}
}

// Untried implements rpc.Route.
func (v *visit) Untried() bool {
	v.svc.mu.Lock()
	defer v.svc.mu.Unlock()
	return v.n < len(v.tried) && v.svc.picker.Untried(v.tried[:v.n])
}

// Next implements rpc.Route.
func (v *visit) Next() (node, name string, err *rpc.Error) {
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

// hold counts a stream at the instance that has opened it, until the returned function is
// called.
func (v *visit) hold() (release func()) {
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

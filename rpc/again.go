package rpc

import (
	"context"
	"sync"
	"time"
)

// retries is what a request that may be made anew keeps beside its Call. Each attempt
// is a Call of its own, with a number of its own, all of them under the first, which
// is the one that its caller holds.
type retries struct {
	mu     sync.Mutex // guards what follows
	call   *Call      // the latest attempt; nil: the first
	made   int        // attempts that have failed
	cost   int        // of them, those that count against Retry.Attempts
	unsure bool       // one of them may have run
	last   *Error     // what the latest of them ended with
	timer  *time.Timer
	leave  context.CancelFunc // ends the latest attempt's wait for room
	gaveUp *Error             // the caller does not want it any more; what it gets, if it has not left
}

// fail ends an attempt without its outcome: with another one, where the policy of the
// request says so, else with err. It may be called under any lock of a peer.
func (c *Call) fail(err *Error) {
	first, n := c.first, c.peer.node
	route := first.req.route()
	if route != nil {
		route.Over(err)
	}
	if first.req.Retry == nil {
		c.end(err)
		return
	}
	r := &first.retries
	f := Failure{Err: err, Idempotent: first.req.idempotent(), Service: route != nil, Untried: route != nil && route.Untried(), Left: first.deadline - n.now()}
	r.mu.Lock()
	r.made++
	costs := f.Costs() || n.parting.Load() // who leaves has no time to wait for others
	if costs {
		r.cost++
	}
	r.unsure, r.last = r.unsure || err.Verdict != NotRun, err
	f.Made, f.Cost = r.made, r.cost
	pause, again := first.req.Retry.Next(f, n.cfg.Random())
	again = again && r.gaveUp == nil && n.ctx.Err() == nil && (!costs || n.retries.Spend())
	if again {
		r.timer = time.AfterFunc(pause, func() { first.again(n) })
	}
	r.mu.Unlock()
	if again {
		n.stats.retries.Add(1)
		return
	}
	c.end(err)
}

// end tells the caller that there is no outcome. That the last attempt did not run
// says nothing of earlier ones.
func (c *Call) end(err *Error) {
	if route := c.first.req.route(); route != nil {
		route.Over(err)
	}
	r := &c.first.retries
	r.mu.Lock()
	unsure, last := r.unsure, r.last
	r.mu.Unlock()
	if err.Code == Expired && err.Verdict == NotRun && last != nil && last.Verdict == NotRun { // which says why it had to wait
		err = last
	}
	if unsure && err.Verdict == NotRun {
		worse := *err
		worse.Verdict = Unknown
		err = &worse
	}
	c.to.Complete(nil, err)
}

// again makes the next attempt. It runs in a timer's goroutine, where it may wait for
// room in a window.
func (c *Call) again(n *Node) {
	r := &c.retries
	r.mu.Lock()
	if r.timer == nil { // given up meanwhile, and ended
		r.mu.Unlock()
		return
	}
	r.timer = nil
	next := &Call{req: c.req, first: c, to: c.to, flight: flight{deadline: c.deadline, patience: probeMin}}
	if route := c.req.route(); route != nil {
		var err *Error
		if next.req.Node, next.req.Target, err = route.Next(); err != nil {
			r.mu.Unlock()
			c.end(err)
			return
		}
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	r.call, r.leave = next, leave
	next.peer = n.peer(next.req.Node)
	r.mu.Unlock()
	err := next.peer.admit(ctx, next, n.now())
	for err == errGone {
		r.mu.Lock()
		next.peer = n.peer(next.req.Node)
		r.mu.Unlock()
		err = next.peer.admit(ctx, next, n.now())
	}
	if err != nil {
		if gaveUp := c.unwanted(); gaveUp != nil {
			err = gaveUp
		}
		c.end(err)
	}
}

// GiveUp ends the call for its caller, who gets code, unless it has already ended.
// The server is told, so that a request that has not started there never will.
func (c *Call) GiveUp(code Code, message string) {
	r := &c.retries
	r.mu.Lock()
	latest := r.call
	if latest == nil {
		latest = c
	}
	peer := latest.peer
	r.gaveUp = Errorf(code, NotRun, "%s", message)
	pausing := r.timer != nil && r.timer.Stop()
	if pausing {
		r.timer = nil
	}
	if r.leave != nil {
		r.leave()
	}
	r.mu.Unlock()
	if pausing {
		c.end(Errorf(code, NotRun, "%s", message))
		return
	}
	peer.giveUp(latest, code, message)
}

// unwanted returns what the caller gets if it has given the call up before an attempt
// of it was numbered.
func (c *Call) unwanted() *Error {
	if c.first == c { // its caller does not have it yet
		return nil
	}
	r := &c.first.retries
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaveUp
}

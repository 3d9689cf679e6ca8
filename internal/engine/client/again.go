package client

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-go/tandem/internal/engine/retry"
	"github.com/tandem-go/tandem/rpc"
)

// retries is the state of a request that may be retried. Each attempt is a Call with a number of
// its own. The state is kept in the first attempt, which is the Call that the caller holds.
type retries struct {
	mu     sync.Mutex // guards the fields below
	call   *Call      // the latest attempt; nil: the first
	made   int        // attempts that have failed
	cost   int        // how many of them count against Retry.Attempts
	unsure bool       // one of them may have run
	last   *rpc.Error // the error of the latest of them
	timer  *time.Timer
	leave  context.CancelFunc // ends the latest attempt's wait for room
	gaveUp *rpc.Error         // what the caller gets if it has cancelled the request; nil: it has not
}

// fail ends an attempt that has no outcome. It makes another attempt after a pause if the request
// and the budget allow one, and otherwise ends the request with err. It may be called under the
// lock of a peer.
func (c *Call) fail(err *rpc.Error) { c.failWith(err, false) }

// failWith is fail; replayed says that err is a recorded outcome.
func (c *Call) failWith(err *rpc.Error, replayed bool) {
	c.ended(replayed)
	if route := c.first.req.route(); route != nil {
		route.Over(err)
	}
	if !c.first.retry(c.peer.client, err, c.req.refusesCompact(err)) {
		c.end(err)
	}
}

// retry has the first attempt's request made again after an attempt has ended with err. It returns false if
// that is not to be. unread says that the node could not read the form of the body: then the request is
// sent in the other form at once, whatever the policy says, because that is no retry.
func (c *Call) retry(cl *Client, err *rpc.Error, unread bool) bool {
	if unread {
		return c.retryNamed(cl)
	}
	if c.req.Retry == nil {
		return false
	}
	r, route := &c.retries, c.req.route()
	f := retry.Failure{Err: err, Idempotent: c.req.idempotent(), Named: c.req.named(), Service: route != nil, Untried: route != nil && route.Untried(), Left: c.deadline - cl.host.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	costs := f.Costs() || cl.parting.Load() // a node that is leaving has no time to wait for others
	if costs {
		r.cost++
	}
	r.unsure, r.last = r.unsure || err.Verdict != rpc.NotRun, err
	f.Made, f.Cost = r.made, r.cost
	pause, again := retry.Next(*c.req.Retry, f, cl.host.Random())
	again = again && r.gaveUp == nil && cl.host.Context().Err() == nil && (!costs || cl.cfg.Budget.Spend())
	if again {
		r.timer = time.AfterFunc(pause, func() { c.again(cl) })
		cl.counts.retries.Add(1)
	}
	return again
}

// retryNamed makes the request again with names.
func (c *Call) retryNamed(cl *Client) bool {
	r := &c.retries
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gaveUp != nil || cl.host.Context().Err() != nil {
		return false
	}
	r.timer = time.AfterFunc(0, func() { c.again(cl) })
	return true
}

// end ends the request with err. Its verdict covers all attempts: if the last one did not run, an
// earlier one may still have.
func (c *Call) end(err *rpc.Error) {
	if route := c.first.req.route(); route != nil {
		route.Over(err)
	}
	r := &c.first.retries
	r.mu.Lock()
	unsure, last := r.unsure, r.last
	r.mu.Unlock()
	if err.Code == rpc.Expired && err.Verdict == rpc.NotRun && last != nil && last.Verdict == rpc.NotRun { // last says why the request had to wait
		err = last
	}
	if unsure && err.Verdict == rpc.NotRun {
		worse := *err
		worse.Verdict = rpc.Unknown
		err = &worse
	}
	c.to.Complete(nil, c.failed(err))
}

// again makes the next attempt. It runs in the goroutine of a timer, because it may wait for room
// in a window.
func (c *Call) again(cl *Client) {
	r := &c.retries
	req := c.req
	unnamed := cl.Named(&req) // it may come to another node, or to another start of this one
	r.mu.Lock()
	if r.timer == nil { // GiveUp has ended the request in the meantime
		r.mu.Unlock()
		return
	}
	r.timer = nil
	if unnamed != nil {
		r.mu.Unlock()
		c.end(unnamed)
		return
	}
	last := c
	if r.call != nil {
		last = r.call
	}
	next := &Call{req: req, first: c, to: c.to, flight: flight{deadline: c.deadline, patience: probeMin, before: last.noteRetry()}}
	if route := c.req.route(); route != nil {
		var err *rpc.Error
		if next.req.Node, next.req.Target, err = route.Next(); err != nil {
			r.mu.Unlock()
			if !c.retry(cl, err, false) { // nobody is there at the moment
				c.end(err)
			}
			return
		}
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	r.leave = leave
	r.mu.Unlock()
	err := errGone
	for err == errGone {
		p := cl.peer(next.req.Node) // before r.mu, because it may lock Client.mu
		r.mu.Lock()
		r.call, next.peer = next, p
		r.mu.Unlock()
		err = p.admit(ctx, next, cl.host.Now())
	}
	if err != nil {
		if gaveUp := next.unwanted(); gaveUp != nil {
			err = gaveUp
		}
		c.end(err)
	}
}

// GiveUp cancels the request: unless it has already ended, its caller gets an error of that code.
// The server is told, so that a request that has not started there never will. It may be called
// concurrently.
func (c *Call) GiveUp(code rpc.Code, message string) {
	r := &c.retries
	r.mu.Lock()
	latest := r.call
	if latest == nil {
		latest = c
	}
	peer := latest.peer
	r.gaveUp = rpc.Errorf(code, rpc.NotRun, "%s", message)
	pausing := r.timer != nil && r.timer.Stop()
	if pausing {
		r.timer = nil
	}
	if r.leave != nil {
		r.leave()
	}
	r.mu.Unlock()
	if pausing {
		c.end(rpc.Errorf(code, rpc.NotRun, "%s", message))
		return
	}
	peer.giveUp(latest, code, message)
}

// Cancel is GiveUp for a caller that has cancelled its future.
func (c *Call) Cancel() { c.GiveUp(rpc.Canceled, "the future was cancelled") }

// unwanted returns the error that the caller gets if it has cancelled the request before this
// attempt got a number, else nil.
func (c *Call) unwanted() *rpc.Error {
	if c.first == c { // the caller does not have the Call yet
		return nil
	}
	r := &c.first.retries
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaveUp
}

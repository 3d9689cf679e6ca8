package rpc

import (
	"slices"
	"time"
)

// Request is what to send to an actor on another node.
type Request struct {
	Node    string // where the actor lives
	Target  string // its name there
	TypeID  uint64
	Codec   uint8
	Receipt bool          // no message: the outcome comes when all before it has left the mailbox
	Acked   bool          // the outcome is "accepted into the mailbox", not the handler's
	Body    []byte        // kept for resending; must not change until the request ends, a large one (transport.LargeBody) never
	Timeout time.Duration // until it ends for its caller
	Retry   *Retry        // when to make it anew; nil: never
	Rare    *Rare         // nil for most
}

// Rare is what few requests have.
type Rare struct {
	Meta
	Key        string        // the caller's own name for the request, beyond this session; empty for none
	Idempotent bool          // it may run twice
	Hedge      time.Duration // silence after which a copy goes over a second road; 0: none does
	Route      Route         // to one of several instances; nil: Node and Target are where it is to go
	LinkWait   time.Duration // how long it waits for a link before it has not run (Unavailable); 0: as long as there is hope, or, with a Route, time
}

// Route is where the attempts at a request go that any of several instances can serve.
// Its methods must not block, nor call the Node: some are called under its locks.
type Route interface {
	// Over takes in the end of the attempt under way, nil for an answer. Nothing follows
	// from it if none is.
	Over(err *Error)
	// Untried reports whether there is an instance that has had no attempt at it.
	Untried() bool
	// Next begins the next attempt, and returns where. An error is why it has nowhere to go.
	Next() (node, target string, err *Error)
}

func (r *Request) idempotent() bool { return r.Rare != nil && r.Rare.Idempotent }

func (r *Request) hedge() time.Duration {
	if r.Rare == nil {
		return 0
	}
	return r.Rare.Hedge
}

func (r *Request) route() Route {
	if r.Rare == nil {
		return nil
	}
	return r.Rare.Route
}

// linkWait is how long the request waits for a link, 0 for as long as it takes.
func (r *Request) linkWait() time.Duration {
	if r.Rare == nil || r.Rare.Route != nil && !r.Rare.Route.Untried() {
		return 0
	}
	return r.Rare.LinkWait
}

func (r *Request) key() string {
	if r.Rare == nil {
		return ""
	}
	return r.Rare.Key
}

// Completer gets the end of a request, once. It must not block.
type Completer interface {
	Complete(*Reply, error)
}

// Call is a request under way to a peer.
type Call struct {
	req  Request
	peer *peer
	to   Completer

	first   *Call   // of the attempts at this request; c itself if it is the first
	retries retries // the first's only

	reply    Reply
	answered bool // reply is there, to the first attempt: nobody else knows the call any more

	flight // guarded by peer.mu
}

// flight is where an attempt is.
type flight struct {
	seq      uint64
	deadline time.Duration // node clock
	on       *conn         // the live link that has the latest copy; nil: none has
	also     []*conn       // other links that were given one; nil for most
	at       uint64        // the copy's place there
	since    uint64        // number of the first attempt to open a link that began after the call
	handed   bool          // an earlier copy may have left
	quiet    time.Duration // node clock of the last word to or from the peer about it
	patience time.Duration // silence after which it is probed
	hedged   bool          // a copy went over a second road
	hedgeAt  time.Duration // node clock when one should
	linkBy   time.Duration // node clock until which it waits for a link; 0: until its deadline
}

// call is the window's name for a Call.
type call = Call

// age is how long ago the request was made, or longer: of one that is made anew, the first
// attempt counts. It is 1 ns at least.
func (c *Call) age(now time.Duration) time.Duration {
	return max(now-(c.deadline-c.req.Timeout), 1)
}

// isOn reports whether a copy was given to k: only there can it be answered.
func (c *Call) isOn(k *conn) bool { return c.on == k || c.also != nil && slices.Contains(c.also, k) }

// verdict is what is known of a call that ends without its outcome, while its last
// copy's link lives: what still lies in a send queue can leave at any moment.
func (c *Call) verdict() Verdict {
	if c.handed || c.on != nil {
		return Unknown
	}
	return NotRun
}

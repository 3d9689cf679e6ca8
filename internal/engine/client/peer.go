package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// peer is the client's side of one other node: the session at that node, the calls that are
// outstanding in it, and the links to send them on. This file sends and ends calls, replies.go
// handles the replies, and links.go manages the links.
type peer struct {
	client *Client
	name   string
	own    bool                          // it is this node itself
	live   atomic.Pointer[Link]          // a copy of current, to read without the lock
	left   atomic.Bool                   // a copy of leaving, to read without the lock
	gone   atomic.Bool                   // it was forgotten, and there may be another peer of its name; set under mu
	row    atomic.Pointer[transport.Row] // what numbers of one-way messages are lent to; nil: none are; set under mu
	links  int                           // attached and not yet closed; guarded by Client.mu
	_      host.LinePad                  // keeps the fields above off the cache line of the lock

	mu peerLock // guards the fields below
	peerCalls
	peerTells
	peerSession
	peerLinks
	peerDialing
	peerTimer
	idleSince time.Duration // node clock; 0: the peer is not idle
	closed    bool

	sums struct{ requests, replies, tells uint64 } // see rpc.Stats
}

// Timing of acks and probes.
const (
	ackIdle  = 50 * time.Millisecond  // an ack frame is sent after so long without a message to carry the ack
	ackEvery = 512                    // an ack frame is sent after so many answers that no request's mark could ack
	probeMin = 500 * time.Millisecond // silence after which a request on a bus is probed
	probeMax = 16 * time.Second       // the longest pause between two probes
)

func newPeer(cl *Client, name string) *peer {
	p := &peer{client: cl, name: name, own: name == cl.host.Name}
	p.mu.peer = p
	p.win, p.unresolved, p.limit = newWindow(1), map[uint64]*unresolved{}, cl.cfg.Window
	p.newSession(transport.Grant{})
	p.noted = -trail.Pause
	p.changed, p.credits, p.dialers = make(chan struct{}), map[string]*credit{}, map[string]*dialer{}
	return p
}

// Do sends a request. It blocks while the peer's window is full, until ctx or the request's
// deadline ends. It returns an error if the request was not sent and never will be; otherwise
// the outcome goes to to.
func (cl *Client) Do(ctx context.Context, r Request, to Completer) (*Call, error) {
	c := &Call{req: r, to: to}
	if err := cl.send(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// send is Do for a Call whose Request and Completer are set.
func (cl *Client) send(ctx context.Context, c *Call) error {
	if len(c.req.Body) > cl.cfg.MaxBody {
		return rpc.Errorf(rpc.TooLarge, rpc.NotRun, "body of %d bytes, limit %d", len(c.req.Body), cl.cfg.MaxBody)
	}
	if ctx.Err() != nil { // its caller stopped waiting before it was sent
		return rpc.FromContext(ctx, rpc.NotRun)
	}
	cl.pack(&c.req)
	now := cl.host.Now()
	c.first = c
	c.deadline, c.patience = now+min(c.req.Timeout, wire.FarOff), probeMin
	for {
		if p := c.peer; p == nil || p.name != c.req.Node || p.gone.Load() { // else its memory has served a request to the same peer
			c.peer = cl.peer(c.req.Node)
		}
		switch err := c.peer.admit(ctx, c, now); {
		case err == errGone:
		case err == nil:
			return nil
		case errors.Is(err, ErrCompact):
			if err := cl.Named(&c.req); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// errGone is what admit returns if the peer was forgotten in the meantime.
var errGone = rpc.Errorf(rpc.Internal, rpc.NotRun, "the peer was forgotten")

// admit gives c a number, and sends it if there is a link. It blocks while the window is full.
func (p *peer) admit(ctx context.Context, c *Call, now time.Duration) *rpc.Error {
	p.mu.Lock()
	if p.gone.Load() {
		p.mu.Unlock()
		return errGone
	}
	waited, err := p.awaitRoom(ctx, c)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	if waited {
		now = p.client.host.Now()
	}
	if err := c.unwanted(); err != nil {
		p.passRoom()
		p.mu.Unlock()
		return err
	}
	if c.deadline <= now {
		p.passRoom()
		p.mu.Unlock()
		return rpc.Errorf(rpc.Expired, rpc.NotRun, "the deadline passed before it was sent")
	}
	if p.own && c.first == c {
		_, p.quietly = c.to.(*Exchange) // its caller is about to wait, and so holds no lock
	}
	if err = p.enter(c, now); err == nil && c.first == c {
		p.sums.requests++
	}
	near := p.near
	p.quietly, p.near = false, nil
	if p.win.count+len(p.unresolved) < p.limit {
		p.passRoom() // the end of one call with a large body may have made room for several
	}
	if p.current == nil {
		p.dialRoads()
	}
	p.mu.Unlock()
	if near != nil {
		near.Deliver()
	}
	return err
}

// enter gives c a number, and sends it unless other calls wait to be sent. p.mu is held.
func (p *peer) enter(c *Call, now time.Duration) *rpc.Error {
	c.since = p.attempts + 1
	p.win.add(c)
	c.session = p.session
	if p.client.cfg.Trail != nil && p.notes(c, now) {
		p.begin(c, now)
	}
	p.kept.add(len(c.req.Body))
	p.unsent++
	p.arm(c.deadline)
	if p.current == nil {
		p.waitForLink(c, now)
	}
	switch {
	case p.leaving:
		if c.req.movable() {
			p.remove(c)
			c.fail(wire.ErrLeft(p.name))
		}
	case p.flowing() && p.unsent == 1:
		return p.send(c, now)
	}
	return nil
}

// full reports whether the window or the limit of kept bodies has no room for c. p.mu is held.
func (p *peer) full(c *Call) bool {
	return p.win.count+len(p.unresolved) >= p.limit || !p.kept.fits(len(c.req.Body), p.client.cfg.MaxPending)
}

// awaitRoom returns once the window has room for c, and reports whether it had to wait. p.mu is
// held on entry and on return, but not while it waits.
func (p *peer) awaitRoom(ctx context.Context, c *Call) (waited bool, err *rpc.Error) {
	body := len(c.req.Body)
	if !p.full(c) && p.kept.idle(body) && !p.closed {
		return false, nil
	}
	p.waiters++
	defer func() { p.waiters-- }()
	timeout := time.NewTimer(c.deadline - p.client.host.Now())
	defer timeout.Stop()
	for turn := false; ; turn = true {
		if p.closed {
			return true, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "this system is closed")
		}
		if !p.full(c) && (turn || p.kept.idle(body)) {
			return true, nil
		}
		at := p.kept.wait(body, turn)
		p.mu.Unlock()
		select {
		case <-turnOf(at):
		case <-ctx.Done():
			err = rpc.FromContext(ctx, rpc.NotRun)
		case <-timeout.C:
			err = rpc.Errorf(rpc.Expired, rpc.NotRun, "no room in the window of %s within the deadline", p.name)
		case <-p.client.host.Context().Done():
			err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "this system is closing")
		}
		p.mu.Lock()
		if err != nil {
			if !p.kept.leave(at) {
				p.passRoom()
			}
			return true, err
		}
	}
}

// passRoom wakes the first sender of each queue if there is room for its body. p.mu is held.
func (p *peer) passRoom() { p.kept.pass(p.client.cfg.MaxPending) }

// flowing reports whether new messages may be sent on the current link at once. p.mu is held.
func (p *peer) flowing() bool { return p.current != nil && p.next == nil }

// send sends a copy of c on the current link. It returns an error only if c has ended before any
// copy of it was sent; the caller then reports the error. p.mu is held.
func (p *peer) send(c *Call, now time.Duration) *rpc.Error { return p.sendOn(p.current, c, now) }

// hedge sends a second copy of c over another road than the first one, if there is one.
// The answer that comes first counts, and the server runs c only once. p.mu is held.
func (p *peer) hedge(c *Call, now time.Duration) {
	for _, k := range p.conns {
		if k.ready && k.grant == p.grant && k.Road() != c.on.Road() {
			c.hedged = true
			p.client.counts.hedged.Add(1)
			_ = p.sendOn(k, c, now) // there is no error, because c was sent before
			return
		}
	}
}

// sendOn is send on the link k instead of the current one.
func (p *peer) sendOn(k *Link, c *Call, now time.Duration) *rpc.Error {
	e := &p.scratch
	flags := transport.Flags(0)
	if c.req.Confirm {
		flags = transport.FlagAcked
	}
	if c.req.Receipt {
		flags |= transport.FlagReceipt
	}
	again := !c.unsent()
	if !again && c.req.stale() { // it waited while the node was restarted
		return p.endAtSend(c, rpc.Undecodable, ErrCompact)
	}
	if r := c.req.Rare; r != nil && r.Epoch != "" && r.Epoch != k.ID.Epoch {
		return p.endAtSend(c, rpc.Unavailable, fmt.Errorf("%w: it is for the start %s of node %s only", ErrOtherStart, r.Epoch, p.name))
	}
	if again {
		flags |= transport.FlagResend
	}
	*e = transport.Envelope{} // one composite literal would be built on the stack and then copied
	e.Verb, e.Flags, e.Codec, e.Seq, e.Mark = transport.VerbRequest, flags, c.req.Codec, c.seq, p.win.inline(p.except[:0])
	e.TypeID, e.Target, e.Body, e.Packed = c.req.TypeID, c.req.Target, c.req.Body, c.req.packed
	e.Timeout, e.Sent = max(c.deadline-now, 1), p.client.host.At(now)
	if p.cutOff == p.tells { // a later tell carries the same information
		e.After = p.cutOff
	}
	if r := c.req.Rare; r != nil {
		e.Sender, e.Trace, e.Headers, e.Key, e.Waiting = r.Sender, r.Trace, r.Headers, r.Key, r.Waiting
		e.Once, e.Behalf, e.Class = r.Once, r.Behalf, r.Class
		if e.Number = r.Number; !r.SentSince.IsZero() {
			e.Age = max(p.client.host.At(now).Sub(r.SentSince), 1)
			if r.MaybeAt != "" && r.MaybeAt != k.ID.Epoch { // this start cannot know, however long it has run: the two may have lived at the same time
				e.Age = max(e.Age, r.AgeElsewhere)
			}
		}
	}
	if !k.Direct {
		e.Grant = p.grant
	}
	if c.session != p.session {
		p.numbered(c)
	}
	at, err := uint64(0), error(nil)
	if p.quietly && k.Near != nil {
		at, err = k.Near.SendQuietly(e)
		p.near = k.Near
	} else {
		at, err = k.Send(e)
	}
	switch {
	case err == nil:
		p.traffic.sent++
		if again || !c.kept.IsZero() {
			p.noteSent(k, c, now, !again)
		}
		if c.sent(k, at) {
			p.unsent--
		}
		if again {
			p.client.counts.resent.Add(1)
		}
		c.quiet, p.lastSent = now, now
		if !k.Direct {
			p.arm(now + c.patience)
		}
		if r := c.req.Rare; r != nil && r.SentTo != nil {
			*r.SentTo = k.ID.Epoch
		}
		if h := c.req.hedge(); h > 0 && !c.hedged {
			c.hedgeAt = now + h
			p.arm(c.hedgeAt)
		}
		if p.win.unacked >= min(max(ackEvery, p.win.count), p.limit/2) { // a mark with many exceptions is sent only for many answers
			p.sendAck()
		}
	case errors.Is(err, transport.ErrTooLarge):
		return p.endAtSend(c, rpc.TooLarge, err)
	}
	return nil // after ErrFull it is sent once the link has drained, after ErrClosed on another link
}

// ErrOtherStart is the cause of the error of a request whose Epoch is not that of the node now.
var ErrOtherStart = errors.New("rpc: the node was restarted")

// endAtSend ends a call that cannot be sent. It returns the error if no copy of it was sent; the
// caller then reports it. p.mu is held.
func (p *peer) endAtSend(c *Call, code rpc.Code, why error) *rpc.Error {
	unsent := c.unsent()
	verdict := c.verdict()
	p.remove(c)
	err := rpc.Errorf(code, verdict, "%w", why)
	if unsent {
		return err
	}
	c.end(err)
	return nil
}

// flush sends the calls of which no live link has a copy, in the order of their numbers. p.mu is
// held.
func (p *peer) flush() {
	if p.unsent > 0 && p.flowing() {
		now := p.client.host.Now()
		for c := range p.win.all() {
			if c.on != nil || p.leaving && c.verdict() == rpc.NotRun {
				continue
			}
			before := p.unsent
			if err := p.send(c, now); err != nil {
				c.endOrName(err)
			} else if p.unsent == before {
				break // the link is full or closed
			}
		}
	}
	if p.unsent == 0 {
		p.wakeTells()
	}
}

// remove removes an outstanding call from the window and sees to it that the server gets the ack.
// p.mu is held.
func (p *peer) remove(c *Call) {
	if p.win.take(c.seq) != c {
		return
	}
	if c.on == nil {
		p.unsent--
	}
	p.kept.sub(len(c.req.Body))
	p.passRoom()
	if p.leaving {
		p.sendAck()
	} else if !p.ackArmed {
		p.ackArmed = true
		p.arm(p.client.host.Now() + ackIdle)
	}
}

// status handles the answer to a probe.
func (p *peer) status(k *Link, seq uint64, state dedup.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.win.get(seq)
	if c == nil || k.grant != p.grant || !c.isOn(k) {
		return
	}
	c.quiet = p.client.host.Now()
	c.note(trail.Heard, nil)
	if state == dedup.Unseen && p.flowing() {
		_ = p.send(c, c.quiet) // the copy was lost; there is no error, because c was sent before
	}
}

// close ends all outstanding calls with Unavailable.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	p.start.end()
	if p.timer != nil {
		p.timer.Stop()
	}
	var ended []*Call
	var verdicts []rpc.Verdict
	for c := range p.win.all() {
		ended, verdicts = append(ended, c), append(verdicts, c.verdict())
		p.remove(c)
	}
	for _, d := range p.unresolved {
		ended, verdicts = append(ended, d.call), append(verdicts, rpc.Unknown)
	}
	clear(p.unresolved)
	p.kept.passAll()
	p.wakeTells()
	p.mu.Unlock()
	for i, c := range ended {
		c.end(rpc.Errorf(rpc.Unavailable, verdicts[i], "this system closed before the reply came"))
	}
}

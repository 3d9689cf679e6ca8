package rpc

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// peer is the client's side of one other node: the session there, what is
// outstanding in it, and the links it can be sent on. This file sends and ends
// calls; links.go keeps the links.
type peer struct {
	node  *Node
	name  string
	live  atomic.Pointer[conn] // current, for who does not have the lock
	left  atomic.Bool          // leaving, likewise
	gone  atomic.Bool          // forgotten: there is another peer of the name, or none; set under mu
	links int                  // that are adopted and not closed; guarded by Node.mu
	_     linePad              // what is read without the lock is not where that is written

	mu         sync.Mutex // guards what follows
	win        *window
	kept       pending            // bodies, for resending; and who waits for room
	unsent     int                // outstanding calls of which no live link has a copy
	doubts     map[uint64]*doubt  // sent to an earlier start of the node; by number
	tells      uint64             // number of the last tell
	toldOn     *conn              // where that was sent
	cutOff     uint64             // of the last tell that went out on a link that is no more
	tellers    int                // senders in Tell
	waiters    int                // senders in awaitRoom
	idleSince  time.Duration      // node clock; 0: it is not idle
	credits    map[string]*credit // of one-way messages, by actor
	lastTarget string             // whose credit was asked for last
	lastCredit *credit            // that
	changed    chan struct{}      // closed, and replaced, when a waiting tell should look again
	closed     bool

	sums struct{ requests, replies, tells uint64 } // see Stats

	// The session and its links; see links.go.
	epoch      string
	principal  string   // who the peer was when it opened the session
	past       []string // epochs of sessions that were lost
	grant      transport.Grant
	opens      uint64 // number of the last open sent; 0: none was
	limit      int    // outstanding requests that the server takes
	durable    bool   // a later start of the server can be asked what became of requests
	kinds      string // what that is to be told then
	opening    *conn  // where a new session was asked for
	conns      []*conn
	current    *conn // the link to send on; nil: none
	next       *conn // the link to change to once fence came back on current
	fence      uint64
	fences     uint64
	fencedAt   time.Duration
	dialers    map[string]*dialer // by road
	patience   time.Duration      // node clock until which a direct link is waited for
	attempts   uint64             // to open links, on all roads
	deserted   uint64             // how many of them there were when the last link was lost
	downSince  uint64             // what waits since that attempt or earlier was given up
	downErr    *Error             // why, the last time
	down       bool               // PeerDown was the last that was said
	recancel   []uint64           // given up, and the cancel was lost with its link
	cancelLost time.Duration      // node clock when the latest of them was
	traffic    traffic
	earned     bool            // under Adaptive: direct links may be opened
	leavingOf  string          // the start of it that said last that it takes no new requests
	leaving    bool            // all that is left of it is that start
	deniedOn   map[string]bool // roads on which it does not let this node in, which was said

	timer    *time.Timer
	timerAt  time.Duration // node clock; 0: not set
	ackArmed bool
	lastSent time.Duration

	scratch transport.Envelope // for Send: an Envelope handed to a Link escapes
	telling transport.Envelope // the same for one-way messages
	except  [transport.MaxInlineExcept]uint64
}

// farOff is the longest timeout that is told from none: added to a node's clock it does
// not overflow.
const farOff time.Duration = math.MaxInt64 / 2

// Timing of acks and probes.
const (
	ackIdle  = 50 * time.Millisecond  // an ack goes out alone after it
	ackEvery = 512                    // answers that no riding mark could ack, until an ack frame says it
	probeMin = 500 * time.Millisecond // silence after which a request on a bus is probed
	probeMax = 16 * time.Second       // probing backs off to it
)

func newPeer(n *Node, name string) *peer {
	return &peer{node: n, name: name, limit: n.cfg.Window, win: newWindow(1), changed: make(chan struct{}), credits: map[string]*credit{},
		doubts: map[uint64]*doubt{}, dialers: map[string]*dialer{}}
}

// Do sends a request. It blocks while the peer's window is full, until ctx or the
// request's deadline ends. It returns an error if the request was not sent and
// never will be; otherwise to gets the end of it.
func (n *Node) Do(ctx context.Context, r Request, to Completer) (*Call, error) {
	c := &Call{req: r, to: to}
	if err := n.send(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// send is Do for a Call that has its Request and its Completer.
func (n *Node) send(ctx context.Context, c *Call) error {
	if len(c.req.Body) > n.cfg.MaxBody {
		return Errorf(TooLarge, NotRun, "body of %d bytes, limit %d", len(c.req.Body), n.cfg.MaxBody)
	}
	if ctx.Err() != nil { // its caller has left before it was sent
		return FromContext(ctx, NotRun)
	}
	now := n.now()
	c.first = c
	c.deadline, c.patience = now+min(c.req.Timeout, farOff), probeMin
	for {
		c.peer = n.peer(c.req.Node)
		switch err := c.peer.admit(ctx, c, now); err {
		case errGone:
		case nil:
			return nil
		default:
			return err
		}
	}
}

// errGone is what admit returns of a peer that was forgotten meanwhile.
var errGone = Errorf(Internal, NotRun, "the peer was forgotten")

// admit numbers c and sends it if there is a road.
func (p *peer) admit(ctx context.Context, c *Call, now time.Duration) *Error {
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
		now = p.node.now()
	}
	if err := c.unwanted(); err != nil {
		p.passRoom()
		p.mu.Unlock()
		return err
	}
	if c.deadline <= now {
		p.passRoom()
		p.mu.Unlock()
		return Errorf(Expired, NotRun, "the deadline passed before it was sent")
	}
	if err = p.enter(c, now); err == nil && c.first == c {
		p.sums.requests++
	}
	if p.win.count+len(p.doubts) < p.limit {
		p.passRoom() // one large body made room for several
	}
	if p.current == nil {
		p.demand()
	}
	p.mu.Unlock()
	return err
}

// enter numbers c, and sends it unless others wait to be sent. p.mu is held.
func (p *peer) enter(c *Call, now time.Duration) *Error {
	c.since = p.attempts + 1
	p.win.add(c)
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
			c.fail(errLeft(p.name))
		}
	case p.flowing() && p.unsent == 1:
		return p.send(c, now)
	}
	return nil
}

// full reports whether the window has no room for c. p.mu is held.
func (p *peer) full(c *Call) bool {
	return p.win.count+len(p.doubts) >= p.limit || !p.kept.fits(len(c.req.Body), p.node.cfg.MaxPending)
}

// awaitRoom returns once the window has room for c, and whether it had to wait. p.mu is
// held on entry and on return, not in between.
func (p *peer) awaitRoom(ctx context.Context, c *Call) (waited bool, err *Error) {
	body := len(c.req.Body)
	if !p.full(c) && p.kept.idle(body) && !p.closed {
		return false, nil
	}
	p.waiters++
	defer func() { p.waiters-- }()
	timeout := time.NewTimer(c.deadline - p.node.now())
	defer timeout.Stop()
	for turn := false; ; turn = true {
		if p.closed {
			return true, Errorf(Unavailable, NotRun, "this system is closed")
		}
		if !p.full(c) && (turn || p.kept.idle(body)) {
			return true, nil
		}
		at := p.kept.wait(body, turn)
		p.mu.Unlock()
		select {
		case <-turnOf(at):
		case <-ctx.Done():
			err = FromContext(ctx, NotRun)
		case <-timeout.C:
			err = Errorf(Expired, NotRun, "no room in the window of %s within the deadline", p.name)
		case <-p.node.ctx.Done():
			err = Errorf(Unavailable, NotRun, "this system is closing")
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

// passRoom wakes the first sender in each line.
func (p *peer) passRoom() { p.kept.pass(p.node.cfg.MaxPending) }

// flowing reports whether new messages may go straight to the current link.
func (p *peer) flowing() bool { return p.current != nil && p.next == nil }

// send puts a copy of c on the current link. The only error is one that has ended c
// before any copy left: the caller reports it. p.mu is held.
func (p *peer) send(c *Call, now time.Duration) *Error { return p.sendOn(p.current, c, now) }

// hedge sends a second copy of c over another road than the one it went out on, if
// there is one. Whichever answer comes first counts; the server runs it once. p.mu is
// held.
func (p *peer) hedge(c *Call, now time.Duration) {
	for _, k := range p.conns {
		if k.ready && k.grant == p.grant && k.link.Road() != c.on.link.Road() {
			c.hedged = true
			p.node.stats.hedged.Add(1)
			_ = p.sendOn(k, c, now) // it was sent before, so it does not end here
			return
		}
	}
}

// sendOn is send on a link of one's choice.
func (p *peer) sendOn(k *conn, c *Call, now time.Duration) *Error {
	e := &p.scratch
	flags := transport.Flags(0)
	if c.req.Acked {
		flags = transport.FlagAcked
	}
	if c.req.Receipt {
		flags |= transport.FlagReceipt
	}
	again := c.handed || c.on != nil
	if again {
		flags |= transport.FlagResend
	}
	*e = transport.Envelope{} // and not all in one: that is made on the stack first, and copied
	e.Verb, e.Flags, e.Codec, e.Seq, e.Mark = transport.VerbRequest, flags, c.req.Codec, c.seq, p.win.inline(p.except[:0])
	e.TypeID, e.Target, e.Body = c.req.TypeID, c.req.Target, c.req.Body
	e.Timeout, e.Sent = max(c.deadline-now, 1), p.node.start.Add(now)
	if p.cutOff == p.tells { // a later tell says it as well
		e.After = p.cutOff
	}
	if r := c.req.Rare; r != nil {
		e.Sender, e.Trace, e.Headers, e.Key, e.Waiting = r.Sender, r.Trace, r.Headers, r.Key, r.Waiting
	}
	if !k.direct {
		e.Grant = p.grant
	}
	at, err := k.link.Send(e)
	switch {
	case err == nil:
		p.traffic.sent++
		if c.on == nil {
			p.unsent--
		} else {
			c.handed = true
			if c.on != k {
				c.also = append(c.also, c.on)
			}
		}
		if again {
			p.node.stats.resent.Add(1)
		}
		c.on, c.at, c.quiet, p.lastSent = k, at, now, now
		if !k.direct {
			p.arm(now + c.patience)
		}
		if h := c.req.hedge(); h > 0 && !c.hedged {
			c.hedgeAt = now + h
			p.arm(c.hedgeAt)
		}
		if p.win.unsaid >= min(max(ackEvery, p.win.count), p.limit/2) { // a mark that excepts many is worth many answers
			p.sendAck()
		}
	case errors.Is(err, transport.ErrTooLarge):
		verdict := c.verdict()
		p.remove(c)
		if verdict == NotRun && !again {
			return Errorf(TooLarge, NotRun, "%w", err)
		}
		c.end(Errorf(TooLarge, verdict, "%w", err))
	}
	return nil // ErrFull and ErrClosed: it goes out when the link drained, or on another
}

// flush sends what no live link has, in order. p.mu is held.
func (p *peer) flush() {
	if p.unsent > 0 && p.flowing() {
		now := p.node.now()
		for c := range p.win.all() {
			if c.on != nil || p.leaving && c.verdict() == NotRun {
				continue
			}
			before := p.unsent
			if err := p.send(c, now); err != nil {
				c.end(err)
			} else if p.unsent == before {
				break // the link is full or gone
			}
		}
	}
	if p.unsent == 0 {
		p.wakeTells()
	}
}

// remove takes an outstanding call out of the window. p.mu is held.
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
		p.arm(p.node.now() + ackIdle)
	}
}

// reply takes the outcome of a request, from whichever road brings it first.
func (p *peer) reply(k *conn, e *transport.Envelope) {
	p.mu.Lock()
	if !k.ready || k.grant != p.grant {
		p.mu.Unlock()
		p.node.stats.repliesLate.Add(1)
		return
	}
	c := p.win.get(e.Seq)
	if c != nil && !c.isOn(k) || c == nil && !p.asked(k, e.Seq) { // it was not asked there
		p.mu.Unlock()
		p.node.stats.repliesLate.Add(1)
		return
	}
	if Code(e.Code) == SessionLost && (c != nil || e.Seq == 0 && (e.Grant == p.grant || k.direct)) {
		if c != nil && c.on == k && !c.handed && k.direct { // its only copy was refused; a bus may have made two
			c.on = nil
			p.unsent++
		}
		p.lose("the server does not know the session any more", false)
		p.open(k)
		p.mu.Unlock()
		return
	}
	doubted := c == nil
	if doubted {
		c = p.resolved(e.Seq)
	} else {
		p.remove(c)
	}
	if c != nil {
		p.sums.replies++
	}
	p.mu.Unlock()
	if c == nil {
		p.node.stats.repliesLate.Add(1)
		return
	}
	if err := k.errorOf(e); err != nil {
		c.fail(err)
		return
	}
	if c.first != c || c.req.Retry != nil {
		p.node.retries.Earn()
	}
	c.reply = Reply{TypeID: e.TypeID, Codec: e.Codec, Node: p.name, Body: ownBody(c.reply.Body, e)}
	if route := c.first.req.route(); route != nil {
		route.Over(nil)
	}
	c.answered = c.first == c && !doubted
	c.to.Complete(&c.reply, nil) // c may be another request's from here on
}

// status takes the answer to a probe.
func (p *peer) status(k *conn, seq uint64, state dedup.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.win.get(seq)
	if c == nil || k.grant != p.grant || !c.isOn(k) {
		return
	}
	c.quiet = p.node.now()
	if state == dedup.Unseen && p.flowing() {
		_ = p.send(c, c.quiet) // a copy was lost; it was sent before, so it does not end here
	}
}

// close ends everything outstanding with Unavailable.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	var ended []*Call
	var verdicts []Verdict
	for c := range p.win.all() {
		ended, verdicts = append(ended, c), append(verdicts, c.verdict())
		p.remove(c)
	}
	for _, d := range p.doubts {
		ended, verdicts = append(ended, d.call), append(verdicts, Unknown)
	}
	clear(p.doubts)
	p.kept.passAll()
	p.wakeTells()
	p.mu.Unlock()
	for i, c := range ended {
		c.end(Errorf(Unavailable, verdicts[i], "this system closed before the reply came"))
	}
}

package rpc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// conn is what a Node keeps of one link. It has two halves: as a client this node
// has a session at the peer, as a server it serves the peer's. Who dialled does
// not matter.
type conn struct {
	node  *Node
	link  transport.Link
	id    transport.Peer // as the peer says
	addr  netip.Addr     // of its other end, see transport.Addressed
	peer  *peer          // of a foreign link Node.strangers
	share *share         // of the account of memory

	principal string // the peer's, on all roads
	foreign   bool   // the peer is not the node that it says it is: it is served, and never asked
	direct    bool   // its road is

	heeded     atomic.Uint64 // the latest ping of tellAll that was answered
	heard      atomic.Bool   // something came since the last heartbeat
	met        atomic.Bool   // something has come at all
	rtt        atomic.Int64  // of the latest heartbeat, in nanoseconds; 0 before the first
	answeredAt atomic.Int64  // node clock when the latest heartbeat was answered, or the session opened; 0 before
	silent     int           // heartbeats without a word; the sweeper's own

	// Client half, guarded by peer.mu.
	asked   bool            // an open is under way or answered
	askedAt time.Duration   // node clock
	askedAs uint64          // the open's number
	ready   bool            // the session of grant is open here
	denied  *Error          // the open was refused
	grant   transport.Grant // what was asked for, then what was opened
	cancels []uint64        // sent since the last heartbeat to a peer that was heard
	older   []uint64        // sent before that, and after the one before

	// Server half, the link's reader's own: the sessions opened on this link, the
	// latest last.
	sessions []*session
	openedAs uint64 // number of the open that the latest came from
	run      run    // one-way messages that are to be passed on together
	names    names  // of actors
	stock    stock  // for one-way messages
	replays  replays
	clock    time.Duration // node clock when what there is to receive began to be; 0: nothing yet
	skew     skew          // of the peer's clock

	held    atomic.Int64 // bytes that the peer has the link hold
	over    atomic.Bool  // the link is closed
	parts   atomic.Int64 // large messages of which not all has come
	partsAt atomic.Int64 // node clock of the sweeper's look before the latest part came
}

// maxSessions bounds the sessions of one link: a peer has one, and another for each
// open that the bus duplicated.
const maxSessions = 4

// Receive is called by the link's reader. It parses no bodies and never blocks.
func (c *conn) Receive(e *transport.Envelope) {
	if !c.heard.Load() {
		c.heard.Store(true)
		c.met.Store(true)
	}
	if e.Verb != transport.VerbTell {
		c.endRun() // a request that comes after a one-way message runs after it
	}
	switch e.Verb {
	case transport.VerbReply:
		if e.Cut {
			e.Code, e.Flags, e.Message = uint16(ReplyDropped), transport.FlagRan, "there was no room here for the reply: "+c.node.full(c.share, c.id.Node).Message
		}
		c.peer.reply(c, e)
	case transport.VerbOpened:
		c.peer.opened(c, e)
	case transport.VerbStatus:
		c.peer.status(c, e.Seq, dedup.State(e.Code))
	case transport.VerbResync:
		c.peer.resync(c)
	case transport.VerbBye:
		c.peer.farewell(c, e)
	case transport.VerbPing:
		if e.Grant != (transport.Grant{}) { // only the session that its client still uses lives on
			if s := c.sessionOf(e); s != nil {
				s.heartbeat(e.Mark)
			}
		}
		c.send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: c.node.start.Add(c.node.now())})
	case transport.VerbPong:
		switch {
		case e.Seq&fenceBit != 0:
			c.peer.fenced(c, e.Seq)
		case e.Seq&byeBit != 0:
			c.heeded.Store(e.Seq)
			c.node.poke()
		default:
			c.beatAnswered(e)
		}
	case transport.VerbOpen:
		c.open(e)
	default:
		c.serve(e)
	}
}

// open answers a peer that opens or joins a session.
func (c *conn) open(e *transport.Envelope) {
	answer := &transport.Envelope{Verb: transport.VerbOpened, Seq: e.Seq, Grant: e.Grant, Mark: transport.Mark{Below: uint64(c.node.cfg.Window)}}
	if e.Seq < c.openedAs {
		return // the bus delivers it late: its client has opened again since
	}
	if n := len(c.sessions); n > 0 && e.Seq == c.openedAs && !c.sessions[n-1].ended.Load() {
		answer.Grant = c.sessions[n-1].grant // the client asked again, because the answer is slow or was lost
		c.promise(answer)
		c.send(answer)
		return
	}
	s, err := (*session)(nil), errOpens
	if e.Grant != (transport.Grant{}) || c.share.open(c.node.now()) {
		s, err = c.node.openSession(c, e.Grant, e.Seq)
	} else {
		c.node.stats.opensRefused.Add(1)
	}
	if s == nil && err == nil {
		return // the node does not serve yet, or not any more: its client is told, or asks again
	}
	c.promise(answer)
	sealed := false
	if err != nil {
		answer.Code, answer.Message = uint16(err.Code), err.Message
	} else {
		answer.Grant, c.openedAs = s.grant, e.Seq
		sealed = s.joined(c)
		if c.sessions = append(c.sessions, s); len(c.sessions) > maxSessions {
			c.sessions[0].parted(c)
			c.node.discard(c.sessions[0])
			c.sessions = c.sessions[1:]
		}
	}
	c.send(answer)
	if sealed {
		s.repeatWord(c)
	}
}

var errOpens = Errorf(Overloaded, NotRun, "too many sessions were opened for one principal lately")

// promise says in an answer to an open what a later start of this node can be asked.
func (c *conn) promise(answer *transport.Envelope) {
	if c.node.recovers() {
		answer.Flags, answer.Message = transport.FlagDurable, c.node.kinds()
	}
}

// serve handles what a client sends inside its session. On a bus, which may deliver
// a message late, the envelope names the session; on a direct link it is the one
// opened last.
func (c *conn) serve(e *transport.Envelope) {
	if e.Verb == transport.VerbRequest && e.Flags&transport.FlagRecover != 0 {
		c.node.recover(c, e)
		return
	}
	s := c.sessionOf(e)
	if s == nil {
		lost := Errorf(SessionLost, Unknown, "no such session on this link")
		switch e.Verb {
		case transport.VerbRequest:
			c.refuse(e.Seq, lost)
		case transport.VerbProbe: // says nothing about the copy that it asks for
			answer := new(transport.Envelope)
			outcome{err: lost}.fill(answer, 0)
			answer.Grant = e.Grant
			c.send(answer)
		case transport.VerbTell:
			c.node.stats.tellsDropped.Add(1)
		}
		return
	}
	switch e.Verb {
	case transport.VerbRequest:
		s.request(c, e)
	case transport.VerbTell:
		c.told(s, e)
	case transport.VerbAck:
		s.ack(e)
	case transport.VerbCancel:
		s.cancel(e.Seq)
	case transport.VerbProbe:
		s.probe(c, e.Seq)
	}
}

// opened reports whether the peer has a session on this link.
func (c *conn) opened() bool {
	return slices.ContainsFunc(c.sessions, func(s *session) bool { return !s.ended.Load() })
}

func (c *conn) sessionOf(e *transport.Envelope) *session {
	for i := len(c.sessions) - 1; i >= 0; i-- {
		if s := c.sessions[i]; s.grant == e.Grant || c.direct && e.Grant == (transport.Grant{}) {
			if !s.ended.Load() {
				return s
			}
			return nil
		}
	}
	return nil
}

// refuse sends an error as the outcome of seq.
func (c *conn) refuse(seq uint64, err *Error) { outcome{err: err}.send(c, seq) }

// send sends what answers the peer or keeps the link alive. A peer that does not
// read its answers loses the link; it gets them again on another one. If e is in the link's
// queue, at is where.
func (c *conn) send(e *transport.Envelope) (at uint64, sent bool) {
	at, err := c.link.Send(e)
	switch {
	case errors.Is(err, transport.ErrStalled):
		c.link.Close(err)
	case (errors.Is(err, transport.ErrTooLarge) || errors.Is(err, transport.ErrFull)) && e.Verb == transport.VerbReply && e.Code == 0:
		c.refuse(e.Seq, Errorf(ReplyDropped, HasRun, "%v", err)) // full: of large replies
	}
	return at, err == nil
}

// errorOf is the error that a reply carries, nil for none.
func (c *conn) errorOf(e *transport.Envelope) *Error { return errorOf(e, c.id.Node) }

func errorOf(e *transport.Envelope, node string) *Error {
	if e.Code == 0 {
		return nil
	}
	err := &Error{Code: Code(e.Code), Message: strings.Clone(Brief(e.Message)), User: strings.Clone(e.UserCode), Node: node, RetryAfter: e.RetryAfter}
	switch {
	case e.Flags&transport.FlagNotRun != 0:
		err.Verdict = NotRun
	case e.Flags&transport.FlagRan != 0:
		err.Verdict = HasRun
	}
	return err
}

// heartbeat is called by the node's sweeper once a beat.
func (c *conn) heartbeat() {
	if c.heard.Swap(false) {
		c.silent = 0
	} else if c.silent++; c.silent >= DeadAfter {
		c.link.Close(transport.ErrHeartbeat)
		return
	}
	if c.parts.Load() > 0 && c.node.now()-time.Duration(c.partsAt.Load()) > transport.PartPatience {
		c.link.Close(fmt.Errorf("%w: nothing more of a large message came for %v", transport.ErrProtocol, transport.PartPatience))
		return
	}
	e := &transport.Envelope{Verb: transport.VerbPing, Seq: uint64(c.node.now())}
	c.peer.mark(c, e, c.silent == 0)
	c.send(e)
}

// beatAnswered takes the answer to a heartbeat.
func (c *conn) beatAnswered(e *transport.Envelope) {
	sent, now := time.Duration(e.Seq), c.node.now()
	c.rtt.Store(int64(now - sent))
	c.answeredAt.Store(int64(now))
	if !e.Sent.IsZero() {
		c.skew.heard(sent, now, e.Sent.Sub(c.node.start))
	}
}

// ends is when e ends for its client, by this node's clock, as far as is known; 0 for
// never. What a buffer on the way has held back has less time left than it says.
func (c *conn) ends(e *transport.Envelope) time.Duration {
	if e.Timeout <= 0 {
		return 0
	}
	now := c.clock
	if now == 0 {
		now = c.node.now()
		c.clock = now
	}
	left := min(e.Timeout, farOff)
	if e.Sent.IsZero() {
		return now + left
	}
	return max(now+left-c.skew.age(e.Sent.Sub(c.node.start), now), 1)
}

// Drained, Disturbed and Closed are the link's other signals.
func (c *conn) Drained() { c.peer.drained(c) }

func (c *conn) Disturbed() {
	c.peer.resync(c)
	c.send(&transport.Envelope{Verb: transport.VerbResync})
}

// Hold, Force, Free and Part make it a transport.Holder.
func (c *conn) Hold(n int) bool {
	if c.over.Load() || !c.share.holdLarge(n) {
		return false
	}
	c.counted(n)
	return true
}

func (c *conn) Force(n int) {
	if !c.over.Load() {
		c.share.force(n)
		c.counted(n)
	}
}

// counted notes n bytes that the share has counted. Who meets the end of the link there, which
// may not have seen them, gives them back.
func (c *conn) counted(n int) {
	c.held.Add(int64(n))
	if c.over.Load() {
		c.release()
	}
}

// release gives back what the link holds, and whatever it comes to hold later.
func (c *conn) release() {
	c.over.Store(true)
	c.share.free(int(c.held.Swap(0)))
}

func (c *conn) Free(n int) {
	for {
		held := c.held.Load()
		n := min(int64(n), held) // less, if the link was closed meanwhile
		if c.held.CompareAndSwap(held, held-n) {
			c.share.free(int(n))
			return
		}
	}
}

func (c *conn) Part(open int) time.Duration {
	at := c.node.looked.Load()
	c.partsAt.Store(at)
	c.parts.Store(int64(open))
	return time.Duration(at)
}

func (c *conn) Closed(err error) {
	c.release()
	c.share.leave()
	for _, s := range c.sessions {
		s.parted(c)
	}
	c.node.forget(c)
	c.node.stats.linksLost.Add(1)
	if c.foreign {
		c.node.poke()
		return
	}
	c.peer.disconnected(c, err)
	c.node.unlinked(c.peer)
	c.node.event(Event{Type: LinkDown, Peer: c.id.Node, Road: c.link.Road(), Err: err})
	c.node.poke()
}

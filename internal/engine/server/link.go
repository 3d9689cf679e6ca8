package server

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Link is the Server's half of a link. Only the goroutine that reads the link may use it.
type Link struct {
	wire.Link
	server       *Server
	share        *account.Share // the peer's share of the account of memory
	sessions     []*session     // those that were opened on this link, the latest one last
	openNumber   uint64         // number of the open with which the latest one was opened
	run          run            // one-way messages that are to be handled together
	names        names          // of the actors that lately got messages
	freeInbounds freeList       // for the memory of one-way messages
	replays      replays
	clock        time.Duration // node clock when a deadline was first computed since the last Flush; 0: not yet
	skew         skew          // how the peer's clock differs from this node's
}

// Attach makes c the Server's half of a link. What its peer has this node hold counts in share.
func (srv *Server) Attach(c *Link, l wire.Link, share *account.Share) {
	c.Link, c.server, c.share = l, srv, share
}

// maxSessions bounds the sessions of one link. A peer uses one; there is another for each
// open that a bus duplicated.
const maxSessions = 4

// Receive handles what the peer sends as a client.
func (c *Link) Receive(e *transport.Envelope) {
	switch e.Verb {
	case transport.VerbOpen:
		c.openSession(e)
	case transport.VerbPing:
		if e.Grant != (transport.Grant{}) { // only the lease of the session that the client still uses is renewed
			if s := c.sessionOf(e); s != nil {
				s.heartbeat(e.Mark)
			}
		}
	default:
		c.serve(e)
	}
}

// Answered is called when the answer to a heartbeat comes. sent and now are this node's clock
// when the heartbeat was sent and when the answer came, and stamp is what the peer's clock
// showed in between.
func (c *Link) Answered(sent, now, stamp time.Duration) { c.skew.add(sent, now, stamp) }

// Closed is called when the link has ended.
func (c *Link) Closed() {
	for _, s := range c.sessions {
		s.linkClosed(c)
	}
	c.server.poke()
}

// openSession handles an open: the peer opens a new session or joins an existing one.
func (c *Link) openSession(e *transport.Envelope) {
	answer := &transport.Envelope{Verb: transport.VerbOpened, Seq: e.Seq, Grant: e.Grant, Mark: transport.Mark{Below: uint64(c.server.cfg.Window)}}
	if e.Seq < c.openNumber {
		return // a bus delivered it late, and its client has sent another open since
	}
	if n := len(c.sessions); n > 0 && e.Seq == c.openNumber && !c.sessions[n-1].ended.Load() {
		answer.Grant = c.sessions[n-1].grant // the client sent the open again, because the answer was slow or was lost
		c.promise(answer)
		c.Post(answer)
		return
	}
	s, err := (*session)(nil), errOpens
	if e.Grant != (transport.Grant{}) || c.share.AllowOpen(c.server.host.Now()) {
		s, err = c.server.openSession(c, e.Grant, e.Seq)
	} else {
		c.server.counts.opensRefused.Add(1)
	}
	if s == nil && err == nil {
		return // the node does not serve now: its client sends the open again, or hears that the node leaves
	}
	c.promise(answer)
	sealed := false
	if err != nil {
		answer.Code, answer.Message = uint16(err.Code), err.Message
	} else {
		answer.Grant, c.openNumber = s.grant, e.Seq
		sealed = s.linkOpened(c)
		if c.sessions = append(c.sessions, s); len(c.sessions) > maxSessions {
			c.sessions[0].linkClosed(c)
			c.server.discard(c.sessions[0])
			c.sessions = c.sessions[1:]
		}
	}
	c.Post(answer)
	if sealed {
		s.repeatWord(c)
	}
}

var errOpens = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "too many sessions were opened for one principal lately")

// promise writes into the answer to an open what a later start of this node can be asked.
func (c *Link) promise(answer *transport.Envelope) {
	if c.server.recovers() {
		answer.Flags, answer.Message = transport.FlagDurable, c.server.kinds()
	}
}

// serve handles what a client sends in its session. On a bus, which may deliver a message
// late, the envelope names the session; on a direct link it is the session that was opened
// last.
func (c *Link) serve(e *transport.Envelope) {
	if e.Verb == transport.VerbRequest && e.Flags&transport.FlagRecover != 0 {
		c.server.recover(c, e)
		return
	}
	s := c.sessionOf(e)
	if s == nil {
		lost := rpc.Errorf(rpc.SessionLost, rpc.Unknown, "no such session on this link")
		switch e.Verb {
		case transport.VerbRequest:
			c.server.noteCopy(c, c.sessionNumber(e), e, trail.Refused, lost)
			c.refuse(e.Seq, lost)
		case transport.VerbProbe: // the answer has no number: it says only that the session is lost
			answer := new(transport.Envelope)
			outcome{err: lost}.fill(answer, 0)
			answer.Grant = e.Grant
			c.Post(answer)
		case transport.VerbTell:
			c.server.counts.tellsDropped.Add(1)
		}
		return
	}
	switch e.Verb {
	case transport.VerbRequest:
		s.request(c, e)
	case transport.VerbTell:
		c.receiveTells(s, e, 1)
	case transport.VerbAck:
		s.ack(e)
	case transport.VerbCancel:
		s.cancel(e.Seq)
	case transport.VerbProbe:
		s.probe(c, e.Seq)
	}
}

// hasSession reports whether the peer has a session on this link that has not ended.
func (c *Link) hasSession() bool {
	return slices.ContainsFunc(c.sessions, func(s *session) bool { return !s.ended.Load() })
}

func (c *Link) sessionOf(e *transport.Envelope) *session {
	for i := len(c.sessions) - 1; i >= 0; i-- {
		if s := c.sessions[i]; s.grant == e.Grant || c.Direct && e.Grant == (transport.Grant{}) {
			if !s.ended.Load() {
				return s
			}
			return nil
		}
	}
	return nil
}

// refuse sends an error as the outcome of the request with that number.
func (c *Link) refuse(seq uint64, err *rpc.Error) { outcome{err: err}.send(c, seq, nil, false) }

// deadline returns when the client stops waiting for e, by this node's clock, as far as is
// known; 0 for never. If e was delayed on its way, it has less time left than its Timeout.
func (c *Link) deadline(e *transport.Envelope) time.Duration {
	if e.Timeout <= 0 {
		return 0
	}
	now := c.clock
	if now == 0 {
		now = c.server.host.Now()
		c.clock = now
	}
	left := min(e.Timeout, wire.FarOff)
	if e.Sent.IsZero() {
		return now + left
	}
	return max(now+left-c.skew.age(c.server.host.Since(e.Sent), now), 1)
}

// names keeps a few names of actors, so that a message to an actor which lately had another
// one needs no allocation for the name.
type names struct {
	last string
	some [256]string
}

func (n *names) intern(seed maphash.Seed, s string) string {
	if n.last == s {
		return n.last
	}
	slot := &n.some[maphash.String(seed, s)%uint64(len(n.some))]
	if *slot != s {
		*slot = strings.Clone(s)
	}
	n.last = *slot
	return n.last
}

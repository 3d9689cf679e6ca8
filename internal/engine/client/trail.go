package client

import (
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file notes what becomes of requests, see package trail. It is called where that is decided, under
// the peer's lock, or by who has taken the call from the window. Of most requests nothing is noted: if
// something unusual happens to one of them, its earlier steps are noted from what its Call has.

// id returns the name of the attempt.
func (c *Call) id() rpc.RequestID { return rpc.RequestID{Session: c.session, Seq: c.seq} }

// earlier is an attempt that was made again under another number.
type earlier struct {
	id   rpc.RequestID
	kept trail.Ref
}

// notes reports whether the steps of c are to be noted from the beginning on, apart from those that are
// always. p.mu is held.
func (p *peer) notes(c *Call, now time.Duration) bool {
	return c.seq%trail.Every == 0 || now-p.noted >= trail.Pause || c.before != nil || c.req.Rare.marked()
}

// marked reports whether a request is always noted.
func (r *Rare) marked() bool {
	return r != nil && (r.Key != "" || r.Once.Number > 0 || r.Trace[24]&1 != 0)
}

// begin notes that c was made. p.mu is held.
func (p *peer) begin(c *Call, now time.Duration) {
	p.noted = now
	class := trail.Routine
	switch {
	case c.before != nil:
		class = trail.Unusual
	case c.req.Rare.marked():
		class = trail.Marked
	}
	c.keep(class)
	if b := c.before; b != nil {
		c.add(trail.Step{At: now, What: trail.RetryOf, Other: b.id})
		if p.grant != (transport.Grant{}) { // else its number is not final
			b.next(p, c, now)
		}
	}
}

// next notes that the attempt is made again as c.
func (b *earlier) next(p *peer, c *Call, now time.Duration) {
	if !b.kept.IsZero() {
		p.client.cfg.Trail.Add(b.kept, trail.Step{At: now, What: trail.RetriedAs, Other: c.id()})
	}
}

// keep begins the notes on c, of which there are none.
func (c *Call) keep(class trail.Class) {
	cl := c.peer.client
	h := trail.Head{ID: c.id(), Side: trail.Client, Peer: c.peer.name, Target: c.req.Target, TypeID: cl.typeOf(&c.req)}
	if r := c.req.Rare; r != nil {
		h.Trace = [16]byte(r.Trace[:16])
		h.Key = trail.TextOf(r.Key)
	}
	c.kept = cl.cfg.Trail.Keep(&h, class)
	c.add(trail.Step{At: c.deadline - c.req.Timeout, What: trail.Asked})
}

// add adds a step to the notes on c, if there are any.
func (c *Call) add(s trail.Step) {
	if !c.kept.IsZero() && c.peer.client.cfg.Trail.Add(c.kept, s) {
		return
	}
	c.kept = trail.Ref{}
}

// note adds a step at this moment, if there are notes on c.
func (c *Call) note(what trail.What, err *rpc.Error) {
	if !c.kept.IsZero() {
		c.add(stepOf(c.peer.client.host.Now(), what, "", err))
	}
}

// unusual adds a step that makes c unusual.
func (c *Call) unusual(what trail.What, road string, err *rpc.Error) {
	t := c.peer.client.cfg.Trail
	if t == nil {
		return
	}
	if c.kept = t.Raise(c.kept, trail.Unusual); c.kept.IsZero() {
		c.keep(trail.Unusual)
		if !c.unsent() && c.quiet > 0 {
			s := trail.Step{At: c.quiet, What: trail.Sent}
			if c.on != nil {
				s.Road = c.on.Road()
			}
			c.add(s)
		}
	}
	c.add(stepOf(c.peer.client.host.Now(), what, road, err))
}

func stepOf(at time.Duration, what trail.What, road string, err *rpc.Error) trail.Step {
	s := trail.Step{At: at, What: what, Road: road}
	if err != nil {
		s.Code, s.Verdict = err.Code, err.Verdict
	}
	return s
}

// noteSent notes that a copy of c was given to k. p.mu is held.
func (p *peer) noteSent(k *Link, c *Call, now time.Duration, first bool) {
	switch {
	case first:
		c.add(trail.Step{At: now, What: trail.Sent, Road: k.Road()})
	case c.hedged && c.hedgeAt <= now && c.on != k:
		c.unusual(trail.Hedged, k.Road(), nil)
	default:
		c.unusual(trail.Resent, k.Road(), nil)
	}
}

// numbered notes that the session in which c is sent is open now. p.mu is held.
func (p *peer) numbered(c *Call) {
	c.session = p.session
	t := p.client.cfg.Trail
	if !c.kept.IsZero() {
		t.Rename(c.kept, c.id())
	}
	if c.before != nil {
		c.before.next(p, c, p.client.host.Now())
	}
}

// leave has what becomes of c next be noted as that of another attempt. p.mu is held.
func (c *Call) leave() {
	c.unusual(trail.SessionGone, "", nil)
	c.before, c.kept = &earlier{c.id(), c.kept}, trail.Ref{}
}

// failed notes that c has failed for its caller, and returns err with the name of the request.
func (c *Call) failed(err *rpc.Error) *rpc.Error {
	if c.peer == nil || c.seq == 0 {
		return err
	}
	if err.User == "" {
		c.unusual(trail.Ended, "", err)
	} else { // an error of the application's own may be usual
		c.note(trail.Ended, err)
	}
	if err.Request.IsZero() {
		named := *err
		named.Request = c.id()
		return &named
	}
	return err
}

// newSession sets what stands for the session. p.mu is held.
func (p *peer) newSession(grant transport.Grant) {
	salt := ""
	if grant == (transport.Grant{}) {
		salt = p.client.salt + p.name
	}
	p.grant, p.session = grant, wire.SessionID(grant, salt)
}

// noteReply notes the answer to c that came on a road.
func (c *Call) noteReply(road string, replayed bool, err *rpc.Error) {
	t, what := c.peer.client.cfg.Trail, trail.Answered
	if replayed {
		what = trail.Replayed
	}
	if t == nil {
		return
	}
	now := c.peer.client.host.Now()
	if replayed || err != nil && err.User == "" || now-c.quiet > trail.Slow {
		c.unusual(what, road, err)
		return
	}
	if !c.kept.IsZero() {
		c.add(stepOf(now, what, road, err))
	}
}

// noteRetry has c be named as the attempt before the next one.
func (c *Call) noteRetry() *earlier { return &earlier{c.id(), c.kept} }

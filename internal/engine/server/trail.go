package server

import (
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file notes what becomes of requests, see package trail. Of most of them nothing is noted: if
// something unusual happens to one, its earlier steps are noted from what its Inbound has. The session's
// lock is held, except where a comment says otherwise.

// ID returns the name of the request, which its client has for it, too.
func (in *Inbound) ID() rpc.RequestID {
	return rpc.RequestID{Session: in.session.number, Seq: in.Seq}
}

// noted is what a request keeps for the notes on it.
type noted struct {
	trail   trail.Ref
	came    time.Duration // node clock
	via     *Link         // the link on which its first copy came
	decided time.Duration // node clock; 0: it has no outcome, or nothing is noted at all
	about   bool          // it was decided later than that, within the same heartbeat
}

// arrived notes that the first copy of a request has come, if such a request is to be noted.
func (in *Inbound) arrived(c *Link, e *transport.Envelope) {
	s := in.session
	in.via = c
	if in.came = c.clock; in.came == 0 {
		in.came = s.server.host.Now()
	}
	marked := e.Key != "" || e.Once.Number > 0 || e.Trace[24]&1 != 0
	switch {
	case marked:
		in.remember(trail.Marked, trail.TextOf(e.Key))
	case in.Seq%trail.Every == 0, in.came-s.notedAt >= trail.Pause:
		s.notedAt = in.came
		in.remember(trail.Routine, trail.Text{})
	}
}

// remember begins the notes on a request, of which there are none.
func (in *Inbound) remember(class trail.Class, key trail.Text) {
	s := in.session
	h := trail.Head{ID: in.ID(), Side: trail.Server, Peer: s.id.Node, Principal: in.Principal(), Target: in.Target, TypeID: in.TypeID, Key: key}
	if in.Meta != nil {
		h.Trace = [16]byte(in.Meta.Trace[:16])
	}
	in.trail = s.server.cfg.Trail.Keep(&h, class)
	s.server.cfg.Trail.Add(in.trail, stepOf(in.came, trail.Received, in.via, nil))
	if in.decided > 0 {
		if !in.outcome.refused() {
			s.server.cfg.Trail.Add(in.trail, trail.Step{What: trail.Started}) // nobody knows when
		}
		for _, step := range []trail.Step{stepOf(in.decided, trail.Decided, nil, in.outcome.err), stepOf(in.decided, trail.Replied, in.via, nil)} {
			step.About = in.about
			s.server.cfg.Trail.Add(in.trail, step)
		}
	}
}

// note adds a step at this moment, if there are notes on the request.
func (in *Inbound) note(what trail.What, on *Link, err *rpc.Error) {
	if !in.trail.IsZero() {
		srv := in.session.server
		srv.cfg.Trail.Add(in.trail, stepOf(srv.host.Now(), what, on, err))
	}
}

// unusual adds a step that makes the request unusual.
func (in *Inbound) unusual(what trail.What, on *Link, err *rpc.Error) {
	srv := in.session.server
	if srv.cfg.Trail == nil || in.Seq == 0 {
		return
	}
	if in.trail = srv.cfg.Trail.Raise(in.trail, trail.Unusual); in.trail.IsZero() {
		in.remember(trail.Unusual, trail.Text{})
	}
	in.note(what, on, err)
}

func stepOf(at time.Duration, what trail.What, on *Link, err *rpc.Error) trail.Step {
	s := trail.Step{At: at, What: what}
	if on != nil {
		s.Road = on.Road()
	}
	if err != nil {
		s.Code, s.Verdict = err.Code, err.Verdict
	}
	return s
}

// noteOutcome notes the outcome of a request, which goes to those links.
func (in *Inbound) noteOutcome(o outcome, link *Link, more *more) {
	now, about := in.session.timeOf(in)
	what := trail.Decided
	if o.stored {
		what = trail.Earlier
	}
	switch {
	case o.err != nil && o.err.User == "", now-in.came > trail.Slow, more != nil:
		in.unusual(what, nil, o.err)
	default:
		in.note(what, nil, o.err)
	}
	if in.decided, in.about = now, about; in.trail.IsZero() {
		return
	}
	if link != nil {
		in.note(trail.Replied, link, nil)
	}
	for ; more != nil; more = more.next {
		in.note(trail.Replied, more.link, nil)
	}
}

// fewRequests is up to how many outstanding requests of a session the clock is read at the end of each. With
// more, the time that this takes would count.
const fewRequests = 8

// timeOf returns the clock at the end of a request, or, of a busy session, what it showed at the end of another one
// that had come together with this one: then about is set.
func (s *session) timeOf(in *Inbound) (now time.Duration, about bool) {
	h := s.server.host
	if in.trail.IsZero() && s.readIn == in.came && s.table.Outstanding() > fewRequests && h.Ticked() <= in.came {
		return s.readAt, true
	}
	s.readIn, s.readAt = in.came, h.Now()
	return s.readAt, false
}

// noteCopy notes what became of a copy of a request of which there is no record, or another one: mostly that it was
// refused. No lock need be held.
func (srv *Server) noteCopy(c *Link, session uint64, e *transport.Envelope, what trail.What, err *rpc.Error) {
	if srv.cfg.Trail == nil {
		return
	}
	h := trail.Head{ID: rpc.RequestID{Session: session, Seq: e.Seq}, Side: trail.Server, Peer: c.ID.Node, Principal: c.Principal, Target: c.names.intern(srv.seed, e.Target), TypeID: e.TypeID,
		Trace: [16]byte(e.Trace[:16]), Key: trail.TextOf(e.Key)}
	ref, now := srv.cfg.Trail.Keep(&h, trail.Unusual), srv.host.Now()
	srv.cfg.Trail.Add(ref, stepOf(now, what, c, err))
}

// sessionNumber returns what stands for the session of a copy in the names of its requests.
func (c *Link) sessionNumber(e *transport.Envelope) uint64 {
	if e.Grant == (transport.Grant{}) && len(c.sessions) > 0 {
		return c.sessions[len(c.sessions)-1].number
	}
	return wire.SessionID(e.Grant, "")
}

// noteWait notes that the request waits for the outcome of another one.
func (in *Inbound) noteWait() {
	s := stepOf(in.session.server.host.Now(), trail.WaitsFor, nil, nil)
	s.Other = in.name.behind
	if in.trail = in.session.server.cfg.Trail.Raise(in.trail, trail.Unusual); !in.trail.IsZero() {
		in.session.server.cfg.Trail.Add(in.trail, s)
	}
}

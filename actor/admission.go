package actor

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// The limits of Config.Admission are asked when a message of another node arrives, behind the access
// list and before it takes room anywhere. A copy of a request does not come so far, because the session
// knows it. What a request holds it gives back when it ends, see server.Inbound.Hold.

// Limited is the event of messages that were refused by a limit (Config.Admission, SetAdmission), which Err names. As
// in the log, there is at most one a second for each limit; Count says how many refusals it stands for, and
// Peer from which node the latest message came.
const Limited rpc.EventType = "limited"

// admissions is the limits of a system.
type admissions struct {
	sys *System
	log summaryLog
	any atomic.Bool // there are limits; without any, no message takes the lock

	mu    sync.Mutex // guards what follows
	table *admission.Table
	rules admission.Rules // of table
}

// permit is what a request from another node holds until it ends.
type permit struct {
	of *admissions
	admission.Permit
}

var permits = sync.Pool{New: func() any { return new(permit) }}

// Release implements server.Permit.
func (p *permit) Release(ran bool) {
	a, now := p.of, time.Now()
	a.mu.Lock()
	a.table.End(now, &p.Permit, ran)
	a.mu.Unlock()
	permits.Put(p)
}

// init sets the limits of a system that starts.
func (a *admissions) init(s *System, rules admission.Rules) error {
	a.sys, a.table = s, new(admission.Table)
	a.log.summaries.pause, a.log.log = faultPause, a.say
	return s.SetAdmission(rules)
}

// SetAdmission replaces the limits in force (Config.Admission) from the next message on. A limit that keeps its
// name and its Per keeps its counts: requests that are under way still count, and what is left of a rate is not
// given anew (admission.Table.Change). If it allows fewer requests than are under way, those go on, and none is
// admitted until enough of them have ended. If the rules are invalid, the error says why, and the old ones
// stay in force.
func (s *System) SetAdmission(rules admission.Rules) error {
	next, err := admission.New(rules) // takes long, so it is done outside of the lock
	if err != nil {
		return err
	}
	a := &s.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	a.table.Change(next)
	a.rules = rules
	a.any.Store(len(rules.List) > 0)
	return nil
}

// Admission returns the limits in force: those of the last SetAdmission, or of Config. Its slices must not be
// changed.
func (s *System) Admission() admission.Rules {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	return s.admission.rules
}

// limited returns why a message from another node is not admitted now, or nil if it is. A request holds
// its permit then. c is its actor, or nil if that is not here.
func (s *System) limited(in *server.Inbound, c *cell) *rpc.Error {
	m, applies := s.admitted(in, c)
	if !applies {
		return nil
	}
	if r := s.admission.judge(&m, in); r != nil {
		return s.admission.refuse(&m, r, in.From())
	}
	return nil
}

// admitted describes a message from another node for the limits; they do not apply to all messages.
func (s *System) admitted(in *server.Inbound, c *cell) (m admission.Message, applies bool) {
	if in.Origin().Local || in.Receipt || strings.HasPrefix(in.Target, hidden) || c != nil && c.stream() != nil {
		return m, false
	}
	if m, applies = s.messageTo(c, in.Target, in.TypeID); !applies {
		return m, false // the sender will learn that there is no such actor
	}
	m.Principal, m.Count = in.Principal(), max(in.Left(), 1)
	m.OneWay = m.OneWay || in.Seq == 0 || in.Confirm
	if in.Meta != nil {
		kind := s.kindAt(c, in.Target)
		m.Class = kind.classOf(kind.handlerOf(s, in.TypeID), mailbox.Class(in.Meta.Class))
	}
	return m, true
}

// messageTo describes a message of a type to the actor of that name, which is c, or nil if it does not
// exist yet. There is no such message if it can be neither an actor nor a virtual one.
func (s *System) messageTo(c *cell, name string, typeID uint64) (m admission.Message, ok bool) {
	kind := s.kindAt(c, name)
	if kind == nil {
		return m, false
	}
	m.Actor, m.Kind = name, kind.name
	if c != nil {
		m.Services = c.services()
	}
	h := kind.handlerOf(s, typeID)
	if h == nil {
		m.Type, _ = s.types.known(typeID)
		return m, true
	}
	m.Type, m.Class = s.types.get(h.typ).name, kind.classOf(h, mailbox.Normal)
	m.OneWay = h.op == access.Pull // it waits, and does nothing
	return m, true
}

// kindAt is the kind of c, or if that is nil the kind of which an actor of that name would be
// activated; nil if there is none.
func (s *System) kindAt(c *cell, name string) *Kind {
	if c != nil {
		return c.kind
	}
	if key, ok := activationOf(name); ok {
		return s.kinds[key.Kind]
	}
	return nil
}

// judge decides on m. in is the request that gets the permit; nil: nothing holds one.
func (a *admissions) judge(m *admission.Message, in *server.Inbound) *admission.Refusal {
	p := permits.Get().(*permit)
	p.of = a
	now := time.Now()
	a.mu.Lock()
	r := a.table.Admit(now, m, &p.Permit)
	a.mu.Unlock()
	switch {
	case r != nil, p.Empty():
		permits.Put(p)
	case !in.Hold(p): // it was given up meanwhile
		p.Release(false)
	}
	return r
}

// refuse counts and logs a refusal of what came from a node, and returns it for the sender, who does not
// learn which limit it is.
func (a *admissions) refuse(m *admission.Message, r *admission.Refusal, from string) *rpc.Error {
	a.sys.stats.limited.Add(uint64(max(m.Count, 1)))
	err := &rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, Message: "more messages come than are taken", RetryAfter: r.RetryAfter}
	if r.Concurrent {
		err.Message = "too many requests are under way"
	}
	why := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "limit %q: %s", r.Limit, err.Message)
	a.log.note(DeadLetter{Time: time.Now(), To: r.Limit, Type: m.Type, Reason: why}, from)
	return err
}

// admitTells returns those of the one-way messages to c that are admitted, and makes the others dead
// letters.
func (s *System) admitTells(c *cell, tells []*server.Inbound) (admitted []*server.Inbound) {
	for _, in := range tells {
		m, applies := s.admitted(in, c)
		if !applies || s.admission.judge(&m, nil) == nil {
			admitted = append(admitted, in)
			continue
		}
		for _, one := range server.Unpack([]*server.Inbound{in}) { // of a row, some may be admitted
			err := s.limited(one, c)
			if err == nil {
				admitted = append(admitted, one)
				continue
			}
			s.handBack(address{one.Target, s.cfg.Name}, item{msg: one, meta: s.metaFrom(one)}, err)
		}
	}
	return admitted
}

// mayStart returns why a job is not admitted whose actor is c, or nil if it is. A job counts for rates,
// but not among the requests under way, because jobs have bounds of their own.
func (c *Context) mayStart(of *cell, typeID uint64) *rpc.Error {
	s := c.System()
	if !s.admission.any.Load() || c.origin == nil || c.origin.Local {
		return nil
	}
	m, ok := s.messageTo(of, of.self.addr.name, typeID)
	if !ok {
		return nil
	}
	m.Principal, m.OneWay = c.Principal(), true
	if r := s.admission.judge(&m, nil); r != nil {
		return s.admission.refuse(&m, r, c.Node())
	}
	return nil
}

// say logs a summary of refusals, and makes an event of it.
func (a *admissions) say(sum logSummary) {
	a.sys.log.LogAttrs(context.Background(), slog.LevelWarn, string(Limited), slog.String("limit", sum.to), slog.String("peer", sum.detail),
		slog.String("last", sum.last), slog.Uint64("count", sum.count), slog.Any("err", sum.reason))
	a.sys.event(Event{Type: Limited, Peer: sum.detail, Err: sum.reason, Count: sum.count})
}

package actor

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// Who may reach which actor is decided here, when a message from another node is taken in:
// before it is decoded, and before it is in a mailbox. What the node's own actors send each
// other is not asked about.

// AccessDenied is the event of a message from another node that its sender may not send, or of a
// service that it may not expose (access.Expose):
// Peer is the node, Actor the address, Err says who and what. There is one a second at most
// for each principal and actor, as there is of the log's lines, and Count says for how many
// refusals it stands.
const AccessDenied EventType = "access denied"

// SetAccess has rules take the place of those in force (Config.Access), from the next message
// on: also for messages of streams that are open, the tokens of jobs, queues' consumers in
// line and stored replies. What an actor has in its mailbox it handles. The error says what is
// wrong with the rules; the old ones stay in force then.
func (s *System) SetAccess(rules access.Rules) error {
	list, err := access.Compile(rules)
	if err != nil {
		return err
	}
	if rules.IsZero() {
		list = nil
	}
	s.access.Store(list)
	s.members.rejudge()
	s.streams.each(func(st *stream) {
		if st.remote {
			if refusal := s.judge(rpc.Arrival{Origin: st.ctx.origin, Addr: st.addr}, st.subject()); refusal != nil {
				st.close(cut(refusal))
			}
		}
	})
	return nil
}

// LocalOnly keeps the actor from other nodes: only actors of its own node, and the program
// itself, can send to it. It cannot be Exposed then.
func LocalOnly() SpawnOption { return func(s *spawn) { s.local = true } }

// KeptLocal is LocalOnly for all actors of a kind.
func KeptLocal() KindOption { return func(k *Kind) { k.local = true } }

// traits are what few actors have.
type traits struct {
	services []string // that it is an instance of
	local    bool     // it is LocalOnly
	stream   *stream  // that a hidden actor holds
}

// governed is a message that is for something else than a plain request. asked says that
// it is taken as a request alone: told, it is a dead letter.
type governed interface {
	governs() (op access.Op, asked bool)
}

func (Enqueue[T]) governs() (access.Op, bool) { return access.Push, true }
func (Dequeue[T]) governs() (access.Op, bool) { return access.Pull, true }
func (Oversee[T]) governs() (access.Op, bool) { return access.Manage, true }
func (submitJob) governs() (access.Op, bool)  { return access.Submit, true }
func (pollJob) governs() (access.Op, bool)    { return access.Redeem, true }
func (awaitJob) governs() (access.Op, bool)   { return access.Redeem, true }
func (cancelJob) governs() (access.Op, bool)  { return access.Cancel, true }
func (streamNext) governs() (access.Op, bool) { return access.Stream, true }
func (streamPush) governs() (access.Op, bool) { return access.Stream, true }
func (streamSign) governs() (access.Op, bool) { return access.Stream, true }

// govern notes what h's message is for.
func (h *handler) govern() {
	if g, ok := reflect.Zero(h.typ).Interface().(governed); ok && h.typ.Kind() != reflect.Pointer {
		h.op, h.asked = g.governs()
	} else if h.opens {
		h.op, h.asked = access.Stream, true
	}
}

// errAsked is the fate of a one-way message of a type that is taken as a request alone.
var errAsked = rpc.Errorf(rpc.Unhandled, rpc.NotRun, "such a message is taken as a request only, and was sent one-way")

// systems makes a kind one of the system's own.
func systems() KindOption { return func(k *Kind) { k.system = true } }

// matter is what a message from another node is about.
type matter struct {
	cell   *cell // nil: nobody of that name
	name   string
	typeID uint64
	op     access.Op // 0: what its type is for
	broad  bool      // the real target is found out later: it is enough that there may be one
}

// restricted reports whether messages from other nodes to c need a look before they are
// taken in.
func (s *System) restricted(c *cell) bool {
	return s.access.Load() != nil || c != nil && (c.kind.asked || c.traits != nil)
}

// refusal is why a message from another node may not be taken in, nil if it may.
func (s *System) refusal(in *rpc.Inbound, c *cell) *rpc.Error {
	if in.Origin().Local {
		return nil
	}
	told := in.Seq == 0 || in.Acked
	m := matter{cell: c, name: in.Target, typeID: in.TypeID}
	switch {
	case in.Receipt: // it goes with one-way messages, of whatever type
		m.op, m.broad = access.Send, true
	case c != nil && c.kind.asked:
		switch h := c.kind.handlerOf(s, in.TypeID); {
		case h == nil && c.kind.system:
			return s.unhandled(c.kind, in.TypeID)
		case h != nil && h.opens && told:
			return errTold
		case h != nil && h.asked && told:
			return errAsked
		case c.kind == jobDeskKind:
			m.op, m.broad = h.op, true
		}
	}
	if s.access.Load() == nil && (c == nil || c.traits == nil) {
		return nil
	}
	err := s.check(in.Arrival(), m)
	if err != nil && c != nil && c.traits != nil {
		if st := c.traits.stream; st != nil && st.principal == in.Origin().Principal { // nobody else can end it
			st.close(cut(err))
		}
	}
	return err
}

// admit returns those of the one-way messages to c that may be taken in.
func (s *System) admit(c *cell, told []*rpc.Inbound) []*rpc.Inbound {
	rest := told[:0]
	for _, in := range told {
		if err := s.refusal(in, c); err != nil {
			s.handBack(address{in.Target, s.cfg.Name}, item{msg: in, meta: s.metaFrom(in)}, err)
			continue
		}
		rest = append(rest, in)
	}
	return rest
}

// permit is check for rpc, of what is recorded for a request.
func (s *System) permit(a rpc.Arrival) *rpc.Error {
	m := matter{cell: s.refs.live(a.Target), name: a.Target, typeID: a.TypeID}
	m.broad = m.cell != nil && m.cell.kind == jobDeskKind
	return s.judge(a, m)
}

// still is why the caller of a request that waited may not have its answer any more, nil if
// it may.
func (s *System) still(ctx *Context) *rpc.Error {
	in, remote := ctx.request().(*rpc.Inbound)
	if !remote || s.access.Load() == nil {
		return nil
	}
	return s.check(in.Arrival(), matter{cell: ctx.cell, name: in.Target, typeID: in.TypeID})
}

// subject is what a client's messages about its stream are judged as: by the message that
// has opened it.
func (st *stream) subject() matter {
	return matter{cell: st.ctx.cell, name: st.ctx.cell.self.addr.name, typeID: st.opener, op: access.Stream}
}

// check is judge, and takes note of what it refuses.
func (s *System) check(a rpc.Arrival, m matter) *rpc.Error {
	err := s.judge(a, m)
	if err != nil {
		s.denied(a, err)
	}
	return err
}

// judge decides by the access list and the actor's own traits. It only looks.
func (s *System) judge(a rpc.Arrival, m matter) *rpc.Error {
	if a.Origin == nil || a.Origin.Local {
		return nil
	}
	if c := m.cell; c != nil && c.traits != nil {
		if st := c.traits.stream; st != nil {
			m = st.subject()
		} else if c.traits.local {
			return refused(a, "send to", "local only")
		}
	}
	list := s.access.Load()
	if list == nil {
		return nil
	}
	who := access.Who{Principal: a.Origin.Principal, Addr: a.Addr}
	what := access.What{Actor: m.name, Op: m.op}
	var h *handler
	if m.cell != nil {
		what.Kind, what.Services = m.cell.kind.name, m.cell.services()
		h = m.cell.kind.handlerOf(s, m.typeID)
	}
	switch {
	case what.Op != 0:
	case h != nil && h.op != 0:
		what.Op = h.op
	case a.Tell:
		what.Op = access.Send
	default:
		what.Op = access.Call
	}
	if m.broad {
		if !list.MayAny(who, what.Op) {
			return refused(a, what.Op.String(), "no rule allows it")
		}
		return nil
	}
	if h != nil {
		what.Message = s.types.of(h.typ).name
	} else if m.typeID != 0 {
		what.Message, _ = s.types.known(m.typeID)
	}
	if d := list.Decide(who, what); !d.Allowed {
		return refused(a, what.Op.String(), d.Rule)
	}
	return nil
}

// denial is the cause of a refusal, for the log: its caller does not learn of the rule.
type denial struct{ op, rule string }

func (d denial) Error() string { return d.op + ", by " + d.rule }

func refused(a rpc.Arrival, op, rule string) *rpc.Error {
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", denial{op, rule})
	err.Message = a.Origin.Principal + " may not " + op + " " + a.Target
	return err
}

// cut is what a stream ends with whose client may not use it any more.
func cut(why *rpc.Error) *rpc.Error {
	return rpc.Errorf(rpc.Denied, rpc.HasRun, "the stream was cut: %s", why.Message)
}

// mayUse is why the caller of a request to the system's own actors may not do op with an
// actor, nil if it may. It is for what shows only when the request is decoded.
func (c *Context) mayUse(name string, typeID uint64, op access.Op) *rpc.Error {
	in, remote := c.request().(*rpc.Inbound)
	if !remote {
		return nil
	}
	s := c.System()
	a := in.Arrival()
	a.Target, a.TypeID = name, typeID
	return s.check(a, matter{cell: s.refs.live(name), name: name, typeID: typeID, op: op})
}

// foreign is what the caller gets for what is another principal's.
func (c *Context) foreign(what string) *rpc.Error {
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%s is another principal's", what)
	if in, remote := c.req.(*rpc.Inbound); remote {
		c.System().denied(in.Arrival(), err)
	}
	return err
}

// denied takes note of a refusal.
func (s *System) denied(a rpc.Arrival, err *rpc.Error) {
	s.stats.denied.Add(1)
	d := DeadLetter{Time: time.Now(), To: a.Target + "@" + s.cfg.Name, From: a.Origin.Principal, Type: s.types.nameOf(a.TypeID), Reason: err}
	s.audit.note(d, a.Origin.Node)
}

// exposure is an actor of another node that is said to be an instance of a service.
type exposure struct{ node, principal, service, actor, rule string }

// mayNotExpose takes note of an instance that is not used.
func (s *System) mayNotExpose(x exposure) {
	s.stats.denied.Add(1)
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", denial{access.Expose.String(), x.rule})
	err.Message = x.principal + " may not expose service " + x.service
	s.audit.note(DeadLetter{Time: time.Now(), To: x.actor + "@" + x.node, From: x.principal, Type: "service " + x.service, Reason: err}, x.node)
}

// audited logs refusals, and makes an event of them.
func (s *System) audited(sum letterSum) {
	var why denial
	_ = errors.As(sum.reason, &why)
	actor, who := sum.to, sum.from
	if actor == "" {
		actor, who = "others", "several"
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, string(AccessDenied), slog.String("principal", who), slog.String("peer", sum.detail), slog.String("actor", actor),
		slog.String("op", why.op), slog.String("rule", why.rule), slog.String("last", sum.last), slog.Uint64("count", sum.count))
	s.event(Event{Type: AccessDenied, Actor: actor, Peer: sum.detail, Err: sum.reason, Count: sum.count})
}

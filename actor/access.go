package actor

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/transport"
)

// Access is checked when a message arrives from another node, before it is decoded and before
// it is in a mailbox. Messages between the node's own actors are not checked.

// AccessDenied is the event of a message that another node may not send, or of a service that it
// may not expose (access.Expose). Peer is the node, Actor the address, and Err says who and what.
// As in the log, there is at most one a second for each principal and actor; Count says how
// many refusals it stands for.
const AccessDenied rpc.EventType = "access denied"

// SetAccess replaces the rules in force (Config.Access) from the next message on. The new rules
// also apply to open streams, job tokens, consumers that wait at a queue, and stored replies.
// Messages that are already in a mailbox are still handled. If the rules are invalid, the error
// says why, and the old ones stay in force.
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
			if refusal := s.judge(server.Arrival{Origin: st.ctx.origin, Addr: st.addr}, st.subject()); refusal != nil {
				st.close(cut(refusal))
			}
		}
	})
	return nil
}

// Access returns the rules in force: those of the last SetAccess, or of Config. Its slices must not be changed.
// Of rules that allow everything it returns the zero value.
func (s *System) Access() access.Rules {
	if list := s.access.Load(); list != nil {
		return list.Rules()
	}
	return access.Rules{}
}

// LocalOnly hides the actor from other nodes: only the program itself and actors of its own
// node can send to it. It cannot be combined with Expose.
func LocalOnly() SpawnOption { return func(s *spawn) { s.local = true } }

// KeptLocal makes all actors of a kind LocalOnly.
func KeptLocal() KindOption { return func(k *Kind) { k.local = true } }

// withOp is a message that needs another permission than to send or to call. asked says that
// it is accepted only as a request; sent one-way, it becomes a dead letter.
type withOp interface {
	neededOp() (op access.Op, asked bool)
}

func (enqueue[T]) neededOp() (access.Op, bool) { return access.Push, true }
func (dequeue[T]) neededOp() (access.Op, bool) { return access.Pull, true }
func (oversee[T]) neededOp() (access.Op, bool) { return access.Manage, true }
func (submitJob) neededOp() (access.Op, bool)  { return access.Submit, true }
func (keptJob) neededOp() (access.Op, bool)    { return access.Submit, false }
func (pollJob) neededOp() (access.Op, bool)    { return access.Redeem, true }
func (awaitJob) neededOp() (access.Op, bool)   { return access.Redeem, true }
func (cancelJob) neededOp() (access.Op, bool)  { return access.Cancel, true }
func (streamNext) neededOp() (access.Op, bool) { return access.Stream, true }
func (streamPush) neededOp() (access.Op, bool) { return access.Stream, true }
func (streamSign) neededOp() (access.Op, bool) { return access.Stream, true }

// setOp sets the permission that h's message needs.
func (h *handler) setOp() {
	if g, ok := reflect.Zero(h.typ).Interface().(withOp); ok && h.typ.Kind() != reflect.Pointer {
		h.op, h.asked = g.neededOp()
	} else if h.opens {
		h.op, h.asked = access.Stream, true
	}
}

// errAsked is the error of a one-way message of a type that is accepted only as a request.
var errAsked = rpc.Errorf(rpc.Unhandled, rpc.NotRun, "such a message is taken as a request only, and was sent one-way")

// systems marks a kind as internal to the system. Its actors survive every failure.
func systems() KindOption {
	return func(k *Kind) {
		k.system = true
		k.strategy.Decide = func(supervise.Failure) supervise.Directive { return supervise.Resume }
	}
}

// matter is what a message from another node wants: the actor, the type and the operation.
type matter struct {
	cell   *cell // nil: no actor has that name
	name   string
	typeID uint64
	topic  string    // of what is published
	op     access.Op // 0: it follows from the type
	broad  bool      // the real target is not known yet: it is enough that some target is allowed
}

// restricted reports whether messages from other nodes to c have to be checked.
func (s *System) restricted(c *cell) bool {
	return s.access.Load() != nil || c != nil && (c.kind.asked || c.more.Load() != nil)
}

// refusal returns why a message from another node may not be accepted, or nil if it may.
func (s *System) refusal(in *server.Inbound, c *cell) *rpc.Error {
	if in.Origin().Local {
		return nil
	}
	oneWay := in.Seq == 0 || in.Confirm || in.Number > 0
	m := matter{cell: c, name: in.Target, typeID: in.TypeID}
	switch {
	case c != nil && c.kind == topicServerKind: // the topic is in the message
		m.op, m.broad = access.Publish, true
	case in.Receipt: // it belongs to one-way messages of any type
		m.op, m.broad = access.Send, true
	case c != nil && c.kind.asked:
		switch h := c.kind.handlerOf(s, in.TypeID); {
		case h == nil && c.kind.system:
			return s.unhandled(c.kind, in.TypeID)
		case h != nil && h.opens && oneWay:
			return errNotOpened
		case h != nil && h.asked && oneWay:
			return errAsked
		case h != nil && h.op == 0 && c.kind == nodeServerKind: // it says by itself who may send it
			return nil
		case c.kind == jobServerKind, c.kind == nodeServerKind:
			m.op, m.broad = h.op, true
		}
	}
	if s.access.Load() == nil && (c == nil || c.more.Load() == nil) && !in.Relayed() {
		return nil
	}
	err := s.check(in.Arrival(), m)
	if err != nil && c != nil {
		if st := c.stream(); st != nil && st.principal == in.Origin().Principal { // only the principal that has opened the stream can end it
			st.close(cut(err))
		}
	}
	return err
}

// admit returns those of the one-way messages to c that may be accepted, and makes the others
// dead letters.
func (s *System) admit(c *cell, tells []*server.Inbound) []*server.Inbound {
	rest := tells[:0]
	for _, in := range tells {
		if err := s.refusal(in, c); err != nil {
			for range in.Left() - 1 {
				_ = s.refusal(in, c) // each message of a row is counted
			}
			s.handBack(address{in.Target, s.cfg.Name}, item{msg: in, meta: s.metaFrom(in)}, err)
			continue
		}
		rest = append(rest, in)
	}
	return rest
}

// permit is judge for the engine, which asks whether a caller may get a recorded outcome.
func (s *System) permit(a server.Arrival) *rpc.Error {
	if a.Outbox != "" {
		if err := s.mayBeOf(a); err != nil {
			return err
		}
	}
	m := matter{cell: s.refs.live(a.Target), name: a.Target, typeID: a.TypeID}
	m.broad = m.cell != nil && (m.cell.kind == jobServerKind || m.cell.kind == nodeServerKind)
	if m.cell != nil && m.cell.kind == nodeServerKind {
		if h := m.cell.kind.handlerOf(s, a.TypeID); h != nil && h.op == 0 {
			return nil
		}
	}
	return s.judge(a, m)
}

// recheck returns why the caller of a request that has waited may no longer have its answer,
// or nil if it may.
func (s *System) recheck(ctx *Context) *rpc.Error {
	in, remote := ctx.request().(*server.Inbound)
	if !remote || s.access.Load() == nil {
		return nil
	}
	return s.check(in.Arrival(), matter{cell: ctx.cell, name: in.Target, typeID: in.TypeID})
}

// subject returns the matter by which a client's messages about its stream are judged: that of
// the message that has opened the stream.
func (st *stream) subject() matter {
	return matter{cell: st.ctx.cell, name: st.ctx.cell.self.addr.name, typeID: st.opener, op: access.Stream}
}

// check is judge, and also counts and logs a refusal.
func (s *System) check(a server.Arrival, m matter) *rpc.Error {
	err := s.judge(a, m)
	if err != nil {
		s.denied(a, err)
	}
	return err
}

// judge decides by the access list and the actor's traits. It has no side effects.
func (s *System) judge(a server.Arrival, m matter) *rpc.Error {
	if a.Origin == nil || a.Origin.Local {
		return nil
	}
	if c := m.cell; c != nil {
		if st := c.stream(); st != nil {
			m = st.subject()
		} else if c.localOnly() {
			return refused(a, "send to", "local only")
		}
	}
	list := s.access.Load()
	if err := mayRelay(list, a); err != nil {
		return err
	}
	if list == nil && m.op == access.Stop {
		return refused(a, m.op.String(), "no rule allows it")
	}
	if list == nil {
		return nil
	}
	who := access.Who{Principal: a.Origin.Principal, Addr: a.Addr}
	if a.Origin.Relay != nil {
		who.Addr = netip.Addr{} // the address is that of the relay
	}
	what := access.What{Actor: m.name, Topic: m.topic, Op: m.op}
	var h *handler
	if m.cell != nil {
		what.Services = m.cell.services()
	}
	if kind := s.kindAt(m.cell, m.name); kind != nil {
		what.Kind, h = kind.name, kind.handlerOf(s, m.typeID)
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
		what.Message = s.types.get(h.typ).name
	} else if m.typeID != 0 {
		what.Message, _ = s.types.known(m.typeID)
	}
	if d := list.Decide(who, what); !d.Allowed {
		return refused(a, what.Op.String(), d.Rule)
	}
	return nil
}

// mayRelay returns why a message may not be sent for another principal by the peer that has sent it, or nil if it may, or was
// not. Without an access list, only peers may that nobody tells apart: otherwise each could use what belongs to another one.
func mayRelay(list *access.List, a server.Arrival) *rpc.Error {
	by, rule := a.Origin.Relay, "no rule allows it"
	switch {
	case by == nil || by.Local:
		return nil
	case list != nil:
		d := list.MayRelay(access.Who{Principal: by.Principal, Addr: a.Addr}, a.Origin.Principal)
		if d.Allowed {
			return nil
		}
		rule = d.Rule
	case by.Principal == transport.Anonymous || by.Principal == transport.TokenHolder:
		return nil
	}
	err := refused(a, access.Relay.String(), rule)
	err.Message = by.Principal + " may not relay for " + a.Origin.Principal
	return err
}

// denial is the cause of a refusal, for the log. The caller does not learn the rule.
type denial struct{ op, rule string }

func (d denial) Error() string { return d.op + ", by " + d.rule }

func refused(a server.Arrival, op, rule string) *rpc.Error {
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", denial{op, rule})
	err.Message = a.Origin.Principal + " may not " + op + " " + a.Target
	return err
}

// cut is the error of a stream whose client may not use it any more.
func cut(why *rpc.Error) *rpc.Error {
	return rpc.Errorf(rpc.Denied, rpc.HasRun, "the stream was cut: %s", why.Message)
}

// mayUse returns why the caller of a request to an internal actor may not do op with the actor
// of that name, or nil if it may. It is for requests whose real target is only known after
// decoding.
func (c *Context) mayUse(name string, typeID uint64, op access.Op) *rpc.Error {
	in, remote := c.request().(*server.Inbound)
	if !remote {
		return nil
	}
	s := c.System()
	a := in.Arrival()
	a.Target, a.TypeID = name, typeID
	return s.check(a, matter{cell: s.refs.live(name), name: name, typeID: typeID, op: op})
}

// maySee reports whether the caller of a request to an internal actor may learn of c. Nothing is
// counted or logged.
func (c *Context) maySee(of *cell, typeID uint64) bool {
	in, remote := c.request().(*server.Inbound)
	if !remote {
		return true
	}
	a := in.Arrival()
	a.Target, a.TypeID = of.self.addr.name, typeID
	return c.System().judge(a, matter{cell: of, name: a.Target, typeID: typeID, op: access.Inspect}) == nil
}

// foreign is the error of a caller that uses something of another principal.
func (c *Context) foreign(what string) *rpc.Error {
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%s is another principal's", what)
	if in, remote := c.req.(*server.Inbound); remote {
		c.System().denied(in.Arrival(), err)
	}
	return err
}

// denied counts and logs a refusal.
func (s *System) denied(a server.Arrival, err *rpc.Error) {
	s.stats.denied.Add(1)
	d := DeadLetter{Time: time.Now(), To: a.Target + "@" + s.cfg.Name, From: a.Origin.Principal, Type: s.types.nameOf(a.TypeID), Reason: err}
	s.audit.note(d, a.Origin.Node)
}

// exposure is an actor of another node that claims to be an instance of a service.
type exposure struct{ node, principal, service, actor, rule string }

// mayNotExpose counts and logs an instance that is not used because its node may not expose it.
func (s *System) mayNotExpose(x exposure) {
	s.stats.denied.Add(1)
	err := rpc.Errorf(rpc.Denied, rpc.NotRun, "%w", denial{access.Expose.String(), x.rule})
	err.Message = x.principal + " may not expose service " + x.service
	s.audit.note(DeadLetter{Time: time.Now(), To: x.actor + "@" + x.node, From: x.principal, Type: "service " + x.service, Reason: err}, x.node)
}

// audited logs a summary of refusals, and makes an event of it.
func (s *System) audited(sum logSummary) {
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

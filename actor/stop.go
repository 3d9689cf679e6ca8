package actor

import (
	"context"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// Stop ends an actor behind the messages that wait in its mailbox, which accepts no more from now
// on: the actor handles those that wait, its children end, and Stopping is called. Stop waits until
// the actor's name is free. If ctx ends first, the error says so, and the actor still ends. If there
// is no such actor, Stop returns nil.
//
// An actor cannot wait for its own end, nor for that of an actor that it descends from: the error
// is then rpc.Invalid, and nothing is stopped; see Context.Stop. Nor can two actors wait for
// each other: see ErrCycle.
//
// An actor of another node is stopped if that node's access list has a rule that allows
// access.Stop by name; otherwise the error is rpc.Denied. The request has the deadline of ctx, or
// Config.Timeout; the error's verdict says whether the other node has begun to stop the actor.
//
// Stop of a virtual actor ends its activation, wherever that is, and activates nothing: if there is none, it
// returns nil. The next message activates it anew. Rules name the activation, ~kind/id.
func (s *System) Stop(ctx context.Context, r Ref) error { return s.stop(ctx, r, false) }

// StopNow is Stop, but the actor ends after the message that it is handling. Requests that wait in
// its mailbox fail as rpc.Unavailable, and one-way messages become dead letters.
func (s *System) StopNow(ctx context.Context, r Ref) error {
	return s.stop(ctx, r, true)
}

func (s *System) stop(ctx context.Context, r Ref, now bool) error {
	t := s.Bind(r).to
	switch {
	case t != nil && t.addr.node == anywhere:
		at, err := s.activeAt(ctx, t, access.Stop)
		if err != nil || at == nil {
			return err
		}
		return s.stop(ctx, Ref{to: at}, now)
	case t == nil || t.addr.routed() || strings.HasPrefix(t.addr.name, hidden):
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v cannot be stopped", r)
	case t.addr.node != s.cfg.Name:
		return s.stopAfar(ctx, t, now)
	}
	c := t.cell.Load()
	if c == nil {
		return nil
	}
	from := handling(ctx)
	if from != nil && from.isIn(from.cell) && from.cell.isBelow(c) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v waits for the end of %v, which ends after it", from.Self(), t.addr)
	}
	if from.waits() {
		w, err := from.waitFor(t, c)
		if err != nil {
			return err
		}
		defer w.end(from.cell)
	}
	over := s.refs.whenGone(c)
	c.stop(now)
	select {
	case <-over: // an end that is there beats a ctx that has ended
		return nil
	default:
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return rpc.FromContext(ctx, rpc.Unknown)
	}
}

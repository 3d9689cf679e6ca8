package actor

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// tellFollowed sends a one-way message to a virtual actor on another node, as a request that is answered when
// the message is in its mailbox. So it can be sent on if the actor is somewhere else. Nobody waits
// for the answer; if the message reaches no activation, it is a dead letter.
func tellFollowed(ctx context.Context, from *Context, at *routedCall, t *target, m any, typ reflect.Type, opts *settings) error {
	s := t.sys
	var r client.Request
	if err := s.request(ctx, from, at, t, m, typ, wording{compact: true}, opts, &r); err != nil {
		return err
	}
	r.Confirm = true
	if from.inTurn() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.SendWait)
		defer cancel()
	}
	_, err := s.node.Client.Do(ctx, r, followed{s, t.addr.name[len(placed):] + "@" + anywhere, r})
	return err
}

// followed is a one-way message whose sender does not wait for it to arrive.
type followed struct {
	sys *System
	to  string
	req client.Request
}

// Complete implements client.Completer.
func (f followed) Complete(_ *promise.Reply, err error) {
	if err == nil {
		return
	}
	s, r, rare := f.sys, f.req, f.req.Rare
	typeID := s.compacts.typeOf(&r)
	d := DeadLetter{To: f.to, From: rare.Sender, Type: s.types.nameOf(typeID), Reason: failure(s.withName(err, typeID))}
	r.Body = slices.Clone(r.Body)
	came := &letterCame{meta: &wire.Meta{Sender: rare.Sender, Trace: rare.Trace, Headers: rare.Headers, Class: rare.Class}}
	s.services.run(func() { // it may be called under a lock of a peer
		if err := s.node.Client.Named(&r); err != nil {
			s.log.Error("a message that did not arrive cannot be kept", "to", f.to, "err", err)
			return
		}
		s.encodedLetter(d, deadletter.Encoded{TypeID: r.TypeID, Codec: r.Codec, Body: r.Body}, came)
	})
}

// maxOnward is how many one-way messages wait to be sent on to one virtual actor.
const maxOnward = 4 * mailbox.DefaultCapacity

// onward is a one-way message that is sent on.
type onward struct {
	item
	at placement.Holder // who has the actor; zero: it is not known
}

// sendOn sends a one-way message of this node to where its actor is, behind those that were sent on before.
// It returns false if that cannot be done.
func (v *virtuals) sendOn(to *target, it item, at placement.Holder) bool {
	it.msg = plainValue(it.msg)
	v.mu.Lock()
	defer v.mu.Unlock()
	waits := len(v.onward[to])
	if waits >= maxOnward || waits == 0 && !v.sys.services.run(func() { v.sendAll(to) }) {
		return false
	}
	if v.onward == nil {
		v.onward = map[*target][]onward{}
	}
	v.onward[to] = append(v.onward[to], onward{it, at})
	v.sending.Store(int32(len(v.onward)))
	return true
}

// sentOnWait is how long others wait for messages that are sent on, so that they do not overtake them: longer than that takes
// while their actor stays where it is.
const sentOnWait = time.Second

// drainage is for those who wait until all messages have been sent on that wait for that.
type drainage struct {
	done  chan struct{}
	until time.Time // when nobody waits any more
}

// awaitSentOn waits until all messages that are being sent on to an actor are in its mailbox. All who wait for these
// messages do so until the same moment at the latest.
func (v *virtuals) awaitSentOn(to *target) {
	if v.sending.Load() == 0 {
		return
	}
	v.mu.Lock()
	if len(v.onward[to]) == 0 {
		v.mu.Unlock()
		return
	}
	d, ok := v.drains[to]
	if !ok {
		d = drainage{make(chan struct{}), time.Now().Add(sentOnWait)}
		if v.drains == nil {
			v.drains = map[*target]drainage{}
		}
		v.drains[to] = d
	}
	v.mu.Unlock()
	limit := time.NewTimer(time.Until(d.until))
	defer limit.Stop()
	select {
	case <-d.done:
	case <-limit.C:
	case <-v.sys.ctx.Done():
	}
}

// sendBehind is sendOn if others are being sent on to the same actor, so that this one does not overtake them.
// It returns false if there are none. The error says that there is no room.
func (v *virtuals) sendBehind(to *target, it item) (sent bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch n := len(v.onward[to]); {
	case n == 0:
		return false, nil
	case n >= maxOnward:
		return false, rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%d messages wait to be sent on to virtual actor %s", n, to.addr.name)
	}
	it.msg = plainValue(it.msg)
	v.onward[to] = append(v.onward[to], onward{item: it})
	return true, nil
}

// sendAll sends on what there is, one message after another, so that they keep their order.
func (v *virtuals) sendAll(to *target) {
	for more := true; more; {
		v.mu.Lock()
		it := v.onward[to][0]
		v.mu.Unlock()
		ctx, cancel := context.WithTimeout(v.sys.ctx, v.sys.cfg.Timeout)
		if err := tellOn(ctx, to, it.at, it.msg, it.meta); err != nil {
			v.sys.handBack(to.addr, it.item, failure(err))
		}
		cancel()
		v.mu.Lock()
		rest := v.onward[to]
		rest[0] = onward{}
		if more = len(rest) > 1; more {
			v.onward[to] = rest[1:]
		} else {
			delete(v.onward, to)
			v.sending.Store(int32(len(v.onward)))
			if d, ok := v.drains[to]; ok {
				close(d.done)
				delete(v.drains, to)
			}
		}
		v.mu.Unlock()
	}
}

// tellOn sends a one-way message that has come to the wrong node on to its virtual actor, first to the node that is
// said to have it. It waits until the message is in the mailbox.
func tellOn(ctx context.Context, to *target, at placement.Holder, msg any, carried *meta) error {
	s := to.sys
	v := s.routedCall(ctx, nil, to, nil)
	v.search.asked, v.search.told = at, at.Node != ""
	for {
		t, none := v.nextOrWait(ctx)
		if none != nil {
			return none
		}
		if c := t.cell.Load(); c != nil || t.addr.node == s.cfg.Name {
			err := error(s.noActor(nil, t.addr))
			if c != nil {
				err = put(ctx, nil, c, msg, nil, carried, nil, true)
			}
			v.end(err)
			if err == nil || !v.waitAgain(ctx, err) {
				return err
			}
			continue
		}
		x := s.node.Client.Exchange()
		err := s.request(ctx, nil, v, t, msg, reflect.TypeOf(msg), wording{compact: true}, nil, x.Request())
		if err != nil {
			v.end(err)
			return err
		}
		r := x.Request()
		r.Confirm = true
		if carried != nil {
			r.Rare.Trace, r.Rare.Headers, r.Rare.Class = carried.trace, carried.headers, transport.Class(carried.class)
			if from := carried.sender.to; from != nil {
				r.Rare.Sender = from.senderName()
			}
		}
		_, err = x.Do(ctx)
		err = s.withName(err, r.TypeID)
		x.Free()
		v.end(err)
		return err
	}
}

// senderName is how this node names the actor to others; empty if it is not one of its own.
func (t *target) senderName() string {
	switch t.addr.node {
	case t.sys.cfg.Name:
		return t.addr.String()
	case anywhere:
		return placed + t.addr.name + "@" + t.sys.cfg.Name
	}
	return ""
}

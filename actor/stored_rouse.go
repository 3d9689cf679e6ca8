package actor

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
)

// A stored actor whose node has died may keep messages that were not sent. So that they do not wait until
// somebody asks the actor for something, one of the nodes that host the kind looks at the claims of the nodes
// that are gone, and has those actors activated.

const (
	rouseWait  = time.Second      // before the claims are looked at, because more nodes may go
	rouseAgain = 10 * time.Second // before they are looked at once more, after an error
	rouseTries = 6
)

// rouseKey is the id that nobody's actor has, by which the node is chosen that looks after a kind.
const rouseKey = "/"

// rouseSoon has the claims of nodes that are gone looked at.
func (v *virtuals) rouseSoon() {
	if len(v.bounds) == 0 || !v.rousing.CompareAndSwap(false, true) {
		return
	}
	if !v.sys.services.run(func() {
		ctx := v.sys.ctx
		for try, pause := 0, rouseWait; try < rouseTries && sleep(ctx, pause); try, pause = try+1, rouseAgain {
			v.rousing.Store(false) // what changes from now on is looked at later
			err := v.rouseAll(ctx)
			if err == nil || ctx.Err() != nil || !v.rousing.CompareAndSwap(false, true) {
				return
			}
			v.sys.log.Warn("it could not be found out which stored actors of nodes that are gone keep messages", "err", err)
		}
		v.rousing.Store(false)
	}) {
		v.rousing.Store(false)
	}
}

// rouseAll activates the actors whose holders are gone, and which keep messages.
func (v *virtuals) rouseAll(ctx context.Context) (err error) {
	for _, kind := range v.sys.cfg.Kinds {
		if kind.keeps == nil {
			continue
		}
		if node, ok := v.hostsOf(kind.name).choose(placement.Key{Kind: kind.name, ID: rouseKey}, nil); v.sys.cfg.Claims != nil && (!ok || node != v.sys.cfg.Name) {
			continue
		}
		for key, failed := range v.abandoned(ctx, kind.name) {
			if failed == nil {
				failed = v.rouseIfItKeeps(ctx, key)
			}
			err = errors.Join(err, failed)
		}
	}
	return err
}

// abandoned yields the actors of a kind whose holders are gone, as far as is known here.
func (v *virtuals) abandoned(ctx context.Context, kind string) iter.Seq2[placement.Key, error] {
	return func(yield func(placement.Key, error) bool) {
		if v.sys.cfg.Claims == nil {
			for id, err := range v.sys.cfg.States.Walk(ctx, kind) {
				if !yield(placement.Key{Kind: kind, ID: id}, err) {
					return
				}
			}
			return
		}
		for found, err := range v.sys.cfg.Claims.Walk(ctx, kind) {
			if err == nil && v.sys.members.sight(found.Claim) == placement.Alive {
				continue
			}
			if !yield(found.Key, err) {
				return
			}
		}
	}
}

// rouseIfItKeeps activates an actor if it keeps messages.
func (v *virtuals) rouseIfItKeeps(ctx context.Context, key placement.Key) error {
	rec, _, err := v.sys.cfg.States.Load(ctx, state.Key{Kind: key.Kind, ID: key.ID})
	switch {
	case errors.Is(err, state.ErrNone), errors.Is(err, state.ErrFormat):
		return nil
	case err != nil:
		return err
	case len(rec.Outbox) == 0:
		return nil
	}
	return v.rouse(ctx, key)
}

// rouse activates an actor, wherever that is.
func (v *virtuals) rouse(ctx context.Context, key placement.Key) error {
	_, err := v.reach(ctx, key, *v.sys.retry.Load())
	if rpc.Ran(err) == rpc.Unknown { // it is activated, or its node is gone and will be looked at
		return nil
	}
	return err
}

// reach activates an actor if it is not active, and returns who has it.
func (v *virtuals) reach(ctx context.Context, key placement.Key, retry rpc.Retry) (by placement.Holder, err error) {
	s := v.sys
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if len(s.cfg.Transports) == 0 {
		s.startAlone()
	}
	at := s.routedCall(ctx, nil, s.refs.target(s, address{key.String(), anywhere}), nil)
	t, none := at.nextOrWait(ctx)
	if none != nil {
		return by, none
	}
	x := s.node.Client.Exchange()
	r := x.Request()
	r.Node, r.Target, r.Retry, r.Timeout, r.Receipt = t.addr.node, t.addr.name, &retry, s.timeout(ctx), true
	r.Rare = new(client.Rare)
	at.setRoute(r.Rare)
	_, err = x.Do(ctx)
	x.Free()
	return at.search.last(), err
}

// rouseAnew activates an actor again whose activation on this node has ended before all its messages were sent.
func (c *cell) rouseAnew() {
	v := &c.self.sys.virtuals
	key, _ := activationOf(c.self.addr.name)
	if v.sys.life.reached(parting) {
		return
	}
	v.sys.services.run(func() {
		for pause := rouseWait; sleep(v.sys.ctx, pause); pause = min(2*pause, time.Minute) {
			if err := v.rouseIfItKeeps(v.sys.ctx, key); err == nil {
				return
			}
		}
	})
}

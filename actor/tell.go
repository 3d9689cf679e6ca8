package actor

import (
	"context"
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// tell sends a one-way message that is not simply for an actor that lives here.
func tell[M any](ctx context.Context, from *Context, to *target, m M, opts []rpc.Option) error {
	if to.addr.node == anyNode {
		return tellService(ctx, from, to, m, opts)
	}
	return tellAt(ctx, from, nil, to, m, opts)
}

// tellAt is tell to one actor, which at has chosen if it is of a service.
func tellAt[M any](ctx context.Context, from *Context, at *visit, t *target, m M, opts []rpc.Option) error {
	s := t.sys
	if keyed(opts) && !isAcked(opts) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a one-way message can have a key only with rpc.Acked")
	}
	if t.addr.node == s.cfg.Name && !keyed(opts) {
		none := s.noActor(from, t.addr)
		if isAcked(opts) || none == errShutdown {
			return none
		}
		s.handBack(t.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, none)
		return nil
	}
	if isAcked(opts) {
		x := s.node.Exchange()
		if err := compose(ctx, from, at, t, m, opts, x.Request(), &boxesOf(x).message); err != nil {
			return err
		}
		_, err := x.Do(ctx)
		err = s.withName(err, x.Request().TypeID)
		x.Free()
		return err
	}
	out := tells.Get().(*outgoing)
	if err := compose(ctx, from, at, t, m, opts, &out.request, &out.box); err != nil {
		return err
	}
	return s.send(ctx, from, out)
}

// outgoing is a one-way message on its way to a link.
type outgoing struct {
	request rpc.Request
	box     any // see boxIn
}

// tells spares allocations per one-way message.
var tells = sync.Pool{New: func() any { return new(outgoing) }}

const maxSpareBody = 64 << 10 // bytes of the largest one to keep

// send hands a one-way message to a link, and its memory to the next one.
func (s *System) send(ctx context.Context, from *Context, out *outgoing) error {
	r := &out.request
	if from.inTurn() { // a cycle of actors that wait for each other must end
		r.Timeout = min(r.Timeout, s.cfg.SendWait)
	}
	err := s.node.Tell(ctx, *r) // which keeps nothing of it
	if body := r.Body[:0]; cap(body) <= maxSpareBody {
		*r = rpc.Request{Body: body}
		tells.Put(out)
	}
	return err
}

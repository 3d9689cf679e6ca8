package actor

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// requestNames gives the requests of a system to stored actors their names: numbers that it gives once, which the
// actors keep with the outcomes until they are told that nobody needs them any more.
type requestNames struct {
	mu   sync.Mutex // guards what follows
	last uint64
	open map[*target]*openRequests // by actor; of others nothing is open
}

// openRequests are the requests to an actor from the oldest one on that has not ended. The actor keeps the outcomes of all
// of them, because it is only told that nobody needs those before the oldest.
type openRequests struct {
	all  []openRequest // in the order of their numbers; the first one has not ended
	room chan struct{} // closed when half of them have ended; nil: nobody waits for that
}

type openRequest struct {
	number uint64
	ended  bool
}

// maxOpen is how many requests to an actor may be open before those who can wait do so. It is below the number of outcomes
// that an actor keeps for one node, so that a caller which is not scheduled for a while makes others wait, and has none
// refused.
const maxOpen = stored.DefaultOutcomes / 8

// requestName is the name of one request.
type requestName struct {
	names *requestNames
	to    *target
	once  transport.Once
}

// begin returns the name of a request to an actor. If waits, it first waits until there is room.
func (n *requestNames) begin(ctx context.Context, to *target, waits bool) (*requestName, *rpc.Error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for waits && n.open[to] != nil && len(n.open[to].all) >= maxOpen {
		room := n.open[to].vacancy()
		n.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		n.mu.Lock()
		if ctx.Err() != nil {
			return nil, rpc.FromContext(ctx, rpc.NotRun)
		}
	}
	if n.open == nil {
		n.open = map[*target]*openRequests{}
	}
	o := n.open[to]
	if o == nil {
		o = new(openRequests)
		n.open[to] = o
	}
	n.last++
	o.all = append(o.all, openRequest{number: n.last})
	return &requestName{n, to, transport.Once{Number: n.last, Below: o.all[0].number}}, nil
}

// vacancy returns what is closed when there is room again. The mu of the names is held.
func (o *openRequests) vacancy() <-chan struct{} {
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// end says that the request has its outcome. r may be nil.
func (r *requestName) end() {
	if r == nil {
		return
	}
	n := r.names
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.open[r.to]
	if o == nil {
		return
	}
	i, found := slices.BinarySearchFunc(o.all, r.once.Number, func(q openRequest, number uint64) int { return cmp.Compare(q.number, number) })
	if !found {
		return
	}
	o.all[i].ended = true
	if i > 0 {
		return
	}
	for len(o.all) > 0 && o.all[0].ended {
		o.all = o.all[1:]
	}
	if o.room != nil && len(o.all) <= maxOpen/2 { // not for each one, because all who wait wake up
		close(o.room)
		o.room = nil
	}
	if len(o.all) == 0 {
		delete(n.open, r.to)
	}
}

// stored reports whether the actor is stored, so that a request which may have run can be made again. It is not known
// while no node hosts the kind.
func (k *search) stored() (is, known bool) {
	if kind := k.sys.kinds[k.key.Kind]; kind != nil {
		return kind.keeps != nil, true
	}
	h := k.sys.virtuals.hostsOf(k.key.Kind)
	return h.stored, h.Len() > 0
}

// name gives a request its name, if it is to a stored actor, and returns the settings with it. If waits, it waits
// until it is known whether it is.
func (v *routedCall) name(ctx context.Context, to *target, opts *settings, waits bool) (*settings, error) {
	if v.search == nil && opts.IsKeyed() {
		return nil, errKeyed(to)
	}
	if v.search == nil {
		return opts, nil
	}
	keeps, known := v.search.stored()
	for ; !known; keeps, known = v.search.stored() {
		if !waits || v.retry.Attempts == 1 {
			return nil, v.search.errNobody()
		}
		if none := v.search.arrival(ctx); none != nil {
			return nil, none
		}
	}
	if opts.IsKeyed() && !keeps {
		return nil, errKeyed(to)
	}
	if !keeps {
		return opts, nil
	}
	named := new(settings)
	if opts != nil {
		*named = *opts
	}
	named.Idempotent = true
	if !named.Keyed {
		name, late := v.search.sys.names.begin(ctx, to, waits)
		if late != nil {
			return nil, late
		}
		v.named, named.Once = name, name.once
	}
	v.repeatable = true
	return named, nil
}

func errKeyed(to *target) error {
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor of one node, or at a stored actor, and %v is neither", to.addr)
}

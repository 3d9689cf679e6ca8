package actor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// requestNames gives the requests of a system to stored actors their names: numbers that it gives once, which the
// actors keep with the outcomes until they are told that nobody needs them any more.
type requestNames struct{ last atomic.Uint64 }

// openRequests are the requests to a stored actor from the oldest one on that has not ended. The actor keeps the outcomes
// of all of them, because it is only told that nobody needs those before the oldest.
type openRequests struct {
	mu    sync.Mutex    // guards what follows
	all   []openRequest // in the order of their numbers; those before the first one have ended
	first int           // the index of the oldest one that is open
	room  chan struct{} // closed when half of them have ended; nil: nobody waits for that
}

type openRequest struct {
	number uint64
	ended  bool
}

// maxOpen is how many requests to an actor may be open before those who can wait do so. It is below the number of outcomes
// that an actor keeps for one node, so that a caller which is not scheduled for a while makes others wait, and has none
// refused.
const maxOpen = stored.DefaultOutcomes / 8

// maxSpareNames is how many requests an actor to which none is open keeps memory for.
const maxSpareNames = 16

// requestName is the name of one request, and the zero value if it has none.
type requestName struct {
	open *openRequests
	once transport.Once
}

// begin returns the name of a request to an actor. If waits, it first waits until there is room.
func (n *requestNames) begin(ctx context.Context, open *openRequests, waits bool) (requestName, *rpc.Error) {
	open.mu.Lock()
	defer open.mu.Unlock()
	for waits && open.len() >= maxOpen {
		room := open.vacancy()
		open.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		open.mu.Lock()
		if ctx.Err() != nil {
			return requestName{}, rpc.FromContext(ctx, rpc.NotRun)
		}
	}
	if len(open.all) == cap(open.all) && open.first > len(open.all)/2 { // there is room at its beginning
		open.all, open.first = slices.Delete(open.all, 0, open.first), 0
	}
	number := n.last.Add(1)
	open.all = append(open.all, openRequest{number: number})
	return requestName{open, transport.Once{Number: number, Below: open.all[open.first].number}}, nil
}

// len is how many are open. o.mu is held.
func (o *openRequests) len() int { return len(o.all) - o.first }

// vacancy returns what is closed when there is room again. o.mu is held.
func (o *openRequests) vacancy() <-chan struct{} {
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// end says that the request has its outcome.
func (r requestName) end() {
	o := r.open
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	i, found := slices.BinarySearchFunc(o.all, r.once.Number, func(q openRequest, number uint64) int { return cmp.Compare(q.number, number) })
	if !found {
		return
	}
	o.all[i].ended = true
	for o.len() > 0 && o.all[o.first].ended {
		o.first++
	}
	if o.room != nil && o.len() <= maxOpen/2 { // not for each one, because all who wait wake up
		close(o.room)
		o.room = nil
	}
	if o.len() == 0 {
		if o.all, o.first = o.all[:0], 0; cap(o.all) > maxSpareNames {
			o.all = nil
		}
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
	if !v.isVirtual() {
		if opts.IsKeyed() {
			return nil, errKeyed(to)
		}
		return opts, nil
	}
	keeps, known := v.search.stored()
	for ; !known; keeps, known = v.search.stored() {
		if !waits || v.retry.Attempts == 1 {
			return nil, errNobody(v.search.key)
		}
		if none := v.search.arrival(ctx); none != nil {
			return nil, none
		}
	}
	if !keeps {
		if opts.IsKeyed() {
			return nil, errKeyed(to)
		}
		return opts, nil
	}
	if opts != nil {
		v.set = *opts
	}
	v.set.Idempotent, v.repeatable = true, true
	if !v.set.Keyed {
		var late *rpc.Error
		if v.named, late = v.search.sys.names.begin(ctx, &v.search.open, waits); late != nil {
			return nil, late
		}
		v.set.Once = v.named.once
	}
	return &v.set, nil
}

func errKeyed(to *target) error {
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor of one node, or at a stored actor, and %v is neither", to.addr)
}

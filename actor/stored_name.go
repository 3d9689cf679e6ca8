package actor

import (
	"context"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// requestNames gives the requests of a system to stored actors their names: numbers that it gives once, which the
// actors keep with the outcomes until they are told that nobody needs them any more.
type requestNames struct {
	mu   sync.Mutex // guards what follows
	last uint64
	open map[*target][]uint64 // the numbers of the requests to an actor that have not ended, in order
}

// requestName is the name of one request.
type requestName struct {
	names *requestNames
	to    *target
	once  transport.Once
}

// begin returns the name of a request to an actor.
func (n *requestNames) begin(to *target) *requestName {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	if n.open == nil {
		n.open = map[*target][]uint64{}
	}
	open := append(n.open[to], n.last)
	n.open[to] = open
	return &requestName{n, to, transport.Once{Number: n.last, Below: open[0]}}
}

// end says that the request has its outcome. r may be nil.
func (r *requestName) end() {
	if r == nil {
		return
	}
	n := r.names
	n.mu.Lock()
	defer n.mu.Unlock()
	open := n.open[r.to]
	if i, found := slices.BinarySearch(open, r.once.Number); found {
		open = slices.Delete(open, i, i+1)
	}
	if n.open[r.to] = open; len(open) == 0 {
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
	stored, known := v.search.stored()
	for ; !known; stored, known = v.search.stored() {
		if !waits || v.retry.Attempts == 1 {
			return nil, v.search.errNobody()
		}
		if none := v.search.arrival(ctx); none != nil {
			return nil, none
		}
	}
	if opts.IsKeyed() && !stored {
		return nil, errKeyed(to)
	}
	if !stored {
		return opts, nil
	}
	named := new(settings)
	if opts != nil {
		*named = *opts
	}
	named.Idempotent = true
	if !named.Keyed {
		v.named = v.search.sys.names.begin(to)
		named.Once = v.named.once
	}
	v.repeatable = true
	return named, nil
}

func errKeyed(to *target) error {
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor of one node, or at a stored actor, and %v is neither", to.addr)
}

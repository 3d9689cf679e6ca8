package actor

import (
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

// stored reports whether the actor is stored, as far as is known here: then a request that may have run can be
// made again.
func (k *search) stored() bool {
	if kind := k.sys.kinds[k.key.Kind]; kind != nil {
		return kind.keeps != nil
	}
	return k.sys.virtuals.hostsOf(k.key.Kind).stored
}

// name gives a request its name, if it is to a stored actor, and returns the settings with it.
func (v *routedCall) name(to *target, opts *settings) (*settings, error) {
	stored := v.search != nil && v.search.stored()
	if opts.IsKeyed() && !stored {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor of one node, or at a stored actor, and %v is neither", to.addr)
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

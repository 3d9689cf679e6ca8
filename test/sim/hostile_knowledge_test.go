// What hostile peers know, and what they overhear on the roads of honest nodes.

package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// knowledge is what hostile peers know. Names, grants and numbers are no secrets, so it has
// everything that honest nodes send each other, except for messages with their secrets.
type knowledge struct {
	mu     sync.Mutex // guards what follows
	seen   []transport.Envelope
	grants []transport.Grant
	actors []string // that hold streams
	tokens []string // of jobs
	leases [][3]uint64
}

// most is the length of each list. New entries replace the oldest.
const most = 64

// keep appends v to a list, and drops the oldest entry if the list is full.
func keep[T any](list *[]T, v T) {
	if len(*list) == most {
		*list = (*list)[1:]
	}
	*list = append(*list, v)
}

// overhear notes what honest nodes send each other, except for the tokens of deliveries, which
// are secrets.
func (k *knowledge) overhear(e *transport.Envelope) {
	if e.Target == "bin" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.Grant != (transport.Grant{}) && !slices.Contains(k.grants, e.Grant) {
		keep(&k.grants, e.Grant)
	}
	if strings.Contains(e.Target, "stream-") && !slices.Contains(k.actors, e.Target) {
		keep(&k.actors, e.Target)
	}
	if e.Verb != transport.VerbPing && e.Verb != transport.VerbPong && len(e.Body) < 4096 {
		keep(&k.seen, e.Clone())
	}
}

func (k *knowledge) grant(g transport.Grant) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep(&k.grants, g)
}

func (k *knowledge) token(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep(&k.tokens, id)
}

func (k *knowledge) lease(t [3]uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep(&k.leases, t)
}

// recall returns one of a list, or the zero value.
func recall[T any](k *knowledge, r *rand.Rand, list *[]T) (v T) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(*list) == 0 {
		return v
	}
	return (*list)[len(*list)-1-min(int(r.ExpFloat64()*8), len(*list)-1)]
}

// ear is a road of an honest node to which hostile peers listen.
type ear struct {
	transport.Transport
	w *siege
}

func (t *ear) Identity() string {
	return t.Transport.(interface{ Identity() string }).Identity()
}

func (t *ear) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	return t.Transport.Start(ctx, local, func(l transport.Link) transport.Receiver { return accept(&earLink{l, t.w}) })
}

func (t *ear) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	var heard *earLink
	_, err := t.Transport.Dial(ctx, to, func(l transport.Link) transport.Receiver {
		heard = &earLink{l, t.w}
		return open(heard)
	})
	if err != nil {
		return nil, err
	}
	return heard, nil
}

type earLink struct {
	transport.Link
	w *siege
}

func (l *earLink) Send(e *transport.Envelope) (uint64, error) {
	if p := l.Peer(); isHonest(rpc.PrincipalOf(l.Road(), p)) {
		l.w.known.overhear(e)
	}
	if e.Verb == transport.VerbOpened {
		l.w.books.gave(e.Grant)
	}
	if l.w.tamper != nil {
		return l.w.tamper(l, e)
	}
	return l.Link.Send(e)
}

package actor

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/watchbook"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
)

// How an actor watches actors of other nodes. Its node registers the watches there, many with one
// request, and gets a request with those that have ended (watch_followers.go). In between there
// is no traffic. When a link or a session is lost, or the registry says something new about the
// other node, this node asks it whether it still keeps the watches, and registers them anew if it
// does not. The decisions are in package watchbook.

// farNodes are the other nodes of which this one watches actors.
type farNodes struct {
	sys    *System
	missed atomic.Uint64 // events of links that were never seen
	ids    atomic.Uint64 // the latest id of a watch

	mu    sync.Mutex // guards what follows
	all   map[string]*farNode
	byKey map[string]*farNode
}

// farNode is another node of which this one watches actors. At most one goroutine talks to it.
type farNode struct {
	sys  *System
	name string
	key  string        // proves that a request about an end is from the node that was asked to tell
	wake chan struct{} // holds a token when the pause between two attempts is over

	mu      sync.Mutex // guards what follows
	book    watchbook.Book
	watches map[uint64]*watch
	busy    bool               // the goroutine runs
	joining int                // watches that are about to be added; guarded by farNodes.mu
	again   context.CancelFunc // ends the request that is outstanding, so that the registry is looked at
}

const (
	watchBatch = 1000                  // watches in one request
	firstAway  = 50 * time.Millisecond // between two attempts to reach a node, doubled each time
	lastAway   = 5 * time.Second       // the longest such pause
)

// join returns what a watch of an actor of another node needs: that node, and an id. Then farNode.add follows.
func (n *farNodes) join(node string) (*farNode, uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.all[node]
	if f == nil {
		f = &farNode{sys: n.sys, name: node, key: uuid.NewString(), wake: make(chan struct{}, 1), watches: map[uint64]*watch{}}
		if n.all == nil {
			n.all, n.byKey = map[string]*farNode{}, map[string]*farNode{}
		}
		n.all[f.name], n.byKey[f.key] = f, f
	}
	f.joining++
	return f, n.ids.Add(1)
}

// add has the actor's node tell of its end. wanted is false if the watch is not needed.
func (f *farNode) add(w *watch, wanted bool) {
	n := &f.sys.far
	n.mu.Lock()
	defer n.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.joining--; wanted {
		f.watches[w.id] = w
		f.book.Add(w.id, w.at.addr.name)
		f.start()
	}
}

// stirWatches is called when the registry says something about another node.
func (s *System) stirWatches(node string) {
	s.far.stir(node)
	s.keeps.stir(node)
}

// stir has this node find out whether another one still keeps its watches.
func (n *farNodes) stir(node string) {
	n.mu.Lock()
	f := n.all[node]
	n.mu.Unlock()
	if f != nil {
		f.stir()
	}
}

func (n *farNodes) stirAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.all {
		f.stir()
	}
}

// forget forgets f if nothing of it is watched.
func (n *farNodes) forget(f *farNode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watches) == 0 && !f.busy && f.joining == 0 && n.all[f.name] == f {
		delete(n.all, f.name)
		delete(n.byKey, f.key)
	}
}

func (f *farNode) stir() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.book.Check()
	if f.again != nil {
		f.again()
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	f.start()
}

// start starts the goroutine if it does not run. f.mu is held.
func (f *farNode) start() {
	if !f.busy {
		f.busy = f.sys.services.run(f.run)
	}
}

// drop ends a watch of which nobody wants to be told any more.
func (f *farNode) drop(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watches, id)
	f.book.Drop(id)
	f.start()
}

// end tells those who watch that their watches have ended. Each is told once, because only one
// caller finds it.
func (f *farNode) end(ids []uint64, why func(*watch) error) {
	f.mu.Lock()
	var ended []*watch
	for _, id := range ids {
		f.book.End(id)
		if w := f.watches[id]; w != nil {
			delete(f.watches, id)
			ended = append(ended, w)
		}
	}
	f.mu.Unlock()
	for _, w := range ended {
		w.over(why(w))
	}
}

// run tells the node of watches until there is nothing to tell.
func (f *farNode) run() {
	defer f.sys.far.forget(f)
	for pause := firstAway; ; {
		f.mu.Lock()
		batch, more := f.book.Next(watchBatch)
		if !more || f.sys.ctx.Err() != nil {
			f.busy = false
			f.mu.Unlock()
			return
		}
		ctx, cancel := context.WithCancel(f.sys.ctx)
		f.again = cancel
		f.mu.Unlock()
		var reply watched
		gone, err := f.look(ctx), error(nil)
		if !gone {
			reply, err = askNode[watched](ctx, f.sys, f.name, "", watchActors{Epoch: f.sys.epoch, Key: f.key, IDs: batch.IDs, Names: batch.Names, Drop: batch.Drop})
		}
		f.mu.Lock()
		f.again = nil
		cancel()
		if gone {
			f.mu.Unlock()
			continue
		}
		if err == nil {
			ended := f.book.Done(batch, reply.Epoch, reply.Keeper)
			f.mu.Unlock()
			f.end(ended, f.restarted)
			f.heard(reply.Ended)
			pause = firstAway
			continue
		}
		if c := rpc.CodeOf(err); c == rpc.Denied || c == rpc.Unhandled || c == rpc.TooLarge { // asking again is of no use
			f.mu.Unlock()
			f.end(batch.IDs, func(*watch) error { return err })
			continue
		}
		f.book.Failed(batch)
		f.mu.Unlock()
		select {
		case <-f.wake:
		case <-time.After(pause):
			pause = min(2*pause, lastAway)
		case <-f.sys.ctx.Done():
		}
	}
}

// look ends the watches that have ended with a start of the node, as the registry knows it. What
// the registry has in its cache is not believed without reading it again. It returns true if the
// node is gone, and with it all watches.
func (f *farNode) look(ctx context.Context) (gone bool) {
	reg, fresh := f.sys.cfg.Registry, false
	for {
		n, err := reg.Lookup(ctx, f.name)
		away := (errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrAway)) && !f.sys.node.Linked(f.name)
		f.mu.Lock()
		suspect := away || err == nil && f.book.Differs(n.Epoch)
		var ended []uint64
		switch {
		case fresh && away:
			ended = f.book.Gone()
		case fresh && suspect:
			ended = f.book.Now(n.Epoch)
		}
		f.mu.Unlock()
		if fresh || !suspect {
			why := f.restarted
			if away {
				why = f.left
			}
			f.end(ended, why)
			return away
		}
		if reg.Refresh(ctx, f.name) != nil {
			return false
		}
		fresh = true
	}
}

func (f *farNode) restarted(w *watch) error {
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%v has ended with an earlier start of its node", w.at.addr)
}

func (f *farNode) left(w *watch) error {
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no node %s in the registry", w.at.addr.node)
}

// heard deals with ends that the node has told of.
func (f *farNode) heard(ends []actorEnd) {
	for _, e := range ends {
		f.end([]uint64{e.ID}, func(*watch) error { return e.why(f.name) })
	}
}

// askNode sends a request to the hidden actor by which another node is asked about its actors.
// epoch is the only start of that node that may get it; empty: any. It is sent while this system
// drains, too.
func askNode[R any, M Question[R]](ctx context.Context, s *System, node, epoch string, m M) (v R, err error) {
	return askServer[R](ctx, s, node, &client.Rare{Epoch: epoch}, m)
}

// askStart is askNode of whichever start of the node there is, and returns the one that was asked last.
func askStart[R any, M Question[R]](ctx context.Context, s *System, node string, m M) (v R, epoch string, err error) {
	v, err = askServer[R](ctx, s, node, &client.Rare{SentTo: &epoch}, m)
	return v, epoch, err
}

func askServer[R any, M Question[R]](ctx context.Context, s *System, node string, rare *client.Rare, m M) (v R, err error) {
	mt := s.types.get(reflect.TypeFor[M]())
	x := s.node.Client.Exchange()
	defer x.Free()
	r := x.Request()
	body, refusal := encodeMessage(s.control, mt.storage(r.Body), m, mt)
	if refusal != nil {
		return v, refusal
	}
	r.Node, r.Target, r.TypeID, r.Codec, r.Body, r.Timeout = node, nodeServerName, mt.id, s.control.ID(), body, s.timeout(ctx)
	r.Rare = rare
	reply, err := x.Do(ctx)
	if err != nil {
		return v, err
	}
	return v, s.decodeReply(reply, s.types.get(reflect.TypeFor[R]()), &v)
}

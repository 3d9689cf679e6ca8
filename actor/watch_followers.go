package actor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
)

// followers are the other nodes whose actors watch actors of this one. Their watches count in
// the share of memory of their principals.
type followers struct {
	sys *System

	mu  sync.Mutex // guards what follows
	all map[followerID]*follower
}

// followerID is who proved to be a principal, and the secret of one start of its node.
type followerID struct{ principal, key string }

// follower is one start of another node whose actors watch actors of this one.
type follower struct {
	sys         *System
	id          followerID
	node, epoch string
	keeper      string // a random id of this follower, by which its node sees whether it was forgotten
	memory      account.Memory
	wake        chan struct{} // holds a token when the pause between two attempts is over

	mu      sync.Mutex // guards what follows
	watches map[uint64]*watch
	ends    []actorEnd // to be told
	telling bool       // a goroutine tells them
	closed  bool       // its node is gone: nothing is kept for it
	giveUp  func()     // ends the attempt to tell it that is under way; nil: there was none
}

// errForgotten is the error of a watch for a follower that is forgotten at this moment.
var errForgotten = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the watches of the node are being forgotten")

// watchSize is what a watch counts, beside the actor's name.
const watchSize = 512

// get returns the follower that a request comes from, which it makes on first use.
func (fs *followers) get(ctx *Context, m watchActors) *follower {
	id := followerID{ctx.Principal(), m.Key}
	fs.mu.Lock()
	f := fs.all[id]
	var old []*follower
	if f == nil {
		f = &follower{sys: fs.sys, id: id, node: ctx.Node(), epoch: m.Epoch, keeper: uuid.NewString(), memory: fs.sys.node.Memory(id.principal),
			wake: make(chan struct{}, 1), watches: map[uint64]*watch{}}
		for _, o := range fs.all { // of earlier starts
			if o.id.principal == id.principal && o.node == f.node && o.epoch != f.epoch {
				old = append(old, o)
			}
		}
		if fs.all == nil {
			fs.all = map[followerID]*follower{}
		}
		fs.all[id] = f
	}
	fs.mu.Unlock()
	for _, o := range old {
		o.close()
	}
	return f
}

// forget forgets f if nothing is kept for it.
func (fs *followers) forget(f *follower) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watches)+len(f.ends) == 0 && !f.telling && fs.all[f.id] == f {
		f.closed = true
		delete(fs.all, f.id)
		f.memory.Close()
	}
}

// stir forgets the starts of a node that are known to be gone.
func (fs *followers) stir(node string) {
	fs.mu.Lock()
	var of []*follower
	for _, f := range fs.all {
		if f.node == node {
			of = append(of, f)
		}
	}
	fs.mu.Unlock()
	if len(of) == 0 {
		return
	}
	fs.sys.services.run(func() {
		for _, f := range of {
			if f.isGone(fs.sys.ctx) {
				f.close()
			}
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
	})
}

// isGone reports whether the follower's start of its node is over, as far as the registry knows.
// What the registry has in its cache is not believed without reading it again.
func (f *follower) isGone(ctx context.Context) bool {
	reg := f.sys.cfg.Registry
	gone := func() bool {
		switch n, err := reg.Lookup(ctx, f.node); {
		case err == nil:
			return n.Epoch != "" && n.Epoch != f.epoch
		case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrAway):
			return !f.sys.node.Linked(f.node)
		}
		return false
	}
	return gone() && reg.Refresh(ctx, f.node) == nil && gone()
}

// close drops everything that is kept for the follower. If its node lives after all, it sees by
// the next answer that it was forgotten, and registers its watches anew.
func (f *follower) close() {
	f.mu.Lock()
	all := f.watches
	f.watches, f.ends, f.closed = map[uint64]*watch{}, nil, true
	f.mu.Unlock()
	for _, w := range all {
		w.end()
		f.memory.Free(watchSize + len(w.of.addr.name))
	}
	f.sys.keeps.forget(f)
}

// add begins a watch. It returns why there is none, or nil.
func (f *follower) add(id uint64, name string, c *cell) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return errForgotten
	case f.watches[id] != nil: // it was registered before
		return nil
	}
	if c == nil {
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", name, f.sys.cfg.Name)
	}
	if err := f.memory.Keep(watchSize + len(name)); err != nil {
		return err
	}
	w := &watch{of: c.self, at: c.self, id: id, kept: f}
	f.watches[id] = w
	if !c.watchedBy(w) {
		delete(f.watches, id)
		f.memory.Free(watchSize + len(name))
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", name, f.sys.cfg.Name)
	}
	return nil
}

// drop ends a watch that nobody wants any more.
func (f *follower) drop(id uint64) {
	f.mu.Lock()
	w := f.watches[id]
	delete(f.watches, id)
	f.mu.Unlock()
	if w != nil {
		w.end()
		f.memory.Free(watchSize + len(w.of.addr.name))
	}
}

// ended has the follower told that an actor has ended.
func (f *follower) ended(w *watch, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watches[w.id] != w {
		return
	}
	delete(f.watches, w.id)
	f.memory.Free(watchSize + len(w.of.addr.name))
	f.ends = append(f.ends, f.sys.endOf(w.id, why))
	if !f.telling {
		f.sys.busy.Add(1) // a shutdown tells, too
		if f.telling = f.sys.services.run(f.tell); !f.telling {
			f.sys.idle()
		}
	}
}

// hasten bounds the attempts that are under way when a shutdown begins to wait for them.
func (fs *followers) hasten() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.all {
		f.hasten()
	}
}

// hasten bounds the attempt to tell the follower that is under way, because a shutdown waits for it.
func (f *follower) hasten() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.giveUp != nil {
		time.AfterFunc(partWait, f.giveUp)
	}
}

// tell sends the ends, until they have arrived or the follower is gone.
func (f *follower) tell() {
	defer f.sys.keeps.forget(f)
	defer f.sys.idle()
	for pause := firstAway; ; {
		f.mu.Lock()
		batch := f.ends[:min(len(f.ends), watchBatch)]
		if len(batch) == 0 || f.closed {
			f.ends, f.telling = nil, false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		ctx, cancel := context.WithCancel(f.sys.ctx)
		f.mu.Lock()
		f.giveUp = cancel
		f.mu.Unlock()
		if f.sys.draining() {
			f.hasten()
		}
		_, err := askNode[bool](ctx, f.sys, f.node, f.epoch, actorsEnded{Key: f.id.key, Ends: batch})
		cancel()
		if err == nil {
			f.mu.Lock()
			f.ends = f.ends[min(len(batch), len(f.ends)):]
			f.mu.Unlock()
			pause = firstAway
			continue
		}
		if errors.Is(err, client.ErrOtherStart) || f.sys.draining() || f.isGone(f.sys.ctx) {
			f.close()
			continue
		}
		select {
		case <-f.wake:
		case <-time.After(pause):
			pause = min(2*pause, lastAway)
		case <-f.sys.ctx.Done():
		}
	}
}

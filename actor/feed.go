package actor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// DeadLetter is a one-way message that reached nobody.
type DeadLetter struct {
	Time   time.Time
	To     string // address
	From   string // sender's address, or the node it came from; empty if unknown
	Type   string // Go type or wire name of the message
	Reason error  // an *rpc.Error
}

// EventType says what an Event is about. Those of links and peers are rpc's.
type EventType = rpc.EventType

// The events of a system, beside those of package rpc.
const (
	ActorRestarted EventType = "actor restarted" // after a panic, with fresh state
	ActorStopped   EventType = "actor stopped"
	NodeJoined     EventType = "node joined"
	NodeLeft       EventType = "node left"
	NameTaken      EventType = "name taken"  // another process holds this node's name in the registry
	NodeFenced     EventType = "node fenced" // another process has this node's name or its records, and the system ends

	InstanceEjected EventType = "instance ejected" // it is left out of Service: Err says why
	InstanceBack    EventType = "instance back"    // and gets requests again
)

// Event is something that happened in a system or to its links.
type Event struct {
	Time  time.Time
	Type  EventType
	Actor string // address, for events of actors
	Peer  string // node, for events of links, nodes and instances
	Road  string
	Err   error

	Service string // for events of instances
}

// feedBuffer is how many entries a subscriber may fall behind before it loses the
// oldest.
const feedBuffer = 256

// feed hands entries to subscribers without ever waiting for one. A subscriber that
// falls behind loses its oldest entries, counted.
type feed[T any] struct {
	lost   atomic.Uint64
	active atomic.Int32 // subscribers; 0 spares the lock

	mu     sync.Mutex // guards what follows
	subs   map[chan T]struct{}
	closed bool
}

// subscribe returns a channel of what is published from now on. It is closed when
// ctx ends or the feed closes.
func (f *feed[T]) subscribe(ctx context.Context) <-chan T {
	ch := make(chan T, feedBuffer)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(ch)
		return ch
	}
	if f.subs == nil {
		f.subs = map[chan T]struct{}{}
	}
	f.subs[ch] = struct{}{}
	f.active.Add(1)
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if _, ok := f.subs[ch]; ok {
			delete(f.subs, ch)
			f.active.Add(-1)
			close(ch)
		}
	})
	return ch
}

func (f *feed[T]) publish(v T) {
	if f.active.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.subs {
		for {
			select {
			case ch <- v:
			default:
				select {
				case <-ch:
					f.lost.Add(1)
				default:
				}
				continue
			}
			break
		}
	}
}

func (f *feed[T]) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for ch := range f.subs {
		delete(f.subs, ch)
		close(ch)
	}
	f.active.Store(0)
}

// Events reports what happens to the system's actors, links and peers from now on,
// until ctx ends or the system has shut down; then the channel is closed. A reader
// that falls 256 entries behind loses the oldest, counted in Stats.
func (s *System) Events(ctx context.Context) <-chan Event { return s.events.subscribe(ctx) }

// DeadLetters reports one-way messages that reached nobody, under the same terms as
// Events.
func (s *System) DeadLetters(ctx context.Context) <-chan DeadLetter { return s.letters.subscribe(ctx) }

func (s *System) event(e Event) {
	e.Time = time.Now()
	s.events.publish(e)
}

func (s *System) rpcEvent(e rpc.Event) {
	s.log.Debug(string(e.Type), "peer", e.Peer, "road", e.Road, "err", e.Err)
	s.events.publish(Event{Time: e.Time, Type: e.Type, Peer: e.Peer, Road: e.Road, Err: e.Err})
}

func (s *System) deadLetter(d DeadLetter) {
	d.Time = time.Now()
	s.stats.deadLetters.Add(1)
	s.letters.publish(d)
}

// counters are what a system counts as it goes.
type counters struct {
	handled, panics, failed, deadLetters atomic.Uint64
}

// Stats is a snapshot of what a system has counted since it started.
type Stats struct {
	Actors      int    // live now
	Handled     uint64 // messages taken out of mailboxes by run loops, in whole batches
	Panics      uint64 // handlers that panicked
	Failed      uint64 // handlers of one-way messages that returned an error
	DeadLetters uint64
	FeedLost    uint64 // events and dead letters that slow subscribers lost
	RPC         rpc.Stats
}

// Stats returns a snapshot.
func (s *System) Stats() Stats {
	st := Stats{Handled: s.stats.handled.Load(), Panics: s.stats.panics.Load(), Failed: s.stats.failed.Load(),
		DeadLetters: s.stats.deadLetters.Load(), FeedLost: s.events.lost.Load() + s.letters.lost.Load()}
	s.refs.mu.RLock()
	st.Actors = len(s.refs.actors) - s.refs.hidden
	s.refs.mu.RUnlock()
	st.RPC = s.node.Stats()
	return st
}

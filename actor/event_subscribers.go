package actor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/rpc"
)

// entry is what subscribers get.
type entry interface{ Event | DeadLetter }

// lostBefore returns the kind of an entry, and where it says how many entries of its kind right
// before it its subscriber has lost.
func lostBefore[T entry](v *T) (kind rpc.EventType, lost *uint64) {
	switch v := any(v).(type) {
	case *Event:
		kind, lost = v.Type, &v.Lost
	case *DeadLetter:
		lost = &v.Lost
	}
	return kind, lost
}

// subscribers hands entries to subscribers without ever waiting for one. A subscriber that
// falls behind loses entries: the oldest ones of the kind of which most entries wait. The next
// entry of that kind says how many were lost.
type subscribers[T entry] struct {
	lost   atomic.Uint64
	active atomic.Int32 // how many there are; with 0 the lock is not needed

	mu     sync.Mutex                 // guards what follows
	subs   map[chan T][]rpc.EventType // the kinds that each subscriber wants; empty: all
	closed bool
}

// subscribe returns a channel, with room for so many entries, of the entries that are published
// from now on. It is closed when ctx ends or close is called.
func (s *subscribers[T]) subscribe(ctx context.Context, room int, kinds ...rpc.EventType) <-chan T {
	ch := make(chan T, room)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(ch)
		return ch
	}
	if s.subs == nil {
		s.subs = map[chan T][]rpc.EventType{}
	}
	s.subs[ch] = slices.Clone(kinds)
	s.active.Add(1)
	context.AfterFunc(ctx, func() { s.unsubscribe(ch) })
	return ch
}

func (s *subscribers[T]) unsubscribe(ch chan T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.subs[ch]; ok {
		delete(s.subs, ch)
		s.active.Add(-1)
		close(ch)
	}
}

func (s *subscribers[T]) publish(v T) {
	if s.active.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch, kinds := range s.subs {
		if kind, _ := lostBefore(&v); len(kinds) > 0 && !slices.Contains(kinds, kind) {
			continue
		}
		if len(ch) == cap(ch) {
			s.makeRoom(ch)
		}
		ch <- v // never blocks: it has room, and nobody else sends
	}
}

// makeRoom removes some entries from a full channel. s.mu is held.
func (s *subscribers[T]) makeRoom(ch chan T) {
	waiting := drain(ch)
	if len(waiting) == cap(ch) { // the subscriber has received none meanwhile
		var lost int
		waiting, lost = thin(waiting)
		s.lost.Add(uint64(lost))
	}
	for _, v := range waiting {
		ch <- v
	}
}

// drain receives everything that waits in a channel.
func drain[T any](ch chan T) []T {
	waiting := make([]T, 0, cap(ch))
	for {
		select {
		case v := <-ch:
			waiting = append(waiting, v)
		default:
			return waiting
		}
	}
}

// thin drops the oldest eighth of the entries of the most frequent kind, and adds their number
// to the next entry of that kind. It returns the rest, in order, and how many it dropped.
// There always is a next entry, because a channel has room for far more entries than there
// are kinds.
func thin[T entry](waiting []T) ([]T, int) {
	most, n := mostFrequent(waiting)
	rest, dropped, lost := waiting[:0], 0, uint64(0)
	for _, v := range waiting {
		switch kind, before := lostBefore(&v); {
		case kind != most:
		case dropped < max(1, n/8):
			dropped++
			lost += 1 + *before
			continue
		case lost > 0:
			*before, lost = *before+lost, 0
		}
		rest = append(rest, v)
	}
	return rest, dropped
}

func mostFrequent[T entry](waiting []T) (most rpc.EventType, n int) {
	counts := map[rpc.EventType]int{}
	for i := range waiting {
		k, _ := lostBefore(&waiting[i])
		if counts[k]++; counts[k] > n {
			most, n = k, counts[k]
		}
	}
	return most, n
}

func (s *subscribers[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for ch := range s.subs {
		delete(s.subs, ch)
		close(ch)
	}
	s.active.Store(0)
}

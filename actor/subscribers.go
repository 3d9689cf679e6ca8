package actor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// entry is what a feed hands out.
type entry[T any] interface {
	kind() EventType
	lost() uint64        // entries of its kind right before it that its reader lost
	after(lost uint64) T // the entry after so many more lost ones
}

// feed hands entries to subscribers without ever waiting for one. A subscriber that
// falls behind loses the oldest of the kind of which the most wait for it; the next
// one of that kind says how many.
type feed[T entry[T]] struct {
	lost   atomic.Uint64
	active atomic.Int32 // subscribers; 0 spares the lock

	mu     sync.Mutex             // guards what follows
	subs   map[chan T][]EventType // the kinds that each wants; none for all
	closed bool
}

// subscribe returns a channel with room for so many entries, of what is published from
// now on. It is closed when ctx ends or the feed closes.
func (f *feed[T]) subscribe(ctx context.Context, room int, kinds ...EventType) <-chan T {
	ch := make(chan T, room)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(ch)
		return ch
	}
	if f.subs == nil {
		f.subs = map[chan T][]EventType{}
	}
	f.subs[ch] = slices.Clone(kinds)
	f.active.Add(1)
	context.AfterFunc(ctx, func() { f.unsubscribe(ch) })
	return ch
}

func (f *feed[T]) unsubscribe(ch chan T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.subs[ch]; ok {
		delete(f.subs, ch)
		f.active.Add(-1)
		close(ch)
	}
}

func (f *feed[T]) publish(v T) {
	if f.active.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch, kinds := range f.subs {
		if len(kinds) > 0 && !slices.Contains(kinds, v.kind()) {
			continue
		}
		if len(ch) == cap(ch) {
			f.makeRoom(ch)
		}
		ch <- v // has room: nobody else sends
	}
}

// makeRoom takes some entries out of a full channel. f.mu is held.
func (f *feed[T]) makeRoom(ch chan T) {
	waiting := drain(ch)
	if len(waiting) == cap(ch) { // its reader has taken none meanwhile
		var lost int
		waiting, lost = thin(waiting)
		f.lost.Add(uint64(lost))
	}
	for _, v := range waiting {
		ch <- v
	}
}

// drain takes out what waits in a channel.
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

// thin drops the oldest eighth of the entries of the most frequent kind, has the next
// of that kind say so, and returns the rest and how many it dropped. The order stays.
// There are far fewer kinds than any feed has room, so there always is a next.
func thin[T entry[T]](waiting []T) ([]T, int) {
	kind, n := mostFrequent(waiting)
	rest, dropped, lost := waiting[:0], 0, uint64(0)
	for _, v := range waiting {
		switch {
		case v.kind() != kind:
		case dropped < max(1, n/8):
			dropped++
			lost += 1 + v.lost()
			continue
		case lost > 0:
			v, lost = v.after(lost), 0
		}
		rest = append(rest, v)
	}
	return rest, dropped
}

func mostFrequent[T entry[T]](waiting []T) (most EventType, n int) {
	counts := map[EventType]int{}
	for _, v := range waiting {
		k := v.kind()
		if counts[k]++; counts[k] > n {
			most, n = k, counts[k]
		}
	}
	return most, n
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

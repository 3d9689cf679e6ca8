package mailbox

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

// those are those from first to last that keep says yes to.
func those(first, last int, keep func(int) bool) (all []int) {
	for v := first; v <= last; v++ {
		if keep(v) {
			all = append(all, v)
		}
	}
	return all
}

func none(int) bool  { return false }
func every(int) bool { return true }

func TestSweep(t *testing.T) {
	for _, size := range []int{1, 3, batchSize, batchSize + 1, 3*batchSize + 5} {
		for name, dead := range map[string]func(int) bool{
			"none": none, "all": every,
			"the first":       func(v int) bool { return v == 1 },
			"the last":        func(v int) bool { return v == size },
			"every other":     func(v int) bool { return v%2 == 0 },
			"all but a few":   func(v int) bool { return v%50 != 0 },
			"the first batch": func(v int) bool { return v <= batchSize },
			"later batches":   func(v int) bool { return v > batchSize },
		} {
			b := newBox(Config{Capacity: size, Policy: Refuse})
			sweep := func() []int { return b.Sweep(time.Minute, func(v *int) bool { return dead(*v) }) }
			if sweep() != nil {
				t.Fatal("an empty box was swept")
			}
			offer(t, b, 1, size)
			want := those(1, size, dead)
			if gone := sweep(); !slices.Equal(gone, want) {
				t.Errorf("%d, %s: Sweep = %v, want %v", size, name, gone, want)
			}
			live := those(1, size, func(v int) bool { return !dead(v) })
			if b.Len() != len(live) {
				t.Errorf("%d, %s: Len = %d, want %d", size, name, b.Len(), len(live))
			}
			offer(t, b, size+1, size+len(want)) // just as many
			if _, err := b.Offer(0); err != ErrFull {
				t.Errorf("%d, %s: one more: %v", size, name, err)
			}
			wantTake(t, b, append(live, those(size+1, size+len(want), every)...)...)
		}
	}
}

// Remove does the same in a box that has room, also one that is sealed.
func TestRemove(t *testing.T) {
	for _, size := range []int{0, 1, batchSize, 2*batchSize + 5} {
		for name, which := range map[string]func(int) bool{"none": none, "all": every, "every other": func(v int) bool { return v%2 == 0 }} {
			for _, sealed := range []bool{false, true} {
				b := newBox(Config{Capacity: 4 * batchSize, Policy: Refuse})
				offer(t, b, 1, size)
				if sealed {
					b.Seal()
				}
				if gone, want := b.Remove(func(v *int) bool { return which(*v) }), those(1, size, which); !slices.Equal(gone, want) {
					t.Errorf("%d, %s: Remove = %v, want %v", size, name, gone, want)
				}
				live := those(1, size, func(v int) bool { return !which(v) })
				if !sealed {
					offer(t, b, size+1, size+3)
					live = append(live, those(size+1, size+3, every)...)
				}
				if b.Len() != len(live) {
					t.Errorf("%d, %s: Len = %d, want %d", size, name, b.Len(), len(live))
				}
				wantTake(t, b, live...)
			}
		}
	}
}

// What all of which is dead is swept goes idle at the consumer's next look, and wakes again.
func TestSweepWhileConsumed(t *testing.T) {
	b := newBox(Config{Capacity: 2 * batchSize, Policy: Refuse})
	offer(t, b, 1, 2*batchSize)
	batch := b.Take(nil)
	offer(t, b, 1001, 1000+2*batchSize)
	if gone := b.Sweep(0, func(*int) bool { return true }); len(gone) != 2*batchSize || gone[0] != 1001 {
		t.Fatalf("Sweep = %v", gone)
	}
	var got []int
	for ; batch != nil; batch = b.Take(batch) {
		got = append(got, batch.Messages()...)
	}
	if !slices.Equal(got, those(1, 2*batchSize, every)) {
		t.Errorf("the consumer's own: %v", got)
	}
	if put, err := b.Offer(1); err != nil || !put.Wake {
		t.Errorf("after that: %+v, %v", put, err)
	}
}

// The room goes to those in line, in order; what is backlog and dead goes, and a putter stays.
func TestSweepLetsInTheLine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 2, Backlog: 3})
		offer(t, b, 1, 2)
		third := putAside(b, 3)
		for v := 4; v <= 5; v++ {
			if _, err := b.Enqueue(v); err != nil {
				t.Fatal(err)
			}
		}
		sixth := putAside(b, 6)
		b.Enqueue(7)
		if _, err := b.Enqueue(8); err != ErrFull {
			t.Fatal(err)
		}
		dead := func(v *int) bool { return *v == 1 || *v == 4 || *v == 6 || *v == 7 }
		if gone := b.Sweep(0, dead); !slices.Equal(gone, []int{1, 4, 7}) {
			t.Fatalf("Sweep = %v", gone)
		}
		if !third.isDone() || third.err != nil || sixth.isDone() {
			t.Fatalf("the third: %v", third.err)
		}
		if b.Len() != 3 {
			t.Errorf("Len = %d", b.Len())
		}
		wantTake(t, b, 2, 3)
		if !sixth.isDone() || sixth.err != nil {
			t.Errorf("the sixth: %v", sixth.err)
		}
		wantTake(t, b, 5, 6)
	})
}

// The oldest that is dead goes before a live one is dropped.
func TestSweepBeforeDropOldest(t *testing.T) {
	b := newBox(Config{Capacity: 3, Policy: DropOldest})
	for v := 1; v <= 5; v++ { // so that the oldest batch begins in its middle
		b.Offer(v)
	}
	if gone := b.Sweep(0, func(v *int) bool { return *v == 4 }); !slices.Equal(gone, []int{4}) {
		t.Fatalf("Sweep = %v", gone)
	}
	if put, err := b.Offer(6); err != nil || put.HasDropped {
		t.Errorf("Offer = %+v, %v", put, err)
	}
	if put, _ := b.Offer(7); put.Dropped != 3 {
		t.Errorf("Offer = %+v", put)
	}
	wantTake(t, b, 5, 6, 7)
}

func TestSweepOfClosedBox(t *testing.T) {
	b := newBox(Config{Capacity: 1})
	offer(t, b, 1, 1)
	b.Enqueue(2)
	b.Close()
	if gone := b.Sweep(0, func(*int) bool { return true }); gone != nil || b.Len() != 0 {
		t.Errorf("Sweep = %v, Len = %d", gone, b.Len())
	}
	if _, err := b.Offer(1); err != ErrClosed {
		t.Error(err)
	}
}

// However often it is called, a sweep looks at one message in 10 µs, and no call is put off
// for more than a second.
func TestSweepsAreRare(t *testing.T) {
	for _, row := range []struct {
		size int
		span time.Duration
	}{{1, 80 * time.Minute}, {100, 80 * time.Minute}, {150_000, 10 * time.Second}} { // the ticks go round in 71 minutes
		size, span := row.size, row.span
		b := newBox(Config{Capacity: size, Policy: Refuse})
		offer(t, b, 1, size)
		pause := min(time.Duration(size)*sweepPace*time.Microsecond, time.Second)
		looked, longest, last := 0, time.Duration(0), time.Duration(0)
		for now := time.Duration(0); now < span; now += max(pause/3, span/10_000) {
			before := looked
			b.Sweep(now, func(*int) bool { looked++; return false })
			if looked > before {
				longest, last = max(longest, now-last), now
			}
		}
		if most := int(span/pause+1) * size; looked > most || looked == 0 {
			t.Errorf("%d: looked at %d, want %d at most", size, looked, most)
		}
		if longest > 2*pause+time.Second {
			t.Errorf("%d: none for %v", size, longest)
		}
	}
	b := newBox(Config{Capacity: 1000, Policy: Refuse})
	offer(t, b, 1, 1000)
	looked := 0
	for now := time.Duration(0); now < time.Second; now += 10 * time.Microsecond {
		if _, err := b.Offer(0); err != ErrFull {
			t.Fatal(err)
		}
		b.Sweep(now, func(*int) bool { looked++; return false })
	}
	if looked != 100_000 {
		t.Errorf("looked at %d in a second", looked)
	}
}

// A message that is moved leaves nothing in its old place for PushWith to find.
func TestSweepLeavesPlacesEmpty(t *testing.T) {
	b := new(Box[*int])
	b.Init(&Config{Capacity: 2*batchSize + 1, Policy: Refuse})
	for range 2 { // the second time in places that a consumer has left
		i := 0
		for ok := true; ok; i++ {
			_, ok = b.PushWith(func(p **int) { *p = &[]int{i}[0] })
		}
		b.Sweep(time.Duration(i)*time.Hour, func(v **int) bool { return **v%3 != 0 })
		for ok := true; ok; i++ {
			_, ok = b.PushWith(func(p **int) {
				if *p == nil {
					*p = new(int)
				}
				**p = i
			})
		}
		seen := map[*int]bool{}
		last := -1
		for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
			for _, v := range batch.Messages() {
				if seen[v] || *v <= last {
					t.Fatalf("%d after %d, twice: %v", *v, last, seen[v])
				}
				seen[v], last = true, *v
			}
			batch.Leave()
		}
		if len(seen) != 2*batchSize+1 {
			t.Errorf("%d came out", len(seen))
		}
	}
}

// With producers, sweepers and consumers at once, each message comes out once: handled or swept.
func TestSweepsBesideAll(t *testing.T) {
	const producers, each = 4, 500
	type msg struct {
		producer, n int
		dead        *atomic.Bool
	}
	for _, c := range []Config{{Capacity: 2}, {Capacity: batchSize + 3}, {Capacity: 5, Policy: Refuse}} {
		var b Box[msg]
		b.Init(&c)
		var now, swept, handled atomic.Int64
		var wg sync.WaitGroup
		next := make([]int, producers)
		consume := func() {
			for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
				for _, m := range batch.Messages() {
					if m.n < next[m.producer] {
						t.Errorf("producer %d: %d after %d", m.producer, m.n, next[m.producer])
					}
					next[m.producer] = m.n + 1
					handled.Add(1)
				}
			}
		}
		for p := range producers {
			wg.Go(func() {
				for n := range each {
					m := msg{p, n, new(atomic.Bool)}
					if n%3 == 0 {
						m.dead.Store(true)
					}
					for {
						wake, ok := b.Push(m)
						if !ok {
							at := time.Duration(now.Add(int64(time.Second)))
							for _, m := range b.Sweep(at, func(m *msg) bool { return m.dead.Load() }) {
								if !m.dead.Load() {
									t.Error("a live one was swept")
								}
								swept.Add(1)
							}
							put, err := b.Put(t.Context(), m)
							if errors.Is(err, ErrFull) {
								runtime.Gosched()
								continue
							}
							wake = put.Wake
						}
						if wake {
							wg.Go(consume)
						}
						break
					}
				}
			})
		}
		wg.Wait()
		if got := handled.Load() + swept.Load(); got != producers*each || swept.Load() == 0 {
			t.Errorf("%+v: %d handled, %d swept of %d", c, handled.Load(), swept.Load(), producers*each)
		}
	}
}

package mailbox

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/test/bubble"
)

// numbers returns those from first to last.
func numbers(first, last int) (all []int) {
	for v := first; v <= last; v++ {
		all = append(all, v)
	}
	return all
}

func TestPushAll(t *testing.T) {
	const capacity = 5
	for _, tt := range []struct {
		name      string
		there, vs int // messages
		n         int
		wake      bool
	}{
		{"room for all", 0, 3, 3, true},
		{"just room for all", 0, 5, 5, true},
		{"room for some", 0, 6, 5, true},
		{"room for all of a busy box", 2, 3, 3, false},
		{"room for some in a busy box", 2, 100, 3, false},
		{"room for one", 4, 2, 1, false},
		{"room for none", 5, 1, 0, false},
		{"nothing", 0, 0, 0, false},
		{"nothing into a busy box", 2, 0, 0, false},
		{"nothing into a full box", 5, 0, 0, false},
	} {
		for _, policy := range []Policy{Block, Refuse, DropNewest, DropOldest} {
			t.Run(tt.name+"/"+policy.String(), func(t *testing.T) {
				b := newBox(Config{Capacity: capacity, Policy: policy})
				offer(t, b, 1, tt.there)
				vs := numbers(tt.there+1, tt.there+tt.vs)
				if wake, n := b.PushAll(vs); wake != tt.wake || n != tt.n {
					t.Errorf("PushAll = %v, %d; want %v, %d", wake, n, tt.wake, tt.n)
				}
				if !slices.Equal(vs, numbers(tt.there+1, tt.there+tt.vs)) {
					t.Errorf("the messages are now %v", vs)
				}
				clear(vs) // they are the caller's again
				if b.Len() != tt.there+tt.n {
					t.Errorf("Len = %d", b.Len())
				}
				wantTake(t, b, numbers(1, tt.there+tt.n)...)
			})
		}
	}
}

func TestPushAllIntoClosed(t *testing.T) {
	b := newBox(Config{Capacity: 5})
	b.PushAll(numbers(1, 3))
	if rest, busy := b.Close(); !slices.Equal(rest, numbers(1, 3)) || !busy {
		t.Errorf("Close = %v, %v", rest, busy)
	}
	if wake, n := b.PushAll(numbers(4, 5)); wake || n != 0 {
		t.Errorf("PushAll into a closed box = %v, %d", wake, n)
	}
	wantTake(t, b)
	idle := newBox(Config{})
	idle.Close()
	if wake, n := idle.PushAll(numbers(1, 2)); wake || n != 0 {
		t.Errorf("PushAll into a box that was closed idle = %v, %d", wake, n)
	}
}

// A consumer is asked for once in a busy spell, and not for nothing.
func TestPushAllWakesOnce(t *testing.T) {
	b := newBox(Config{Capacity: 10})
	for range 3 {
		if wake, _ := b.PushAll(nil); wake {
			t.Fatal("nothing wakes the box")
		}
		if wake, _ := b.PushAll(numbers(1, 2)); !wake {
			t.Fatal("an idle box is not woken")
		}
		if wake, _ := b.PushAll(numbers(3, 4)); wake {
			t.Fatal("a busy box is woken")
		}
		if wake, ok := b.Push(5); wake || !ok {
			t.Fatal("a push behind it wakes the box, or is refused")
		}
		wantTake(t, b, numbers(1, 5)...)
		if wake, _ := b.PushAll(numbers(6, 7)); wake {
			t.Fatal("the box is woken while the consumer works on its batch")
		}
		wantTake(t, b, 6, 7)
		wantTake(t, b)
	}
}

// Messages keep their order over the bounds of batches, whoever put them.
func TestPushAllKeepsOrder(t *testing.T) {
	const all = 10 * batchSize
	b := newBox(Config{Unbounded: true})
	for v, size := 1, 0; v <= all; size = (size + 1) % (2*batchSize + 2) {
		if size%3 == 0 {
			b.Push(v)
			v++
			continue
		}
		last := min(v+size-1, all)
		if _, n := b.PushAll(numbers(v, last)); n != last-v+1 {
			t.Fatalf("%d of %d", n, last-v+1)
		}
		v = last + 1
	}
	wantTake(t, b, numbers(1, all)...)
}

// What does not wait has no room while others stand in line, and comes behind them.
func TestPushAllBehindTheLine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 3})
		b.PushAll(numbers(1, 3))
		fourth := putAside(b, 4)
		b.Enqueue(5)
		if _, n := b.PushAll(numbers(6, 7)); n != 0 {
			t.Fatalf("%d passed the line", n)
		}
		wantTake(t, b, 1, 2, 3)
		if !fourth.isDone() || fourth.err != nil {
			t.Fatalf("the first in line: %v", fourth.err)
		}
		if wake, n := b.PushAll(numbers(6, 7)); wake || n != 1 { // the line has taken the rest
			t.Fatalf("PushAll = %v, %d", wake, n)
		}
		wantTake(t, b, 4, 5, 6)
		wantTake(t, b)
	})
}

// Of what many put at once all comes out, in each one's order, and nothing stands between
// the messages of one call. Two consumers at once would be a race for got.
func TestPushAllFromMany(t *testing.T) {
	const senders, each, most = 8, 3000, 2*batchSize + 1
	type message struct{ sender, number, at int } // at: place in its call
	var b Box[message]
	b.Init(&Config{Capacity: 2 * batchSize})
	var producers, consumers sync.WaitGroup
	var got []message
	consume := func() {
		for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
			got = append(got, batch.Messages()...)
		}
	}
	for s := range senders {
		producers.Go(func() {
			for next, size := 0, 1; next < each; size = size%most + 1 {
				vs := make([]message, min(size, each-next))
				for i := range vs {
					vs[i] = message{s, next + i, i}
				}
				wake, n := b.PushAll(vs)
				if wake {
					consumers.Go(consume)
				}
				if next += n; n < len(vs) {
					runtime.Gosched()
				}
			}
		})
	}
	producers.Wait()
	consumers.Wait()
	var next [senders]int
	for i, m := range got {
		if m.number != next[m.sender] {
			t.Fatalf("sender %d: number %d, want %d", m.sender, m.number, next[m.sender])
		}
		next[m.sender]++
		if m.at > 0 && got[i-1] != (message{m.sender, m.number - 1, m.at - 1}) {
			t.Fatalf("%+v behind %+v", m, got[i-1])
		}
	}
	if len(got) != senders*each {
		t.Errorf("took %d of %d", len(got), senders*each)
	}
}

// PushAll allocates nothing once there is storage. One batch is enough for that to be seen,
// and needs none of the spare ones, which the race detector throws away at random.
func TestPushAllAllocatesNothing(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var b Box[*int]
	b.Init(nil)
	vs := slices.Repeat([]*int{new(int)}, batchSize)
	b.PushAll(vs)
	last := b.Take(nil)
	if n := testing.AllocsPerRun(100, func() {
		if _, n := b.PushAll(vs); n != len(vs) {
			t.Fatal("full")
		}
		last = b.Take(last)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

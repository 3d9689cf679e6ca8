package mailbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"unsafe"
)

func newBox(c Config) *Box[int] {
	b := new(Box[int])
	b.Init(&c)
	return b
}

// offer fills b with the numbers from first to last, all of which must fit.
func offer(t *testing.T, b *Box[int], first, last int) {
	t.Helper()
	for v := first; v <= last; v++ {
		if put, err := b.Offer(v); err != nil || put.HasDropped {
			t.Fatalf("Offer(%d) = %+v, %v", v, put, err)
		}
	}
}

// takeAll returns what one look into the box brings, in as many batches as it may be.
// last is what was taken before.
func takeAll[T any](b *Box[T], last **Batch[T]) (all []T) {
	for *last = b.Take(*last); *last != nil; *last = b.Take(*last) {
		all = append(all, (*last).Messages()...)
		if (*last).IsLast() {
			break
		}
	}
	return all
}

func wantTake(t *testing.T, b *Box[int], want ...int) {
	t.Helper()
	var last *Batch[int]
	if got := takeAll(b, &last); !slices.Equal(got, want) || (len(want) == 0) != (last == nil) {
		t.Fatalf("Take = %v, want %v", got, want)
	}
}

func TestAtTheLimitAndOneBeyond(t *testing.T) {
	const capacity = 3
	verbs := map[string]func(*Box[int], int) (Put[int], error){
		"Offer":   (*Box[int]).Offer,
		"Enqueue": (*Box[int]).Enqueue,
		"Put":     func(b *Box[int], v int) (Put[int], error) { return b.Put(t.Context(), v) },
	}
	for _, tt := range []struct {
		config Config
		verbs  []string
		put    Put[int] // what the put one beyond the limit returns
		err    error
		taken  []int
	}{
		{Config{}, []string{"Offer"}, Put[int]{}, ErrFull, []int{1, 2, 3}},
		{Config{Backlog: 1}, []string{"Enqueue"}, Put[int]{}, nil, []int{1, 2, 3, 4}},
		{Config{Policy: Refuse}, []string{"Put", "Offer", "Enqueue"}, Put[int]{}, ErrFull, []int{1, 2, 3}},
		{Config{Policy: DropNewest}, []string{"Put", "Offer", "Enqueue"}, Put[int]{Dropped: 4, HasDropped: true, Own: true}, nil, []int{1, 2, 3}},
		{Config{Policy: DropOldest}, []string{"Put", "Offer", "Enqueue"}, Put[int]{Dropped: 1, HasDropped: true}, nil, []int{2, 3, 4}},
	} {
		for _, verb := range tt.verbs {
			t.Run(tt.config.Policy.String()+"/"+verb, func(t *testing.T) {
				tt.config.Capacity = capacity
				b, put := newBox(tt.config), verbs[verb]
				for v := 1; v <= capacity; v++ {
					if got, err := put(b, v); err != nil || got != (Put[int]{Wake: v == 1}) {
						t.Fatalf("%s(%d) = %+v, %v", verb, v, got, err)
					}
				}
				if got, err := put(b, 4); got != tt.put || !errors.Is(err, tt.err) {
					t.Errorf("%s beyond the limit = %+v, %v; want %+v, %v", verb, got, err, tt.put, tt.err)
				}
				if b.Len() != len(tt.taken) {
					t.Errorf("Len = %d, want %d", b.Len(), len(tt.taken))
				}
				var taken []int
				for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
					taken = append(taken, batch.Messages()...)
				}
				if !slices.Equal(taken, tt.taken) {
					t.Errorf("taken %v, want %v", taken, tt.taken)
				}
			})
		}
	}
}

func TestDropOldestGoesRound(t *testing.T) {
	b := newBox(Config{Capacity: 3, Policy: DropOldest})
	for v := 1; v <= 8; v++ {
		put, _ := b.Offer(v)
		if want := v - 3; put.HasDropped != (v > 3) || put.HasDropped && put.Dropped != want {
			t.Fatalf("Offer(%d) = %+v", v, put)
		}
	}
	wantTake(t, b, 6, 7, 8)
	for v := 1; v <= 4; v++ {
		b.Offer(v)
	}
	if rest, _ := b.Close(); !slices.Equal(rest, []int{2, 3, 4}) {
		t.Fatalf("Close = %v", rest)
	}
}

func TestUnbounded(t *testing.T) {
	b := newBox(Config{Unbounded: true})
	offer(t, b, 1, 10*DefaultCapacity)
	var last *Batch[int]
	if got := takeAll(b, &last); len(got) != 10*DefaultCapacity || got[len(got)-1] != len(got) {
		t.Fatalf("took %d", len(got))
	}
}

func TestDefaults(t *testing.T) {
	var b Box[int]
	b.Init(nil)
	offer(t, &b, 1, DefaultCapacity)
	if _, err := b.Offer(0); err != ErrFull {
		t.Fatalf("one beyond the default capacity: %v", err)
	}
	for v := range DefaultBacklog {
		if _, err := b.Enqueue(v); err != nil {
			t.Fatalf("Enqueue %d: %v", v, err)
		}
	}
	if _, err := b.Enqueue(0); err != ErrFull {
		t.Fatalf("one beyond the default backlog: %v", err)
	}
}

func TestWakeOncePerBusySpell(t *testing.T) {
	b := newBox(Config{})
	for range 3 {
		put, _ := b.Offer(1)
		if !put.Wake {
			t.Fatal("a put into an idle box does not wake it")
		}
		put, _ = b.Enqueue(2)
		if put.Wake {
			t.Fatal("a put into a busy box wakes it")
		}
		wantTake(t, b, 1, 2)
		if put, _ = b.Offer(3); put.Wake {
			t.Fatal("a put while the consumer works on its batch wakes the box")
		}
		wantTake(t, b, 3)
		wantTake(t, b)
	}
}

func TestTakeLetsInAsManyAsFit(t *testing.T) {
	b := newBox(Config{Capacity: 2, Backlog: 5})
	offer(t, b, 1, 2)
	for v := 3; v <= 7; v++ {
		if put, err := b.Enqueue(v); err != nil || put.Wake {
			t.Fatalf("Enqueue(%d) = %+v, %v", v, put, err)
		}
	}
	if _, err := b.Enqueue(8); err != ErrFull {
		t.Fatalf("Enqueue beyond the limit: %v", err)
	}
	if b.Len() != 7 {
		t.Fatalf("Len = %d, want 7", b.Len())
	}
	wantTake(t, b, 1, 2)
	if _, err := b.Offer(8); err != ErrFull { // the line has taken the room
		t.Fatalf("a newcomer passed the line: %v", err)
	}
	wantTake(t, b, 3, 4)
	wantTake(t, b, 5, 6)
	offer(t, b, 8, 8)
	wantTake(t, b, 7, 8)
	wantTake(t, b)
}

func TestClose(t *testing.T) {
	b := newBox(Config{Capacity: 2})
	offer(t, b, 1, 2)
	b.Enqueue(3)
	if rest, _ := b.Close(); !slices.Equal(rest, []int{1, 2, 3}) {
		t.Errorf("Close = %v", rest)
	}
	if rest, _ := b.Close(); rest != nil {
		t.Errorf("second Close = %v", rest)
	}
	wantTake(t, b)
	if _, err := b.Put(t.Context(), 4); err != ErrClosed {
		t.Errorf("Put: %v", err)
	}
	if _, err := b.Offer(4); err != ErrClosed {
		t.Errorf("Offer: %v", err)
	}
	if _, err := b.Enqueue(4); err != ErrClosed {
		t.Errorf("Enqueue: %v", err)
	}
	if b.Len() != 0 {
		t.Errorf("Len = %d", b.Len())
	}
	if rest, _ := newBox(Config{}).Close(); rest != nil {
		t.Errorf("Close of an empty box = %v", rest)
	}
}

func TestEndedContext(t *testing.T) {
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	b := newBox(Config{Capacity: 1})
	if _, err := b.Put(ctx, 1); err != nil {
		t.Fatalf("room is there, yet: %v", err)
	}
	if _, err := b.Put(ctx, 2); !errors.Is(err, gone) {
		t.Fatalf("Put = %v, want the cause", err)
	}
	wantTake(t, b, 1)
	wantTake(t, b)
}

// The oldest of many goes, batch by batch.
func TestDropOldestOfMany(t *testing.T) {
	const capacity, all = 3*batchSize + 1, 10 * batchSize
	b := newBox(Config{Capacity: capacity, Policy: DropOldest})
	for v := 1; v <= all; v++ {
		if put, _ := b.Offer(v); put.HasDropped && put.Dropped != v-capacity {
			t.Fatalf("Offer(%d) = %+v", v, put)
		}
	}
	var last *Batch[int]
	got := takeAll(b, &last)
	if len(got) != capacity || got[0] != all-capacity+1 || !slices.IsSorted(got) {
		t.Fatalf("took %d from %d on", len(got), got[0])
	}
}

// What was taken stays the consumer's when the box is closed.
func TestCloseBehindTake(t *testing.T) {
	const all = 2*batchSize + 1
	b := newBox(Config{})
	offer(t, b, 1, all)
	batch, n := b.Take(nil), 0
	offer(t, b, 1, 1)
	if rest, busy := b.Close(); !slices.Equal(rest, []int{1}) || !busy {
		t.Errorf("Close = %v, %v", rest, busy)
	}
	for ; batch != nil; batch = b.Take(batch) {
		n += len(batch.Messages())
	}
	if n != all {
		t.Errorf("took %d of %d", n, all)
	}
}

func TestPush(t *testing.T) {
	b := newBox(Config{Capacity: 2})
	for v, want := range []struct{ wake, ok bool }{{true, true}, {false, true}, {false, false}} {
		if wake, ok := b.Push(v); wake != want.wake || ok != want.ok {
			t.Errorf("Push(%d) = %v, %v", v, wake, ok)
		}
	}
	wantTake(t, b, 0, 1)
	b.Close()
	if wake, ok := b.Push(3); wake || ok {
		t.Error("a push into a closed box")
	}
}

func TestIdleBoxKeepsNothing(t *testing.T) {
	var b Box[*int]
	b.Init(nil)
	if size := unsafe.Sizeof(b); size >= 120 {
		t.Errorf("a Box is %d bytes", size)
	}
	for range 2 {
		for range 100 {
			b.Offer(new(int))
		}
		var last *Batch[*int]
		takeAll(&b, &last)
		if b.Take(last) != nil {
			t.Fatal("not idle")
		}
		if b.waiting.first != nil || b.waiting.last != nil {
			t.Error("an idle box keeps a batch")
		}
	}
}

// A batch that was given back retains nothing.
func TestBatchIsCleared(t *testing.T) {
	var b Box[*int]
	b.Init(nil)
	for range batchSize + 1 {
		b.Offer(new(int))
	}
	for batch := b.Take(nil); batch != nil; {
		done := batch
		batch = b.Take(done)
		for i, v := range done.messages {
			if v != nil {
				t.Fatalf("message %d is retained", i)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{}, {Capacity: 1, Policy: DropOldest, Backlog: 1}, {Unbounded: true, Backlog: 1}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, tt := range []struct {
		c    Config
		want int
	}{
		{Config{Capacity: -1}, 1},
		{Config{Backlog: -1}, 1},
		{Config{Policy: 9}, 1},
		{Config{Unbounded: true, Capacity: 1}, 1},
		{Config{Unbounded: true, Policy: Refuse}, 1},
		{Config{Capacity: -1, Backlog: -1, Policy: 9, Unbounded: true}, 4},
	} {
		err := tt.c.Validate()
		if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != tt.want {
			t.Errorf("%+v: %v, want %d errors", tt.c, err, tt.want)
		}
	}
	if s := Policy(9).String(); s != "policy(9)" {
		t.Error(s)
	}
}

package mailbox

import (
	"errors"
	"testing"
)

// A message that stands for several takes as many places, or is not put.
func TestPushRow(t *testing.T) {
	const capacity, backlog = 5, 3
	for _, tt := range []struct {
		name   string
		policy Policy
		there  int // messages
		n      int
		put    int
		wake   bool
	}{
		{"room", Block, 0, 3, 1, true},
		{"all of the room", Block, 0, 5, 1, true},
		{"all of the room of a busy box", Refuse, 3, 2, 1, false},
		{"some of it in the backlog", Block, 3, 3, 1, false},
		{"all that there may be in the backlog", Block, 4, 4, 1, false},
		{"more than there may be in the backlog", Block, 4, 5, 0, false},
		{"more than there may ever be", Block, 0, 9, 0, false},
		{"full", Block, 5, 2, 0, false},
		{"no backlog", Refuse, 3, 3, 0, false},
		{"no backlog", DropNewest, 3, 3, 0, false},
		{"room", DropNewest, 2, 3, 1, false},
		{"it could not be dropped in part", DropOldest, 0, 2, 0, false},
	} {
		t.Run(tt.name+"/"+tt.policy.String(), func(t *testing.T) {
			b := newBox(Config{Capacity: capacity, Policy: tt.policy, Backlog: backlog})
			offer(t, b, 1, tt.there)
			if wake, put := b.PushRow(100, tt.n); put != tt.put || wake != tt.wake {
				t.Fatalf("PushRow = %v, %d; want %v, %d", wake, put, tt.wake, tt.put)
			}
			if want := tt.there + tt.put*tt.n; b.Len() != want {
				t.Errorf("Len = %d, want %d", b.Len(), want)
			}
			want := numbers(1, tt.there)
			if tt.put > 0 {
				want = append(want, 100)
			}
			if len(want) > 0 {
				wantTake(t, b, want...)
			}
		})
	}
}

// While a row takes places of the backlog, the box is full for everybody, and the backlog has as
// many places less. Those that wait get the room that the consumer makes, in their order.
func TestBoxBeyondItsCapacity(t *testing.T) {
	b := newBox(Config{Capacity: 4, Backlog: 5})
	offer(t, b, 1, 2)
	if _, put := b.PushRow(100, 5); put != 1 {
		t.Fatal("the row was not put")
	}
	if _, ok := b.Push(0); ok {
		t.Error("Push into a full box")
	}
	if _, n := b.PushAll([]int{0, 0}); n != 0 {
		t.Errorf("PushAll put %d into a full box", n)
	}
	if _, put := b.PushRow(0, 2); put != 0 {
		t.Error("PushRow into a full box")
	}
	if _, err := b.Offer(0); !errors.Is(err, ErrFull) {
		t.Errorf("Offer: %v", err)
	}
	for v := 3; v <= 4; v++ { // three of the five places of the backlog are taken
		if _, err := b.Enqueue(v); err != nil {
			t.Fatalf("Enqueue of %d: %v", v, err)
		}
	}
	if _, err := b.Enqueue(0); !errors.Is(err, ErrFull) {
		t.Errorf("Enqueue into a full backlog: %v", err)
	}
	if gone := b.Sweep(0, func(v *int) bool { return *v == 1 }); len(gone) != 1 || b.Len() != 8 {
		t.Errorf("Sweep removed %v; Len = %d, want 8", gone, b.Len())
	}
	batch := b.Take(nil)
	if got := batch.Messages(); len(got) != 2 || got[0] != 2 || got[1] != 100 {
		t.Errorf("taken: %v", got)
	}
	if b.Len() != 2 {
		t.Errorf("Len = %d, want 2", b.Len())
	}
	if _, ok := b.Push(5); !ok {
		t.Error("there is room again")
	}
	if batch = b.Take(batch); batch == nil || len(batch.Messages()) != 3 || batch.Messages()[0] != 3 || batch.Messages()[2] != 5 {
		t.Errorf("taken: %v", batch)
	}
	if b.Take(batch) != nil {
		t.Error("the box is not idle")
	}
}

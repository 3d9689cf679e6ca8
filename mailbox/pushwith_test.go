package mailbox

import (
	"slices"
	"testing"
)

// PushWith makes a message in its place if there is room, and calls nothing if there is none.
func TestPushWith(t *testing.T) {
	const capacity = 3
	for _, policy := range []Policy{Block, Refuse, DropNewest, DropOldest} {
		b := newBox(Config{Capacity: capacity, Policy: policy})
		for v := 1; v <= capacity+2; v++ {
			called := false
			wake, ok := b.PushWith(func(place *int) {
				called = true
				if *place != 0 {
					t.Errorf("%v: %d is in the place of message %d", policy, *place, v)
				}
				*place = v
			})
			if ok != (v <= capacity) || called != ok || wake != (v == 1) {
				t.Errorf("%v: message %d: PushWith = %v, %v; made: %v", policy, v, wake, ok, called)
			}
		}
		wantTake(t, b, 1, 2, 3)
		if wake, ok := b.PushWith(func(place *int) { *place = 4 }); wake || !ok {
			t.Errorf("%v: behind a batch that was taken: %v, %v", policy, wake, ok)
		}
		if rest, _ := b.Close(); !slices.Equal(rest, []int{4}) {
			t.Errorf("%v: Close = %v", policy, rest)
		}
		if wake, ok := b.PushWith(func(*int) { t.Error("called for a closed box") }); wake || ok {
			t.Errorf("%v: into a closed box: %v, %v", policy, wake, ok)
		}
	}
}

// What the consumer leaves is found again in its place, once; what it does not is cleared.
func TestLeave(t *testing.T) {
	type kept int // no batches of this test's get into other tests
	var b Box[kept]
	b.Init(&Config{Unbounded: true})
	var found []kept
	round := func(last *Batch[kept], n int, leave bool) *Batch[kept] {
		found = nil
		for range n {
			b.PushWith(func(place *kept) {
				found = append(found, *place)
				*place = 1
			})
		}
		if last = b.Take(last); len(last.Messages()) != n {
			t.Fatalf("took %d of %d", len(last.Messages()), n)
		}
		if leave {
			for i := range last.Messages() {
				last.Messages()[i] = 7
			}
			last.Leave()
		}
		return last
	}
	// Batches take turns: one is filled while the other is with the consumer.
	a := round(nil, 3, true)
	a = round(a, 3, true)
	a = round(a, 2, false)
	if !slices.Equal(found, []kept{7, 7}) {
		t.Errorf("found %v where 7 was left", found)
	}
	a = round(a, 3, true)
	if !slices.Equal(found, []kept{7, 7, 7}) {
		t.Errorf("found %v where 7 was left", found)
	}
	a = round(a, 3, false)
	if !slices.Equal(found, []kept{0, 0, 7}) { // two were cleared; the third had been left before
		t.Errorf("found %v where two were cleared", found)
	}
	// What is put in the usual way takes the place of what was left, and a drop clears it.
	a = round(a, 3, true)
	b.Push(5)
	a = b.Take(a)
	b.Push(5)
	if a = b.Take(a); !slices.Equal(a.Messages(), []kept{5}) {
		t.Errorf("took %v", a.Messages())
	}
	if b.Take(a) != nil {
		t.Error("the box is not idle")
	}
}

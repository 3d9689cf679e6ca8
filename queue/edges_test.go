package queue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/queue"
)

func TestConfig(t *testing.T) {
	if _, err := queue.New[int](queue.Config{}, 1); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]queue.Config{
		"Capacity": {Capacity: -1}, "Lease": {Lease: -1}, "Attempts": {Attempts: -1}, "Dead": {Dead: -1}, "Remember": {Remember: -1},
		"Remembered": {Remembered: -1}, "Waiters": {Waiters: -1}, "Policy": {Policy: 2}, "DeadPolicy": {DeadPolicy: 2}, "at most": {Lease: queue.MaxLease + 1},
	} {
		if q, err := queue.New[int](c, 1); q != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if got := fmt.Sprint(queue.Refuse, queue.DropOldest, queue.Policy(9), queue.Lapsed, queue.Nacked, queue.Reason(9)); got != "refuse drop-oldest policy(9) lapsed nacked reason(9)" {
		t.Error(got)
	}
}

// Items that are kept elsewhere have their numbers and attempts from there, and their
// keeper gets what lapses.
func TestRestore(t *testing.T) {
	q, _ := queue.New[string](queue.Config{Lease: time.Second}, 1)
	if !q.Restore(start, 40, 2, queue.Item[string]{Value: "x"}) || q.Restore(start, 40, 2, queue.Item[string]{Value: "x"}) {
		t.Fatal("restored twice, or not at all")
	}
	q.Restore(start, 41, 0, queue.Item[string]{Value: "later", Delay: time.Second})
	ds := q.Take(start, 9)
	if len(ds) != 1 || ds[0].Token.Item != 40 || ds[0].Attempt != 3 {
		t.Fatalf("%+v", ds)
	}
	now := start.Add(time.Second)
	gone := q.Lapsed(now)
	if len(gone) != 1 || gone[0].Token != ds[0].Token {
		t.Fatalf("lapsed: %+v", gone)
	}
	if err := q.Ack(now, ds[0].Token); !errors.Is(err, queue.ErrDone) {
		t.Error(err)
	}
	if ds := q.Take(now, 9); len(ds) != 1 || ds[0].Value != "later" {
		t.Errorf("%+v", ds)
	}
	if !q.Restore(now, 40, 3, queue.Item[string]{Value: "x"}) {
		t.Error("not restored after it was gone")
	}
	d := q.Take(now, 1)[0]
	if err := q.Surrender(now, d.Token); err != nil || !errors.Is(q.Surrender(now, d.Token), queue.ErrDone) {
		t.Error("surrendered twice, or not at all")
	}
	q.Restore(now, 42, 0, queue.Item[string]{Value: "y"})
	if got := q.Withdraw(); len(got) != 1 || got[0] != 42 || q.Stats(now).Depth != 0 || len(q.Withdraw()) != 0 {
		t.Errorf("withdrawn: %v", got)
	}
}

// Who waits is served in turn, and nobody gets all while others wait.
func TestFair(t *testing.T) {
	q, _ := queue.New[int](queue.Config{}, 1)
	for id := range uint64(3) {
		if err := q.Wait(id, 16, start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 8 {
		q.Push(start, queue.Item[int]{Value: n})
	}
	got := ""
	for _, s := range q.Serve(start) {
		for _, d := range s.Items {
			got += fmt.Sprint(d.Value)
		}
		got += " "
	}
	if got != "036 147 25 " {
		t.Errorf("dealt %q", got)
	}
}

func BenchmarkPushTakeAck(b *testing.B) {
	q, _ := queue.New[int](queue.Config{}, 1)
	for n := range 1000 {
		q.Push(start, queue.Item[int]{Value: n})
	}
	for b.Loop() {
		q.Push(start, queue.Item[int]{Value: 1})
		for _, d := range q.Take(start, 1) {
			if err := q.Ack(start, d.Token); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A queue takes what it has room for, and each id once.
func TestPush(t *testing.T) {
	q, err := queue.New[int](queue.Config{Capacity: 3}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if p, err := q.Push(start, queue.Item[int]{ID: fmt.Sprint(n), Value: n}); err != nil || p.Duplicate || p.HasDropped {
			t.Fatalf("item %d: %+v, %v", n, p, err)
		}
	}
	if p, err := q.Push(start, queue.Item[int]{ID: "1", Value: 9}); err != nil || !p.Duplicate {
		t.Errorf("an id again: %+v, %v", p, err)
	}
	if _, err := q.Push(start, queue.Item[int]{ID: "3", Value: 3}); err != queue.ErrFull {
		t.Errorf("one item more than there is room for: %v", err)
	}
	if s := q.Stats(start); s.Depth != 3 || s.Refused != 1 || s.Duplicates != 1 {
		t.Errorf("%+v", s)
	}
}

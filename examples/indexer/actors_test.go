package main

import (
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
)

func TestLeases(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	var files []string
	for i := range batchSize + 2 {
		files = append(files, string(rune('a'+i)))
	}
	first, second := files[:batchSize], files[batchSize:]
	l := newLeases(files)
	takes := func(worker string, now time.Time, want []string) {
		t.Helper()
		got := l.take(worker, now)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%s gets %v, want %v", worker, got, want)
		}
	}
	takes("one", at(0), first)
	takes("two", at(5), second)
	takes("three", at(6), nil)
	for _, f := range first[2:] {
		l.finish(f, at(9))
	}
	takes("three", at(14), nil) // one was heard of at 9
	takes("three", at(15), second)
	l.finish(second[0], at(16)) // by two perhaps, or by three
	takes("four", at(19), first[:2])
	l.release("three")
	takes("two", at(20), second[1:])
	l.release("four")
	l.finish(first[0], at(21)) // after its lease has ended
	takes("one", at(22), first[1:2])
	l.finish(first[1], at(22))
	if l.done() {
		t.Fatal("done, with a file in two's hands")
	}
	l.finish(second[1], at(22))
	l.finish(second[1], at(22))
	takes("one", at(99), nil)
	if !l.done() || l.again != 2+2+1+2 || len(l.current)+len(l.holder) != 0 {
		t.Fatalf("done %v, %d again, %d leases, %d holders", l.done(), l.again, len(l.current), len(l.holder))
	}
}

// The two actors without any network: they cannot tell.
func TestDuplicatesAndDepartures(t *testing.T) {
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	j := &job{node: &node{System: sys}}
	if err := j.spawn([]string{"a.go", "b.go"}); err != nil {
		t.Fatal(err)
	}
	lease := func(worker string) Batch {
		t.Helper()
		b, err := actor.Call(t.Context(), j.coordinator, Lease{Worker: worker})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	send := func(b Batch, worker, name string, want bool) {
		t.Helper()
		r := Result{Worker: worker, File: FileIndex{Path: name, Names: map[string]int{"x": 1}}}
		if got, err := actor.Call(t.Context(), b.Results, r); got != want || err != nil {
			t.Fatalf("%s from %s: %v, %v", name, worker, got, err)
		}
	}
	one := lease("one")
	send(one, "one", "a.go", true)
	if b := lease("two"); len(b.Files) != 0 || b.Wait == 0 || b.Done {
		t.Fatalf("two gets %+v while one has all", b)
	}
	if err := actor.Tell(t.Context(), j.coordinator, WorkerLeft{"one"}); err != nil {
		t.Fatal(err)
	}
	two := lease("two")
	if !slices.Equal(two.Files, []string{"b.go"}) {
		t.Fatalf("two gets %+v after one has left", two)
	}
	send(two, "two", "b.go", true)
	send(one, "one", "b.go", false) // it was not dead
	if b := lease("one"); !b.Done {
		t.Fatalf("one gets %+v when all is done", b)
	}
	got, err := actor.Call(t.Context(), j.aggregator, Progress{})
	if want := (Status{Files: 2, Identifiers: 2, Duplicates: 1, Workers: 2}); got != want || err != nil {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
	top, err := actor.Call(t.Context(), j.aggregator, Top{N: 5})
	if !slices.Equal(top, []Count{{"x", 2}}) || err != nil {
		t.Fatalf("top %v, %v", top, err)
	}
}

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/test/bubble"
)

// The two actors without any network: they cannot tell.
func TestDuplicatesAndDepartures(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem(actor.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Shutdown(t.Context())
		j := &job{node: &node{System: sys}}
		if err := j.spawn(t.Context(), []string{"a.go", "b.go"}); err != nil {
			t.Fatal(err)
		}
		pull := func(want ...string) []actor.Delivery[File] {
			t.Helper()
			batch, err := actor.Pull[File](t.Context(), j.files, actor.Max(batchSize), actor.Wait(askAgain))
			var got []string
			for _, d := range batch {
				got = append(got, d.Message.Path)
			}
			if !slices.Equal(got, want) || err != nil {
				t.Fatalf("pulled %v, %v, want %v", got, err, want)
			}
			return batch
		}
		send := func(d actor.Delivery[File], worker string, want bool) {
			t.Helper()
			r := Result{Worker: worker, File: FileIndex{Path: d.Message.Path, Names: map[string]int{"x": 1}}}
			if got, err := actor.Call(t.Context(), sys.Bind(d.Message.Results), r); got != want || err != nil {
				t.Fatalf("%s from %s: %v, %v", d.Message.Path, worker, got, err)
			}
		}
		over := func(want bool) {
			t.Helper()
			if got, err := empty(t.Context(), j.files); got != want || err != nil {
				t.Fatalf("over: %v, %v", got, err)
			}
		}
		one := pull("a.go", "b.go")
		send(one[0], "one", true)
		if err := one[0].Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		pull() // one has all
		over(false)
		time.Sleep(leaseTime) // one is not heard of
		two := pull("b.go")
		send(two[0], "two", true)
		send(one[1], "one", false) // it was not dead
		over(false)
		if err := actor.AckAll(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		over(true)
		got, err := actor.Call(t.Context(), j.aggregator, Progress{})
		if want := (Status{Files: 2, Identifiers: 2, Duplicates: 1, Workers: 2}); got != want || err != nil {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		top, err := actor.Call(t.Context(), j.aggregator, Top{N: 5})
		if !slices.Equal(top, []Count{{"x", 2}}) || err != nil {
			t.Fatalf("top %v, %v", top, err)
		}
	})
}

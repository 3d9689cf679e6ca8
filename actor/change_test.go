package actor_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// answer answers everything that was put off.
func (k *tellers) answer() {
	k.mu.Lock()
	later := k.later
	k.later = nil
	k.mu.Unlock()
	for _, d := range later {
		_ = d.Answer("late")
	}
}

// Limits change while requests are under way: what was admitted counts for a limit that stays, and is given back
// where it was taken.
func TestSetAdmission(t *testing.T) {
	tellers := newTellers()
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		set := func(limits ...admission.Limit) {
			t.Helper()
			if err := b.SetAdmission(admission.Rules{List: limits}); err != nil {
				t.Fatal(err)
			}
		}
		spawn(t, b, "t", tellers.kind("test.teller"))
		ref, running := a.Ref("t@b"), make(chan error, 10)
		begin := func() {
			go func() {
				_, err := actor.Call(t.Context(), ref, Deed{Does: "defer"}, atOnce)
				running <- err
			}()
			synctest.Wait()
		}
		begin()
		set(admission.Limit{Name: "two", Concurrent: 2}, admission.Limit{Name: "other", Rate: 1e6})
		begin()
		begin()
		begin()
		if err := <-running; !errors.Is(err, rpc.Overloaded) || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("a third one that counts: %v", err)
		}
		set(admission.Limit{Name: "two", Concurrent: 2}, admission.Limit{Name: "yet another", Rate: 1e6})
		begin()
		if err := <-running; !errors.Is(err, rpc.Overloaded) {
			t.Errorf("after a change of another limit: %v", err)
		}
		if err := b.SetAdmission(admission.Rules{List: []admission.Limit{{Name: "two", Concurrent: -1}}}); err == nil {
			t.Error("a limit that is wrong")
		}
		if got := b.Admission(); len(got.List) != 2 || got.List[1].Name != "yet another" {
			t.Errorf("in force: %+v", got)
		}
		set()
		begin() // without any limit
		tellers.answer()
		for range 4 {
			if err := <-running; err != nil {
				t.Error(err)
			}
		}
		set(admission.Limit{Name: "two", Concurrent: 2})
		begin()
		begin()
		tellers.answer()
		for range 2 { // nothing was left over
			if err := <-running; err != nil {
				t.Error(err)
			}
		}
		if got := b.Stats().Limited; got != 2 {
			t.Errorf("%d were refused, want 2", got)
		}
	})
}

// A policy of retries changes with the next request, and its budget at once.
func TestSetRetry(t *testing.T) {
	tellers := newTellers()
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		spawn(t, b, "t", tellers.kind("test.teller"))
		if err := b.SetAdmission(admission.Rules{List: []admission.Limit{{Rate: 1e-3, Burst: 1}}}); err != nil {
			t.Fatal(err)
		}
		ref := a.Ref("t@b")
		attempts := func() int {
			before := b.Stats().Limited
			_, _ = actor.Call(t.Context(), ref, Deed{Does: "it"})
			return int(b.Stats().Limited - before)
		}
		attempts()
		set := func(r rpc.Retry) {
			t.Helper()
			if err := a.SetRetry(r); err != nil {
				t.Fatal(err)
			}
			if got := a.Retry(); got != r {
				t.Errorf("in force: %+v", got)
			}
		}
		// the limit says to come again after minutes, for which there is no time: with Attempts 1 nobody waits
		set(rpc.Retry{Attempts: 1})
		begun := time.Now()
		if n := attempts(); n != 1 || time.Since(begun) > 0 {
			t.Errorf("%d attempts in %v", n, time.Since(begun))
		}
		if err := b.SetAdmission(admission.Rules{List: []admission.Limit{{Name: "full", Concurrent: 1}}}); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = actor.Call(t.Context(), ref, Deed{Does: "defer"}, atOnce) }()
		synctest.Wait()
		set(rpc.Retry{Attempts: 3})
		if n := attempts(); n != 3 {
			t.Errorf("%d attempts, want 3", n)
		}
		set(rpc.Retry{Attempts: 30, Burst: 4, Earn: 1e-9}) // 2 of it were spent
		if n := attempts(); n != 3 {
			t.Errorf("%d attempts within the budget, want 3", n)
		}
		for _, r := range []rpc.Retry{{Attempts: -1}, {MinPause: -1}, {MaxPause: -1}, {Burst: math.NaN()}, {Earn: math.Inf(1)}} {
			if err := a.SetRetry(r); err == nil || a.Retry().Attempts != 30 {
				t.Errorf("%+v: %v", r, err)
			}
		}
		tellers.answer()
	})
	if _, err := actor.NewSystem(actor.Config{Retry: rpc.Retry{Attempts: -1}}); err == nil {
		t.Error("a Config with a bad policy")
	}
}

// Access says what is in force.
func TestAccessInForce(t *testing.T) {
	s := newSystem(t, actor.Config{Access: access.Rules{Default: access.Deny}})
	if got := s.Access(); got.Default != access.Deny {
		t.Errorf("%+v", got)
	}
	if err := s.SetAccess(access.Rules{}); err != nil || !s.Access().IsZero() {
		t.Errorf("%v, %+v", err, s.Access())
	}
}

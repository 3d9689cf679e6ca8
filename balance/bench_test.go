// A Picker with its clock and with instances whose state a test sets.

package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// signs are the Signs of an instance, as a test sets them.
type signs struct {
	load   int
	linked bool
	heard  time.Duration
}

func (s *signs) Load() int            { return s.load }
func (s *signs) Linked() bool         { return s.linked }
func (s *signs) Heard() time.Duration { return s.heard }

// bench is a Picker under test and its clock.
type bench struct {
	*Picker
	t    testing.TB
	now  time.Duration
	seen []*signs
}

// with returns a bench with n instances, a0 and so on, to each of which there is a link, and
// all of which have just been heard.
func with(t testing.TB, policy Policy, n int) *bench {
	b := &bench{Picker: New(policy), t: t, now: time.Second}
	for range n {
		b.seen = append(b.seen, &signs{linked: true, heard: math.MaxInt64})
	}
	b.set(n)
	return b
}

// set makes the first n instances those that exist.
func (b *bench) set(n int) {
	var all []Instance
	for i := range n {
		all = append(all, Instance{Node: fmt.Sprintf("a%d", i), Epoch: "1", Actor: "x", Data: i, Signs: b.seen[i]})
	}
	b.Set(b.now, all)
}

// pick chooses an instance, and also returns its number, which is -1 if there is none.
func (b *bench) pick(tried ...*Candidate) (Ticket, int) {
	t, ok := b.Pick(b.now, Request{Random: rand.Uint64(), Tried: tried})
	if !ok {
		return t, -1
	}
	return t, t.To.Data.(int)
}

func (b *bench) end(t Ticket, o Outcome) { b.End(t, b.now, o, rand.Uint64()) }

// only makes requests until one goes to the given instance, and answers the others.
func (b *bench) only(at int) Ticket {
	b.t.Helper()
	for range 1000 {
		t, i := b.pick()
		if i == at {
			return t
		}
		b.end(t, Answered)
	}
	b.t.Fatalf("a%d gets nothing", at)
	return Ticket{}
}

// where makes n requests, answers each at once, and returns how many each instance had.
func (b *bench) where(n int) []int {
	had := make([]int, len(b.seen))
	for range n {
		t, i := b.pick()
		if i < 0 {
			b.t.Fatal("no instance")
		}
		had[i]++
		b.end(t, Answered)
	}
	return had
}

// changed checks what has changed since it was last called: "a1 refusing" if a1 was ejected for
// that reason, "a1 back" if it was readmitted.
func (b *bench) changed(want ...string) {
	b.t.Helper()
	var got []string
	for _, c := range b.Changes() {
		word := "back"
		if c.Ejected {
			word = c.Why.String()
		}
		got = append(got, fmt.Sprint(c.Candidate.Node, " ", word))
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("changes: %q, want %q", got, want)
	}
}

// asked checks which instances the Picker wants to be asked whether they live.
func (b *bench) asked(want ...string) {
	b.t.Helper()
	var got []string
	for _, c := range b.Asks() {
		got = append(got, c.Node)
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("asks for %q, want %q", got, want)
	}
}

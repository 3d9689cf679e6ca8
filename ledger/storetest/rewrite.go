package storetest

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/tandem-go/tandem/ledger"
)

func (s *suiteCase) rewrite() {
	log, _ := s.take("n", "e1")
	s.append(log, some(1, 30)...)
	s.rewritten(log, some(11, 30))
	log = s.holds("n", some(11, 30)...)
	s.append(log, some(31, 35)...)
	log = s.holds("n", some(11, 35)...)
	s.rewritten(log, some(20, 35))
	s.rewritten(log, some(30, 35)) // again, without an Append between
	s.append(log, some(36, 36)...)
	log = s.holds("n", some(30, 36)...)
	s.rewritten(log, nil)
	log = s.holds("n")
	s.rewritten(log, nil)
	s.append(log, some(40, 40)...)
	s.holds("n", some(40, 40)...)
}

func (s *suiteCase) rewritten(log ledger.Log, changes []ledger.Change) {
	s.Helper()
	if err := log.Rewrite(s.ctx, slices.Values(changes)); err != nil {
		s.Fatal(err)
	}
}

// rewriteLedger uses a log as a server does: each change is also applied to a ledger, and
// the log is rewritten from the ledger.
func (s *suiteCase) rewriteLedger() {
	log, _ := s.take("n", "e1")
	kept, rnd := ledger.New(), rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		var batch []ledger.Change
		for range 1 + rnd.IntN(8) {
			c := done(rnd.Uint64N(20), rnd.IntN(100))
			c.ID.Grant, c.Op = grant(rnd.Uint64N(4)), ledger.Op(1+rnd.IntN(5))
			switch c.Op {
			case ledger.Opened, ledger.Closed:
				c.ID.Seq, c.Outcome = 0, nil
			case ledger.Begun, ledger.Freed:
				c.Outcome = nil
			}
			batch = append(batch, c)
			kept.Apply(c)
		}
		s.append(log, batch...)
		if i%50 == 49 {
			if err := log.Rewrite(s.ctx, kept.All()); err != nil {
				s.Fatal(err)
			}
		}
		if i%80 == 79 {
			var loaded []ledger.Change
			log, loaded = s.take("n", "e")
			s.sameLedger(loaded, kept)
		}
	}
}

func (s *suiteCase) sameLedger(loaded []ledger.Change, want *ledger.Ledger) {
	s.Helper()
	got := ledger.New()
	for _, c := range loaded {
		got.Apply(c)
	}
	s.same(sorted(got), sorted(want))
}

// sorted returns the changes of a ledger, which yields them in no particular order, sorted.
func sorted(l *ledger.Ledger) []ledger.Change {
	return slices.SortedFunc(l.All(), func(a, b ledger.Change) int {
		return slices.Compare(key(a), key(b))
	})
}

func key(c ledger.Change) []byte {
	op := byte(c.Op) // a session's Opened comes first, then the Begun and Done of each request
	return append(append(c.ID.Grant[:], c.Append(nil)[17:25]...), op)
}

// rewriteCut ends the ctx of a Rewrite after each number of changes. What was there is kept,
// and some of the changes may be kept behind it.
func (s *suiteCase) rewriteCut() {
	const size = ledger.MaxBatch / 3 // so that there are many steps
	var changes []ledger.Change
	for seq := uint64(100); seq < 108; seq++ {
		changes = append(changes, done(seq, size))
	}
	log, _ := s.take("n", "e1")
	want := some(1, 10)
	s.append(log, want...)
	for cut := range len(changes) + 1 {
		ctx, cancel := context.WithCancel(s.ctx)
		err := log.Rewrite(ctx, cutAt(changes, cut, cancel))
		cancel()
		if err == nil {
			s.Fatalf("cut at %d: no error", cut)
		}
		next := done(uint64(200+cut), 0)
		s.append(log, next) // the log goes on, and what was appended is not lost
		var kept []ledger.Change
		log, kept = s.take("n", "e")
		rest := kept
		if len(kept) > len(want) {
			s.same(kept[:len(want)], want)
			rest = kept[len(want):]
		} else {
			s.Fatalf("cut at %d: %d changes are kept of %d", cut, len(kept), len(want))
		}
		if last := len(rest) - 1; last > cut || !equal(rest[last], next) {
			s.Fatalf("cut at %d: behind what was there: %s", cut, describe(rest))
		}
		s.same(rest[:len(rest)-1], changes[:len(rest)-1])
		want = kept
	}
	s.rewritten(log, changes)
	s.holds("n", changes...)
}

// cutAt yields the first n changes, calls cut, and yields the rest.
func cutAt(changes []ledger.Change, n int, cut func()) iter.Seq[ledger.Change] {
	return func(yield func(ledger.Change) bool) {
		for _, c := range changes[:n] {
			if !yield(c) {
				return
			}
		}
		cut()
		for _, c := range changes[n:] {
			if !yield(c) {
				return
			}
		}
	}
}

// rewriteFenced takes the node over in the middle of a Rewrite.
func (s *suiteCase) rewriteFenced() {
	log, _ := s.take("n", "e1")
	s.append(log, some(1, 10)...)
	changes := []ledger.Change{done(100, ledger.MaxBatch-100), done(101, ledger.MaxBatch-100), done(102, 0)}
	for cut := range len(changes) + 1 {
		var other ledger.Log
		var kept []ledger.Change
		s.fenced(log.Rewrite(s.ctx, cutAt(changes, cut, func() { other, kept = s.take("n", "e2") })))
		if len(kept) < 10 {
			s.Fatalf("taken over at %d: %d changes are kept", cut, len(kept))
		}
		s.same(kept[:10], some(1, 10))
		log = s.holds("n", kept...) // nothing came behind the other's Take
		s.fenced(other.Append(s.ctx, some(1, 1)))
		if err := log.Rewrite(s.ctx, slices.Values(some(1, 10))); err != nil {
			s.Fatal(err)
		}
	}
}

package storetest

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/tandem-go/tandem/dedup"
)

func (s *suiteCase) rewrite() {
	log, _ := s.take("n", "e1")
	s.append(log, some(1, 30)...)
	s.rewritten(log, some(11, 30))
	log = s.holds("n", some(11, 30)...)
	s.append(log, some(31, 35)...)
	log = s.holds("n", some(11, 35)...)
	s.rewritten(log, some(20, 35))
	s.rewritten(log, some(30, 35)) // at once again
	s.append(log, some(36, 36)...)
	log = s.holds("n", some(30, 36)...)
	s.rewritten(log, nil)
	log = s.holds("n")
	s.rewritten(log, nil)
	s.append(log, some(40, 40)...)
	s.holds("n", some(40, 40)...)
}

func (s *suiteCase) rewritten(log dedup.Log, changes []dedup.Change) {
	s.Helper()
	if err := log.Rewrite(s.ctx, slices.Values(changes)); err != nil {
		s.Fatal(err)
	}
}

// rewriteLedger is a log as it is used: it follows a ledger, and is rewritten from it.
func (s *suiteCase) rewriteLedger() {
	log, _ := s.take("n", "e1")
	ledger, rnd := dedup.NewLedger(), rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		var batch []dedup.Change
		for range 1 + rnd.IntN(8) {
			c := done(rnd.Uint64N(20), rnd.IntN(100))
			c.ID.Grant, c.Op = grant(rnd.Uint64N(4)), dedup.Op(1+rnd.IntN(5))
			switch c.Op {
			case dedup.Opened, dedup.Closed:
				c.ID.Seq, c.Outcome = 0, nil
			case dedup.Begun, dedup.Freed:
				c.Outcome = nil
			}
			batch = append(batch, c)
			ledger.Apply(c)
		}
		s.append(log, batch...)
		if i%50 == 49 {
			if err := log.Rewrite(s.ctx, ledger.All()); err != nil {
				s.Fatal(err)
			}
		}
		if i%80 == 79 {
			var kept []dedup.Change
			log, kept = s.take("n", "e")
			s.sameLedger(kept, ledger)
		}
	}
}

func (s *suiteCase) sameLedger(kept []dedup.Change, want *dedup.Ledger) {
	s.Helper()
	got := dedup.NewLedger()
	for _, c := range kept {
		got.Apply(c)
	}
	s.same(sorted(got), sorted(want))
}

// sorted returns what a ledger holds in an order of its own: it yields in any.
func sorted(l *dedup.Ledger) []dedup.Change {
	return slices.SortedFunc(l.All(), func(a, b dedup.Change) int {
		return slices.Compare(key(a), key(b))
	})
}

func key(c dedup.Change) []byte {
	op := byte(c.Op) // a session's Opened first, then each request's Begun and Done
	return append(append(c.ID.Grant[:], c.Append(nil)[17:25]...), op)
}

// rewriteCut ends Rewrite's ctx after each number of changes: what was there is kept,
// with some of the changes behind it.
func (s *suiteCase) rewriteCut() {
	const size = dedup.MaxBatch / 3 // so that there are many steps
	var changes []dedup.Change
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
		var kept []dedup.Change
		log, kept = s.take("n", "e")
		rest := kept
		if len(kept) > len(want) {
			s.same(kept[:len(want)], want)
			rest = kept[len(want):]
		} else {
			s.Fatalf("cut at %d: %d changes are kept of %d", cut, len(kept), len(want))
		}
		if last := len(rest) - 1; last > cut || !equal(rest[last], next) {
			s.Fatalf("cut at %d: behind what was there: %s", cut, brief(rest))
		}
		s.same(rest[:len(rest)-1], changes[:len(rest)-1])
		want = kept
	}
	s.rewritten(log, changes)
	s.holds("n", changes...)
}

// cutAt yields the first n changes, and calls cut.
func cutAt(changes []dedup.Change, n int, cut func()) iter.Seq[dedup.Change] {
	return func(yield func(dedup.Change) bool) {
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
	changes := []dedup.Change{done(100, dedup.MaxBatch-100), done(101, dedup.MaxBatch-100), done(102, 0)}
	for cut := range len(changes) + 1 {
		var other dedup.Log
		var kept []dedup.Change
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

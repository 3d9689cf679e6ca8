// Package storetest has the suite that every [ledger.Store] must pass, and [Memory], a store
// for the tests of other packages. The suite checks what the documentation of ledger.Store
// and ledger.Log promises.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// Config describes the store that is tested.
type Config struct {
	// Open sets up empty storage for one case, and cleans up with t.Cleanup. It returns
	// a function that makes stores over that storage. Each of them stands for a process
	// of its own.
	Open func(t *testing.T) func() ledger.Store

	// TooLarge is the size, in bytes, of a change that the store cannot hold; 0 if it
	// can hold any.
	TooLarge int
}

// patience is the longest that a case may take.
const patience = 60 * time.Second

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		test func(*suiteCase)
	}{
		{"nothing at first", (*suiteCase).nothing},
		{"order", (*suiteCase).order},
		{"content", (*suiteCase).content},
		{"the caller's memory", (*suiteCase).memory},
		{"nodes do not see one another", (*suiteCase).nodes},
		{"batches as large as may be", (*suiteCase).large},
		{"too large", (*suiteCase).tooLarge},
		{"fence", (*suiteCase).fence},
		{"take while appending", (*suiteCase).race},
		{"one of many takers", (*suiteCase).takers},
		{"rewrite", (*suiteCase).rewrite},
		{"rewrite of a ledger", (*suiteCase).rewriteLedger},
		{"rewrite is cut", (*suiteCase).rewriteCut},
		{"rewrite is fenced", (*suiteCase).rewriteFenced},
		{"cancelled", (*suiteCase).cancelled},
		{"close", (*suiteCase).closing},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c.test(&suiteCase{T: t, ctx: ctx, cfg: cfg, open: cfg.Open(t)})
		})
	}
}

// suiteCase is one test with fresh storage.
type suiteCase struct {
	*testing.T
	ctx  context.Context
	cfg  Config
	open func() ledger.Store
}

// take takes node over with a new store, and returns what was loaded.
func (s *suiteCase) take(node, epoch string) (ledger.Log, []ledger.Change) {
	s.Helper()
	var kept []ledger.Change
	log, err := s.open().Take(s.ctx, node, epoch, func(c ledger.Change) { kept = append(kept, c) })
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { log.Close() })
	return log, kept
}

func (s *suiteCase) append(log ledger.Log, changes ...ledger.Change) {
	s.Helper()
	if err := log.Append(s.ctx, changes); err != nil {
		s.Fatal(err)
	}
}

// holds checks that a new owner of node finds want.
func (s *suiteCase) holds(node string, want ...ledger.Change) ledger.Log {
	s.Helper()
	log, got := s.take(node, "next")
	s.same(got, want)
	return log
}

func (s *suiteCase) same(got, want []ledger.Change) {
	s.Helper()
	if !slices.EqualFunc(got, want, equal) {
		s.Fatalf("%d changes, want %d\ngot  %s\nwant %s", len(got), len(want), describe(got), describe(want))
	}
}

func (s *suiteCase) fenced(err error) {
	s.Helper()
	if !errors.Is(err, ledger.ErrFenced) {
		s.Errorf("got %v, want %v", err, ledger.ErrFenced)
	}
}

func equal(a, b ledger.Change) bool { return bytes.Equal(a.Append(nil), b.Append(nil)) }

// describe returns changes as text, by their ops and their requests' numbers.
func describe(changes []ledger.Change) string {
	var b []byte
	for i, c := range changes {
		if i == 100 {
			return string(append(b, "..."...))
		}
		b = fmt.Appendf(b, "%v %d ", c.Op, c.ID.Seq)
	}
	return string(b)
}

// grant returns a session's name.
func grant(n uint64) (g [16]byte) {
	binary.BigEndian.PutUint64(g[8:], n)
	return g
}

// done returns a change about request seq, with an outcome of size bytes.
func done(seq uint64, size int) ledger.Change {
	return ledger.Change{
		Op:      ledger.Done,
		ID:      ledger.ID{Grant: grant(1), Seq: seq},
		Time:    time.Unix(0, 1_700_000_000_000_000_000+int64(seq)),
		Outcome: bytes.Repeat([]byte{byte(seq)}, size),
	}
}

// some returns changes about the requests from from to to.
func some(from, to uint64) (changes []ledger.Change) {
	for seq := from; seq <= to; seq++ {
		changes = append(changes, done(seq, int(seq%50)))
	}
	return changes
}

func (s *suiteCase) nothing() {
	_, kept := s.take("n", "e1")
	s.same(kept, nil)
	s.holds("n")
}

func (s *suiteCase) order() {
	log, _ := s.take("n", "e1")
	for seq := uint64(1); seq <= 60; seq += 3 {
		s.append(log, some(seq, seq+2)...)
	}
	log = s.holds("n", some(1, 60)...)
	s.append(log, some(61, 61)...)
	s.append(log, some(62, 80)...)
	for range 3 {
		log = s.holds("n", some(1, 80)...)
	}
	s.append(log, some(81, 81)...)
	s.holds("n", some(1, 81)...)
}

func (s *suiteCase) content() {
	id, at := ledger.ID{Grant: grant(7), Seq: 1<<62 - 1}, time.Unix(1_700_000_000, 123_456_789)
	changes := []ledger.Change{
		{Op: ledger.Opened, ID: ledger.ID{Grant: id.Grant}, Time: at, Owner: "\x00 \xff\r\n$ owner"},
		{Op: ledger.Opened, ID: ledger.ID{Grant: grant(8)}, Time: at},
		{Op: ledger.Begun, ID: id, Time: at, Fingerprint: 1<<64 - 1},
		{Op: ledger.Done, ID: id, Time: at, Outcome: []byte("\x00\x01\r\n\xff")},
		{Op: ledger.Done, ID: ledger.ID{Grant: grant(9)}, Time: at},
		{Op: ledger.Freed, ID: id, Time: at},
		{Op: ledger.Closed, ID: ledger.ID{Grant: id.Grant}, Time: at},
	}
	log, _ := s.take("n", "e1")
	s.append(log, changes...)
	s.append(log)
	s.holds("n", changes...)
	for _, c := range changes { // each by itself as well
		node := "n-" + c.Op.String() + fmt.Sprint(c.ID.Grant[15])
		log, _ := s.take(node, "e1")
		s.append(log, c)
		s.holds(node, c)
	}
}

// memory checks that a store does not refer to memory that its caller passed or got.
func (s *suiteCase) memory() {
	log, _ := s.take("n", "e1")
	changes := some(1, 49)
	s.append(log, changes...)
	for i := range changes {
		clear(changes[i].Outcome)
		changes[i] = ledger.Change{}
	}
	_, first := s.take("n", "e2")
	for i := range first {
		clear(first[i].Outcome)
	}
	_, second := s.take("n", "e3")
	s.holds("n", some(1, 49)...)
	s.same(second, some(1, 49))
}

func (s *suiteCase) nodes() {
	a, _ := s.take("a", "e1")
	b, kept := s.take("b", "e1")
	s.same(kept, nil)
	for seq := uint64(1); seq <= 20; seq += 2 {
		s.append(a, some(seq, seq)...)
		s.append(b, some(seq+1, seq+1)...)
	}
	s.append(a, some(100, 100)...) // b's Take did not fence it
	if err := b.Rewrite(s.ctx, slices.Values(some(200, 201))); err != nil {
		s.Fatal(err)
	}
	s.append(b, some(202, 202)...)
	s.append(a, some(101, 101)...)
	s.holds("b", some(200, 202)...)
	var want []ledger.Change
	for seq := uint64(1); seq <= 20; seq += 2 {
		want = append(want, done(seq, int(seq%50)))
	}
	s.holds("a", append(want, some(100, 101)...)...)
	s.holds("ab")
}

func (s *suiteCase) large() {
	head := done(0, 0).Size()
	full := []ledger.Change{done(1, ledger.MaxBatch/2-head), done(2, ledger.MaxBatch/2-head)}
	var many []ledger.Change
	for size := head; size <= ledger.MaxBatch; size += head {
		many = append(many, done(uint64(len(many)), 0))
	}
	one := []ledger.Change{done(3, 256<<10)}
	over := []ledger.Change{done(4, ledger.MaxBatch+100<<10)}
	log, _ := s.take("n", "e1")
	var want []ledger.Change
	for _, batch := range [][]ledger.Change{full, many, one, over, full} {
		s.append(log, batch...)
		want = append(want, batch...)
	}
	log = s.holds("n", want...)
	if err := log.Rewrite(s.ctx, slices.Values(want)); err != nil {
		s.Fatal(err)
	}
	s.holds("n", want...)
}

func (s *suiteCase) tooLarge() {
	if s.cfg.TooLarge == 0 {
		s.Skip("there is nothing that the store cannot hold")
	}
	log, _ := s.take("n", "e1")
	s.append(log, some(1, 1)...)
	began := time.Now()
	err := log.Append(s.ctx, []ledger.Change{done(2, s.cfg.TooLarge)})
	if err == nil || errors.Is(err, ledger.ErrFenced) || errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("a change of more than %d bytes: %v", s.cfg.TooLarge, err)
	}
	if d := time.Since(began); d > time.Second {
		s.Errorf("it took %v to say so", d)
	}
	s.append(log, some(3, 3)...) // the log can still be used
	s.holds("n", done(1, 1), done(3, 3))
}

func (s *suiteCase) fence() {
	a, _ := s.take("n", "e1")
	s.append(a, some(1, 5)...)
	b, kept := s.take("n", "e2")
	s.same(kept, some(1, 5))
	for range 2 {
		s.fenced(a.Append(s.ctx, some(6, 7)))
		s.fenced(a.Rewrite(s.ctx, slices.Values(some(6, 7))))
	}
	s.append(b, some(8, 9)...)
	s.fenced(a.Append(s.ctx, some(10, 10)))
	c, kept := s.take("n", "e2") // the same start is another owner if it takes them again
	s.same(kept, append(some(1, 5), some(8, 9)...))
	s.fenced(b.Append(s.ctx, some(11, 11)))
	s.fenced(a.Append(s.ctx, some(11, 11)))
	s.append(c, some(12, 12)...)
	s.holds("n", append(append(some(1, 5), some(8, 9)...), some(12, 12)...)...)
}

// race takes a node over, again and again, while its owner appends as fast as it can.
func (s *suiteCase) race() {
	const rounds, batch = 8, 3
	log, _ := s.take("n", "e0")
	var before []ledger.Change
	for round := range rounds {
		next := uint64(len(before))
		acked := make(chan uint64, 1)
		appended := make(chan struct{}, 1) // a token when there is progress
		go func() {
			last := next
			for ; ; last += batch {
				err := log.Append(s.ctx, some(last+1, last+batch))
				if s.ctx.Err() != nil {
					break // the case has failed
				}
				if err != nil {
					s.fenced(err)
					s.fenced(log.Append(s.ctx, some(last+1, last+batch)))
					break
				}
				select {
				case appended <- struct{}{}:
				default:
				}
			}
			acked <- last
		}()
		for range round % 3 {
			<-appended
		}
		after, kept := s.take("n", fmt.Sprint("e", round+1))
		last := <-acked
		if uint64(len(kept)) != last {
			s.Fatalf("round %d: %d changes were appended, and %d loaded", round, last, len(kept))
		}
		s.same(kept, some(1, last))
		log, before = after, kept
	}
	s.holds("n", before...)
}

// takers lets many owners take one node at the same time. In the end one of them has it.
func (s *suiteCase) takers() {
	const many = 6
	logs := make(chan ledger.Log, many)
	for i := range many {
		store := s.open()
		go func() {
			log, err := store.Take(s.ctx, "n", fmt.Sprint("e", i), func(ledger.Change) {})
			if err != nil {
				s.Error(err)
			}
			logs <- log
		}()
	}
	var all []ledger.Log
	for range many {
		if log := <-logs; log != nil {
			defer log.Close()
			all = append(all, log)
		}
	}
	var won []ledger.Change
	for i, log := range all {
		c := done(uint64(i), 0)
		if err := log.Append(s.ctx, []ledger.Change{c}); err == nil {
			won = append(won, c)
		} else {
			s.fenced(err)
		}
	}
	if len(won) != 1 {
		s.Errorf("%d owners could append", len(won))
	}
	s.holds("n", won...)
}

func (s *suiteCase) cancelled() {
	log, _ := s.take("n", "e1")
	s.append(log, some(1, 3)...)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := log.Append(ctx, some(4, 4)); !errors.Is(err, context.Canceled) {
		s.Errorf("append: %v", err)
	}
	if err := log.Rewrite(ctx, slices.Values(some(4, 4))); !errors.Is(err, context.Canceled) {
		s.Errorf("rewrite: %v", err)
	}
	if _, err := s.open().Take(ctx, "n", "e2", func(ledger.Change) {}); !errors.Is(err, context.Canceled) {
		s.Errorf("take: %v", err)
	}
	s.append(log, some(4, 5)...) // the failed calls have changed nothing
	s.holds("n", some(1, 5)...)
}

func (s *suiteCase) closing() {
	log, _ := s.take("n", "e1")
	s.append(log, some(1, 3)...)
	for range 2 {
		if err := log.Close(); err != nil {
			s.Error(err)
		}
	}
	if err := log.Append(s.ctx, some(4, 4)); err == nil {
		s.Error("a closed log appends")
	}
	if err := log.Rewrite(s.ctx, slices.Values(some(4, 4))); err == nil {
		s.Error("a closed log is rewritten")
	}
	log = s.holds("n", some(1, 3)...)
	s.append(log, some(4, 4)...)
	s.holds("n", some(1, 4)...)
}

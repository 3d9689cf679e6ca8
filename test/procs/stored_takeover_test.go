//go:build unix

package procs

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// stopOne stops a host while all is well, and has it go on when the others have taken over and its lease is over. All is
// well again a lease after the stop before: so long a registry that was away, as it was for the one that was stopped, gives others
// one more lease.
func (s *storedRun) stopOne(i int) error {
	if n := len(s.judge.wakes); n > 0 {
		time.Sleep(*nodeLease + *nodeLease/3 - time.Duration(monotonic()-s.judge.wakes[n-1].at)) // it renews its lease three times in each
	}
	since := monotonic()
	return s.stopFor(i, func() error {
		err := s.await("not all accounts answer", func() bool { return s.judge.answer(since) })
		time.Sleep(*nodeLease - time.Duration(monotonic()-since))
		return err
	})
}

// TestStoredTakeover kills and stops hosts of stored actors while all else is well, one at a time, and judges how long
// it takes until the accounts that one had are answered by others. A process that was killed is seen to be dead
// where the system tells others of that; one that is stopped is taken to be gone when its lease is over. When it goes on, it answers
// and commits nothing under what it had.
//
// The promise is for the time in which all is well, and most accounts have to be answered within it on any machine. On one that is
// busy, more may come together: a caller has just begun the longest pause between two attempts, and the host that is to take over
// had to wait for NATS, so its registry gives the one that is stopped another lease. The slowest answer may take as long
// as that, and as such machines are late elsewhere.
func TestStoredTakeover(t *testing.T) {
	t.Parallel()
	defer enter()()
	s, err := newStoredRun(t.TempDir(), *seed, honest)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	afterLease := *nodeLease + time.Second
	afterDeath := 2 * time.Second
	if runtime.GOOS != "linux" {
		afterDeath = afterLease
	}
	for _, c := range []struct {
		name  string
		hit   func(i int) error
		limit time.Duration
	}{{"kills", s.killOne, afterDeath}, {"stops", s.stopOne, afterLease}} {
		t.Run(c.name, func(t *testing.T) {
			from := len(s.judge.blows)
			for k := range *kills {
				if err := errors.Join(c.hit(k%len(hosts)), s.well()); err != nil {
					t.Fatal(err)
				}
			}
			hits := map[blow]bool{}
			for _, b := range s.judge.blows[from:] {
				hits[b] = true
			}
			d := s.judge.successions(func(b blow) bool { return hits[b] })
			t.Logf("from %d %s of holders, with a lease of %v, to the first answers of their successors: %d times, p50 %v, p99 %v, longest %v",
				len(hits), c.name, *nodeLease, len(d), short(quantile(d, 0.5)), short(quantile(d, 0.99)), short(quantile(d, 1)))
			if most := quantile(d, 0.5); most > c.limit {
				t.Errorf("half of the accounts were silent for %v and more, the limit is %v", most, c.limit)
			}
			if longest, limit := quantile(d, 1), c.limit+payPause+*nodeLease+slack; longest > limit {
				t.Errorf("an account was silent for %v, the limit is %v on a machine that is busy", longest, limit)
			}
			if len(d) < len(hits) {
				t.Errorf("only %d accounts changed their hosts", len(d))
			}
		})
	}
	if err := s.finish(true); err != nil {
		t.Error(err)
	}
	for _, line := range s.judge.wrong {
		t.Error(line)
	}
	t.Logf("%+v", s.judge.count)
}

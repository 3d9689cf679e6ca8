//go:build unix

package procs

import (
	"testing"
	"time"
)

// stopOne stops a host while all is well, and has it go on when the others have taken over.
func (s *storedRun) stopOne(i int) error {
	c := s.procs[hosts[i]]
	since := monotonic()
	s.struck(s.life(i), since, true)
	if err := c.stop(); err != nil {
		return err
	}
	if err := s.await("not all accounts answer", func() bool { return s.judge.answer(since) }); err != nil {
		return err
	}
	return c.cont()
}

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
	for _, part := range []struct {
		name string
		hit  func(i int) error
	}{{"kills", s.killOne}, {"stops", s.stopOne}} {
		t.Run(part.name, func(t *testing.T) {
			from := len(s.judge.blows)
			for k := range *kills {
				if err := part.hit(k % len(hosts)); err != nil {
					t.Fatal(err)
				}
				if err := s.well(); err != nil {
					t.Fatal(err)
				}
			}
			mine := map[blow]bool{}
			for _, b := range s.judge.blows[from:] {
				mine[b] = true
				t.Log(short(time.Duration(b.at)), s.judge.successions(func(c blow) bool { return c == b }))
			}
			d := s.judge.successions(func(b blow) bool { return mine[b] })
			t.Logf("%d times, p50 %v, p99 %v, max %v", len(d), short(quantile(d, 0.5)), short(quantile(d, 0.99)), short(quantile(d, 1)))
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

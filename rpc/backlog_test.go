package rpc

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// While the store is away what waits for it is bounded, in bytes that count: beyond that a
// durable request does not begin, and no session is opened, at once and without a trace. When
// the store is back all goes on, and all is given back.
func TestBacklogOfTheStoreIsBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		b := r.start("b", "b1", bus, func(c *Config) { c.Store, c.Kinds, c.MemoryBytes = d, []string{"test"}, 1<<20 })
		b.durably(same)
		a := r.start("a", "a1", bus)
		a.echoesDurably(t, "b")
		d.breaks(errors.New("the disk is away"), false)
		call := func(n int) (full bool) {
			calls := make([]*Future[string], n)
			for i := range calls {
				req := request("b", fmt.Sprint(i), patience)
				req.Retry = &Retry{Attempts: 1}
				calls[i], _ = a.send(req)
			}
			for _, f := range calls {
				_, err := f.Await(t.Context())
				switch {
				case Ran(err) != NotRun:
					t.Fatal(err)
				case CodeOf(err) == Overloaded:
					full = true
				case CodeOf(err) != Unavailable:
					t.Fatal(err)
				}
			}
			return full
		}
		rounds := 0
		for ; !call(50); rounds++ {
			if rounds > 1000 {
				t.Fatal("no limit")
			}
		}
		limit := int64(minBacklog)
		if held := b.Stats().HeldBytes; held < limit || held > limit+100*recordSize {
			t.Errorf("%d bytes are held when the backlog is full, want about %d", held, limit)
		}
		for range 20 {
			if begun := time.Now(); !call(50) || time.Since(begun) > time.Second {
				t.Errorf("one beyond was not refused at once: %v", time.Since(begun))
			}
		}
		if held := b.Stats().HeldBytes; held > limit+100*recordSize {
			t.Errorf("%d bytes are held beyond the limit of %d", held, limit)
		}
		opens := b.Stats().OpensRefused
		late := r.start("c", "c1", bus)
		req := request("b", "late", time.Second)
		f, _ := late.send(req)
		if _, err := f.Await(t.Context()); Ran(err) != NotRun || b.Stats().OpensRefused == opens {
			t.Errorf("a new session while the backlog is full: %v", err)
		}
		d.breaks(nil, false)
		time.Sleep(time.Minute)
		a.echoesDurably(t, "b")
		late.echoesDurably(t, "b")
		time.Sleep(time.Minute)
		b.journal.mu.Lock()
		waiting := b.journal.queued
		b.journal.mu.Unlock()
		if held := b.Stats().HeldBytes; waiting != 0 || b.journal.waiting.used.Load() != 0 || held != 0 {
			t.Errorf("%d bytes wait, and %d are held when all is written", waiting, held)
		}
	})
}

func (s *site) echoesDurably(t *testing.T, to string) {
	t.Helper()
	f, _ := s.send(request(to, "hello", patience))
	if got, err := f.Await(t.Context()); got != "got hello" || err != nil {
		t.Fatal(got, err)
	}
}

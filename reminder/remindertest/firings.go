package remindertest

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

func (s *suiteCase) passed() {
	f := s.follow(s.a)
	began := time.Now()
	e := s.set(s.b, note("n", reminder.At(began.Add(-time.Hour))))
	h := f.expect(e, 1)
	if h.Late < time.Hour || h.Late > time.Hour+time.Since(began) || h.Missed != 0 {
		s.Fatalf("got %+v", h.Firing)
	}
	h.answer <- reminder.Done()
	s.empty(alice)
}

func (s *suiteCase) every() {
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.Every(s.beat())))
	for n := range uint64(3) {
		if h := f.done(e, n+1); !h.Due.Equal(e.Since.Add(time.Duration(n+1) * s.beat())) {
			s.Fatalf("firing %d was due at %v, %v after it was set", n+1, h.Due, h.Due.Sub(e.Since))
		}
	}
	if err := s.b.Forget(s.ctx, alice, "n", reminder.ID{}); err != nil {
		s.Fatal(err)
	}
	f.quiet(soon())
}

// cron needs fake time for firings.
func (s *suiteCase) cron() {
	e := s.set(s.b, note("n", reminder.Cron("*/2 * * * *", "Europe/Berlin")))
	if d := e.Due.Sub(e.Since); d <= 0 || d > 2*time.Minute || e.Due.Second() != 0 || e.Due.Minute()%2 != 0 {
		s.Fatalf("it is due at %v", e.Due)
	}
	s.lists(alice, e)
	if !s.cfg.fake {
		return
	}
	f := s.follow(s.a)
	for n := range uint64(30) {
		if h := f.done(e, n+1); !h.Due.Equal(e.Due.Add(time.Duration(n) * 2 * time.Minute)) {
			s.Fatalf("firing %d was due at %v", n+1, h.Due)
		}
	}
}

func (s *suiteCase) replaced() {
	f := s.follow(s.a)
	for i := range 20 {
		s.set([]reminder.Store{s.a, s.b}[i%2], note("n", reminder.At(soon())))
	}
	e := s.set(s.b, note("n", reminder.At(soon().Add(time.Second))))
	s.lists(alice, e)
	f.done(e, 1)
	f.quiet(soon())
}

func (s *suiteCase) forgotten() {
	f := s.follow(s.a)
	for i := range 20 {
		store := []reminder.Store{s.a, s.b}[i%2]
		s.set(store, note(fmt.Sprint(i), reminder.At(soon())))
		if err := store.Forget(s.ctx, alice, fmt.Sprint(i), reminder.ID{}); err != nil {
			s.Fatal(err)
		}
	}
	s.lists(alice)
	f.quiet(soon())
	e := s.set(s.a, note("1", reminder.At(soon()))) // and it can be set again
	f.done(e, 1)
}

// down is a time in which nobody follows.
func (s *suiteCase) down() {
	beat := s.beat()
	once := s.set(s.a, note("once", reminder.At(soon())))
	often := s.set(s.a, note("often", reminder.Every(beat)))
	time.Sleep(time.Until(often.Since.Add(3*beat + beat/2)))
	f := s.follow(s.b)
	for range 2 {
		h := f.next()
		switch h.Name {
		case "once":
			if h.Key() != (reminder.Key{Actor: alice, Name: "once", Generation: once.Generation, Number: 1}) || h.Late < 2*beat || h.Missed != 0 {
				s.Fatalf("got %+v", h.Firing)
			}
		case "often":
			if h.Number != 1 || !h.Due.Equal(often.Due) || h.Late < 2*beat || h.Missed != uint64(h.Late/beat) {
				s.Fatalf("got %+v", h.Firing)
			}
		}
		h.answer <- reminder.Done()
	}
	h := f.expect(often, 2) // at its usual time; all that was missed was told
	if n := h.Due.Sub(often.Since) / beat; h.Missed != 0 || h.Late > s.cfg.Slack || !h.Due.Equal(often.Since.Add(n*beat)) || n < 4 {
		s.Fatalf("got %+v", h.Firing)
	}
	h.answer <- reminder.Done()
	f.done(often, 3)
}

func (s *suiteCase) retry() {
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.At(soon())))
	last := time.Time{}
	for attempt := range 4 {
		h := f.expect(e, 1)
		if h.Attempt < attempt+1 || !last.IsZero() && h.at.Sub(last) < 300*time.Millisecond {
			s.Fatalf("attempt %d, %v after the last one: got %+v", attempt+1, h.at.Sub(last), h.Firing)
		}
		last = h.at
		if attempt == 3 {
			h.answer <- reminder.Done()
		} else {
			h.answer <- reminder.Retry(300 * time.Millisecond)
		}
	}
	s.empty(alice)
	f.quiet(soon())
}

// silent has a handler that answers after its time. The answer counts for nothing.
func (s *suiteCase) silent() {
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.At(soon())))
	other := s.set(s.b, note("other", reminder.At(soon().Add(time.Second))))
	first := f.expect(e, 1)
	f.done(other, 1) // nobody waits for the silent one
	select {
	case <-first.ctx.Done():
	case <-s.ctx.Done():
	}
	second := f.expect(e, 1)
	if took := second.at.Sub(first.at); took < s.cfg.Patience || second.Attempt < 2 {
		s.Fatalf("after %v: got %+v", took, second.Firing)
	}
	first.answer <- reminder.Done()
	time.Sleep(s.cfg.Patience / 4)
	s.lists(alice, e)
	second.answer <- reminder.Done()
	s.empty(alice)
	f.quiet(soon())
}

// dies has a follower that ends while it has a firing.
func (s *suiteCase) dies() {
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.Every(s.beat())))
	f.done(e, 1)
	first := f.expect(e, 2)
	f.stop()
	select {
	case <-first.ctx.Done():
	case <-s.ctx.Done():
	}
	first.answer <- reminder.Done() // too late
	second := s.follow(s.b).expect(e, 2)
	if second.Key() != first.Key() || second.Attempt < 2 {
		s.Fatalf("got %+v, and then %+v", first.Firing, second.Firing)
	}
	second.answer <- reminder.Done()
}

// shared has several followers. Each firing comes to one of them, once.
func (s *suiteCase) shared() {
	const n = 60
	at := soon()
	for i := range n {
		r := note(fmt.Sprint(i), reminder.At(at.Add(time.Duration(i)*5*time.Millisecond)))
		r.Actor.ID = fmt.Sprint(i % 7)
		s.set([]reminder.Store{s.a, s.b}[i%2], r)
	}
	followers := []*follower{s.follow(s.a), s.follow(s.a), s.follow(s.b)} // now that we have time for what they get
	seen := map[reminder.Key]bool{}
	for len(seen) < n {
		var h hand
		select {
		case h = <-followers[0].hands:
		case h = <-followers[1].hands:
		case h = <-followers[2].hands:
		case <-s.ctx.Done():
			s.Fatalf("got %d of %d", len(seen), n)
		}
		if seen[h.Key()] {
			s.Fatalf("again: %+v", h.Firing)
		}
		seen[h.Key()] = true
		h.answer <- reminder.Done()
	}
	for _, f := range followers {
		f.quiet(time.Now())
	}
	for i := range 7 {
		s.empty(reminder.Actor{Kind: alice.Kind, ID: fmt.Sprint(i)})
	}
}

func (s *suiteCase) replacedUnderWay() {
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.Every(s.beat())))
	old := f.expect(e, 1)
	e = s.set(s.b, note("n", reminder.Every(s.beat()+time.Second)))
	if e.Generation == old.Generation {
		s.Fatal("the generation is the same")
	}
	old.answer <- reminder.Done()
	f.done(e, 1)
	f.done(e, 2)
}

func (s *suiteCase) forgottenUnderWay() {
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.Every(time.Second)))
	first, out := f.expect(e, 1), reminder.Retry(0)
	if err := s.b.Forget(s.ctx, alice, "n", reminder.ID{}); err != nil {
		s.Fatal(err)
	}
	first.answer <- out
	f.quiet(soon())
	s.lists(alice)
}

package remindertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

func (s *suiteCase) nothing() {
	s.lists(alice)
	if err := s.a.Forget(s.ctx, alice, "nothing", reminder.ID{}); err != nil {
		s.Fatal(err)
	}
	s.lists(alice)
}

func (s *suiteCase) content() {
	f := s.follow(s.b)
	r := reminder.Reminder{
		Actor: reminder.Actor{Kind: "k\x00.*", ID: "\xff>"}, Name: "n n", When: reminder.At(soon()),
		Message: reminder.Message{Type: "a.B\n", Codec: 255, Body: []byte("\x00\r\n\xff$"), Headers: []reminder.Header{{Key: "a", Value: "1"}, {Key: "a", Value: "\r\n"}, {}}},
	}
	e := s.set(s.a, r)
	if at, _ := r.When.Time(); !e.Due.Equal(at) {
		s.Fatalf("it is due at %v, want %v", e.Due, at)
	}
	s.lists(r.Actor, e)
	f.done(e, 1)
	s.empty(r.Actor)
	f.quiet(soon())
}

// memory checks that a store does not refer to memory that its caller passed or got.
func (s *suiteCase) memory() {
	f := s.follow(s.b)
	r := note("n", reminder.Every(time.Second))
	r.Message.Headers = []reminder.Header{{Key: "k", Value: "v"}}
	spoil := func(r reminder.Reminder) {
		clear(r.Message.Body)
		clear(r.Message.Headers)
	}
	want := reminder.Entry{Reminder: r.Clone()}
	e := s.set(s.a, r)
	want.Generation = e.Generation
	spoil(r)
	spoil(e.Reminder)
	for number := range uint64(2) {
		got, err := s.a.List(s.ctx, alice)
		if err != nil || len(got) != 1 || !same(got[0].Reminder, want.Reminder) {
			s.Fatal(got, err)
		}
		spoil(got[0].Reminder)
		h := f.expect(want, number+1)
		spoil(h.Reminder)
		h.answer <- reminder.Done()
	}
}

// strange are texts that a name may be. They are near one another, or mean something in places where
// names are kept.
var strange = []string{"a", "a.b", "a/b", "*", ">", "=", "\x00", "é", "A", "a b", "b", "a.>", "=61", "a=", "~", "$JS", "\xff", "日本", "..", "-", "_", "%2e",
	strings.Repeat("x", reminder.MaxName), strings.Repeat("\xff", reminder.MaxName)}

func (s *suiteCase) names() {
	all := map[reminder.Actor][]reminder.Entry{}
	for i, kind := range strange {
		for _, a := range []reminder.Actor{{Kind: kind, ID: strange[len(strange)-1-i]}, {Kind: "a", ID: kind}} {
			if all[a] != nil {
				continue
			}
			for _, name := range []string{strange[i], "zz"} {
				r := note(name, reminder.At(time.Now().Add(time.Hour)))
				r.Actor = a
				all[a] = append(all[a], s.set([]reminder.Store{s.a, s.b}[i%2], r))
			}
			slices.SortFunc(all[a], func(x, y reminder.Entry) int { return strings.Compare(x.Name, y.Name) })
		}
	}
	for a, entries := range all {
		s.lists(a, entries...)
	}
	for a, entries := range all {
		if err := s.a.Forget(s.ctx, a, entries[0].Name, reminder.ID{}); err != nil {
			s.Fatal(err)
		}
		s.lists(a, entries[1:]...)
	}
}

// again makes changes again, under their IDs.
func (s *suiteCase) again() {
	f := s.follow(s.a)
	id, r := reminder.NewID(), note("n", reminder.At(soon().Add(time.Second)))
	set := func(store reminder.Store, want reminder.Entry) {
		s.Helper()
		if e, err := store.Set(s.ctx, r, id); err != nil || !equal(e, want) {
			s.Fatalf("got %+v, %v\nwant %+v", e, err, want)
		}
	}
	first, err := s.a.Set(s.ctx, r, id)
	if err != nil || first.Generation != id {
		s.Fatal(first, err)
	}
	set(s.a, first)
	set(s.b, first)
	second := s.set(s.b, note("n", reminder.At(soon().Add(time.Second))))
	set(s.a, second)
	gone := reminder.NewID()
	for range 2 {
		if err := s.b.Forget(s.ctx, alice, "n", gone); err != nil {
			s.Fatal(err)
		}
	}
	set(s.a, reminder.Entry{Reminder: reminder.Reminder{Actor: alice, Name: "n"}, Changes: []reminder.ID{gone, second.Generation, id}})
	third := s.set(s.b, note("n", reminder.At(soon())))
	if err := s.b.Forget(s.ctx, alice, "n", gone); err != nil { // it was before
		s.Fatal(err)
	}
	s.lists(alice, third)
	f.done(third, 1)
	s.empty(alice)
	if e, err := s.a.Set(s.ctx, r, id); err != nil || !e.Ended() {
		s.Fatalf("got %+v, %v", e, err)
	}
	f.quiet(soon().Add(time.Second))
}

// changes has many who set and forget one reminder. One of them is the last.
func (s *suiteCase) changes() {
	const many, each = 6, 10
	var all sync.WaitGroup
	for i := range many {
		store := []reminder.Store{s.a, s.b}[i%2]
		all.Go(func() {
			for n := range each {
				_, err := store.Set(s.ctx, note("n", reminder.At(soon())), reminder.ID{})
				if err == nil && n%3 == 0 {
					err = store.Forget(s.ctx, alice, "n", reminder.ID{})
				}
				if err != nil {
					s.Error(err)
				}
			}
		})
	}
	all.Wait()
	f := s.follow(s.a)
	e := s.set(s.b, note("n", reminder.At(soon())))
	s.lists(alice, e)
	f.done(e, 1)
	f.quiet(soon())
}

func (s *suiteCase) limits() {
	long := func(n int) string { return strings.Repeat("x", n) }
	full := note(long(reminder.MaxName), reminder.At(time.Now().Add(time.Hour)))
	full.Actor = reminder.Actor{Kind: long(reminder.MaxName), ID: long(reminder.MaxName)}
	full.Message.Type = long(reminder.MaxType)
	e := s.set(s.a, full)
	full.Message.Body = make([]byte, reminder.MaxSize-e.Size()-(reminder.MaxChanges-1)*len(reminder.ID{})+len(full.Message.Body))
	for range reminder.MaxChanges {
		e = s.set(s.a, full) // as large as it may be, whatever there was before
	}
	s.lists(full.Actor, e)
	full.Message.Body = append(full.Message.Body, 0)
	_, err := s.a.Set(s.ctx, full, reminder.ID{})
	s.is(err, reminder.ErrInvalid, reminder.ErrNotStored)
	_, err = s.a.Set(s.ctx, note("", reminder.Every(time.Second)), reminder.ID{})
	s.is(err, reminder.ErrInvalid, reminder.ErrNotStored)
	s.is(s.a.Forget(s.ctx, alice, "", reminder.ID{}), reminder.ErrInvalid, reminder.ErrNotStored)
	_, err = s.a.List(s.ctx, reminder.Actor{Kind: "k"})
	s.is(err, reminder.ErrInvalid, reminder.ErrNotStored)
	s.lists(full.Actor, e)
}

func (s *suiteCase) cancelled() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	r := note("n", reminder.At(soon()))
	_, err := s.a.Set(ctx, r, reminder.ID{})
	s.is(err, reminder.ErrNotStored)
	s.is(s.a.Forget(ctx, alice, "n", reminder.ID{}), reminder.ErrNotStored)
	_, err = s.a.Set(ctx, r, reminder.NewID()) // an earlier call may have stored it
	s.is(err, reminder.ErrUnknown)
	_, err = s.a.List(ctx, alice)
	s.is(err, reminder.ErrUnavailable)
	if err := s.a.Follow(ctx, nil); err != nil {
		s.Fatal(err)
	}
	s.lists(alice)
}

// Package remindertest has the suite that every [reminder.Store] must pass. It checks what the
// documentation of package reminder promises.
package remindertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

// Config describes the store that is tested.
type Config struct {
	// Open sets up empty storage for one case, and cleans up with t.Cleanup. Without In, cases run
	// at the same time. It returns a function that makes stores over that storage. Each of them stands for a process of its own.
	Open func(t *testing.T) func() reminder.Store

	// In runs f in a bubble where time is fake. If it is nil, time is real.
	In func(t *testing.T, f func(t *testing.T))

	Patience time.Duration // how long these stores let a handler take
	Slack    time.Duration // how much later than at its time a firing may come; less than Patience

	fake bool // In is not nil
}

// limit is the longest that a case may take.
const limit = 90 * time.Second

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	within := limit
	if cfg.In == nil {
		cfg.In = func(t *testing.T, f func(*testing.T)) { f(t) }
	} else {
		cfg.fake, within = true, 100*limit
	}
	for _, c := range []struct {
		name string
		test func(*suiteCase)
	}{
		{"nothing at first", (*suiteCase).nothing},
		{"content", (*suiteCase).content},
		{"the caller's memory", (*suiteCase).memory},
		{"names do not see one another", (*suiteCase).names},
		{"a time that has passed", (*suiteCase).passed},
		{"every second", (*suiteCase).every},
		{"cron", (*suiteCase).cron},
		{"replaced", (*suiteCase).replaced},
		{"forgotten", (*suiteCase).forgotten},
		{"made again", (*suiteCase).again},
		{"nobody followed", (*suiteCase).down},
		{"retry", (*suiteCase).retry},
		{"a handler that does not answer", (*suiteCase).silent},
		{"a follower that dies", (*suiteCase).dies},
		{"many, shared", (*suiteCase).shared},
		{"replaced under way", (*suiteCase).replacedUnderWay},
		{"forgotten under way", (*suiteCase).forgottenUnderWay},
		{"many changes at once", (*suiteCase).changes},
		{"limits", (*suiteCase).limits},
		{"cancelled", (*suiteCase).cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !cfg.fake {
				t.Parallel() // most of each case is waiting
			}
			cfg.In(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				open := cfg.Open(t)
				s := &suiteCase{T: t, ctx: ctx, cfg: cfg, a: open(), b: open()}
				defer s.following.Wait()
				defer cancel()
				c.test(s)
			})
		})
	}
}

// suiteCase is one test with fresh storage, and two stores over it.
type suiteCase struct {
	*testing.T
	ctx       context.Context
	cfg       Config
	a, b      reminder.Store
	following sync.WaitGroup
}

var alice = reminder.Actor{Kind: "bank.account", ID: "alice"}

func note(name string, when reminder.When) reminder.Reminder {
	return reminder.Reminder{Actor: alice, Name: name, When: when, Message: reminder.Message{Type: "bank.Note", Body: []byte(name)}}
}

// beat is an interval in which a firing comes that is late by the slack.
func (s *suiteCase) beat() time.Duration { return time.Second + s.cfg.Slack }

// soon is a time at which a reminder is due that the case waits for.
func soon() time.Time { return time.Now().Add(time.Second) }

func (s *suiteCase) set(store reminder.Store, r reminder.Reminder) reminder.Entry {
	s.Helper()
	e, err := store.Set(s.ctx, r, reminder.ID{})
	switch {
	case err != nil:
		s.Fatal(err)
	case !same(e.Reminder, r) || e.Number != 1 || e.Due.IsZero() || e.Generation == reminder.ID{} || !slices.Equal(e.Changes[:1], []reminder.ID{e.Generation}):
		s.Fatalf("set %+v, and got %+v", r, e)
	}
	return e
}

// lists checks that both stores list the entries, and no others.
func (s *suiteCase) lists(a reminder.Actor, want ...reminder.Entry) {
	s.Helper()
	for _, store := range []reminder.Store{s.a, s.b} {
		got, err := store.List(s.ctx, a)
		if err != nil {
			s.Fatal(err)
		}
		if !slices.EqualFunc(got, want, equal) {
			s.Fatalf("%v: got %+v\nwant %+v", a, got, want)
		}
	}
}

// empty waits until nothing is listed any more.
func (s *suiteCase) empty(a reminder.Actor) {
	s.Helper()
	for {
		got, err := s.a.List(s.ctx, a)
		if err != nil {
			s.Fatal(err)
		}
		if len(got) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func same(a, b reminder.Reminder) bool {
	if !bytes.Equal(a.Message.Body, b.Message.Body) || !slices.Equal(a.Message.Headers, b.Message.Headers) {
		return false
	}
	a.Message.Body, b.Message.Body, a.Message.Headers, b.Message.Headers = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

func equal(a, b reminder.Entry) bool {
	return same(a.Reminder, b.Reminder) && a.Generation == b.Generation && a.Number == b.Number && a.Due.Equal(b.Due) &&
		a.Since.Equal(b.Since) && a.Skipped == b.Skipped && slices.Equal(a.Changes, b.Changes)
}

// is checks that err is an *Error of all the kinds, and none of the others.
func (s *suiteCase) is(err error, kinds ...error) {
	s.Helper()
	var e *reminder.Error
	if !errors.As(err, &e) {
		s.Fatalf("%v (%T) is no *reminder.Error, want %v", err, err, kinds)
	}
	for _, kind := range []error{reminder.ErrUnavailable, reminder.ErrFormat, reminder.ErrInvalid, reminder.ErrNotStored,
		reminder.ErrTooLarge, reminder.ErrFull, reminder.ErrUnknown, reminder.ErrLost} {
		if want := slices.Contains(kinds, kind); errors.Is(err, kind) != want {
			s.Fatalf("%v: is it %q? %v, want %v", err, kind, !want, want)
		}
	}
}

// hand is a firing in the hands of its handler.
type hand struct {
	reminder.Firing
	at     time.Time
	ctx    context.Context
	answer chan<- reminder.Outcome // room for one
}

// follower is a Follow. Each of its handlers waits for its answer, also when its ctx ends.
type follower struct {
	*suiteCase
	hands chan hand
	stop  context.CancelFunc
}

func (s *suiteCase) follow(store reminder.Store) *follower {
	ctx, cancel := context.WithCancel(s.ctx)
	f := &follower{s, make(chan hand, 1000), cancel}
	s.following.Go(func() {
		err := store.Follow(ctx, func(ctx context.Context, firing reminder.Firing) reminder.Outcome {
			answer := make(chan reminder.Outcome, 1)
			f.hands <- hand{firing, time.Now(), ctx, answer}
			select {
			case out := <-answer:
				return out
			case <-s.ctx.Done():
				return reminder.Retry(0)
			}
		})
		if err != nil {
			s.Error(err)
		}
	})
	return f
}

// next waits for the next firing, and checks that it is not early, nor much too late.
func (f *follower) next() hand {
	f.Helper()
	select {
	case h := <-f.hands:
		if h.at.Before(h.Due) || h.Late > h.at.Sub(h.Due) || h.Late < 0 || h.Attempt < 1 {
			f.Fatalf("at %v: got %+v", h.at, h.Firing)
		}
		return h
	case <-f.ctx.Done():
		f.Fatal("nothing came")
		return hand{}
	}
}

// expect waits for a firing, and checks that it is the given one of e. It must come in time if e is due
// in the future.
func (f *follower) expect(e reminder.Entry, number uint64) hand {
	f.Helper()
	h := f.next()
	want := reminder.Key{Actor: e.Actor, Name: e.Name, Generation: e.Generation, Number: number}
	if h.Key() != want || !same(h.Reminder, e.Reminder) {
		f.Fatalf("got %+v\nwant firing %d of %+v", h.Firing, number, e)
	}
	return h
}

// done waits for a firing as expect does, which must be in time, and answers it.
func (f *follower) done(e reminder.Entry, number uint64) hand {
	f.Helper()
	h := f.expect(e, number)
	if h.Late > f.cfg.Slack || h.Missed > 0 || h.Attempt != 1 {
		f.Fatalf("got %+v", h.Firing)
	}
	h.answer <- reminder.Done()
	return h
}

// quiet checks that nothing comes until the time t, and for as long as it might come late.
func (f *follower) quiet(t time.Time) {
	f.Helper()
	select {
	case h := <-f.hands:
		f.Fatalf("got %+v", h.Firing)
	case <-time.After(time.Until(t.Add(f.cfg.Slack))):
	}
}

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

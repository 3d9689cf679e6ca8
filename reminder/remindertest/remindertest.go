// Package remindertest has the suite that every [reminder.Store] must pass. It checks what the
// documentation of package reminder promises.
package remindertest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
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

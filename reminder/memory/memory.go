// Package memory keeps the reminders of virtual actors in the memory of the process, for tests and
// for single nodes.
//
//	store := memory.New(memory.Config{})
//	go store.Follow(ctx, fire)
//	_, err := store.Set(ctx, r, reminder.ID{})
//
// The promise is that of [reminder.Store]. Several systems of one process may share a store: then
// they are the nodes of a cluster whose reminders survive the end of each of them. Nothing survives
// the end of the process. Firings come at their time, as exactly as timers do; in bubbles of
// testing/synctest the time is fake.
//
// The limits. A reminder that waits holds a timer and about 500 bytes. If the clock of the machine is
// set, a reminder that waits for a time of the day notices within an hour. ErrUnknown, ErrTooLarge and
// ErrLost do not occur, but a Set or Forget that is made again, under its ID, with a ctx that has
// ended gets ErrUnknown.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

// Config sets the limits of a store. Its zero value is the default.
type Config struct {
	MaxBytes int           // bytes of all reminders as they would be encoded; beyond it a Set ends with reminder.ErrFull; 0 means no limit
	Handlers int           // how many handlers of one Follow run at the same time; default 64
	Patience time.Duration // how long a handler may take; default 1 min
}

// checkWall is how long a timer runs at most, because the clock may be set meanwhile.
const checkWall = time.Hour

// Store is a [reminder.Store]. It may be used concurrently, and works in bubbles of testing/synctest.
type Store struct {
	cfg Config

	mu    sync.Mutex // guards what follows, and all slots
	bytes int        // of all entries
	slots map[reminder.Actor]map[string]*slot
	ready []*slot       // those that were put into it are due, or were then
	ring  chan struct{} // closed, and replaced, when one more is ready
}

var _ reminder.Store = (*Store)(nil)

// slot is the place of one reminder.
type slot struct {
	entry   reminder.Entry
	stage   stage
	turn    uint64      // counts changes of the stage; whoever comes with an earlier one is too late
	clock   *time.Timer // runs while it is waiting or has ended
	attempt int         // how often the firing was handed out
}

// stage is how far a slot has come:
//
//	waiting ──its time comes──► ready ──a follower takes it──► held ──answered──► waiting or ended
//	   ▲                          ▲──────────────too late───────┘│
//	   └─────────────────────────────────────────Retry───────────┘
//
// Set leads from each of them to waiting, and Forget to ended.
type stage uint8

const (
	waiting stage = iota
	ready
	held
	ended // only the mark is left, for reminder.KeepEnded
)

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Handlers <= 0 {
		cfg.Handlers = 64
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	return &Store{cfg: cfg, slots: map[reminder.Actor]map[string]*slot{}, ring: make(chan struct{})}
}

// Set implements [reminder.Store].
func (s *Store) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	return s.change(ctx, "set", r.Actor, r.Name, id, func(e reminder.Entry, id reminder.ID) (reminder.Entry, error) {
		return e.Set(r.Clone(), id, time.Now())
	})
}

// Forget implements [reminder.Store].
func (s *Store) Forget(ctx context.Context, a reminder.Actor, name string, id reminder.ID) error {
	_, err := s.change(ctx, "forget", a, name, id, func(e reminder.Entry, id reminder.ID) (reminder.Entry, error) {
		return e.Forget(a, name, id)
	})
	return err
}

func (s *Store) change(ctx context.Context, op string, a reminder.Actor, name string, id reminder.ID, next func(reminder.Entry, reminder.ID) (reminder.Entry, error)) (reminder.Entry, error) {
	fail := func(kind, cause error) (reminder.Entry, error) {
		return reminder.Entry{}, &reminder.Error{Op: op, Actor: a, Name: name, Kind: kind, ID: id, Err: cause}
	}
	doubt := reminder.ErrUnknown // an earlier call may have stored it
	if id == (reminder.ID{}) {
		id, doubt = reminder.NewID(), reminder.ErrNotStored
	}
	if err := ctx.Err(); err != nil {
		return fail(doubt, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, found := s.slots[a][name]
	if !found {
		l = &slot{}
	}
	if l.entry.Has(id) {
		return l.entry.Clone(), nil
	}
	e, err := next(l.entry, id)
	if err != nil {
		return fail(reminder.ErrInvalid, err)
	}
	size := e.Size()
	if found {
		size -= l.entry.Size()
	}
	if s.cfg.MaxBytes > 0 && size > 0 && s.bytes+size > s.cfg.MaxBytes {
		return fail(reminder.ErrFull, fmt.Errorf("%d bytes of %d are used", s.bytes, s.cfg.MaxBytes))
	}
	if s.slots[a] == nil {
		s.slots[a] = map[string]*slot{}
	}
	s.slots[a][name] = l
	s.bytes += size
	s.keep(l, e)
	return e.Clone(), nil
}

// List implements [reminder.Store].
func (s *Store) List(ctx context.Context, a reminder.Actor) ([]reminder.Entry, error) {
	e := &reminder.Error{Op: "list", Actor: a}
	if e.Err = a.Valid(); e.Err != nil {
		e.Kind = reminder.ErrInvalid
		return nil, e
	}
	if e.Err = ctx.Err(); e.Err != nil {
		e.Kind = reminder.ErrUnavailable
		return nil, e
	}
	var all []reminder.Entry
	s.mu.Lock()
	for _, l := range s.slots[a] {
		if l.stage != ended {
			all = append(all, l.entry.Clone())
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b reminder.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Follow implements [reminder.Store]. It never returns an error.
func (s *Store) Follow(ctx context.Context, handle func(context.Context, reminder.Firing) reminder.Outcome) error {
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, s.cfg.Handlers)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		l, f, turn := s.take(ctx)
		if l == nil {
			return nil
		}
		running.Go(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
			defer cancel()
			tooLate := context.AfterFunc(ctx, func() { s.answer(l, turn, f, reminder.Retry(0)) })
			out := handle(ctx, f)
			if tooLate() {
				s.answer(l, turn, f, out)
			}
		})
	}
}

// take waits for a slot that is ready, and returns it, held, with its firing. It returns nil when ctx
// ends.
func (s *Store) take(ctx context.Context) (*slot, reminder.Firing, uint64) {
	for {
		if ctx.Err() != nil {
			return nil, reminder.Firing{}, 0
		}
		s.mu.Lock()
		for len(s.ready) > 0 {
			l := s.ready[0]
			s.ready[0], s.ready = nil, s.ready[1:]
			if l.stage != ready {
				continue
			}
			l.attempt++
			f, _ := l.entry.Firing(time.Now(), l.attempt) // Set has read its expression in this process
			s.turn(l, held)
			turn := l.turn
			s.mu.Unlock()
			return l, f, turn
		}
		ring := s.ring
		s.mu.Unlock()
		select {
		case <-ring:
		case <-ctx.Done():
		}
	}
}

// answer is called with the outcome of the firing f, which was handed out at turn.
func (s *Store) answer(l *slot, turn uint64, f reminder.Firing, out reminder.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.turn != turn {
		return
	}
	if after, again := out.Retry(); again {
		s.turn(l, waiting)
		s.wait(l, after)
		return
	}
	if next, ok, _ := l.entry.Answered(&f, time.Now()); ok {
		s.bytes += next.Size() - l.entry.Size()
		s.keep(l, next)
	}
}

// turn changes the stage of l. s.mu is held, as it is for what follows.
func (s *Store) turn(l *slot, to stage) {
	if l.clock != nil {
		l.clock.Stop()
	}
	l.stage = to
	l.turn++
}

// keep puts e into l, and starts its clock.
func (s *Store) keep(l *slot, e reminder.Entry) {
	l.entry, l.attempt = e, 0
	if e.Ended() {
		s.turn(l, ended)
		turn := l.turn
		l.clock = time.AfterFunc(reminder.KeepEnded, func() { s.drop(l, turn) })
		return
	}
	s.turn(l, waiting)
	s.wait(l, time.Until(e.Due))
}

// wait makes l ready after d.
func (s *Store) wait(l *slot, d time.Duration) {
	if d <= 0 {
		s.turn(l, ready)
		s.ready = append(s.ready, l)
		close(s.ring)
		s.ring = make(chan struct{})
		return
	}
	turn, due := l.turn, time.Now().Round(0).Add(d)
	l.clock = time.AfterFunc(min(d, checkWall), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.turn == turn {
			s.wait(l, time.Until(due))
		}
	})
}

// drop removes the mark that a reminder has ended.
func (s *Store) drop(l *slot, turn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.turn != turn {
		return
	}
	a := l.entry.Actor
	s.bytes -= l.entry.Size()
	delete(s.slots[a], l.entry.Name)
	if len(s.slots[a]) == 0 {
		delete(s.slots, a)
	}
}

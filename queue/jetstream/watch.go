package jetstream

import (
	"context"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/queuestore"
)

// State is the state of a queue in NATS.
type State uint8

// The states.
const (
	Opened State = iota // its streams are available
	Away                // NATS does not answer
	Gone                // the items are gone, see GoneError
)

// String returns the state's name.
func (s State) String() string { return [...]string{"opened", "away", "gone"}[min(s, Gone)] }

// GoneError says that the stream of the items was deleted while the queue was open, or that
// NATS came back with an empty store. It wraps actor.ErrGone. All requests to the queue fail
// with it, and do not run, until Accept or the next Open.
type GoneError struct {
	Queue string // its prefix in NATS
	Items uint64 // how many items there were at the last successful check
}

// Error says what is gone.
func (e *GoneError) Error() string {
	return fmt.Sprintf("queue/jetstream: the stream %s was deleted, or NATS came back with an empty store: the items pushed before are gone (%d when last seen), and ids are known no more", e.Queue, e.Items)
}

// Unwrap returns actor.ErrGone.
func (e *GoneError) Unwrap() error { return queuestore.ErrGone }

// lookEvery is how often a queue checks its streams and consumers. If there is a sign that one
// is missing, it checks at once, but at the earliest lookAgain after the last check.
const (
	lookEvery = 2 * time.Second
	lookAgain = 250 * time.Millisecond
)

// observation is the result of one check.
type observation struct {
	err     error // of the request for the stream of the items
	created time.Time
	items   uint64
	used    bool   // something was pushed at some time
	lost    string // names what else is missing
	missing bool   // lost is not empty
}

// watch is the result of the checks so far.
type watch struct {
	state     State
	created   time.Time
	used      bool // something was pushed at some time
	items     uint64
	fails     int // checks in a row that got no answer
	misses    int // checks in a row that found that the stream does not exist
	lastError string
}

// decision is what follows from a check.
type decision struct {
	state  State
	remake bool // what is missing can be recreated without a loss of items
}

// judge applies the result of a check. Only after two in a row does it believe that something
// does not exist.
func (w *watch) judge(s observation) decision {
	v := decision{state: w.state}
	switch {
	case w.state == Gone:
		return v
	case s.err == nil:
		w.fails, w.misses = 0, 0
		v.state = Opened
		if !s.created.Equal(w.created) {
			if w.used {
				v.state = Gone
				break
			}
			w.created = s.created
		}
		w.used, w.items = w.used || s.used, s.items
		v.remake = s.missing
	case jserror.Of(s.err).Cause == jserror.Gone:
		w.fails = 0
		if w.misses++; w.misses >= 2 {
			v.remake = !w.used
			if w.used {
				v.state = Gone
			}
		}
	default:
		w.misses = 0
		if w.fails++; w.fails >= 2 {
			v.state = Away
		}
	}
	w.state = v.state
	return v
}

// suspect makes the queue check soon.
func (q *Queue) suspect() {
	select {
	case q.poke <- struct{}{}:
	default:
	}
}

// watch checks again and again until Close.
func (q *Queue) watch(w watch) {
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-q.poke:
		case <-time.After(lookEvery):
		}
		q.watching.Lock()
		if again := q.remade.Swap(nil); again != nil {
			w = *again
		}
		q.look(&w)
		q.watching.Unlock()
		select {
		case <-q.ctx.Done():
			return
		case <-time.After(lookAgain):
		}
	}
}

// look checks once, and does what follows from it.
func (q *Queue) look(w *watch) {
	ctx, cancel := context.WithTimeout(q.ctx, tryFor)
	defer cancel()
	w.used = w.used || q.pushed.Load()
	s := q.see(ctx)
	if q.ctx.Err() != nil {
		return
	}
	before := w.state
	v := w.judge(s)
	if v.remake {
		h, err := q.make(ctx)
		switch {
		case err == nil && s.err != nil:
			q.cfg.Logger.Warn("the streams of the queue were gone, and nothing was lost: they are recreated", "queue", q.prefix)
			if info := h.items.CachedInfo(); info != nil {
				w.created, w.misses = info.Created, 0
			}
		case err == nil:
			q.cfg.Logger.Error("parts of the queue were gone, and are recreated", "queue", q.prefix, "gone", s.lost)
		case w.lastError != err.Error():
			w.lastError = err.Error()
			q.cfg.Logger.Error("parts of the queue are gone, and cannot be recreated", "queue", q.prefix, "gone", s.lost, "err", err)
		}
	}
	if v.state == before {
		return
	}
	switch v.state {
	case Gone:
		err := &GoneError{Queue: q.prefix, Items: w.items}
		q.gone.Store(err)
		q.cfg.Logger.Error("the items of the queue are gone: it refuses everything until Accept, or until it is opened again", "queue", q.prefix, "items", w.items)
	case Away:
		q.cfg.Logger.Warn("NATS does not answer for the queue", "queue", q.prefix, "err", s.err)
	case Opened:
		q.cfg.Logger.Info("NATS answers for the queue again", "queue", q.prefix)
	}
	if q.cfg.Changed != nil {
		q.cfg.Changed(v.state)
	}
}

// see requests the state of all streams and consumers.
func (q *Queue) see(ctx context.Context) (s observation) {
	info, err := q.items.Info(ctx)
	if err != nil {
		s.err = err
		return s
	}
	s.created, s.items, s.used = info.Created, info.State.Msgs, used(info)
	miss := func(what string) { s.missing, s.lost = true, s.lost+what+"; " }
	if _, err := q.dead.Info(ctx); jserror.Of(err).Cause == jserror.Gone {
		miss("all dead letters")
	}
	if _, err := q.free.Info(ctx); jserror.Of(err).Cause == jserror.Gone {
		miss("which deliveries were no attempts")
	}
	for level, name := range levelNames {
		if _, err := q.consumers[level].Info(ctx); jserror.Of(err).Cause == jserror.Gone {
			miss("the attempts of items of priority " + name + ", which may be delivered twice at a time")
		}
	}
	return s
}

// Err returns a *GoneError if the items of the queue are gone, and nil otherwise.
func (q *Queue) Err() error {
	if err := q.gone.Load(); err != nil {
		return err
	}
	return nil
}

// Accept accepts that the items are gone, see GoneError: it recreates what is missing, and the
// queue serves requests again. If no items are gone it does nothing. It may wait for NATS as
// Open does, and returns the same errors.
func (q *Queue) Accept(ctx context.Context) error {
	if q.Err() == nil {
		return nil
	}
	h, err := q.ensure(ctx)
	if err != nil {
		return err
	}
	q.watching.Lock()
	defer q.watching.Unlock()
	q.pushed.Store(false)
	q.remade.Store(q.watchOf(h))
	q.gone.Store(nil)
	q.cfg.Logger.Warn("the loss of its items was accepted: the queue goes on", "queue", q.prefix)
	if q.cfg.Changed != nil {
		q.cfg.Changed(Opened)
	}
	return nil
}

// watchOf returns the watch of streams that have just been opened.
func (q *Queue) watchOf(h handles) *watch {
	info := h.items.CachedInfo()
	return &watch{created: info.Created, used: used(info), items: info.State.Msgs}
}

// used reports whether a stream has ever held a message.
func used(info *natsjs.StreamInfo) bool {
	return info.State.LastSeq > 0 && info.State.LastSeq >= info.Config.FirstSeq
}

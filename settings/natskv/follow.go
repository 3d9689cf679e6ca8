package natskv

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

var (
	errWatchEnded   = errors.New("the watch has ended")
	errReconnected  = errors.New("the connection was lost, and is there again")
	errDisconnected = errors.New("there is no connection")
	errReplaced     = errors.New("the bucket was made anew")
	errSilent       = errors.New("the watch has fallen silent")
)

const (
	firstPause  = 50 * time.Millisecond // after a watch that could not be opened; doubled each time
	lastPause   = 2 * time.Second       // and this is the longest
	askTimeout  = 2 * time.Second       // bounds one comparison
	openTimeout = 4 * time.Second       // bounds the opening of a watch
	behindWait  = 2 * time.Second       // how long a server may lag that answers, before it is believed
)

// Follow implements settings.Source. It returns when ctx ends, or when the connection was closed. After each loss of the
// connection it reads everything again that the bucket remembers, since the watch may have missed something.
func (s *Store) Follow(ctx context.Context, take func(settings.Update)) error {
	conn := s.js.Conn()
	status := conn.StatusChanged()
	defer conn.RemoveStatusListener(status)
	for pause := firstPause; ; {
		before := conn.LastError()
		f := &following{store: s, take: take, reconnects: conn.Stats().Reconnects}
		err := f.session(ctx, status)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if f.whole {
			pause = firstPause
		}
		if conn.IsClosed() {
			err = s.fault("following the settings", rpc.NotRun, before, err)
			take(settings.Update{Away: err})
			return err
		}
		if errors.Is(err, errReconnected) || errors.Is(err, errReplaced) || errors.Is(err, errSilent) {
			continue
		}
		take(settings.Update{Away: s.fault("following the settings", rpc.NotRun, before, err)})
		select {
		case <-ctx.Done():
		case <-status:
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// following is one watch of the bucket. Only the goroutine of Follow uses it.
type following struct {
	store      *Store
	take       func(settings.Update)
	reconnects uint64 // of the connection, before the watch

	whole  bool   // everything was read
	source string // which bucket it is
	seen   uint64 // the watch has brought everything up to that revision
	behind uint64 // the revision of the bucket when it was compared last, if it was more than seen
	unsure int    // how many comparisons in a row have failed
}

// session opens one watch, hands on what it brings, and returns why it has ended.
func (f *following) session(ctx context.Context, status <-chan nats.Status) error {
	if err := f.connected(); err != nil {
		return err
	}
	var last uint64
	var err error
	if f.source, last, err = f.ask(ctx); err != nil {
		return err
	}
	w, end, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := f.gather(ctx, w, last, status); err != nil {
		return err
	}
	check := time.NewTicker(f.store.cfg.Check)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-status:
			if err := f.connected(); err != nil {
				return err
			}
		case <-check.C:
			if err := f.compare(ctx); err != nil {
				return err
			}
		case e, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			if e != nil {
				f.seen = max(f.seen, e.Revision())
				f.take(settings.Update{Source: f.source, Entries: []settings.Entry{entryOf(e)}})
			}
		}
	}
}

// gather hands on everything that the bucket remembers, whose latest revision is last.
func (f *following) gather(ctx context.Context, w jetstream.KeyWatcher, last uint64, status <-chan nats.Status) error {
	late := time.NewTimer(openTimeout)
	defer late.Stop()
	var lag <-chan time.Time // the watch has told all that its server has, which may be less than there is
	all := settings.Update{Whole: true}
	for told := false; !told || f.seen < last; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return context.DeadlineExceeded
		case <-status:
			if err := f.connected(); err != nil {
				return err
			}
		case <-lag:
			f.seen = last // what is missing was removed
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errWatchEnded
			case e == nil:
				told, lag = true, time.After(behindWait)
			default:
				f.seen = max(f.seen, e.Revision())
				all.Entries = append(all.Entries, entryOf(e))
			}
		}
	}
	now, _, err := f.ask(ctx)
	if err != nil {
		return err
	}
	if now != f.source {
		return errReplaced
	}
	all.Source, f.whole = f.source, true
	f.take(all)
	return nil
}

// connected returns an error if the connection is not there, or is another one than before the watch.
func (f *following) connected() error {
	conn := f.store.js.Conn()
	switch {
	case conn.Stats().Reconnects != f.reconnects:
		return errReconnected
	case conn.Status() != nats.CONNECTED:
		return errDisconnected
	}
	return nil
}

// ask returns which bucket there is, and its latest revision.
func (f *following) ask(ctx context.Context) (source string, last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := f.store.js.Stream(ctx, "KV_"+f.store.bucket)
	if err != nil {
		return "", 0, err
	}
	info := stream.CachedInfo()
	return info.Created.UTC().Format(time.RFC3339Nano), info.State.LastSeq, nil
}

// compare compares what was seen with the bucket. The error says that the watch is not what it should be.
func (f *following) compare(ctx context.Context) error {
	source, last, err := f.ask(ctx)
	if err != nil {
		if f.unsure++; f.unsure > 1 || errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		return nil
	}
	f.unsure = 0
	switch {
	case source != f.source:
		return errReplaced
	case f.behind > f.seen:
		return errSilent
	case last > f.seen:
		f.behind = last
	}
	return nil
}

// open watches the bucket, with all writes that it remembers. end stops the watch and waits for it.
func (f *following) open(ctx context.Context) (w jetstream.KeyWatcher, end func(), err error) {
	life, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(openTimeout, cancel) // Watch itself has no time-out
	kv, err := f.store.js.KeyValue(life, f.store.bucket)
	if err == nil {
		w, err = kv.WatchAll(life, jetstream.IncludeHistory())
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	end = func() { drain(w, cancel) }
	if !late.Stop() {
		end()
		return nil, nil, context.DeadlineExceeded
	}
	return w, end, nil
}

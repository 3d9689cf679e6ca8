package natskv

import (
	"cmp"
	"context"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

// History returns who has changed a key, how and when, the oldest change first: as many as the bucket remembers. A
// value that is wrong has its Err.
func (s *Store) History(ctx context.Context, key settings.Key) ([]*settings.Version, error) {
	if _, err := settings.ParseKey(key.String()); err != nil {
		return nil, err
	}
	return s.read(ctx, key.String(), jetstream.IncludeHistory())
}

// List returns the latest version of each key, also of those that were deleted, or that there should not be; in the
// order of their keys.
func (s *Store) List(ctx context.Context) ([]*settings.Version, error) {
	all, err := s.read(ctx, ">")
	slices.SortFunc(all, func(a, b *settings.Version) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return all, err
}

// read returns the versions of keys, in the order of their revisions.
func (s *Store) read(ctx context.Context, keys string, opts ...jetstream.WatchOpt) ([]*settings.Version, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	before := s.js.Conn().LastError()
	fault := func(err error) error { return s.fault("reading the settings", rpc.NotRun, before, err) }
	kv, err := s.js.KeyValue(ctx, s.bucket)
	if err != nil {
		return nil, fault(err)
	}
	w, err := kv.Watch(ctx, keys, opts...)
	if err != nil {
		return nil, fault(err)
	}
	defer drain(w, cancel)
	var all []*settings.Version
	for {
		select {
		case <-ctx.Done():
			return nil, fault(ctx.Err())
		case e, ok := <-w.Updates():
			if !ok {
				return nil, fault(errWatchEnded)
			}
			if e == nil {
				return all, nil
			}
			all = append(all, settings.NewVersion(entryOf(e)))
		}
	}
}

// drain ends a watch, and waits for it. Its Stop would wait 5 s for a server that has just died.
func drain(w jetstream.KeyWatcher, cancel context.CancelFunc) {
	cancel()
	for range w.Updates() { // unblocks its callback; closed when that is done
	}
}

func entryOf(e jetstream.KeyValueEntry) settings.Entry {
	return settings.Entry{Key: e.Key(), Revision: e.Revision(), Time: e.Created(), Deleted: e.Operation() != jetstream.KeyValuePut, Data: e.Value()}
}

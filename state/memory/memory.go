// Package memory keeps the stored state of virtual actors in the memory of the process, for tests
// and for single nodes.
//
//	store := memory.New(memory.Config{})
//	rev, err := store.Commit(ctx, state.Key{Kind: "bank.account", ID: "alice"}, state.Record{Token: 1, State: []byte("5")}, state.Revision{})
//
// The promise is that of [state.Store]. Several systems of one process may share a store: then
// they are the nodes of a cluster whose state survives the end of each of them. Nothing survives
// the end of the process.
//
// The limits. A record has at most Config.MaxRecord bytes, which is about what fits into a message
// of NATS by default, so that a test finds what would be too large there. ErrUnknown occurs only for
// a commit that is repeated after others have replaced it several times, and ErrLost only for one
// that is made after a commit which this store never had.
package memory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/state"
)

// DefaultMaxRecord is the default of Config.MaxRecord.
const DefaultMaxRecord = 1 << 20

// Config sets the limits of a store. Its zero value is the default.
type Config struct {
	MaxRecord int // bytes of one encoded record; default DefaultMaxRecord
	MaxBytes  int // bytes of all encoded records; beyond it commits end with state.ErrFull; 0 means no limit
}

// Store is a [state.Store]. It may be used concurrently, and works in bubbles of testing/synctest.
type Store struct {
	cfg Config

	mu    sync.Mutex // guards what follows
	seq   uint64     // of the last commit of any key
	bytes int        // of all entries
	kept  map[state.Key]entry
}

// entry is what is kept under a key.
type entry struct {
	seq  uint64
	data []byte // encoded, so that it shares no memory with any caller
}

var _ state.Store = (*Store)(nil)

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.MaxRecord <= 0 {
		cfg.MaxRecord = DefaultMaxRecord
	}
	return &Store{cfg: cfg, kept: map[state.Key]entry{}}
}

// Load implements [state.Store].
func (s *Store) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	fail := func(kind error, rev state.Revision, cause error) error {
		return &state.Error{Op: "load", Key: key, Kind: kind, Found: rev, Err: cause}
	}
	if err := key.Valid(); err != nil {
		return state.Record{}, state.Revision{}, fail(state.ErrInvalid, state.Revision{}, err)
	}
	if err := ctx.Err(); err != nil {
		return state.Record{}, state.Revision{}, fail(state.ErrUnavailable, state.Revision{}, err)
	}
	s.mu.Lock()
	e, found := s.kept[key]
	s.mu.Unlock()
	if !found {
		return state.Record{}, state.Revision{}, fail(state.ErrNone, state.Revision{}, nil)
	}
	st, err := state.ParseStored(slices.Clone(e.data))
	if err != nil {
		return state.Record{}, state.Revision{Seq: e.seq}, fail(state.ErrFormat, state.Revision{Seq: e.seq}, err)
	}
	rev := st.Revision(e.seq)
	if st.Deleted {
		return st.Record, rev, fail(state.ErrNone, rev, nil)
	}
	return st.Record, rev, nil
}

// Commit implements [state.Store].
func (s *Store) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	st, err := state.Next(key, rec, after)
	if err != nil {
		return state.Revision{}, err
	}
	return s.put(ctx, st)
}

// Delete implements [state.Store].
func (s *Store) Delete(ctx context.Context, key state.Key, token uint64, after state.Revision) (state.Revision, error) {
	st, err := state.NextDeleted(key, token, after)
	if err != nil {
		return state.Revision{}, err
	}
	return s.put(ctx, st)
}

func (s *Store) put(ctx context.Context, st state.Stored) (state.Revision, error) {
	none := state.Revision{}
	if err := ctx.Err(); err != nil {
		kind := state.ErrNotStored
		if !st.Fresh { // an earlier call may have stored it
			kind = state.ErrUnknown
		}
		return none, st.Err(kind, none, err)
	}
	size := st.Size()
	if size > s.cfg.MaxRecord {
		return none, st.Err(state.ErrTooLarge, none, fmt.Errorf("%d bytes, limit %d", size, s.cfg.MaxRecord))
	}
	data := st.Append(make([]byte, 0, size))

	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.kept[st.Key]
	if e.seq != st.Before.Seq || s.idOf(e) != st.Before.ID {
		return s.judge(&st, e)
	}
	if s.cfg.MaxBytes > 0 && s.bytes+len(data)-len(e.data) > s.cfg.MaxBytes {
		return none, st.Err(state.ErrFull, none, fmt.Errorf("%d bytes of %d are used", s.bytes, s.cfg.MaxBytes))
	}
	s.seq++
	s.bytes += len(data) - len(e.data)
	s.kept[st.Key] = entry{s.seq, data}
	return st.Revision(s.seq), nil
}

// idOf returns the ID of what is kept, zero if nothing is.
func (s *Store) idOf(e entry) state.ID {
	if e.seq == 0 {
		return state.ID{}
	}
	st, _ := state.ParseStored(e.data) // the store has encoded it itself
	return st.ID
}

// judge returns the result of a commit that was made after another commit than the last one. It
// may be stored all the same: this may be a repetition.
func (s *Store) judge(st *state.Stored, e entry) (state.Revision, error) {
	found, seq := state.Stored{}, e.seq
	if seq > 0 {
		found, _ = state.ParseStored(e.data)
	}
	switch last := found.Revision(seq); st.Judge(&found, seq) {
	case state.Kept:
		return last, nil
	case state.Replaced:
		return st.Revision(found.Before.Seq), nil
	case state.Later:
		if !st.Fresh {
			return state.Revision{}, st.Err(state.ErrUnknown, last, nil)
		}
		return state.Revision{}, st.Conflict(last)
	case state.Missing:
		return state.Revision{}, st.Err(state.ErrLost, last, fmt.Errorf("there is no commit %d", st.Before.Seq))
	default:
		return state.Revision{}, st.Conflict(last)
	}
}

// Walk implements [state.Store]. The ids are in order.
func (s *Store) Walk(ctx context.Context, kind string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var ids []string
		s.mu.Lock()
		for key, e := range s.kept {
			if key.Kind != kind {
				continue
			}
			if st, err := state.ParseStored(e.data); err != nil || !st.Deleted {
				ids = append(ids, key.ID)
			}
		}
		s.mu.Unlock()
		slices.Sort(ids)
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				yield("", &state.Error{Op: "walk", Key: state.Key{Kind: kind}, Kind: state.ErrUnavailable, Err: err})
				return
			}
			if !yield(id, nil) {
				return
			}
		}
	}
}

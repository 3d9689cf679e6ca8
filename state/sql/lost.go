package sql

import (
	"context"
	stdsql "database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tandem-go/tandem/state"
)

// home tells a table from any other of the same name.
type home struct {
	identity   state.ID // drawn when the table was made
	generation int64    // an operator raises it when the table was set back
}

// loss is what is known of the loss of records. Once it is known, that is for ever.
type loss struct {
	why  atomic.Pointer[error]
	last atomic.Pointer[mark] // the last commit that this store has made
}

// mark is a commit that was acknowledged, and must be there, or one after it. If the database was
// set back to an earlier moment, the last commit is missing whichever else is.
type mark struct {
	key state.Key
	seq uint64
	id  state.ID
}

// err returns an error once records are known to be lost.
func (l *loss) err() error {
	if why := l.why.Load(); why != nil {
		return *why
	}
	return nil
}

// saw notes a commit that was stored.
func (s *Store) saw(key state.Key, seq uint64, id state.ID) {
	s.loss.last.Store(&mark{key, seq, id})
}

// view is what one statement has read. The home is zero if it is not there, a seq if the row is not.
type view struct {
	home    home
	version uint64 // of the schema
	witness mark   // without a key
	seq     uint64 // of the last commit of the key
	data    []byte
}

// stored decodes the record of a key. It is zero if there is none. The error is a *state.FormatError.
func (v *view) stored(key state.Key) (state.Stored, error) {
	if v.seq == 0 {
		return state.Stored{}, nil
	}
	st, err := state.ParseStored(v.data)
	if err == nil && st.Key != key {
		err = &state.FormatError{Version: state.FormatVersion, Data: v.data, Why: fmt.Sprintf("it is the record of %v", st.Key)}
	}
	return st, err
}

// missing says what a view does not have that it should, or "".
func (v *view) missing(h home, last *mark) string {
	switch {
	case v.home == home{}:
		return "the table was emptied"
	case v.home.identity != h.identity:
		return "the table is another one"
	case v.home.generation != h.generation:
		return fmt.Sprintf("the table was set back: it has generation %d, and had %d", v.home.generation, h.generation)
	case last == nil, v.witness.seq > last.seq, v.witness.seq == last.seq && v.witness.id == last.id:
		return ""
	}
	return fmt.Sprintf("commit %d of %v is not there any more; the last one is %d", last.seq, last.key, v.witness.seq)
}

// errNoTable says that the database has no such table.
var errNoTable = errors.New("there is no such table")

// see reads the home, the row of a witness, and that of a key. The error is errNoTable if there is
// no table.
func (s *Store) see(ctx context.Context, witness, key state.Key) (view, error) {
	v, err := s.query(ctx, witness, key)
	if err == nil || s.dialect.fateOf(err) != refused {
		return v, err
	}
	var n int
	if s.db.QueryRowContext(ctx, s.text.exists, s.cfg.Table).Scan(&n) == nil && n == 0 {
		return view{}, errNoTable
	}
	return s.query(ctx, witness, key) // it may have been made meanwhile
}

func (s *Store) query(ctx context.Context, witness, key state.Key) (v view, err error) {
	var identity, token, id []byte
	var generation, at, seq stdsql.NullInt64
	err = s.db.QueryRowContext(ctx, s.text.look, []byte(witness.Kind), []byte(witness.ID), []byte(key.Kind), []byte(key.ID)).
		Scan(&identity, &generation, &token, &at, &id, &seq, &v.data)
	if err != nil {
		return view{}, err
	}
	copy(v.home.identity[:], identity)
	v.home.generation = generation.Int64
	if len(token) == 8 {
		v.version = binary.BigEndian.Uint64(token)
	}
	v.witness.seq, v.seq = uint64(at.Int64), uint64(seq.Int64)
	copy(v.witness.id[:], id)
	return v, nil
}

// look reads the last commit of a key. The error wraps state.ErrLost if the table is not the one
// that it was, or not all that this store has committed is there. Databases show what they have
// acknowledged, so there is no need to wait and see.
func (s *Store) look(ctx context.Context, key state.Key) (view, error) {
	last, witness := s.loss.last.Load(), state.Key{} // before the statement: what comes later may be in it or not
	if last != nil {
		witness = last.key
	}
	v, err := s.see(ctx, witness, key)
	why := ""
	switch {
	case errors.Is(err, errNoTable):
		why = "the table does not exist any more"
	case err != nil:
		return view{}, err
	default:
		why = v.missing(s.home, last)
	}
	if why == "" {
		return v, nil
	}
	lost := fmt.Errorf("%w: table %s: %s", state.ErrLost, s.cfg.Table, why)
	if s.loss.why.CompareAndSwap(nil, &lost) {
		s.cfg.Logger.Error("the state of virtual actors is lost; see the documentation of package state/sql for what to do", "table", s.cfg.Table, "why", why)
	}
	return view{}, s.loss.err()
}

// whole finds out whether the table is still the one that it was.
func (s *Store) whole(ctx context.Context) error {
	_, err := s.look(ctx, state.Key{})
	return err
}

// Check finds out whether the store still has all its records, as far as it can see: nil if it has,
// an error that wraps state.ErrLost if it has not, and state.ErrUnavailable if the database does
// not answer before ctx ends. It is for probes; the other methods find out by themselves.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, &state.Error{Op: "check"}, s.whole)
}

package sql_test

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
	"github.com/tandem-go/tandem/state/storetest"
)

// fault is what happens to one statement that writes.
type fault int

const (
	none      fault = iota
	lost            // the connection breaks before it arrives
	ackLost         // it takes effect, and the connection breaks before the answer arrives
	late            // the connection breaks, and it takes effect behind the next one
	lateAgain       // it takes effect, and a second copy arrives behind the next one
	busy            // the database is locked, or cannot serialize it
	unread          // as ackLost, and the connection of the next read breaks, too
	lastFault = unread
)

var errFault = errors.New("test: the connection broke")

// errBusy is the error of both databases.
type errBusy struct{}

func (errBusy) Error() string    { return "test: busy" }
func (errBusy) SQLState() string { return "40001" }
func (errBusy) Code() int        { return 5 }

// faulty makes connections with faults.
type faulty struct {
	driver.Connector

	mu    sync.Mutex
	next  []fault // the faults of the next statements that write
	later []func()
	blind int // how many reads break
	// on is the fault of any statement, if next has none. It may block.
	on    func(ctx context.Context, text string) fault
	after func() // called once, after the next statement that writes, before its answer is there
}

func (f *faulty) plan(after func(), faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.after = faults, after
}

func (f *faulty) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := f.Connector.Connect(ctx)
	return &faultyConn{Conn: c, from: f}, err
}

// faultyConn is a connection.
type faultyConn struct {
	driver.Conn
	from   *faulty
	broken bool
}

func (c *faultyConn) IsValid() bool { return !c.broken }

func (c *faultyConn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *faultyConn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *faultyConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c *faultyConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.from.mu.Lock()
	blind := c.from.blind > 0
	if blind {
		c.from.blind--
	}
	c.from.mu.Unlock()
	if blind {
		c.broken = true
		return nil, errFault
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
}

func (c *faultyConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	f := c.from
	if c.broken {
		return nil, errFault
	}
	kept := slices.Clone(args)
	for i, a := range kept {
		if b, ok := a.Value.([]byte); ok {
			kept[i].Value = slices.Clone(b)
		}
	}
	resend := func() {
		other, err := f.Connector.Connect(context.WithoutCancel(ctx))
		if err != nil {
			panic(err)
		}
		defer other.Close()
		_, _ = other.(driver.ExecerContext).ExecContext(context.WithoutCancel(ctx), text, kept)
	}
	f.mu.Lock()
	now := none
	if len(f.next) > 0 {
		now, f.next = f.next[0], f.next[1:]
	}
	later, after, on := f.later, f.after, f.on
	f.later, f.after = nil, nil
	f.mu.Unlock()
	if now == none && on != nil {
		now = on(ctx, text)
	}
	defer func() {
		for _, copy := range later {
			copy()
		}
		if after != nil {
			after()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		switch now {
		case late, lateAgain:
			f.later = append(f.later, resend)
		case unread:
			f.blind++
		}
	}()
	switch now {
	case busy:
		return nil, errBusy{}
	case lost, late:
		c.broken = true
		return nil, errFault
	case ackLost, lateAgain, unread:
		c.broken = true
		if _, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args); err != nil {
			return nil, err
		}
		return nil, errFault
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args)
}

// faulty opens the database over connections with faults.
func (b base) faulty(t testing.TB) (*faulty, *stdsql.DB) {
	f := &faulty{Connector: b.connector(t)}
	db := stdsql.OpenDB(f)
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { db.Close() })
	return f, db
}

// With each fault, Commit finds out by itself whether it is stored, if it has the time.
func TestFaultsAreHidden(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		f, db := b.faulty(t)
		s := b.over(t, db)
		for what := lost; what <= lastFault; what++ {
			for n, faults := range [][]fault{{what}, {what, what}, {what, lost}, {ackLost, what}} {
				key := state.Key{Kind: fmt.Sprint(what), ID: fmt.Sprint(n)}
				rev := state.Revision{}
				for i := range 3 {
					f.plan(nil, faults...)
					rev = commit(t, s, key, fmt.Sprint(i), rev)
					holds(t, s, key, fmt.Sprint(i), rev)
				}
				f.plan(nil, faults...)
				rev, err := s.Delete(t.Context(), key, 1, rev)
				if _, at, e := s.Load(t.Context(), key); err != nil || !errors.Is(e, state.ErrNone) || at != rev {
					t.Errorf("%v: deleted %v, %v; loaded %v, %v", faults, rev, err, at, e)
				}
			}
		}
	})
}

// The ctx of a Commit ends while it is unknown whether it is stored. It says so, and the same
// Commit, made again, finds out. Where the database has refused the statement, that is known.
func TestUnknown(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		f, db := b.faulty(t)
		s := b.over(t, db)
		for what := lost; what <= lastFault; what++ {
			key := state.Key{Kind: "k", ID: fmt.Sprint(what)}
			before := commit(t, s, key, "1", state.Revision{})
			ctx, cancel := context.WithCancel(t.Context())
			f.plan(cancel, what)
			_, err := s.Commit(ctx, key, record("2"), before) // the ID is new
			var e *state.Error
			want := state.ErrUnknown
			if what == busy {
				want = state.ErrNotStored
			}
			if !errors.As(err, &e) || e.Kind != want || e.ID == (state.ID{}) {
				t.Fatalf("fault %d: %v", what, err)
			}
			rec := record("2")
			rec.ID = e.ID
			rev, err := s.Commit(t.Context(), key, rec, before)
			ok(t, err)
			holds(t, s, key, "2", rev)
		}
	})
}

// A Commit that is made again may have been stored before, so a refusal proves nothing.
func TestRefusedAgain(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		f, db := b.faulty(t)
		s := b.over(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		f.plan(cancel, busy)
		rec := record("1")
		rec.ID = state.NewID()
		_, err := s.Commit(ctx, state.Key{Kind: "k", ID: "a"}, rec, state.Revision{})
		if !errors.Is(err, state.ErrUnknown) || errors.Is(err, state.ErrNotStored) {
			t.Error(err)
		}
	})
}

// Somebody else commits while it is unknown whether a Commit is stored. It says that it is stored
// if, and only if, the other one found it.
func TestOvertakenInDoubt(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		f, db := b.faulty(t)
		s, other := b.over(t, db), b.store(t)
		for what := lost; what <= lastFault; what++ {
			for others := 1; others <= 2; others++ {
				key := state.Key{Kind: "k", ID: fmt.Sprint(what, others)}
				before := commit(t, s, key, "1", state.Revision{})
				found := ""
				f.plan(func() {
					for range others {
						rec, rev, err := other.Load(t.Context(), key)
						ok(t, err)
						if found == "" {
							found = string(rec.State)
						}
						rec.Token, rec.ID = 7, state.ID{}
						_, err = other.Commit(t.Context(), key, rec, rev)
						ok(t, err)
					}
				}, what)
				_, err := s.Commit(t.Context(), key, record("2"), before)
				switch {
				case what == busy && !errors.Is(err, state.ErrFenced):
					t.Errorf("it was refused, and %v", err)
				case what == busy:
				case others == 2 && errors.Is(err, state.ErrUnknown): // nothing is left that could tell
				case others == 2:
					t.Errorf("fault %d: %v", what, err)
				case found == "2" && err != nil:
					t.Errorf("fault %d: it is stored, and %v", what, err)
				case found == "1" && !errors.Is(err, state.ErrFenced):
					t.Errorf("fault %d: it is not stored, and %v", what, err)
				}
			}
		}
	})
}

// Random commits of several holders, with and without faults, are compared with a map.
func TestModel(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		f, db := b.faulty(t)
		plain := b.open(t)
		rapid.Check(t, func(rt *rapid.T) {
			cfg := b.config()
			cfg.Table = fmt.Sprintf("m%s_%d", b.table, tables.Add(1))
			f.plan(nil)
			ok(t, sql.Create(t.Context(), plain, b.Dialect, cfg))
			defer func() {
				_, err := plain.Exec(`DROP TABLE ` + cfg.Table)
				ok(t, err)
				if b.Dialect == sql.PostgreSQL {
					_, err = plain.Exec(`DROP FUNCTION ` + cfg.Table + `_keep`)
					ok(t, err)
				}
			}()
			one, err := sql.Open(t.Context(), db, b.Dialect, cfg)
			ok(t, err)
			two, err := sql.Open(t.Context(), plain, b.Dialect, cfg)
			ok(t, err)
			storetest.Model(rt, []state.Store{one, two}, func(rt *rapid.T, ctx context.Context) context.Context {
				ctx, cancel := context.WithCancel(ctx)
				t.Cleanup(cancel)
				faults := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, int(lastFault)), func(i int) fault { return fault(i) }), 0, 2).Draw(rt, "faults")
				after := func() {}
				if rapid.Bool().Draw(rt, "gives up") {
					after = cancel
				}
				f.plan(after, faults...)
				return ctx
			})
		})
	})
}

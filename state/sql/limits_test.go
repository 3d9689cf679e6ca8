package sql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
)

// A database that is full refuses what needs more room. Nothing else is lost.
func TestFull(t *testing.T) {
	b := fresh(t, sql.SQLite, "max_page_count(40)")
	s := b.store(t)
	big := state.Record{Token: 1, State: bytes.Repeat([]byte("x"), 20_000)}
	last := state.Revision{}
	n := 0
	for ; ; n++ {
		rev, err := s.Commit(ctx(), state.Key{Kind: "k", ID: fmt.Sprint(n)}, big, state.Revision{})
		if errors.Is(err, state.ErrFull) && errors.Is(err, state.ErrNotStored) {
			break
		}
		ok(t, err)
		last = rev
	}
	if n == 0 {
		t.Fatal("nothing had room")
	}
	key := state.Key{Kind: "k", ID: fmt.Sprint(n)}
	if _, _, err := s.Load(ctx(), key); !errors.Is(err, state.ErrNone) {
		t.Error(err)
	}
	holds(t, s, state.Key{Kind: "k", ID: fmt.Sprint(n - 1)}, string(big.State), last)
	commit(t, s, state.Key{Kind: "k", ID: fmt.Sprint(n - 1)}, "less", last)
	if _, err := s.Commit(ctx(), key, big, state.Revision{}); err != nil {
		t.Error(err)
	}
}

// While somebody else has the database locked, a commit waits. If it gives up, it was not stored;
// that is known unless its time ends in the middle of an attempt.
func TestLocked(t *testing.T) {
	b := fresh(t, sql.SQLite)
	s := b.store(t)
	rev := commit(t, s, alice, "1", state.Revision{})
	db := b.open(t)
	conn, err := db.Conn(ctx())
	ok(t, err)
	_, err = conn.ExecContext(ctx(), `BEGIN IMMEDIATE`)
	ok(t, err)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Commit(short, alice, record("2"), rev); !errors.Is(err, state.ErrNotStored) && !errors.Is(err, state.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx(), alice, record("3"), rev)
		done <- err
	}()
	holds(t, s, alice, "1", rev)
	_, err = conn.ExecContext(ctx(), `ROLLBACK`)
	ok(t, err)
	ok(t, <-done)
}

// A commit that gives up while it waits for a connection was not stored.
func TestNoConnection(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		db := b.open(t)
		db.SetMaxOpenConns(1)
		s := b.over(t, db)
		conn, err := db.Conn(ctx())
		ok(t, err)
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.Commit(short, alice, record("2"), state.Revision{}); !errors.Is(err, state.ErrNotStored) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, _, err := s.Load(short, alice); !errors.Is(err, state.ErrUnavailable) {
			t.Error(err)
		}
		ok(t, conn.Close())
		commit(t, s, alice, "1", state.Revision{})
	})
}

// After the database was closed, nothing waits.
func TestClosed(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		db := b.open(t)
		s := b.over(t, db)
		ok(t, db.Close())
		for op, do := range operations {
			err := do(s, alice, state.Revision{})
			if want := map[bool]error{true: state.ErrNotStored, false: state.ErrUnavailable}[op == "commit" || op == "delete" || op == "first"]; !errors.Is(err, want) {
				t.Errorf("%s: %v", op, err)
			}
		}
	})
}

// A commit under a lower token is refused even if its caller says that the one before had none.
func TestTokenOfTheRow(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		s := b.store(t)
		rev, err := s.Commit(ctx(), alice, state.Record{Token: 1 << 63}, state.Revision{})
		ok(t, err)
		lie := rev
		lie.Token = 0
		var e *state.Error
		if _, err := s.Commit(ctx(), alice, record("x"), lie); !errors.Is(err, state.ErrFenced) || !errors.As(err, &e) || e.Found != rev {
			t.Error(err)
		}
		if _, err := s.Commit(ctx(), alice, state.Record{Token: 1<<63 + 1}, lie); err != nil {
			t.Error(err)
		}
	})
}

// A walk has more ids than it reads at once, and a commit of which it has not heard is no end.
func TestWalkInBatches(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		s := b.store(t)
		const n = 2*256 + 1
		for i := range n {
			commit(t, s, state.Key{Kind: "k", ID: fmt.Sprintf("%04d", i)}, "", state.Revision{})
		}
		i := 0
		for id, err := range s.Walk(ctx(), "k") {
			ok(t, err)
			if want := fmt.Sprintf("%04d", i); id != want {
				t.Fatalf("got %q, want %q", id, want)
			}
			i++
		}
		if i != n {
			t.Errorf("%d ids, want %d", i, n)
		}
	})
}

// The server ends connections while commits are under way. Each commit finds out what became of
// it.
func TestConnectionsEnd(t *testing.T) {
	b := fresh(t, sql.PostgreSQL)
	s, admin := b.store(t), b.open(t)
	done := make(chan error)
	ended := 0 // by the first of the goroutines
	for i := range 4 {
		key := state.Key{Kind: "k", ID: fmt.Sprint(i)}
		go func() {
			rev := state.Revision{}
			for n := range 100 {
				var err error
				if rev, err = s.Commit(ctx(), key, record(fmt.Sprint(n)), rev); err != nil || rev.Seq != uint64(n+1) {
					done <- fmt.Errorf("commit %d: %+v, %w", n, rev, err)
					return
				}
				if i > 0 {
					continue
				}
				var k int
				err = admin.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
					WHERE pid <> pg_backend_pid() AND query LIKE $1`, "%"+b.table+"%").Scan(&k)
				if ended += k; err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if ended == 0 {
		t.Error("no connection was ended")
	}
}

// The package brings no driver along.
func TestNoDriver(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	ok(t, err)
	const want = "github.com/tandem-go/tandem/state\ngithub.com/tandem-go/tandem/state/sql"
	if got := strings.Join(strings.Fields(string(out)), "\n"); got != want {
		t.Errorf("it needs\n%s\nwant\n%s", got, want)
	}
}

package sql_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
)

// run executes what an operator does. {t} is the table, and {unguard} removes its guard.
func (b base) run(t testing.TB, texts ...string) error {
	unguard := `DROP TRIGGER {t}_keep`
	if b.Dialect == sql.PostgreSQL {
		unguard += ` ON {t}`
	}
	db := b.open(t)
	defer db.Close()
	for _, text := range texts {
		text = strings.NewReplacer("{unguard}", unguard).Replace(text)
		if _, err := db.ExecContext(ctx(), strings.ReplaceAll(text, "{t}", b.table)); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

var alice = state.Key{Kind: "k", ID: "alice"}

// operations are all that can be asked of a store that has committed under a key.
var operations = map[string]func(s *sql.Store, key state.Key, rev state.Revision) error{
	"load":       func(s *sql.Store, key state.Key, _ state.Revision) error { _, _, err := s.Load(ctx(), key); return err },
	"load other": func(s *sql.Store, _ state.Key, _ state.Revision) error { _, _, err := s.Load(ctx(), alice); return err },
	"commit": func(s *sql.Store, key state.Key, rev state.Revision) error {
		_, err := s.Commit(ctx(), key, record("x"), rev)
		return err
	},
	"first": func(s *sql.Store, key state.Key, _ state.Revision) error {
		_, err := s.Commit(ctx(), state.Key{Kind: "first", ID: key.ID}, record("x"), state.Revision{})
		return err
	},
	"delete": func(s *sql.Store, key state.Key, rev state.Revision) error {
		_, err := s.Delete(ctx(), key, 1, rev)
		return err
	},
	"walk": func(s *sql.Store, _ state.Key, _ state.Revision) (err error) {
		for _, err = range s.Walk(ctx(), "k") {
		}
		return err
	},
	"check": func(s *sql.Store, _ state.Key, _ state.Revision) error { return s.Check(ctx()) },
}

func ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// Whatever becomes of the table, each operation notices it, and the store says it for ever. Create
// and Open do not begin empty where there was something.
func TestLost(t *testing.T) {
	older := []string{`{unguard}`, `DELETE FROM {t}`, `INSERT INTO {t} SELECT * FROM {t}_older`}
	const unsaid = "set back, and nobody has said so"
	for _, c := range []struct {
		what   string
		damage []string
		open   error // of an Open that comes later; nil: it trusts what it finds
	}{
		{"dropped", []string{`DROP TABLE {t}`}, new(sql.SchemaError)},
		{"emptied", []string{`{unguard}`, `DELETE FROM {t}`}, state.ErrLost},
		{unsaid, older, nil},
		{"set back, and said so", append(slices.Clone(older), `UPDATE {t} SET seq = seq + 1 WHERE length(kind) = 0`), nil},
		{"said to be set back", []string{`UPDATE {t} SET seq = seq + 1 WHERE length(kind) = 0`}, nil},
		{"another one", []string{`UPDATE {t} SET commit_id = data WHERE length(kind) = 0`}, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			each(t, func(t *testing.T, b base) {
				operations := maps.Clone(operations)
				if c.what == unsaid {
					delete(operations, "first") // nothing is missing for that
				}
				stores, revs := map[string]*sql.Store{}, map[string]state.Revision{}
				for op := range operations {
					stores[op] = b.store(t)
					revs[op] = commit(t, stores[op], state.Key{Kind: "k", ID: op}, "1", state.Revision{})
				}
				ok(t, b.run(t, `CREATE TABLE {t}_older AS SELECT * FROM {t}`))
				defer func() { ok(t, b.run(t, `DROP TABLE {t}_older`)) }()
				for op, s := range stores {
					revs[op] = commit(t, s, state.Key{Kind: "k", ID: op}, "2", revs[op])
				}
				ok(t, b.run(t, c.damage...))
				for op, s := range stores {
					if err := operations[op](s, state.Key{Kind: "k", ID: op}, revs[op]); !errors.Is(err, state.ErrLost) || errors.Is(err, state.ErrNotStored) {
						t.Errorf("%s: %v", op, err)
					}
				}
				_, err := sql.Open(t.Context(), b.open(t), b.Dialect, b.config())
				made := sql.Create(t.Context(), b.open(t), b.Dialect, b.config())
				var none *sql.SchemaError
				switch {
				case c.what == "dropped":
					if !errors.As(err, &none) || none.Found != 0 || made != nil {
						t.Errorf("open: %v, create: %v", err, made)
					}
				case !errors.Is(err, c.open) || !errors.Is(made, c.open):
					t.Errorf("open: %v, create: %v, want %v", err, made, c.open)
				}
				for _, s := range stores {
					for op, do := range operations { // it makes no difference what is there now
						if err := do(s, state.Key{Kind: "k", ID: op}, revs[op]); !errors.Is(err, state.ErrLost) {
							t.Errorf("%s: %v", op, err)
						}
					}
				}
			})
		})
	}
}

// The rows cannot be deleted by mistake.
func TestGuard(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		s := b.store(t)
		rev := commit(t, s, alice, "1", state.Revision{})
		for _, text := range []string{`DELETE FROM {t}`, `DELETE FROM {t} WHERE length(kind) = 1`, `TRUNCATE {t}`} {
			if err := b.run(t, text); err == nil {
				t.Errorf("%s was allowed", text)
			}
		}
		holds(t, s, alice, "1", rev)
	})
}

// A single record is lost. Whoever has it in memory learns that, and all others are as they were.
func TestOneRecordLost(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		s := b.store(t)
		bob := state.Key{Kind: "k", ID: "bob"}
		rev := commit(t, s, alice, "1", state.Revision{})
		other := commit(t, s, bob, "1", state.Revision{})
		ok(t, b.run(t, `{unguard}`, `DELETE FROM {t} WHERE length(id) = 5`))
		if _, err := s.Commit(ctx(), alice, record("2"), rev); !errors.Is(err, state.ErrLost) {
			t.Error(err)
		}
		holds(t, s, bob, "1", other)
		commit(t, s, bob, "2", other)
	})
}

// A file that is replaced by a backup of it: who has opened it since trusts it, and does not know
// what is missing; who commits after what is missing learns it.
func TestBackup(t *testing.T) {
	b := fresh(t, sql.SQLite)
	file := filepath.Join(t.TempDir(), "backup.db")
	db := b.open(t)
	s := b.over(t, db)
	first := commit(t, s, alice, "1", state.Revision{})
	_, err := db.Exec(`VACUUM INTO ?`, file)
	ok(t, err)
	second := commit(t, s, alice, "2", first)
	ok(t, db.Close())

	restored := base{Dialect: sql.SQLite, dsn: sqlite(file), table: b.table}
	_, err = os.Stat(file)
	ok(t, err)
	s = restored.store(t)
	holds(t, s, alice, "1", first)
	if _, err := s.Commit(ctx(), alice, record("3"), second); !errors.Is(err, state.ErrLost) {
		t.Error(err)
	}
	rev := commit(t, s, alice, "other", first)
	if rev.Seq != second.Seq || rev == second {
		t.Errorf("got %+v after a commit %+v that was lost", rev, second)
	}
	if _, err := s.Commit(ctx(), alice, record("3"), second); !errors.Is(err, state.ErrLost) {
		t.Error(err)
	}
}

// A record that cannot be decoded is the error of its actor alone, and its bytes are kept.
func TestFormat(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		s := b.store(t)
		bob := state.Key{Kind: "k", ID: "bob"}
		rev, other := commit(t, s, alice, "1", state.Revision{}), commit(t, s, bob, "1", state.Revision{})
		ok(t, b.run(t, `UPDATE {t} SET data = commit_id WHERE length(id) = 5`))
		_, at, err := s.Load(ctx(), alice)
		var f *state.FormatError
		if !errors.Is(err, state.ErrFormat) || !errors.As(err, &f) || len(f.Data) != 16 || at.Seq != rev.Seq {
			t.Errorf("got %+v, %v", at, err)
		}
		if _, err := s.Commit(ctx(), alice, record("2"), state.Revision{}); !errors.Is(err, state.ErrConflict) || !errors.Is(err, state.ErrFormat) && !errors.As(err, &f) {
			t.Error(err)
		}
		ok(t, b.run(t, `UPDATE {t} SET data = (SELECT data FROM {t} WHERE length(id) = 3) WHERE length(id) = 5`))
		if _, _, err := s.Load(ctx(), alice); !errors.Is(err, state.ErrFormat) {
			t.Errorf("the record of another key: %v", err)
		}
		holds(t, s, bob, "1", other)
	})
}

// Processes that start at the same time make one table. The text makes the same one.
func TestCreate(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		ok(t, b.run(t, `DROP TABLE {t}`))
		if b.Dialect == sql.PostgreSQL {
			ok(t, b.run(t, `DROP FUNCTION {t}_keep`))
		}
		var all sync.WaitGroup
		for range 8 {
			db := b.open(t)
			all.Go(func() {
				if err := sql.Create(ctx(), db, b.Dialect, b.config()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		rev := commit(t, b.store(t), alice, "1", state.Revision{})
		ok(t, sql.Create(ctx(), b.open(t), b.Dialect, b.config())) // changes nothing
		holds(t, b.store(t), alice, "1", rev)

		ok(t, b.run(t, `UPDATE {t} SET token = commit_id WHERE length(kind) = 0`))
		var e *sql.SchemaError
		if _, err := sql.Open(ctx(), b.open(t), b.Dialect, b.config()); !errors.As(err, &e) {
			t.Error(err)
		}
		ok(t, b.run(t, `DROP TABLE {t}`))
		if b.Dialect == sql.PostgreSQL {
			ok(t, b.run(t, `DROP FUNCTION {t}_keep`))
		}
		if _, err := sql.Open(ctx(), b.open(t), b.Dialect, b.config()); !errors.As(err, &e) || e.Found != 0 || e.Table != b.table {
			t.Error(err)
		}
		ok(t, b.run(t, sql.Schema(b.Dialect, b.config())))
		commit(t, b.store(t), alice, "1", state.Revision{})
		if err := b.run(t, `DELETE FROM {t}`); err == nil {
			t.Error("the table of the text has no guard")
		}
	})
}

// What cannot be opened.
func TestOpenRefuses(t *testing.T) {
	b := fresh(t, sql.SQLite)
	for _, table := range []string{"a b", "x;y", "1a", "_a", "é", strings.Repeat("x", 49)} {
		cfg := b.config()
		cfg.Table = table
		if _, err := sql.Open(ctx(), b.open(t), b.Dialect, cfg); err == nil || errors.Is(err, state.ErrUnavailable) {
			t.Errorf("%q: %v", table, err)
		}
	}
	if err := sql.Create(ctx(), b.open(t), 0, b.config()); err == nil {
		t.Error("no dialect")
	}
	cfg := b.config()
	cfg.Table = "other"
	ok(t, b.run(t, `CREATE TABLE other (x)`))
	if _, err := sql.Open(ctx(), b.open(t), b.Dialect, cfg); err == nil || errors.As(err, new(*sql.SchemaError)) {
		t.Errorf("a table of somebody else: %v", err)
	}
	if err := sql.Create(ctx(), b.open(t), b.Dialect, cfg); err == nil {
		t.Error("a table of somebody else was taken")
	}
}

package sql_test

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
	"github.com/tandem-go/tandem/state/storetest"
)

// postgres is the environment variable with the DSN of a PostgreSQL database. Without it the tests
// of stores are made with SQLite only. Each test makes a table of its own, and drops it.
const postgres = "TANDEM_POSTGRES"

// base is a database for one test.
type base struct {
	sql.Dialect
	dsn   string
	table string
}

var tables atomic.Int64

// each runs a test with each database that there is.
func each(t *testing.T, test func(t *testing.T, b base)) {
	for _, d := range []sql.Dialect{sql.SQLite, sql.PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) { test(t, fresh(t, d)) })
	}
}

// fresh returns a database with an empty table.
func fresh(t testing.TB, d sql.Dialect, pragmas ...string) base {
	b := base{Dialect: d, table: sql.DefaultTable}
	if d == sql.PostgreSQL {
		if b.dsn = os.Getenv(postgres); b.dsn == "" {
			t.Skip("no " + postgres)
		}
		b.table = fmt.Sprintf("t%d_%d", os.Getpid(), tables.Add(1))
		t.Cleanup(func() {
			db := b.open(t)
			_, err := db.Exec(`DROP TABLE IF EXISTS ` + b.table)
			ok(t, err)
			_, err = db.Exec(`DROP FUNCTION IF EXISTS ` + b.table + `_keep`)
			ok(t, err)
		})
	} else {
		b.dsn = sqlite(filepath.Join(t.TempDir(), "state.db"), pragmas...)
	}
	ok(t, sql.Create(t.Context(), b.open(t), d, b.config()))
	return b
}

// sqlite returns the DSN of a file.
func sqlite(file string, pragmas ...string) string {
	settings := url.Values{"_pragma": append(pragmas, "journal_mode(WAL)")}
	if !slices.ContainsFunc(pragmas, func(p string) bool { return strings.HasPrefix(p, "synchronous") }) {
		settings.Add("_pragma", "synchronous(NORMAL)")
	}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + settings.Encode()
}

func (b base) config() sql.Config {
	return sql.Config{Table: b.table, MaxRecord: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
}

// open opens the database, as a process does.
func (b base) open(t testing.TB) *stdsql.DB {
	db := stdsql.OpenDB(b.connector(t))
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { db.Close() })
	return db
}

func (b base) connector(t testing.TB) driver.Connector {
	t.Helper()
	db, err := stdsql.Open(map[sql.Dialect]string{sql.SQLite: "sqlite", sql.PostgreSQL: "pgx"}[b.Dialect], b.dsn)
	ok(t, err)
	defer db.Close()
	return connector{db.Driver(), b.dsn}
}

// connector makes connections of a driver.
type connector struct {
	driver driver.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// store opens a store with a database of its own.
func (b base) store(t testing.TB) *sql.Store { return b.over(t, b.open(t)) }

func (b base) over(t testing.TB, db *stdsql.DB) *sql.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), db, b.Dialect, b.config())
	ok(t, err)
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func record(text string) state.Record { return state.Record{Token: 1, State: []byte(text)} }

func commit(t testing.TB, s state.Store, key state.Key, text string, after state.Revision) state.Revision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	rev, err := s.Commit(ctx, key, record(text), after)
	ok(t, err)
	return rev
}

func holds(t testing.TB, s state.Store, key state.Key, text string, rev state.Revision) {
	t.Helper()
	rec, at, err := s.Load(t.Context(), key)
	if err != nil || string(rec.State) != text || at != rev {
		t.Fatalf("%v: got %q at %+v, %v; want %q at %+v", key, rec.State, at, err, text, rev)
	}
}

func TestConformance(t *testing.T) {
	for _, d := range []sql.Dialect{sql.SQLite, sql.PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) {
			storetest.Run(t, storetest.Config{
				Open: func(t *testing.T) func() state.Store {
					b := fresh(t, d)
					return func() state.Store { return b.store(t) }
				},
				TooLarge: 1 << 20,
			})
		})
	}
}

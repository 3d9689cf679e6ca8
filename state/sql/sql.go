package sql

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/state"
)

// The defaults of Config.
const (
	DefaultTable     = "tandem_state"
	DefaultMaxRecord = 16 << 20
)

// maxTable is how many bytes a table's name may have. PostgreSQL cuts names after 63, and the names
// of the trigger and its function are longer.
const maxTable = 48

// openFor is how long Create and Open try if their ctx has no deadline.
const openFor = 30 * time.Second

// Config says where the records are kept. Its zero value is the default.
type Config struct {
	Table     string       // letters, digits and '_', the first one a letter, 48 bytes at most; default DefaultTable
	MaxRecord int          // bytes of one encoded record, at most state.MaxRecord; default DefaultMaxRecord
	Logger    *slog.Logger // gets a line when records are lost; default slog.Default()
}

// complete returns the configuration with its defaults.
func (c Config) complete() Config {
	if c.Table == "" {
		c.Table = DefaultTable
	}
	if c.MaxRecord <= 0 {
		c.MaxRecord = DefaultMaxRecord
	}
	c.MaxRecord = min(c.MaxRecord, state.MaxRecord)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Store is a [state.Store]. It does not own the database: whoever has opened it closes it, after
// which calls return an error. A Store may be used concurrently, and several ones, of any number of
// processes, may share a table.
type Store struct {
	db      *stdsql.DB
	dialect Dialect
	cfg     Config
	text    statements
	home    home
	line    *line // of commits, for SQLite; nil for PostgreSQL
	loss    loss
}

var _ state.Store = (*Store)(nil)

// Open returns the store in a table that Create, or the text of Schema, has made. It creates
// nothing.
//
// The error wraps a *SchemaError if there is no such table, or one of another version; it wraps
// state.ErrLost if there is the table, and it was emptied. While the database is busy, or refuses
// connections because there are too many, Open tries again until ctx ends, and for 30 s if ctx has
// no deadline.
func Open(ctx context.Context, db *stdsql.DB, dialect Dialect, cfg Config) (*Store, error) {
	s, err := prepare(db, dialect, cfg)
	if err == nil {
		ctx, cancel := limited(ctx)
		defer cancel()
		s.home, err = s.find(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("state/sql: %w", err)
	}
	return s, nil
}

// prepare returns a store that has not looked at its table yet.
func prepare(db *stdsql.DB, dialect Dialect, cfg Config) (*Store, error) {
	cfg = cfg.complete()
	switch {
	case !dialect.known():
		return nil, fmt.Errorf("%v: want SQLite or PostgreSQL", dialect)
	case !name(cfg.Table):
		return nil, fmt.Errorf("table %q: want letters, digits and '_', the first one a letter, and at most %d bytes", cfg.Table, maxTable)
	}
	s := &Store{db: db, dialect: dialect, cfg: cfg, text: dialect.statements(cfg.Table)}
	if dialect == SQLite {
		s.line = newLine()
	}
	return s, nil
}

// limited returns ctx with a deadline.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, openFor)
}

// name reports whether s may be the name of a table. Nothing in it needs quotes.
func name(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter, digit := 'a' <= c && c <= 'z', '0' <= s[i] && s[i] <= '9'
		if !letter && s[i] != '_' && (!digit || i == 0) {
			return false
		}
	}
	return s != "" && s[0] != '_' && len(s) <= maxTable
}

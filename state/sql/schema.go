package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tandem-go/tandem/state"
)

// SchemaVersion is the version of the table that this package makes and works with.
const SchemaVersion = 1

// SchemaError says that the table is not one that this package can work with.
type SchemaError struct {
	Table string
	Found uint64 // the version of its schema; 0: there is no such table
}

// Error says what is there, and what is wanted.
func (e *SchemaError) Error() string {
	if e.Found == 0 {
		return fmt.Sprintf("there is no table %s: Create makes it, or the text of Schema", e.Table)
	}
	return fmt.Sprintf("table %s has version %d of the schema; this program knows version %d", e.Table, e.Found, SchemaVersion)
}

// Schema returns the statements that Create executes, for those who make tables themselves. They
// must be executed in one transaction, once. Each execution makes a table of its own, even with the
// same name, because it draws an identity; see the package's documentation for what that means.
// The name of the table is not checked; without a dialect there are no statements.
func Schema(dialect Dialect, cfg Config) string {
	if !dialect.known() {
		return ""
	}
	return strings.Join(dialect.statements(cfg.complete().Table).schema, ";\n") + ";\n"
}

// Create makes the table, if there is none of that name. Several processes may call it at the same
// time. It is best called when a cluster is set up, and not at each start: a process that calls it
// at each start begins empty if the table was dropped, or if it has got another database.
//
// If there is a table, Create changes nothing. Then its error is that of Open: it wraps a
// *SchemaError if the table has another version, and state.ErrLost if it was emptied.
func Create(ctx context.Context, db *stdsql.DB, dialect Dialect, cfg Config) error {
	s, err := prepare(db, dialect, cfg)
	if err == nil {
		ctx, cancel := limited(ctx)
		defer cancel()
		err = s.create(ctx)
	}
	if err != nil {
		return fmt.Errorf("state/sql: %w", err)
	}
	return nil
}

func (s *Store) create(ctx context.Context) error {
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		_, err := s.find(ctx)
		var missing *SchemaError
		if !errors.As(err, &missing) || missing.Found > 0 {
			return err
		}
		err = s.make(ctx)
		if err == nil {
			return nil
		}
		if _, other := s.find(ctx); !errors.As(other, new(*SchemaError)) && !errors.Is(other, state.ErrUnavailable) {
			return other // another process was first, or this one does not know that it has succeeded
		}
		if f := s.dialect.fateOf(err); f != retry && f != doubt || !pause(ctx, wait) {
			return err
		}
	}
}

// make makes the table in one transaction.
func (s *Store) make(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	for _, text := range s.text.schema {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// find returns the home of the table.
func (s *Store) find(ctx context.Context) (home, error) {
	var found home
	e := &state.Error{}
	err := s.read(ctx, e, func(ctx context.Context) error {
		v, err := s.see(ctx, state.Key{}, state.Key{})
		switch {
		case errors.Is(err, errNoTable):
			return &SchemaError{Table: s.cfg.Table}
		case err != nil:
			return err
		case v.home == home{}:
			return fmt.Errorf("%w: table %s was emptied", state.ErrLost, s.cfg.Table)
		case v.version != SchemaVersion:
			return &SchemaError{Table: s.cfg.Table, Found: v.version}
		}
		found = v.home
		return nil
	})
	switch {
	case err == nil:
		return found, nil
	case errors.Is(e.Err, state.ErrLost), errors.As(e.Err, new(*SchemaError)):
		return home{}, e.Err
	}
	return home{}, fmt.Errorf("%w: %w", e.Kind, e.Err)
}

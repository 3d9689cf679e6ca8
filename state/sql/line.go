package sql

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"sync"
)

// A transaction for several commits has at most so many, and so many bytes.
const (
	maxTogether      = 64
	maxTogetherBytes = 4 << 20
)

// statement is one attempt of a commit: a statement, and what became of it.
type statement struct {
	text  string
	args  []any
	bytes int

	done   chan struct{} // closed when what follows is there
	stored bool          // it has changed the row
	sent   bool          // if there is an error: it may have taken effect, unless the error proves the opposite
	err    error
}

func newStatement(text string, args []any, bytes int) *statement {
	return &statement{text: text, args: args, bytes: bytes, done: make(chan struct{})}
}

func (t *statement) end(stored, sent bool, err error) {
	t.stored, t.sent, t.err = stored, sent, err
	close(t.done)
}

// line is the queue of commits in front of a database that has one writer at a time. Whoever gets
// its turn executes all that wait, in one transaction, which the database syncs to disk once. Each
// statement in it belongs to a caller that waits, so it is bounded by their number.
type line struct {
	turn chan struct{} // holds one element while somebody executes

	mu      sync.Mutex // guards waiting
	waiting []*statement
}

func newLine() *line { return &line{turn: make(chan struct{}, 1)} }

// join puts a statement at the end of the line.
func (l *line) join(t *statement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, t)
}

// next takes the first statements out of the line, as many as one transaction may have.
func (l *line) next() []*statement {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for n < len(l.waiting) && n < maxTogether && (n == 0 || bytes+l.waiting[n].bytes <= maxTogetherBytes) {
		bytes += l.waiting[n].bytes
		n++
	}
	batch := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	return batch
}

// leave takes a statement out of the line, and reports whether it was still there.
func (l *line) leave(t *statement) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == t {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// pass has a statement executed, by this goroutine or another one, and returns what became of it.
// If ctx ends before it is, it never will be. If ctx ends meanwhile, nobody knows.
func (l *line) pass(ctx context.Context, t *statement, execute func(ctx context.Context, batch []*statement)) (stored, sent bool, err error) {
	l.join(t)
	for {
		select {
		case <-t.done:
			return t.stored, t.sent, t.err
		case l.turn <- struct{}{}:
			if batch := l.next(); len(batch) > 0 {
				execute(ctx, batch)
			}
			<-l.turn
		case <-ctx.Done():
			select {
			case <-t.done:
				return t.stored, t.sent, t.err
			default:
				return false, !l.leave(t), ctx.Err()
			}
		}
	}
}

// execute executes statements, in one transaction if there are several.
func (s *Store) execute(ctx context.Context, batch []*statement) {
	if len(batch) > 1 && s.together(ctx, batch) {
		return
	}
	for _, t := range batch {
		s.alone(ctx, t)
	}
}

// alone executes a statement that is a transaction of its own. The connection comes first, because
// waiting for one proves that nothing was sent.
func (s *Store) alone(ctx context.Context, t *statement) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		t.end(false, false, err)
		return
	}
	defer conn.Close() // back into the pool
	stored, err := change(ctx, conn, t)
	t.end(stored, true, err)
}

// change executes a statement, and reports whether it has changed the row.
func change(ctx context.Context, conn *stdsql.Conn, t *statement) (bool, error) {
	result, err := conn.ExecContext(ctx, t.text, t.args...)
	if err != nil {
		return false, err
	}
	rows, err := result.RowsAffected()
	return rows == 1, err
}

// together executes statements in one transaction. It returns false, and has changed nothing, if
// one of them, or their sum, is the reason of an error: then each should be executed alone.
func (s *Store) together(ctx context.Context, batch []*statement) bool {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	stored := make([]bool, len(batch))
	committing, err := s.transact(ctx, batch, stored)
	if err == nil {
		for i, t := range batch {
			t.end(stored[i], true, nil)
		}
		return true
	}
	switch s.dialect.fateOf(err) {
	case doubt, retry: // before the end of a transaction nothing in it has taken effect
		for _, t := range batch {
			t.end(false, committing, err)
		}
		return true
	}
	return false
}

// transact executes statements in one transaction, and says which have changed their row. If there
// is an error, it reports whether it was that of the transaction's end.
func (s *Store) transact(ctx context.Context, batch []*statement, stored []bool) (committing bool, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err = conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		if s.dialect.fateOf(err) == doubt { // it may have begun
			s.abandon(ctx, conn)
		}
		return false, err
	}
	for i, t := range batch {
		if stored[i], err = change(ctx, conn, t); err != nil {
			s.abandon(ctx, conn)
			return false, err
		}
	}
	if _, err = conn.ExecContext(ctx, `COMMIT`); err != nil {
		s.abandon(ctx, conn)
	}
	return true, err
}

// abandon ends the transaction of a connection, if there is one. The end of the connection is the
// end of its transaction, too: no other one may find itself in it.
func (s *Store) abandon(ctx context.Context, conn *stdsql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryFor)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

package sql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
)

// crowd has commits wait until all are there. It returns a function that lets them go, all at once,
// and what became of each.
type crowd struct {
	t    *testing.T
	f    *faulty
	s    *sql.Store
	all  sync.WaitGroup
	open chan struct{}
	n    int

	mu     sync.Mutex
	begins int // transactions of several commits
}

// newCrowd has one commit under way that does not end. on is the fault of statements behind it.
func newCrowd(t *testing.T, b base, on func(ctx context.Context, text string) fault) *crowd {
	f, db := b.faulty(t)
	c := &crowd{t: t, f: f, s: b.over(t, db), open: make(chan struct{})}
	inside := make(chan struct{})
	f.plan(func() { close(inside); <-c.open }, none)
	c.all.Go(func() { commit(t, c.s, state.Key{Kind: "k", ID: "the first one"}, "1", state.Revision{}) })
	<-inside
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = func(ctx context.Context, text string) fault {
		c.mu.Lock()
		if strings.HasPrefix(text, "BEGIN") {
			c.begins++
		}
		c.mu.Unlock()
		return on(ctx, text)
	}
	return c
}

// add adds a commit, which waits.
func (c *crowd) add(do func()) {
	c.n++
	c.all.Go(do)
	for c.s.Waiting() < c.n {
		runtime.Gosched()
	}
}

func (c *crowd) run() {
	close(c.open)
	c.all.Wait()
}

// inTurn returns faults: each pair is the beginning of a statement, and its fault.
func inTurn(pairs ...any) func(context.Context, string) fault {
	return func(_ context.Context, text string) fault { // the turn guards pairs
		if len(pairs) == 0 || !strings.HasPrefix(text, pairs[0].(string)) {
			return none
		}
		what := pairs[1].(fault)
		pairs = pairs[2:]
		return what
	}
}

// Commits that wait share a transaction, and each has its own result, whatever happens to that.
func TestTogether(t *testing.T) {
	for _, faults := range [][]any{
		{}, {"BEGIN", busy}, {"BEGIN", lost}, {"BEGIN", ackLost},
		{"INSERT", busy}, {"INSERT", lost}, {"INSERT", ackLost},
		{"UPDATE", busy}, {"UPDATE", lost}, {"UPDATE", ackLost},
		{"COMMIT", busy}, {"COMMIT", lost}, {"COMMIT", ackLost},
		{"UPDATE", busy, "ROLLBACK", busy}, {"COMMIT", busy, "ROLLBACK", busy}, // the connection must not be used again
	} {
		t.Run(fmt.Sprint(faults...), func(t *testing.T) {
			b := fresh(t, sql.SQLite)
			bob := state.Key{Kind: "k", ID: "bob"}
			before := commit(t, b.store(t), alice, "1", state.Revision{})
			commit(t, b.store(t), bob, "1", state.Revision{})
			crowd := newCrowd(t, b, inTurn(faults...))
			var revs [8]state.Revision
			key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
			for i := range revs {
				crowd.add(func() { revs[i] = commit(t, crowd.s, key(i), "x", state.Revision{}) })
			}
			var after state.Revision
			crowd.add(func() { after = commit(t, crowd.s, alice, "2", before) })
			crowd.add(func() {
				if _, err := crowd.s.Commit(ctx(), bob, record("2"), state.Revision{}); !errors.Is(err, state.ErrConflict) {
					t.Error(err)
				}
			})
			crowd.run()
			if len(faults) == 0 && crowd.begins != 1 {
				t.Errorf("%d transactions of several", crowd.begins)
			}
			other := b.store(t)
			for i, rev := range revs {
				holds(t, other, key(i), "x", rev)
			}
			holds(t, other, alice, "2", after)
			ok(t, b.run(t, `BEGIN IMMEDIATE; ROLLBACK`)) // nothing is left locked
		})
	}
}

// A commit that has no room takes none of those down that would share its transaction.
func TestTogetherFull(t *testing.T) {
	b := fresh(t, sql.SQLite, "max_page_count(40)")
	crowd := newCrowd(t, b, inTurn())
	var revs [4]state.Revision
	key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
	for i := range revs {
		crowd.add(func() {
			if i != 2 {
				revs[i] = commit(t, crowd.s, key(i), "x", state.Revision{})
				return
			}
			big := state.Record{Token: 1, State: bytes.Repeat([]byte("x"), 500_000)}
			if _, err := crowd.s.Commit(ctx(), key(i), big, state.Revision{}); !errors.Is(err, state.ErrFull) || !errors.Is(err, state.ErrNotStored) {
				t.Error(err)
			}
		})
	}
	crowd.run()
	for i, rev := range revs {
		if i != 2 {
			holds(t, crowd.s, key(i), "x", rev)
		}
	}
	if _, _, err := crowd.s.Load(ctx(), key(2)); !errors.Is(err, state.ErrNone) {
		t.Error(err)
	}
}

// A commit that gives up while it waits was not stored.
func TestGivesUpInLine(t *testing.T) {
	b := fresh(t, sql.SQLite)
	crowd := newCrowd(t, b, inTurn())
	key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
	var revs [2]state.Revision
	for i := range revs {
		crowd.add(func() { revs[i] = commit(t, crowd.s, key(i), "x", state.Revision{}) })
	}
	early, giveUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	crowd.add(func() {
		_, err := crowd.s.Commit(early, key(2), record("x"), state.Revision{})
		gone <- err
	})
	giveUp()
	if err := <-gone; !errors.Is(err, state.ErrNotStored) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	crowd.run()
	for i, rev := range revs {
		holds(t, crowd.s, key(i), "x", rev)
	}
	if _, _, err := crowd.s.Load(ctx(), key(2)); !errors.Is(err, state.ErrNone) {
		t.Error(err)
	}
}

// member is the key of the context of a commit, under which it has its number.
type member struct{}

// Commits that give up while another one executes their transaction return at once, and do not know.
func TestGiveUpInTransaction(t *testing.T) {
	b := fresh(t, sql.SQLite)
	const n = 4
	var giveUp [n]context.CancelFunc
	gone := make(chan error, n)
	crowd := newCrowd(t, b, func(ctx context.Context, text string) fault {
		if strings.HasPrefix(text, "COMMIT") {
			executes := ctx.Value(member{}).(int)
			for i := range n {
				if i != executes {
					giveUp[i]()
				}
			}
			for range n - 1 {
				if err := <-gone; !errors.Is(err, state.ErrUnknown) || errors.Is(err, state.ErrNotStored) || !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		}
		return none
	})
	key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
	for i := range n {
		var ctx context.Context
		ctx, giveUp[i] = context.WithCancel(context.WithValue(t.Context(), member{}, i))
		crowd.add(func() {
			_, err := crowd.s.Commit(ctx, key(i), record("x"), state.Revision{})
			gone <- err
		})
	}
	crowd.run()
	if err := <-gone; err != nil {
		t.Error(err)
	}
	for i := range n {
		if rec, _, err := crowd.s.Load(ctx(), key(i)); err != nil || string(rec.State) != "x" {
			t.Errorf("%d: %+v, %v", i, rec, err)
		}
		giveUp[i]()
	}
}

// A commit gives up while it executes the transaction of several. Only while that is being committed it
// does not know what became of it, and finds out when it is made again. The others do not notice.
func TestGivesUpAsFirst(t *testing.T) {
	for at, want := range map[string]error{"BEGIN": state.ErrNotStored, "INSERT": state.ErrNotStored, "COMMIT": state.ErrUnknown} {
		t.Run(at, func(t *testing.T) {
			b := fresh(t, sql.SQLite)
			const n = 4
			var giveUp [n]context.CancelFunc
			first := -1 // the turn guards it
			crowd := newCrowd(t, b, func(ctx context.Context, text string) fault {
				if first >= 0 || !strings.HasPrefix(text, at) {
					return none
				}
				first = ctx.Value(member{}).(int)
				giveUp[first]()
				return ackLost
			})
			key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
			var errs [n]error
			for i := range n {
				var ctx context.Context
				ctx, giveUp[i] = context.WithCancel(context.WithValue(t.Context(), member{}, i))
				crowd.add(func() { _, errs[i] = crowd.s.Commit(ctx, key(i), record("x"), state.Revision{}) })
			}
			crowd.run()
			for i, err := range errs {
				giveUp[i]()
				if i != first {
					if rec, _, e := crowd.s.Load(ctx(), key(i)); err != nil || e != nil || string(rec.State) != "x" {
						t.Errorf("commit %d: %v, and %+v, %v", i, err, rec, e)
					}
					continue
				}
				var e *state.Error
				if !errors.As(err, &e) || e.Kind != want {
					t.Errorf("commit %d: %v", i, err)
					continue
				}
				rec := record("x")
				rec.ID = e.ID
				rev, err := crowd.s.Commit(ctx(), key(i), rec, state.Revision{})
				ok(t, err)
				holds(t, crowd.s, key(i), "x", rev)
			}
		})
	}
}

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
func newCrowd(t *testing.T, b base, on func(text string) fault) *crowd {
	f, db := b.faulty(t)
	c := &crowd{t: t, f: f, s: b.over(t, db), open: make(chan struct{})}
	inside := make(chan struct{})
	f.plan(func() { close(inside); <-c.open }, none)
	c.all.Go(func() { commit(t, c.s, state.Key{Kind: "k", ID: "the first one"}, "1", state.Revision{}) })
	<-inside
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = func(text string) fault {
		c.mu.Lock()
		if strings.HasPrefix(text, "BEGIN") {
			c.begins++
		}
		c.mu.Unlock()
		return on(text)
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

// once returns a fault of the first statement that begins with a text.
func once(prefix string, what fault) func(string) fault {
	done := false // the turn guards it
	return func(text string) fault {
		if done || !strings.HasPrefix(text, prefix) {
			return none
		}
		done = true
		return what
	}
}

// Commits that wait share a transaction, and each has its own result, whatever happens to that.
func TestTogether(t *testing.T) {
	for _, c := range []struct {
		at   string
		what fault
	}{
		{"BEGIN", none}, {"BEGIN", busy}, {"BEGIN", lost}, {"BEGIN", ackLost},
		{"INSERT", busy}, {"INSERT", lost}, {"INSERT", ackLost},
		{"UPDATE", busy}, {"UPDATE", lost}, {"UPDATE", ackLost},
		{"COMMIT", busy}, {"COMMIT", lost}, {"COMMIT", ackLost},
	} {
		t.Run(fmt.Sprint(c.at, c.what), func(t *testing.T) {
			b := fresh(t, sql.SQLite)
			bob := state.Key{Kind: "k", ID: "bob"}
			before := commit(t, b.store(t), alice, "1", state.Revision{})
			commit(t, b.store(t), bob, "1", state.Revision{})
			on := once(c.at, c.what)
			crowd := newCrowd(t, b, on)
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
			if c.what == none && crowd.begins != 1 {
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
	crowd := newCrowd(t, b, once("", none))
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

// A commit that gives up while it waits was not stored; one that gives up while somebody executes it
// does not know. The others do not notice.
func TestGivesUpInLine(t *testing.T) {
	b := fresh(t, sql.SQLite)
	committing, goOn := make(chan struct{}), make(chan struct{})
	crowd := newCrowd(t, b, func(text string) fault {
		if strings.HasPrefix(text, "COMMIT") {
			close(committing)
			<-goOn
		}
		return none
	})
	key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
	// Whoever takes the turn executes with its own ctx, so it must not be the one that gives up:
	// that one waits for its result only.
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
	close(crowd.open)
	<-committing
	late, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := crowd.s.Commit(late, key(3), record("x"), state.Revision{}); !errors.Is(err, state.ErrNotStored) {
		t.Error(err)
	}
	close(goOn)
	crowd.all.Wait()
	for i, rev := range revs {
		holds(t, crowd.s, key(i), "x", rev)
	}
	for _, i := range []int{2, 3} {
		if _, _, err := crowd.s.Load(ctx(), key(i)); !errors.Is(err, state.ErrNone) {
			t.Error(err)
		}
	}
}

// All members of a transaction give up while it is being committed. They do not know, and find out
// when they make their commits again.
func TestGiveUpTogether(t *testing.T) {
	b := fresh(t, sql.SQLite)
	ctx, giveUp := context.WithCancel(t.Context())
	crowd := newCrowd(t, b, func(text string) fault {
		if strings.HasPrefix(text, "COMMIT") {
			giveUp()
			return ackLost
		}
		return none
	})
	key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
	for i := range 4 {
		crowd.add(func() {
			_, err := crowd.s.Commit(ctx, key(i), record("x"), state.Revision{})
			var e *state.Error
			if !errors.As(err, &e) || e.Kind != state.ErrUnknown {
				t.Errorf("commit %d: %v", i, err)
				return
			}
			rec := record("x")
			rec.ID = e.ID
			rev, err := crowd.s.Commit(t.Context(), key(i), rec, state.Revision{})
			if err != nil {
				t.Error(err)
				return
			}
			holds(t, crowd.s, key(i), "x", rev)
		})
	}
	crowd.run()
}

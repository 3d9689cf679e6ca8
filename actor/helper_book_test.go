package actor_test

// Books, whose entries are reliable messages.

import (
	"slices"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/actor"
)

// Entry is a line for a book.
type Entry struct{ N int }

// book is what actors of all starts have been told, in order.
type book struct {
	mu   sync.Mutex // guards what follows
	got  []int
	gate chan struct{} // an entry below 0 waits for it
}

func newBook() *book { return &book{gate: make(chan struct{})} }

func (b *book) entry(ctx *actor.Context, m Entry) error {
	b.mu.Lock()
	b.got = append(b.got, m.N)
	b.mu.Unlock()
	switch {
	case m.N < 0:
		<-b.gate
	case m.N == 13:
		panic("thirteen")
	case m.N == 14:
		return errFunds
	}
	return nil
}

func (b *book) kind(opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.book", func() *book { return b }, actor.Handle((*book).entry)).With(opts...)
}

// on configures a system that keeps its records on d and hosts durable books.
func (b *book) on(d *disk) func(*actor.Config) {
	return func(cfg *actor.Config) {
		d.config(cfg)
		cfg.Kinds = append(cfg.Kinds, b.kind(actor.Durable()))
	}
}

func (b *book) entries() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// has checks the entries until now.
func (b *book) has(t *testing.T, want ...int) {
	t.Helper()
	if got := b.entries(); !slices.Equal(got, want) {
		t.Errorf("the book has %v, want %v", got, want)
	}
}

// write sends entries to the book "k" on a node.
func write(t *testing.T, sys *actor.System, node string, entries ...int) {
	t.Helper()
	for _, n := range entries {
		if err := actor.TellReliably(t.Context(), sys.Ref("k@"+node), Entry{n}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantOutbox checks the numbers of an outbox.
func wantOutbox(t *testing.T, sys *actor.System, waiting int, handled, givenUp uint64) {
	t.Helper()
	if st := sys.Stats().Outbox; st.Waiting != waiting || st.Handled != handled || st.GivenUp != givenUp || waiting == 0 && st.Bytes+st.Targets != 0 {
		t.Errorf("outbox: %+v; want %d waiting, %d handled, %d given up", st, waiting, handled, givenUp)
	}
}

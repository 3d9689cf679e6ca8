package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/state"
)

// Model drives stores with random commits of several holders, and compares them with a map. What
// was acknowledged is there, what was refused is not, and a commit of unknown fate turns out to be
// one of both. All stores share their storage, which is empty. If disturb is not nil, it is called
// before each commit, may make it fail, and returns the ctx for it.
func Model(t *rapid.T, stores []state.Store, disturb func(t *rapid.T, ctx context.Context) context.Context) {
	m := &model{stores: stores, disturb: disturb, keys: map[state.Key]*modelKey{}}
	for i := range holders {
		h := &holder{store: stores[i%len(stores)], token: uint64(i/2 + 1), seen: map[state.Key]state.Revision{}}
		m.holders = append(m.holders, h)
	}
	for _, id := range []string{"a", "b"} {
		m.keys[state.Key{Kind: "k", ID: id}] = &modelKey{}
	}
	t.Repeat(map[string]func(*rapid.T){
		"load":   m.load,
		"commit": m.commit,
		"delete": m.commit, // with a chance of its own
		"again":  m.again,
		"raise":  m.raise,
	})
	for key := range m.keys {
		m.look(t, m.holders[0], key)
	}
}

const holders = 4

// model is what the stores should hold.
type model struct {
	stores  []state.Store
	disturb func(*rapid.T, context.Context) context.Context
	holders []*holder
	keys    map[state.Key]*modelKey
	count   int
}

// holder is one that commits. It knows what it has loaded and committed.
type holder struct {
	store state.Store
	token uint64
	seen  map[state.Key]state.Revision
}

// modelKey is one key.
type modelKey struct {
	last    state.Revision
	stored  []change // all that are known to have been stored, in order
	pending []change // of unknown fate, which may become the last one
}

// change is a commit.
type change struct {
	rec    state.Record
	after  state.Revision
	delete bool
}

func (m *model) pick(t *rapid.T) (*holder, state.Key) {
	id := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id")
	return rapid.SampledFrom(m.holders).Draw(t, "holder"), state.Key{Kind: "k", ID: id}
}

func (m *model) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// raise gives a holder a new token, as a new claim does.
func (m *model) raise(t *rapid.T) {
	h, _ := m.pick(t)
	h.token += uint64(rapid.IntRange(1, 2).Draw(t, "by"))
}

func (m *model) load(t *rapid.T) {
	h, key := m.pick(t)
	m.look(t, h, key)
}

// look loads, and checks that the record may be there.
func (m *model) look(t *rapid.T, h *holder, key state.Key) {
	ctx, cancel := m.ctx()
	defer cancel()
	rec, rev, err := h.store.Load(ctx, key)
	if err != nil && !errors.Is(err, state.ErrNone) {
		t.Fatalf("load: %v", err)
	}
	k := m.keys[key]
	k.observe(t, rev)
	h.seen[key] = rev
	if len(k.stored) == 0 {
		if rev != (state.Revision{}) {
			t.Fatalf("%v has %+v, and nothing was stored", key, rev)
		}
		return
	}
	want := k.stored[len(k.stored)-1]
	if want.delete != (err != nil) || !want.delete && !equal(rec, want.rec) {
		t.Fatalf("%v has %+v, %v; want %+v", key, rec, err, want)
	}
}

// observe learns that rev is the last commit.
func (k *modelKey) observe(t *rapid.T, rev state.Revision) {
	if rev == k.last {
		return
	}
	for _, c := range k.pending {
		if c.rec.ID == rev.ID && c.after == k.last && c.rec.Token == rev.Token {
			k.take(c, rev)
			return
		}
	}
	t.Fatalf("the last commit is %+v, want %+v, or one of %+v", rev, k.last, k.pending)
}

// take makes c the last commit. What was to come after the commit before it never can.
func (k *modelKey) take(c change, rev state.Revision) {
	k.last, k.stored = rev, append(k.stored, c)
}

func (m *model) commit(t *rapid.T) {
	h, key := m.pick(t)
	m.count++
	c := change{
		rec:    state.Record{Token: h.token, ID: state.NewID(), State: fmt.Append(nil, m.count)},
		after:  h.seen[key],
		delete: rapid.IntRange(0, 4).Draw(t, "delete") == 0,
	}
	m.make(t, h, key, c)
}

// again makes a commit of unknown fate again, or one that is known.
func (m *model) again(t *rapid.T) {
	h, key := m.pick(t)
	k := m.keys[key]
	all := slices.Concat(k.pending, k.stored)
	all = slices.DeleteFunc(all, func(c change) bool { return c.delete })
	if len(all) > 0 {
		m.make(t, h, key, rapid.SampledFrom(all).Draw(t, "change"))
	}
}

// make makes a commit, and checks what is said of it.
func (m *model) make(t *rapid.T, h *holder, key state.Key, c change) {
	ctx, cancel := m.ctx()
	defer cancel()
	if m.disturb != nil {
		ctx = m.disturb(t, ctx)
	}
	var rev state.Revision
	var err error
	if c.delete {
		rev, err = h.store.Delete(ctx, key, c.rec.Token, c.after)
	} else {
		rev, err = h.store.Commit(ctx, key, c.rec, c.after)
	}
	k := m.keys[key]
	was := slices.IndexFunc(k.stored, func(s change) bool { return s.rec.ID == c.rec.ID })
	var e *state.Error
	switch {
	case err == nil && was >= 0:
		if len(k.stored)-was > 2 {
			t.Fatalf("%+v was replaced more than once, and the store says that it knows it as %+v", c, rev)
		}
		return
	case err == nil:
		if c.rec.ID = rev.ID; c.after != k.last || rev.Token != c.rec.Token {
			t.Fatalf("%+v was accepted as %+v; the last one was %+v", c, rev, k.last)
		}
		k.take(c, rev)
		h.seen[key] = rev
		return
	case !errors.As(err, &e):
		t.Fatalf("%v (%T)", err, err)
	case errors.Is(err, state.ErrUnknown):
		if c.rec.ID = e.ID; was < 0 && !slices.ContainsFunc(k.pending, func(p change) bool { return p.rec.ID == c.rec.ID }) {
			k.pending = append(k.pending, c)
		}
	case errors.Is(err, state.ErrNotStored):
		if was >= 0 {
			t.Fatalf("%+v is stored, and the store says %v", c, err)
		}
		k.pending = slices.DeleteFunc(k.pending, func(p change) bool { return p.rec.ID == c.rec.ID })
		if errors.Is(err, state.ErrConflict) && c.rec.Token >= c.after.Token {
			k.observe(t, e.Found)
			if k.last == c.after {
				t.Fatalf("%+v was refused, and %+v is still the last one: %v", c, k.last, err)
			}
		}
		if errors.Is(err, state.ErrFenced) != (errors.Is(err, state.ErrConflict) && e.Found.Token > c.rec.Token) {
			t.Fatalf("%+v: %v, found %+v", c, err, e.Found)
		}
	default:
		t.Fatalf("%+v: %v", c, err)
	}
}

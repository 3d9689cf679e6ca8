// Package storetest has the suite that every [state.Store] must pass, and a model against which
// random commits of several holders are checked. The suite checks what the documentation of
// state.Store promises.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/state"
)

// Config describes the store that is tested.
type Config struct {
	// Open sets up empty storage for one case, and cleans up with t.Cleanup. It returns a
	// function that makes stores over that storage. Each of them stands for a process of its own.
	Open func(t *testing.T) func() state.Store

	// TooLarge is the size, in bytes, of a state that the store cannot hold.
	TooLarge int
}

// patience is the longest that a case may take.
const patience = 60 * time.Second

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		test func(*suiteCase)
	}{
		{"nothing at first", (*suiteCase).nothing},
		{"content", (*suiteCase).content},
		{"the caller's memory", (*suiteCase).memory},
		{"keys do not see one another", (*suiteCase).keys},
		{"conflict", (*suiteCase).conflict},
		{"a revision that never was", (*suiteCase).never},
		{"fence", (*suiteCase).fence},
		{"made again", (*suiteCase).again},
		{"delete", (*suiteCase).deleted},
		{"invalid", (*suiteCase).invalid},
		{"too large", (*suiteCase).tooLarge},
		{"many holders of one key", (*suiteCase).holders},
		{"many keys at once", (*suiteCase).many},
		{"walk", (*suiteCase).walk},
		{"cancelled", (*suiteCase).cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			open := cfg.Open(t)
			a, b := open(), open()
			c.test(&suiteCase{T: t, ctx: ctx, cfg: cfg, a: a, b: b})
			if _, ok := a.(state.Committer); !ok {
				return
			}
			t.Run("then", func(t *testing.T) {
				open := cfg.Open(t)
				c.test(&suiteCase{T: t, ctx: ctx, cfg: cfg, a: Then(open().(state.Committer)), b: Then(open().(state.Committer))})
			})
		})
	}
}

// suiteCase is one test with fresh storage, and two stores over it.
type suiteCase struct {
	*testing.T
	ctx  context.Context
	cfg  Config
	a, b state.Store
}

var alice = state.Key{Kind: "bank.account", ID: "alice"}

func record(token uint64, text string) state.Record {
	return state.Record{Token: token, State: []byte(text)}
}

// commit commits, and checks what is returned.
func (s *suiteCase) commit(store state.Store, key state.Key, rec state.Record, after state.Revision) state.Revision {
	s.Helper()
	rev, err := store.Commit(s.ctx, key, rec, after)
	switch {
	case err != nil:
		s.Fatal(err)
	case rev.Seq <= after.Seq || rev.Token != rec.Token || rev.ID == state.ID{} || rec.ID != state.ID{} && rev.ID != rec.ID:
		s.Fatalf("committed %+v after %+v, and got %+v", rec, after, rev)
	}
	return rev
}

// holds checks that both stores have rec, as the commit rev.
func (s *suiteCase) holds(key state.Key, rec state.Record, rev state.Revision) {
	s.Helper()
	for _, store := range []state.Store{s.a, s.b} {
		got, at, err := store.Load(s.ctx, key)
		if err != nil {
			s.Fatal(err)
		}
		want := rec.Clone()
		if want.ID = rev.ID; !equal(got, want) || at != rev {
			s.Fatalf("%v: got %+v at %+v\nwant %+v at %+v", key, got, at, want, rev)
		}
	}
}

// none checks that there is no record, and that rev is the revision to go on from.
func (s *suiteCase) none(key state.Key, rev state.Revision) {
	s.Helper()
	for _, store := range []state.Store{s.a, s.b} {
		rec, at, err := store.Load(s.ctx, key)
		s.is(err, state.ErrNone)
		if at != rev || rec.Token != rev.Token || rec.State != nil {
			s.Fatalf("%v: got %+v at %+v, want none at %+v", key, rec, at, rev)
		}
	}
}

// is checks that err is an *Error of all the kinds, and none of the others.
func (s *suiteCase) is(err error, kinds ...error) *state.Error {
	s.Helper()
	var e *state.Error
	if !errors.As(err, &e) {
		s.Fatalf("%v (%T) is no *state.Error, want %v", err, err, kinds)
	}
	for _, kind := range []error{state.ErrNone, state.ErrUnavailable, state.ErrFormat, state.ErrInvalid, state.ErrNotStored, state.ErrConflict,
		state.ErrFenced, state.ErrTooLarge, state.ErrFull, state.ErrUnknown, state.ErrLost} {
		if want := slices.Contains(kinds, kind); errors.Is(err, kind) != want {
			s.Fatalf("%v: is it %q? %v, want %v", err, kind, !want, want)
		}
	}
	return e
}

// conflicts checks that err says that found is the last commit.
func (s *suiteCase) conflicts(err error, found state.Revision, fenced bool) {
	s.Helper()
	kinds := []error{state.ErrNotStored, state.ErrConflict}
	if fenced {
		kinds = append(kinds, state.ErrFenced)
	}
	if e := s.is(err, kinds...); e.Found != found {
		s.Fatalf("found %+v, want %+v", e.Found, found)
	}
}

// equal compares two records; no bytes and none at all are the same.
func equal(a, b state.Record) bool {
	if !bytes.Equal(a.State, b.State) || len(a.Outcomes) != len(b.Outcomes) || len(a.Outbox) != len(b.Outbox) {
		return false
	}
	for i, o := range a.Outcomes {
		p := b.Outcomes[i]
		if o.Caller != p.Caller || o.Counter != p.Counter || !o.Expires.Equal(p.Expires) || !bytes.Equal(o.Body, p.Body) {
			return false
		}
	}
	for i, m := range a.Outbox {
		n := b.Outbox[i]
		if !slices.Equal(m.Headers, n.Headers) || !bytes.Equal(m.Body, n.Body) {
			return false
		}
		if m.Headers, m.Body, n.Headers, n.Body = nil, nil, nil, nil; !reflect.DeepEqual(m, n) {
			return false
		}
	}
	return a.Token == b.Token && a.ID == b.ID && a.TypeVersion == b.TypeVersion
}

func (s *suiteCase) nothing() {
	s.none(alice, state.Revision{})
	s.walks(alice.Kind)
}

func (s *suiteCase) content() {
	full := state.Record{
		Token: 1<<64 - 1, ID: state.NewID(), TypeVersion: 1<<32 - 1, State: []byte("\x00\r\n\xff$"),
		Outcomes: []state.Outcome{
			{Caller: "e1\x00", Counter: 1<<64 - 1, Body: []byte("ok")},
			{Caller: "key", Expires: time.UnixMilli(1_800_000_000_123).UTC()},
			{},
		},
		Outbox: []state.Message{
			{Verb: state.Tell, To: "audit@n1", Headers: []state.Header{{Key: "a", Value: "1"}, {Key: "a", Value: "\r\n"}}, Body: []byte{0}},
			{Index: 1<<32 - 1, Since: 7, Verb: state.Submit},
		},
	}
	rev := s.commit(s.a, alice, full, state.Revision{})
	s.holds(alice, full, rev)
	rev = s.commit(s.b, alice, state.Record{Token: full.Token}, rev)
	s.holds(alice, state.Record{Token: full.Token}, rev)
}

// memory checks that a store does not refer to memory that its caller passed or got.
func (s *suiteCase) memory() {
	make := func() state.Record {
		return state.Record{Token: 1, State: []byte("state"), Outcomes: []state.Outcome{{Caller: "c", Body: []byte("body")}},
			Outbox: []state.Message{{Verb: state.Tell, To: "x", Headers: []state.Header{{Key: "k", Value: "v"}}, Body: []byte("body")}}}
	}
	spoil := func(r state.Record) {
		clear(r.State)
		clear(r.Outcomes[0].Body)
		clear(r.Outbox[0].Body)
		clear(r.Outbox[0].Headers)
		clear(r.Outcomes)
		clear(r.Outbox)
	}
	rec := make()
	rev := s.commit(s.a, alice, rec, state.Revision{})
	spoil(rec)
	s.holds(alice, make(), rev)
	rec, _, err := s.a.Load(s.ctx, alice)
	if err != nil {
		s.Fatal(err)
	}
	spoil(rec)
	s.holds(alice, make(), rev)
}

// strange are texts that an actor's name may be, and some that it may not be. They are near one
// another, or mean something in places where keys are kept.
var strange = []string{"a", "a.b", "a/b", "*", ">", "=", "\x00", "é", "A", "a b", "b", "a.>", "=61", "a=", "~", "~a", "$JS", "\xff", "e\u0301", "日本", "..", "-", "_", "%2e", "..%2f",
	strings.Repeat("x", state.MaxKey), strings.Repeat("\xff", state.MaxKey)}

func (s *suiteCase) keys() {
	last := map[state.Key]state.Revision{}
	for i, kind := range strange {
		for j, id := range []string{strange[i], "b"} {
			key := state.Key{Kind: kind, ID: id}
			if _, done := last[key]; !done {
				s.none(key, state.Revision{})
				last[key] = s.commit([]state.Store{s.a, s.b}[j%2], key, record(1, key.String()), state.Revision{})
			}
		}
	}
	for key, rev := range last {
		s.holds(key, record(1, key.String()), rev)
	}
	for _, kind := range strange[:8] {
		var want []string
		for key := range last {
			if key.Kind == kind {
				want = append(want, key.ID)
			}
		}
		s.walks(kind, want...)
	}
}

func (s *suiteCase) conflict() {
	first := s.commit(s.a, alice, record(1, "1"), state.Revision{})
	_, err := s.b.Commit(s.ctx, alice, record(1, "x"), state.Revision{})
	s.conflicts(err, first, false)
	second := s.commit(s.b, alice, record(1, "2"), first)
	third := s.commit(s.a, alice, record(1, "3"), second)
	for _, after := range []state.Revision{{}, first, second} {
		_, err := s.b.Commit(s.ctx, alice, record(1, "x"), after)
		s.conflicts(err, third, false)
		_, err = s.b.Delete(s.ctx, alice, 1, after)
		s.conflicts(err, third, false)
	}
	s.holds(alice, record(1, "3"), third)
}

// never commits after something that the store never had: then records are missing.
func (s *suiteCase) never() {
	rev := s.commit(s.a, alice, record(1, "1"), state.Revision{})
	_, err := s.a.Commit(s.ctx, alice, record(1, "2"), state.Revision{Seq: rev.Seq + 1000, Token: 1, ID: state.NewID()})
	s.is(err, state.ErrLost)
	s.holds(alice, record(1, "2"), s.commit(s.a, alice, record(1, "2"), rev)) // all others are there
}

func (s *suiteCase) fence() {
	first := s.commit(s.a, alice, record(5, "1"), state.Revision{})
	second := s.commit(s.b, alice, record(7, "1"), first) // the successor's fence: the same state
	_, err := s.a.Commit(s.ctx, alice, record(5, "2"), first)
	s.conflicts(err, second, true)
	_, err = s.a.Commit(s.ctx, alice, record(6, "2"), second) // it has read that, and does not end
	s.conflicts(err, second, true)
	_, err = s.a.Delete(s.ctx, alice, 6, second)
	s.conflicts(err, second, true)
	s.holds(alice, record(7, "1"), second)
}

// again makes commits again, under their IDs.
func (s *suiteCase) again() {
	first := s.commit(s.a, alice, record(1, "1"), state.Revision{})
	rec := record(1, "2")
	rec.ID = state.NewID()
	second := s.commit(s.a, alice, rec, first)
	for _, store := range []state.Store{s.a, s.b} {
		if rev := s.commit(store, alice, rec, first); rev != second {
			s.Fatalf("made again: got %+v, want %+v", rev, second)
		}
	}
	third := s.commit(s.b, alice, record(1, "3"), second)
	if rev := s.commit(s.a, alice, rec, first); rev != second {
		s.Fatalf("made again when it was replaced: got %+v, want %+v", rev, second)
	}
	s.holds(alice, record(1, "3"), third)
	other := record(1, "4")
	other.ID = state.NewID()
	_, err := s.a.Commit(s.ctx, alice, other, second)
	s.conflicts(err, third, false) // it was never made, and that is known
	fourth := s.commit(s.b, alice, record(1, "5"), third)
	_, err = s.a.Commit(s.ctx, alice, rec, first)
	if e := s.is(err, state.ErrUnknown); e.Found != fourth || e.ID != rec.ID {
		s.Fatalf("got %+v", e)
	}
	higher := record(9, "6")
	higher.ID = state.NewID()
	_, err = s.a.Commit(s.ctx, alice, higher, second)
	s.conflicts(err, fourth, false) // it may have been made, but none under a lower token would have come after it
	s.holds(alice, record(1, "5"), fourth)
}

func (s *suiteCase) deleted() {
	first := s.commit(s.a, alice, record(3, "1"), state.Revision{})
	gone, err := s.b.Delete(s.ctx, alice, 4, first)
	if err != nil || gone.Seq <= first.Seq || gone.Token != 4 {
		s.Fatal(gone, err)
	}
	s.none(alice, gone)
	s.walks(alice.Kind)
	for _, after := range []state.Revision{{}, first} {
		_, err := s.a.Commit(s.ctx, alice, record(4, "x"), after)
		s.conflicts(err, gone, false)
	}
	_, err = s.a.Commit(s.ctx, alice, record(3, "x"), gone)
	s.conflicts(err, gone, true)
	second := s.commit(s.a, alice, record(4, "2"), gone)
	s.holds(alice, record(4, "2"), second)
	s.walks(alice.Kind, alice.ID)
	never := state.Key{Kind: alice.Kind, ID: "never"}
	if gone, err = s.a.Delete(s.ctx, never, 9, state.Revision{}); err != nil {
		s.Fatal(err)
	}
	s.none(never, gone)
}

func (s *suiteCase) invalid() {
	long := strings.Repeat("x", state.MaxKey+1)
	for _, key := range []state.Key{{}, {Kind: "a"}, {ID: "a"}, {Kind: long, ID: "a"}, {Kind: "a", ID: long}} {
		_, err := s.a.Commit(s.ctx, key, record(1, "x"), state.Revision{})
		s.is(err, state.ErrInvalid, state.ErrNotStored)
		_, err = s.a.Delete(s.ctx, key, 1, state.Revision{})
		s.is(err, state.ErrInvalid, state.ErrNotStored)
		_, _, err = s.a.Load(s.ctx, key)
		s.is(err, state.ErrInvalid, state.ErrNotStored)
	}
	rec := record(1, "x")
	rec.Outbox = []state.Message{{}} // no verb
	_, err := s.a.Commit(s.ctx, alice, rec, state.Revision{})
	s.is(err, state.ErrInvalid, state.ErrNotStored)
	s.none(alice, state.Revision{})
}

func (s *suiteCase) tooLarge() {
	rev := s.commit(s.a, alice, record(1, "1"), state.Revision{})
	_, err := s.a.Commit(s.ctx, alice, state.Record{Token: 1, State: make([]byte, s.cfg.TooLarge)}, rev)
	s.is(err, state.ErrTooLarge, state.ErrNotStored)
	s.holds(alice, record(1, "1"), rev)
	half := state.Record{Token: 1, State: bytes.Repeat([]byte("x"), s.cfg.TooLarge/2)}
	s.holds(alice, half, s.commit(s.b, alice, half, rev))
}

// holders lets many holders count in one record. Each commit that succeeds has counted once.
func (s *suiteCase) holders() {
	const holders, each = 8, 10
	var all sync.WaitGroup
	for i := range holders {
		store := []state.Store{s.a, s.b}[i%2]
		all.Go(func() {
			for done := 0; done < each && s.ctx.Err() == nil; {
				rec, rev, err := store.Load(s.ctx, alice)
				if err != nil && !errors.Is(err, state.ErrNone) {
					s.Error(err)
					return
				}
				n := uint64(0)
				if len(rec.State) > 0 {
					n = binary.BigEndian.Uint64(rec.State)
				}
				_, err = store.Commit(s.ctx, alice, state.Record{Token: 1, State: binary.BigEndian.AppendUint64(nil, n+1)}, rev)
				switch {
				case err == nil:
					done++
				case !errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrFenced):
					s.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	rec, _, err := s.a.Load(s.ctx, alice)
	if err != nil {
		s.Fatal(err)
	}
	if n := binary.BigEndian.Uint64(rec.State); n != holders*each {
		s.Errorf("counted %d, want %d", n, holders*each)
	}
}

// many commits to many keys at the same time.
func (s *suiteCase) many() {
	const keys, each = 64, 5
	var all sync.WaitGroup
	last := make([]state.Revision, keys)
	key := func(i int) state.Key { return state.Key{Kind: "k", ID: fmt.Sprint(i)} }
	for i := range keys {
		store := []state.Store{s.a, s.b}[i%2]
		all.Go(func() {
			for n := range each {
				rev, err := store.Commit(s.ctx, key(i), record(1, fmt.Sprint(n)), last[i])
				if err != nil {
					s.Error(err)
					return
				}
				last[i] = rev
			}
		})
	}
	all.Wait()
	for i := range keys {
		s.holds(key(i), record(1, fmt.Sprint(each-1)), last[i])
	}
}

// walks checks which ids both stores have of a kind.
func (s *suiteCase) walks(kind string, want ...string) {
	s.Helper()
	for _, store := range []state.Store{s.a, s.b} {
		var got []string
		for id, err := range store.Walk(s.ctx, kind) {
			if err != nil {
				s.Fatal(err)
			}
			got = append(got, id)
		}
		slices.Sort(got)
		slices.Sort(want)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			s.Fatalf("the kind %q has %q, want %q", kind, got, want)
		}
	}
}

func (s *suiteCase) walk() {
	var want []string
	for i := range 300 {
		key := state.Key{Kind: "k", ID: fmt.Sprint("n", i)}
		rev := s.commit(s.a, key, record(1, ""), state.Revision{})
		if i%3 > 0 {
			want = append(want, key.ID)
		} else if _, err := s.a.Delete(s.ctx, key, 1, rev); err != nil {
			s.Fatal(err)
		}
	}
	s.commit(s.a, state.Key{Kind: "k2", ID: "x"}, record(1, ""), state.Revision{})
	s.walks("k", want...)
	for range s.a.Walk(s.ctx, "k") { // the caller may stop
		break
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	for _, err := range s.a.Walk(ctx, "k") {
		s.is(err, state.ErrUnavailable)
	}
}

func (s *suiteCase) cancelled() {
	rev := s.commit(s.a, alice, record(1, "1"), state.Revision{})
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.a.Commit(ctx, alice, record(1, "2"), rev)
	s.is(err, state.ErrNotStored)
	_, err = s.a.Delete(ctx, alice, 1, rev)
	s.is(err, state.ErrNotStored)
	_, _, err = s.a.Load(ctx, alice)
	if s.is(err, state.ErrUnavailable); !errors.Is(err, context.Canceled) {
		s.Error(err)
	}
	s.holds(alice, record(1, "1"), rev)
}

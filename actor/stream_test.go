package actor_test

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Item is the item of the streams in these tests: its number, and padding.
type Item struct {
	N   int
	Pad []byte
}

// List asks for items, which are numbered from 0.
type List struct {
	actor.Streams[Item]
	N     int    // how many; -1 for no end
	Size  int    // the size of the padding of each
	Fails string // how it ends
}

// Stall streams the items that it is asked for, and counts them.
type Stall struct {
	made    *atomic.Int64 // items that were yielded
	running *atomic.Int64 // sequences that have begun and not ended
}

// newStall returns a Stall and its kind.
func newStall() (*actor.Kind, *Stall) {
	s := &Stall{made: new(atomic.Int64), running: new(atomic.Int64)}
	return actor.Define("test.stall", func() *Stall { return s },
		actor.Produce((*Stall).List), actor.Answer((*Stall).Count),
		actor.Answer(func(_ *Stall, ctx *actor.Context, m Run) (string, error) { return m.F(ctx) })), s
}

func (s *Stall) Count(*actor.Context, Count) (int, error) { return int(s.made.Load()), nil }

func (s *Stall) List(ctx *actor.Context, m List) (iter.Seq2[Item, error], error) {
	switch m.Fails {
	case "at once":
		return nil, fmt.Errorf("no: %w", errFunds)
	case "panics at once":
		panic("oh")
	case "nothing":
		return nil, nil
	}
	return func(yield func(Item, error) bool) {
		s.running.Add(1)
		defer s.running.Add(-1)
		for i := 0; i != m.N; i++ {
			s.made.Add(1)
			if !yield(Item{N: i, Pad: make([]byte, m.Size)}, nil) {
				return
			}
		}
		switch m.Fails {
		case "with":
			yield(Item{}, fmt.Errorf("no: %w", errFunds))
		case "panics":
			panic("oh")
		case "waits":
			<-ctx.Done()
		}
	}, nil
}

// collect reads a stream that starts at 0. It returns how many items arrived in order, and
// the error.
func collect(t testing.TB, seq iter.Seq2[Item, error]) (n int, err error) {
	t.Helper()
	for it, err := range seq {
		if err != nil {
			return n, err
		}
		if it.N != n {
			t.Fatalf("item %d came as number %d", it.N, n)
		}
		n++
	}
	return n, nil
}

func TestStream(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, s := newStall()
		to := bind(spawn(t, b, "shop", kind))
		for _, n := range []int{0, 1, 2, 3, 1023, 1024, 1025, 5000} {
			if got, err := collect(t, actor.Stream(t.Context(), to, List{N: n})); got != n || err != nil {
				t.Errorf("%d of %d items, %v", got, n, err)
			}
		}
		if got, err := collect(t, actor.Stream(t.Context(), to, List{N: 50, Size: 10_000})); got != 50 || err != nil {
			t.Errorf("%d large items, %v", got, err)
		}
		list := actor.Stream(t.Context(), to, List{N: 10}) // each range opens a new stream
		for range 2 {
			if got, err := collect(t, list); got != 10 || err != nil {
				t.Errorf("%d of 10 items, %v", got, err)
			}
		}
		synctest.Wait()
		if n := s.running.Load(); n != 0 {
			t.Errorf("%d producers still run", n)
		}
		if n := b.Stats().Actors; n != 1 { // the Stall
			t.Errorf("%d actors are left", n)
		}
	})
}

func TestStreamErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, s := newStall()
		to := bind(spawn(t, b, "shop", kind))
		for _, row := range []struct {
			m    List
			to   string
			code rpc.Code
			ran  rpc.Verdict
			is   error
		}{
			{List{N: 7, Fails: "with"}, "", rpc.Failed, rpc.HasRun, errFunds},
			{List{N: 7, Fails: "panics"}, "", rpc.Panicked, rpc.HasRun, rpc.Panicked},
			{List{Fails: "at once"}, "", rpc.Failed, rpc.HasRun, errFunds},
			{List{Fails: "panics at once"}, "", rpc.Panicked, rpc.HasRun, rpc.Panicked},
			{List{Fails: "nothing"}, "", rpc.Failed, rpc.HasRun, rpc.Failed},
			{List{}, "nobody@" + b.Name(), rpc.NotFound, rpc.NotRun, rpc.NotFound},
		} {
			ref := to
			if row.to != "" {
				ref = bind(b.Ref(row.to))
			}
			n, err := collect(t, actor.Stream(t.Context(), ref, row.m))
			if n != row.m.N || !errors.Is(err, row.is) {
				t.Errorf("%+v: %d items, %v", row.m, n, err)
			}
			wantErr(t, fmt.Sprintf("%+v", row.m), err, row.code, row.ran)
		}
		synctest.Wait()
		if n := s.running.Load(); n != 0 {
			t.Errorf("%d producers still run", n)
		}
	})
}

// A handler can use streams of another actor, but not of its own, since it would wait for
// itself. A message that opens a stream can have no key, and cannot be sent with Tell.
func TestStreamInHandler(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, _ := newStall()
		ref, other := spawn(t, b, "stall", kind), spawn(t, b, "other", PuppetKind)
		_, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) {
			_, err := collect(t, actor.Stream(ctx, ctx.Self(), List{N: 3}))
			wantErr(t, "of itself", err, rpc.Invalid, rpc.NotRun)
			return "", nil
		}))
		if err != nil {
			t.Error(err)
		}
		_, err = actor.Call(t.Context(), other, run(func(ctx *actor.Context) (string, error) {
			n, err := collect(t, actor.Stream(ctx, bind(ref), List{N: 3000}))
			return fmt.Sprint(n), err
		}))
		if err != nil {
			t.Error(err)
		}
		_, err = collect(t, actor.Stream(t.Context(), bind(ref), List{N: 3}, rpc.Key("k")))
		wantErr(t, "with a key", err, rpc.Invalid, rpc.NotRun)
		dead := letters(t, b)
		if err := actor.Tell(t.Context(), bind(ref), List{}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if got := dead(); len(got) != 1 || rpc.CodeOf(got[0].Reason) != rpc.Invalid {
			t.Errorf("dead letters: %v", got)
		}
	})
}

package actor_test

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Upload sends items to an actor, and is answered with their number and the sum of their
// numbers.
type Upload struct {
	actor.Collects[Item, Sum]
	Enough int    // the number of items after which it returns; 0 means at their end
	Fails  string // how it ends
}

type Sum struct{ N, Total int }

// Parrot is a stream in both directions, which sends back each item.
type Parrot struct {
	actor.Converses[Item, Item]
	Enough int
	Twice  bool
}

// Depot is an actor that receives streams.
type Depot struct {
	taken   *atomic.Int64 // items that were read
	running *atomic.Int64 // functions that have begun and not ended
	ends    chan error    // errors with which streams ended
	gate    chan struct{} // each item waits for it, unless it is nil
	done    int           // the number of uploads that were collected
}

// newDepot returns a Depot and its kind.
func newDepot(gate chan struct{}) (*actor.Kind, *Depot) {
	d := &Depot{taken: new(atomic.Int64), running: new(atomic.Int64), ends: make(chan error, 1000), gate: gate}
	return actor.Define("test.depot", func() *Depot { return d },
		actor.Collect((*Depot).Upload), actor.Converse((*Depot).Parrot),
		actor.Answer((*Depot).Count), actor.Handle((*Depot).Collected)), d
}

// Collected is the message that the Depot sends to itself when an upload has ended.
type Collected struct{}

func (d *Depot) Collected(*actor.Context, Collected) error { d.done++; return nil }
func (d *Depot) Count(*actor.Context, Count) (int, error)  { return d.done, nil }

// each reads items until take returns false or enough were read. more says that it stopped
// before the end of the stream.
func (d *Depot) each(in iter.Seq2[Item, error], enough int, take func(Item) bool) (more bool, err error) {
	n := 0
	for it, err := range in {
		if err != nil {
			d.ends <- err
			return false, err
		}
		if d.gate != nil {
			<-d.gate
		}
		d.taken.Add(1)
		if n++; !take(it) || n == enough {
			return true, nil
		}
	}
	return false, nil
}

func (d *Depot) Upload(ctx *actor.Context, m Upload, in iter.Seq2[Item, error]) (func() (Sum, error), error) {
	for _, err := range in {
		if rpc.CodeOf(err) != rpc.Invalid {
			return nil, fmt.Errorf("the stream was read in the actor's turn: %w", err)
		}
	}
	switch m.Fails {
	case "at once":
		return nil, fmt.Errorf("no: %w", errFunds)
	case "nothing":
		return nil, nil
	}
	return func() (s Sum, err error) {
		d.running.Add(1)
		defer d.running.Add(-1)
		add := func(it Item) bool {
			if it.N != s.N {
				panic(fmt.Sprintf("item %d came as number %d", it.N, s.N))
			}
			s.N++
			s.Total += it.N
			return true
		}
		more, err := d.each(in, 3, add) // the loop is left, and then continued
		if more && err == nil {
			_, err = d.each(in, max(0, m.Enough-3), add)
		}
		if err != nil {
			return s, err
		}
		switch m.Fails {
		case "with":
			return s, fmt.Errorf("no: %w", errFunds)
		case "panics":
			panic("oh")
		}
		if err := actor.Tell(ctx, ctx.Self(), Collected{}); err != nil {
			return s, err
		}
		_, err = actor.Call(ctx, ctx.Self(), Count{}) // the function runs beside the actor, so it may wait for the actor
		return s, err
	}, nil
}

func (d *Depot) Parrot(ctx *actor.Context, m Parrot, in iter.Seq2[Item, error]) (iter.Seq2[Item, error], error) {
	return func(yield func(Item, error) bool) {
		d.running.Add(1)
		defer d.running.Add(-1)
		_, err := d.each(in, m.Enough, func(it Item) bool {
			return yield(it, nil) && (!m.Twice || yield(it, nil))
		})
		if err != nil {
			yield(Item{}, err)
		}
	}, nil
}

// upload sends n items, and returns the result.
func upload(t testing.TB, to actor.Ref, m Upload, n int) (Sum, error) {
	up, err := actor.Open(t.Context(), to, m)
	if err != nil {
		return Sum{}, err
	}
	for i := range n {
		if err := up.Send(t.Context(), Item{N: i}); errors.Is(err, actor.ErrStreamOver) {
			break
		} else if err != nil {
			return Sum{}, err
		}
	}
	return up.CloseAndReceive(t.Context())
}

// wantIdle checks that no function of the Depot runs any more.
func (d *Depot) wantIdle(t testing.TB) {
	t.Helper()
	synctest.Wait()
	if n := d.running.Load(); n != 0 {
		t.Errorf("%d functions still run", n)
	}
}

func TestUpload(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, d := newDepot(nil)
		to := bind(spawn(t, b, "depot", kind))
		sizes := []int{0, 1, 2, 3, 4, 1023, 1024, 1025, 5000}
		for _, n := range sizes {
			if s, err := upload(t, to, Upload{}, n); s != (Sum{n, n * (n - 1) / 2}) || err != nil {
				t.Errorf("of %d items: %+v, %v", n, s, err)
			}
		}
		if n, err := actor.Call(t.Context(), to, Count{}); n != len(sizes) || err != nil {
			t.Errorf("%d of %d uploads were reported, %v", n, len(sizes), err)
		}
		if s, err := upload(t, to, Upload{Enough: 10}, 100_000); s != (Sum{10, 45}) || err != nil {
			t.Errorf("of which 10 are enough: %+v, %v", s, err)
		}
		d.wantIdle(t)
		if n := b.Stats().Actors; n != 1 {
			t.Errorf("%d actors are left", n)
		}
	})
}

func TestUploadErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, d := newDepot(nil)
		to := bind(spawn(t, b, "depot", kind))
		for _, row := range []struct {
			fails string
			code  rpc.Code
			is    error
		}{
			{"with", rpc.Failed, errFunds}, {"panics", rpc.Panicked, rpc.Panicked},
			{"at once", rpc.Failed, errFunds}, {"nothing", rpc.Failed, rpc.Failed},
		} {
			_, err := upload(t, to, Upload{Fails: row.fails}, 7)
			wantErr(t, row.fails, err, row.code, rpc.HasRun)
			if !errors.Is(err, row.is) {
				t.Errorf("%s: %v", row.fails, err)
			}
		}
		// If the sender cancels, the other side learns of it.
		up, err := actor.Open(t.Context(), to, Upload{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := up.Send(t.Context(), Item{N: i}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		up.Cancel()
		if err := <-d.ends; rpc.CodeOf(err) != rpc.Canceled {
			t.Errorf("it broke off, and the other side got %v", err)
		}
		wantErr(t, "a send after that", up.Send(t.Context(), Item{}), rpc.Canceled, rpc.HasRun)
		d.wantIdle(t)
	})
}

func TestTalk(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, d := newDepot(nil)
		to := bind(spawn(t, b, "depot", kind))
		for _, n := range []int{0, 1, 500} { // each item is read before the next is sent
			talk, err := actor.Talk(t.Context(), to, Parrot{})
			if err != nil {
				t.Fatal(err)
			}
			next, stop := iter.Pull2(talk.Items())
			for i := range n {
				if err := talk.Send(t.Context(), Item{N: i}); err != nil {
					t.Fatal(err)
				}
				if it, err, _ := next(); it.N != i || err != nil {
					t.Fatalf("%d came back as %d, %v", i, it.N, err)
				}
			}
			if err := talk.CloseSend(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err, more := next(); more || err != nil {
				t.Errorf("after the end: %v, %v", more, err)
			}
			stop()
		}
		// Each direction has its own pace: all items, up to the bound, are sent before the first is read.
		talk, err := actor.Talk(t.Context(), to, Parrot{Enough: 20_000})
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			for i := range 20_000 {
				if err := talk.Send(t.Context(), Item{N: i}); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		synctest.Wait()
		if n, err := collect(t, talk.Items()); n != 20_000 || err != nil {
			t.Errorf("%d of 20000 came back, %v", n, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if err := talk.Send(t.Context(), Item{}); !errors.Is(err, actor.ErrStreamOver) {
			t.Errorf("a send after the end: %v", err)
		}
		if err := talk.CloseSend(t.Context()); err != nil { // the end may arrive before the items do
			t.Errorf("an end after the end: %v", err)
		}
		d.wantIdle(t)
		if n := b.Stats().Actors; n != 1 {
			t.Errorf("%d actors are left", n)
		}
	})
}

package actor_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

type (
	// Fetch asks for something large.
	Fetch struct{ actor.Returns[*[64 << 10]byte] }
	// Heavy is a large message, which is answered.
	Heavy struct {
		actor.Returns[int]
		V [64 << 10]byte
	}
	// Freight is a large one-way message.
	Freight struct{ V [64 << 10]byte }
)

// alive counts values that the collector has not taken.
type alive struct{ n atomic.Int64 }

func (a *alive) track(v *[64 << 10]byte) {
	a.n.Add(1)
	runtime.AddCleanup(v, func(struct{}) { a.n.Add(-1) }, struct{}{})
}

// What was answered, or handled, is free: no idle worker and no idle actor holds it.
func TestWhatWasHandledIsFree(t *testing.T) {
	var a alive
	large := func() *[64 << 10]byte {
		v := new([64 << 10]byte)
		a.track(v)
		return v
	}
	type state struct{}
	kind := actor.Define("test.free", func() *state { return new(state) },
		actor.Answer(func(_ *state, _ *actor.Context, _ Fetch) (*[64 << 10]byte, error) { return large(), nil }),
		actor.Answer(func(_ *state, _ *actor.Context, m *Heavy) (int, error) { return len(m.V), nil }),
		actor.Answer(func(_ *state, ctx *actor.Context, m *Late) (*[64 << 10]byte, error) {
			d := actor.Defer[*[64 << 10]byte](ctx)
			go d.Answer(large())
			return nil, nil
		}),
		actor.Handle(func(_ *state, _ *actor.Context, m *Freight) error { return nil }))
	sys, err := actor.NewSystem(actor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	ctx := t.Context()
	for round := range 5 {
		var refs []actor.Ref
		for i := range 40 {
			ref, err := sys.Spawn(fmt.Sprint(round, "-", i), kind)
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		var futures []*rpc.Future[*[64 << 10]byte]
		for _, ref := range refs {
			futures = append(futures, actor.Ask(ctx, ref, Fetch{}), actor.Ask(ctx, ref, &Late{}))
			h, f := new(Heavy), new(Freight)
			a.track(&h.V)
			a.track(&f.V)
			if _, err := actor.Call(ctx, ref, h); err != nil {
				t.Fatal(err)
			}
			if err := actor.Tell(ctx, ref, f, rpc.WithHeader("k", "v")); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range futures {
			if _, err := f.Await(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, ref := range refs {
			if _, err := actor.Call(ctx, ref, Fetch{}); err != nil { // what was told is handled
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		runtime.GC()
		runtime.Gosched()
	}
	for range 1000 { // cleanups have a goroutine of their own
		if a.n.Load() <= 8 {
			return
		}
		runtime.GC()
		runtime.Gosched()
	}
	t.Errorf("%d of the %d values are still held", a.n.Load(), 5*40*5)
}

// Late is answered by another goroutine.
type Late struct{ actor.Returns[*[64 << 10]byte] }

package actor_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

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

// alive counts the values that the collector has not freed.
type alive struct{ n atomic.Int64 }

func (a *alive) track(v *[64 << 10]byte) {
	a.n.Add(1)
	runtime.AddCleanup(v, func(struct{}) { a.n.Add(-1) }, struct{}{})
}

// What was answered or handled can be collected: no idle worker and no idle actor holds it.
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
			if _, err := actor.Call(ctx, ref, Fetch{}); err != nil { // after this, the one-way messages have been handled
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		runtime.GC()
		runtime.Gosched()
	}
	for range 1000 { // cleanups run in another goroutine
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

// The messages of TestWhatWasAnsweredIsFree.
type bigReply struct{ actor.Returns[*[1 << 20]byte] }

type bigNote struct{ data [1 << 20]byte }

type bigNoteSeen struct{ actor.Returns[int] }

// The result of an Ask can be collected when nobody has it any more, although the runtime keeps a stopped
// timer for a while if there are many others.
func TestAnsweredAskIsFreeBesideTimers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that all timers are in one heap
	other := func(d time.Duration) { timer := time.AfterFunc(d, func() {}); t.Cleanup(func() { timer.Stop() }) }
	for range 1000 {
		other(20 * time.Second)
	}
	var freed atomic.Int64
	kind := actor.Define("big", func() struct{} { return struct{}{} },
		actor.Answer(func(struct{}, *actor.Context, bigReply) (*[1 << 20]byte, error) {
			p := new([1 << 20]byte)
			runtime.AddCleanup(p, func(int) { freed.Add(1) }, 0)
			return p, nil
		}))
	ref := spawn(t, newSystem(t, actor.Config{}), "big", kind)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 16
	for range n {
		future := actor.Ask(ctx, ref, bigReply{})
		other(time.Minute)
		if _, err := future.Await(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); freed.Load() < n; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d of %d results are free", freed.Load(), n)
		}
		runtime.Gosched()
	}
}

// A result, and a message that was handled, can be collected as soon as nobody has it any
// more, whether or not the workers that handled it are kept.
func TestWhatWasAnsweredIsFree(t *testing.T) {
	var made, freed atomic.Int64
	watch := func(p *[1 << 20]byte) {
		made.Add(1)
		runtime.AddCleanup(p, func(int) { freed.Add(1) }, 0)
	}
	kind := actor.Define("big", func() struct{} { return struct{}{} },
		actor.Answer(func(_ struct{}, _ *actor.Context, _ bigReply) (*[1 << 20]byte, error) {
			p := new([1 << 20]byte)
			watch(p)
			return p, nil
		}),
		actor.Handle(func(_ struct{}, _ *actor.Context, m *bigNote) error {
			watch(&m.data)
			return nil
		}),
		actor.Answer(func(struct{}, *actor.Context, bigNoteSeen) (int, error) { return 1, nil }))
	sys := newSystem(t, actor.Config{})
	for i := range 8 {
		ref := spawn(t, sys, "big"+strconv.Itoa(i), kind)
		for range 3 {
			if _, err := actor.Ask(t.Context(), ref, bigReply{}).Await(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := actor.Tell(t.Context(), ref, new(bigNote), rpc.WithHeader("a", "b")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := actor.Call(t.Context(), ref, bigNoteSeen{}); err != nil {
			t.Fatal(err)
		}
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); freed.Load() < made.Load(); runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d of %d MiB are free", freed.Load(), made.Load())
		}
		runtime.Gosched()
	}
}

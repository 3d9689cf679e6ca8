package actor_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

type bigReply struct{ actor.Returns[*[1 << 20]byte] }
type bigNote struct{ data [1 << 20]byte }
type bigNoteSeen struct{ actor.Returns[int] }

// What a future was answered with, and a message that was handled, is free as soon as
// nobody has it, whether the workers that handled it are kept or not.
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
		if err := sys.StopAndWait(t.Context(), ref); err != nil {
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

// A name is free, and newState was not called in vain, when StopAndWait has returned.
func TestStopAndWait(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	var states atomic.Int64
	kind := actor.Define("counted", func() *Account { states.Add(1); return new(Account) }, actor.Answer((*Account).Balance), actor.Answer((*Account).Block))
	for range 200 {
		ref := spawn(t, sys, "one", kind)
		if _, err := sys.Spawn("one", kind); !errors.Is(err, actor.ErrNameTaken) {
			t.Fatal(err)
		}
		if _, err := actor.Call(t.Context(), ref, Balance{}); err != nil {
			t.Fatal(err)
		}
		if err := sys.StopAndWait(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if n := states.Load(); n != 200 {
		t.Errorf("newState was called %d times for 200 actors", n)
	}
	ref := spawn(t, sys, "busy", kind)
	m := Block{Entered: make(chan struct{}), Leave: make(chan struct{})}
	f := actor.Ask(t.Context(), ref, m)
	<-m.Entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "a wait that is over", sys.StopAndWait(ctx, ref), rpc.Canceled, rpc.Unknown)
	close(m.Leave)
	if _, err := f.Await(t.Context()); err != nil {
		t.Error("the handler that ran:", err)
	}
	if err := sys.StopAndWait(t.Context(), ref); err != nil {
		t.Error("again:", err)
	}
}

func TestAnActorDoesNotWaitForItsOwnEnd(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	ref := spawn(t, sys, "self", PuppetKind)
	_, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) {
		return "", sys.StopAndWait(ctx, ctx.Self())
	}))
	if !errors.Is(err, rpc.Invalid) {
		t.Errorf("%v", err)
	}
}

// An actor that is spawned while its forerunner leaves is in its services.
func TestRespawnedActorIsInItsServices(t *testing.T) {
	sys := newSystem(t, actor.Config{Timeout: 5 * time.Second})
	for i := range 500 {
		ref := spawn(t, sys, "one", AccountKind, actor.Expose("first"), actor.Expose("second"))
		go sys.Stop(ref)
		for {
			next, err := sys.Spawn("one", AccountKind, actor.Expose("first"), actor.Expose("second"))
			if errors.Is(err, actor.ErrNameTaken) {
				runtime.Gosched()
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			ref = next
			break
		}
		for _, service := range []string{"first", "second"} {
			if _, err := actor.Call(t.Context(), sys.Service(service), Balance{}); err != nil {
				t.Fatalf("round %d, %s: %v", i, service, err)
			}
		}
		if err := sys.StopAndWait(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
}

// A ctx that has ended keeps the handler from running, each time.
func TestEndedContextSendsNothing(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	var ran atomic.Int64
	ref := spawn(t, sys, "one", PuppetKind)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := run(func(*actor.Context) (string, error) { ran.Add(1); return "", nil })
	for range 100 {
		_, err := actor.Call(ctx, ref, m)
		wantErr(t, "Call", err, rpc.Canceled, rpc.NotRun)
		_, err = actor.Ask(ctx, ref, m).Await(t.Context())
		wantErr(t, "Ask", err, rpc.Canceled, rpc.NotRun)
		wantErr(t, "Tell", actor.Tell(ctx, ref, note(func(*actor.Context) { ran.Add(1) })), rpc.Canceled, rpc.NotRun)
	}
	if _, err := actor.Call(t.Context(), ref, run(func(*actor.Context) (string, error) { return "", nil })); err != nil {
		t.Fatal(err)
	}
	if n := ran.Load(); n != 0 {
		t.Errorf("%d handlers ran", n)
	}
}

// A cycle of actors that wait for each other is refused at once.
func TestCycleOfCallsIsRefused(t *testing.T) {
	sys := newSystem(t, actor.Config{Timeout: time.Minute})
	a, b, c := spawn(t, sys, "a", PuppetKind), spawn(t, sys, "b", PuppetKind), spawn(t, sys, "c", PuppetKind)
	call := func(to actor.Ref, f func(*actor.Context) (string, error)) func(*actor.Context) (string, error) {
		return func(ctx *actor.Context) (string, error) { return actor.Call(ctx, to, run(f)) }
	}
	var inner error
	back := func(ctx *actor.Context) (string, error) {
		_, inner = actor.Call(ctx, a, run(func(*actor.Context) (string, error) { return "", nil }))
		return "c", nil
	}
	for range 3 { // the refusal leaves nothing behind
		if got, err := actor.Call(t.Context(), a, run(call(b, call(c, back)))); got != "c" || err != nil {
			t.Fatal(got, err)
		}
		wantErr(t, "the cycle", inner, rpc.Cycle, rpc.NotRun)
		if !errors.Is(inner, actor.ErrCycle) {
			t.Error(inner)
		}
		if got, err := actor.Call(t.Context(), c, run(call(b, func(*actor.Context) (string, error) { return "b", nil }))); got != "b" || err != nil {
			t.Fatal("no cycle:", got, err)
		}
	}
}

// A goroutine that outlives its handler may call the actor with Context.Detached.
func TestDetachedGoroutineCallsItsActor(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	ref := spawn(t, sys, "one", PuppetKind)
	var wg sync.WaitGroup
	after := func(ctx *actor.Context, over <-chan struct{}) {
		d := ctx.Detached()
		wg.Go(func() {
			<-over
			if _, err := actor.Call(d, ref, run(func(*actor.Context) (string, error) { return "", nil })); err != nil {
				t.Error(err)
			}
		})
	}
	over := make(chan struct{})
	if _, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { after(ctx, over); return "", nil })); err != nil {
		t.Fatal(err)
	}
	if err := actor.Tell(t.Context(), ref, note(func(ctx *actor.Context) { after(ctx, over) })); err != nil {
		t.Fatal(err)
	}
	if _, err := actor.Call(t.Context(), ref, run(func(*actor.Context) (string, error) { return "", nil })); err != nil {
		t.Fatal(err)
	}
	close(over)
	wg.Wait()
}

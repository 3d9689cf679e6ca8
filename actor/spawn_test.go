package actor_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// Stop hands back the messages that wait, lets the handler finish, and frees the name.
func TestStopHandsBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		dead := letters(t, sys)
		ref := spawn(t, sys, "x", PuppetKind, small(2, mailbox.Block))
		unplug := plug(t, ref)
		asked := actor.Ask(t.Context(), ref, Count{})
		if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { t.Error("ran") })); err != nil {
			t.Fatal(err)
		}
		blocked := make(chan error, 1)
		go func() { _, err := actor.Call(t.Context(), ref, Count{}); blocked <- err }()
		synctest.Wait()
		actor.Halt(sys, ref)
		_, err := asked.Await(t.Context())
		wantErr(t, "what waited", err, rpc.Unavailable, rpc.NotRun)
		wantErr(t, "who waited for room", <-blocked, rpc.NotFound, rpc.NotRun)
		if _, err := sys.Spawn("x", PuppetKind); !errors.Is(err, actor.ErrNameTaken) {
			t.Errorf("the name is free while the handler runs: %v", err)
		}
		unplug()
		synctest.Wait()
		_, err = actor.Call(t.Context(), ref, Count{})
		wantErr(t, "call to a stopped actor", err, rpc.NotFound, rpc.NotRun)
		for _, to := range []actor.Ref{ref, sys.Ref("never")} {
			if err := actor.Tell(t.Context(), to, Deposit{1}); err != nil {
				t.Errorf("tell to %v: %v", to, err)
			}
		}
		if err := actor.Tell(t.Context(), sys.Service("none"), Deposit{1}); err != nil {
			t.Errorf("tell to no service: %v", err)
		}
		want := []struct {
			to   string
			code rpc.Code
		}{{"x@local", rpc.Unavailable}, {"x@local", rpc.NotFound}, {"never@local", rpc.NotFound}, {"none@*", rpc.NotFound}}
		got := dead()
		if len(got) != len(want) {
			t.Fatalf("dead letters: %v", got)
		}
		for i, d := range got {
			if d.To != want[i].to || d.Time.IsZero() {
				t.Errorf("dead letter %d: %+v", i, d)
			}
			wantErr(t, "dead letter to "+d.To, d.Reason, want[i].code, rpc.NotRun)
		}
		if s := sys.Stats(); s.DeadLetters != 4 || s.Actors != 0 {
			t.Errorf("stats %+v", s)
		}
		spawn(t, sys, "x", PuppetKind) // this one stops itself
		if _, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { ctx.Stop(); ctx.Stop(); return "", nil })); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s := sys.Stats(); s.Actors != 0 {
			t.Errorf("stats after an actor stopped itself %+v", s)
		}
	})
}

// When Stop has returned, the name is free. A Spawn that is refused does not call
// newState.
func TestStop(t *testing.T) {
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
		if err := sys.Stop(t.Context(), ref); err != nil {
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
	wantErr(t, "a wait that is over", sys.Stop(ctx, ref), rpc.Canceled, rpc.Unknown)
	close(m.Leave)
	if _, err := f.Await(t.Context()); err != nil {
		t.Error("the handler that ran:", err)
	}
	if err := sys.Stop(t.Context(), ref); err != nil {
		t.Error("again:", err)
	}
}

// An actor that calls Stop for itself gets an error.
func TestAnActorDoesNotWaitForItsOwnEnd(t *testing.T) {
	sys := newSystem(t, actor.Config{})
	ref := spawn(t, sys, "self", PuppetKind)
	_, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) {
		return "", sys.Stop(ctx, ctx.Self())
	}))
	if !errors.Is(err, rpc.Invalid) {
		t.Errorf("%v", err)
	}
}

// An actor that is spawned while its predecessor of the same name leaves is in its services.
func TestRespawnedActorIsInItsServices(t *testing.T) {
	sys := newSystem(t, actor.Config{Timeout: 5 * time.Second})
	for i := range 500 {
		ref := spawn(t, sys, "one", AccountKind, actor.Expose("first"), actor.Expose("second"))
		go actor.Halt(sys, ref)
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
		if err := sys.Stop(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
}

// Of many who want an actor at once, one starts it, and all get it; whatever becomes of it
// meanwhile.
func TestGetOrSpawn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		var made atomic.Int64
		slow := actor.Define("slow", func() *Puppet { made.Add(1); time.Sleep(time.Millisecond); return new(Puppet) },
			actor.Answer(func(_ *Puppet, ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }))
		for round := range int64(20) {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					ref, err := sys.GetOrSpawn("x", slow)
					if err != nil || ref != sys.Ref("x") {
						t.Errorf("%v, %v", ref, err)
					}
				})
			}
			all.Wait()
			if n := made.Load(); n != round+1 {
				t.Fatalf("%d were made in %d rounds", n, round+1)
			}
			actor.Halt(sys, sys.Ref("x"))
		}
		if _, err := sys.GetOrSpawn("x", slow); err != nil {
			t.Error(err)
		}
		if _, err := sys.GetOrSpawn("x", PuppetKind); !errors.Is(err, actor.ErrOtherKind) {
			t.Errorf("another kind: %v", err)
		}
		if _, err := sys.GetOrSpawn("x", nil); !errors.Is(err, actor.ErrOtherKind) {
			t.Errorf("no kind: %v", err)
		}
	})
}

// GetOrSpawn waits for the end of an actor that has the name, but not for ever.
func TestGetOrSpawnBehindAnEnd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		for wait, want := range map[time.Duration]error{time.Second: nil, 6 * time.Second: actor.ErrNameTaken} {
			ref := spawn(t, sys, "x", PuppetKind)
			unplug := plug(t, ref)
			actor.Halt(sys, ref)
			time.AfterFunc(wait, unplug)
			if _, err := sys.GetOrSpawn("x", PuppetKind); !errors.Is(err, want) {
				t.Errorf("an end in %v: %v", wait, err)
			}
			time.Sleep(10 * time.Second)
			_ = sys.Stop(t.Context(), ref)
		}
	})
}

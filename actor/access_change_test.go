package actor

import (
	"iter"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// New rules apply at once, also to stored replies, tokens, open streams and consumers that
// wait.
func TestAccessChangesAtOnce(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx, s := t.Context(), g.c
		if _, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("k")); err != nil {
			t.Fatal(err)
		}
		done, err := Submit(ctx, s.Ref("door@b"), openDoor{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := done.Await(ctx); err != nil {
			t.Fatal(err)
		}
		g.door.visits()
		running, err := Submit(ctx, s.Ref("door@b"), slowJob{})
		if err != nil {
			t.Fatal(err)
		}
		awaited, pulled := make(chan error, 1), make(chan error, 1)
		go func() { _, err := running.Await(ctx); awaited <- err }()
		go func() { _, err := Pull[int](ctx, s.Ref("jobs@b")); pulled <- err }()
		if _, err := g.b.Spawn("other door", nil); err == nil {
			t.Fatal("no kind")
		}
		if _, err := g.b.Spawn("second", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		next, stop := iter.Pull2(Stream(ctx, s.Ref("second@b"), ticks{}))
		defer stop()
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := g.door.produces(0); n != 1 {
			t.Errorf("%d streams are open, want 1", n)
		}

		if err := g.b.SetAccess(access.Rules{List: []access.Rule{{}}}); err == nil {
			t.Error("rules that make no sense were set")
		}
		g.setAccess(t, byOne)
		synctest.Wait()
		if n := g.door.produces(0); n != 0 {
			t.Errorf("%d streams are open, though nothing more was asked of them", n)
		}
		for err == nil {
			_, err, _ = next()
		}
		if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.HasRun {
			t.Errorf("the stream: %v", err)
		}
		_, err = Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("k"))
		wantDenied(t, "the stored reply of a key", err)
		_, err = done.Poll(ctx)
		wantDenied(t, "a token's state", err)
		if _, err := done.Await(ctx); rpc.CodeOf(err) != rpc.Denied {
			t.Errorf("a token's result: %v", err)
		}
		_, err = running.Cancel(ctx)
		wantDenied(t, "to cancel a job", err)
		if err := Push(ctx, g.a.Ref("jobs@b"), 7); err != nil {
			t.Fatal(err)
		}
		wantDenied(t, "a consumer in line", <-pulled)
		if items, err := Pull[int](ctx, g.a.Ref("jobs@b"), Wait(0)); err != nil || len(items) != 1 || items[0].Attempt != 1 {
			t.Errorf("the item that it did not get: %v, %v", items, err)
		}
		g.door.finish <- struct{}{}
		if err := <-awaited; rpc.CodeOf(err) != rpc.Denied {
			t.Errorf("a result that was waited for: %v", err)
		}

		// The job server as such may be asked then, but not about the jobs of that actor.
		g.setAccess(t, access.Rules{List: []access.Rule{{Effect: access.Deny, Principals: []string{"by two"}, Actors: []string{"door"}}}})
		_, err = done.Poll(ctx)
		wantDenied(t, "a token's state, by its actor", err)
		_, err = running.Cancel(ctx)
		wantDenied(t, "to cancel a job, by its actor", err)

		g.setAccess(t, access.Rules{})
		if v, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("k")); err != nil || v != "open" {
			t.Errorf("%q, %v", v, err)
		}
		if v, err := running.Await(ctx); err != nil || v != "slow" {
			t.Errorf("%q, %v", v, err)
		}
		if came := g.door.visits(); len(came) != 2 { // the stream and the slow job
			t.Errorf("%v", came)
		}
	})
}

package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Deed is a request to a teller, which does what it says; Hint is the same as a one-way message.
type (
	Deed struct {
		actor.Returns[string]
		Does string
	}
	Hint struct{ Does string }
)

// tellers is where tellers work. Those who do "wait" go on when somebody opens it.
type tellers struct {
	mu    sync.Mutex // guards what follows
	gate  chan struct{}
	did   []string
	later []*actor.Deferred[string]
}

func newTellers() *tellers { return &tellers{gate: make(chan struct{})} }

// open lets all go on that wait.
func (k *tellers) open() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.gate)
	k.gate = make(chan struct{})
}

// done returns what was done since the last call.
func (k *tellers) done() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	did := k.did
	k.did = nil
	return did
}

func (k *tellers) do(ctx *actor.Context, what string) (string, error) {
	k.mu.Lock()
	k.did = append(k.did, what)
	gate := k.gate
	k.mu.Unlock()
	switch what {
	case "wait":
		<-gate
	case "watch": // for the caller to cancel
		<-ctx.Done()
		return "", ctx.Err()
	case "fail":
		return "", errors.New("on purpose")
	case "panic":
		panic("on purpose")
	case "exit":
		runtime.Goexit()
	case "reply and wait":
		_ = ctx.Reply("early")
		<-gate
	case "defer":
		later := actor.Defer[string](ctx)
		k.mu.Lock()
		k.later = append(k.later, later)
		k.mu.Unlock()
		return "", nil
	}
	return "did " + what, nil
}

func (k *tellers) kind(name string, opts ...actor.KindOption) *actor.Kind {
	return actor.Define(name, func() *tellers { return k },
		actor.Answer(func(k *tellers, ctx *actor.Context, m Deed) (string, error) { return k.do(ctx, m.Does) }),
		actor.Handle(func(k *tellers, ctx *actor.Context, m Hint) error { _, err := k.do(ctx, m.Does); return err })).With(opts...)
}

// limited runs a test in a world where b has these limits and a teller, "t", to which ref leads from a.
func limited(t *testing.T, limits []admission.Limit, run func(t *testing.T, w *limitedWorld)) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		k := newTellers()
		spawn(t, b, "t", k.kind("test.teller"))
		run(t, &limitedWorld{net, a, b, k, a.Ref("t@b")})
	}, func(c *actor.Config) {
		if c.Name == "b" {
			c.Admission.List = limits
		}
	})
}

type limitedWorld struct {
	net  *memnet.Network
	a, b *actor.System
	*tellers
	ref actor.Ref
}

// atOnce is for a request that is not retried.
var atOnce = rpc.WithRetry(rpc.Retry{Attempts: 1})

// call sends an errand once.
func (w *limitedWorld) call(ctx context.Context, does string, opts ...rpc.Option) error {
	return second(actor.Call(ctx, w.ref, Deed{Does: does}, append(opts, atOnce)...))
}

// asks sends errands whose answers it does not wait for, and returns when they are there.
func (w *limitedWorld) asks(t *testing.T, does ...string) (all []*rpc.Future[string]) {
	for _, d := range does {
		all = append(all, actor.Ask(t.Context(), w.ref, Deed{Does: d}, atOnce))
	}
	synctest.Wait()
	return all
}

// wantUnderWay fails if not so many requests count as under way.
func (w *limitedWorld) wantUnderWay(t *testing.T, when string, want int) {
	t.Helper()
	synctest.Wait()
	if n, _ := actor.UnderWay(w.b, "busy"); n != want {
		t.Errorf("%s: %d requests are under way, want %d", when, n, want)
	}
}

func retryAfter(err error) time.Duration {
	var e *rpc.Error
	errors.As(err, &e)
	return e.RetryAfter
}

// A request that comes too fast did not run and says when to come again; Tandem's own retry does.
func TestLimitRate(t *testing.T) {
	limited(t, []admission.Limit{{Name: "slowly", Rate: 10, Burst: 2}}, func(t *testing.T, w *limitedWorld) {
		events := w.b.Events(t.Context(), actor.Limited)
		for range 2 {
			if err := w.call(t.Context(), "it"); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		err := w.call(t.Context(), "not")
		wantErr(t, "the third", err, rpc.Overloaded, rpc.NotRun)
		if after := retryAfter(err); after <= 0 || after > 100*time.Millisecond {
			t.Errorf("RetryAfter is %v", after)
		}
		time.Sleep(retryAfter(err))
		if err := w.call(t.Context(), "it"); err != nil {
			t.Errorf("after RetryAfter: %v", err)
		}
		if _, err := actor.Call(t.Context(), w.ref, Deed{Does: "it"}); err != nil {
			t.Errorf("with retries: %v", err)
		}
		if took := time.Since(begun); took < 200*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("the retry came after %v", took)
		}
		if did := w.done(); slices.Contains(did, "not") || len(did) != 4 {
			t.Errorf("did %q", did)
		}
		if n := w.b.Stats().Limited; n < 2 {
			t.Errorf("%d refusals were counted", n)
		}
		for range 100 {
			_ = w.call(t.Context(), "it")
		}
		time.Sleep(time.Second)
		var count uint64
		lines := 0
		for synctest.Wait(); len(events) > 0; lines++ {
			e := <-events
			if count += e.Count; e.Peer != "a" || e.Err == nil {
				t.Errorf("event %+v", e)
			}
		}
		if count != w.b.Stats().Limited || lines > 3 {
			t.Errorf("%d events for %d of %d refusals", lines, count, w.b.Stats().Limited)
		}
	})
}

// What a request holds comes back, however it ends.
func TestLimitComesBack(t *testing.T) {
	limit := []admission.Limit{{Name: "busy", Concurrent: 1}}
	for _, row := range []struct {
		name string
		run  func(t *testing.T, w *limitedWorld)
	}{
		{"returned", func(t *testing.T, w *limitedWorld) { _ = w.call(t.Context(), "it") }},
		{"failed", func(t *testing.T, w *limitedWorld) { _ = w.call(t.Context(), "fail") }},
		{"panicked", func(t *testing.T, w *limitedWorld) { _ = w.call(t.Context(), "panic") }},
		{"ended its goroutine", func(t *testing.T, w *limitedWorld) { _ = w.call(t.Context(), "exit") }},
		{"runs", func(t *testing.T, w *limitedWorld) {
			w.asks(t, "wait")
			w.wantUnderWay(t, "while it runs", 1)
			wantErr(t, "another", w.call(t.Context(), "no"), rpc.Overloaded, rpc.NotRun)
			w.open()
		}},
		{"put off, answered", func(t *testing.T, w *limitedWorld) {
			w.asks(t, "defer")
			w.wantUnderWay(t, "while it is put off", 1)
			_ = w.later[0].Answer("late")
		}},
		{"put off, cancelled", func(t *testing.T, w *limitedWorld) {
			w.asks(t, "defer")[0].Cancel()
			synctest.Wait()
			_ = w.later[0].Answer("too late")
		}},
		{"cancelled while it runs", func(t *testing.T, w *limitedWorld) {
			f := w.asks(t, "wait")[0]
			f.Cancel()
			w.wantUnderWay(t, "after the cancel", 1) // the handler goes on
			w.open()
		}},
		{"cancelled, and the handler notices", func(t *testing.T, w *limitedWorld) { w.asks(t, "watch")[0].Cancel() }},
		{"cancelled while it waits", func(t *testing.T, w *limitedWorld) {
			_ = actor.Tell(t.Context(), w.ref, Hint{"wait"})
			w.asks(t, "never")[0].Cancel()
			w.wantUnderWay(t, "after the cancel", 0) // it will never run
			w.open()
		}},
		{"too late", func(t *testing.T, w *limitedWorld) {
			_ = actor.Tell(t.Context(), w.ref, Hint{"wait"})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			wantErr(t, "it", w.call(ctx, "never"), rpc.Expired, rpc.Unknown)
			w.open()
		}},
		{"stopped", func(t *testing.T, w *limitedWorld) {
			_ = actor.Tell(t.Context(), w.ref, Hint{"wait"})
			f := w.asks(t, "never")[0]
			actor.Halt(w.b, w.b.Ref("t@b"))
			w.open()
			<-f.Done()
		}},
		{"the peer has gone", func(t *testing.T, w *limitedWorld) {
			w.asks(t, "wait")
			w.net.Partition("direct", "a", "b")
			w.net.Partition("bus", "a", "b")
			time.Sleep(10 * time.Minute)
			w.open()
		}},
		{"unknown type", func(t *testing.T, w *limitedWorld) { _ = second(actor.Call(t.Context(), w.ref, Count{}, atOnce)) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			limited(t, limit, func(t *testing.T, w *limitedWorld) {
				row.run(t, w)
				time.Sleep(time.Second)
				w.wantUnderWay(t, "in the end", 0)
			})
		})
	}
}

// What an actor answers early counts until then; the mailbox bounds what follows.
func TestLimitEarlyReply(t *testing.T) {
	limited(t, []admission.Limit{{Name: "busy", Concurrent: 1}}, func(t *testing.T, w *limitedWorld) {
		<-w.asks(t, "reply and wait")[0].Done()
		w.wantUnderWay(t, "after the reply", 0)
		w.open()
	})
}

// A copy of a request that runs or has run is never refused.
func TestLimitCopies(t *testing.T) {
	limited(t, []admission.Limit{{Name: "busy", Rate: 0.001, Burst: 3}}, func(t *testing.T, w *limitedWorld) {
		f := w.asks(t, "wait")[0]
		w.net.Reset("direct", "a", "b") // it is sent again on the other road
		time.Sleep(time.Second)
		w.open()
		if _, err := f.Await(t.Context()); err != nil {
			t.Errorf("after its link has died: %v", err)
		}
		if err := w.call(t.Context(), "it", rpc.Key("k")); err != nil {
			t.Error(err)
		}
		w.net.PartitionOneWay("direct", "b", "a")
		w.net.PartitionOneWay("bus", "b", "a")
		f = w.asks(t, "it")[0]
		time.Sleep(time.Second)
		w.net.Heal("direct", "a", "b")
		w.net.Heal("bus", "a", "b")
		if _, err := f.Await(t.Context()); err != nil {
			t.Errorf("after its answer was lost: %v", err)
		}
		for range 5 { // now there are no tokens
			if err := w.call(t.Context(), "it", rpc.Key("k")); err != nil {
				t.Errorf("the same key: %v", err)
			}
		}
		wantErr(t, "another key", w.call(t.Context(), "it", rpc.Key("k2")), rpc.Overloaded, rpc.NotRun)
		if n := w.b.Stats().Limited; n != 1 {
			t.Errorf("%d refusals", n)
		}
	})
}

// One-way messages beyond the rate are dead letters, the others are handled in order.
func TestLimitTells(t *testing.T) {
	limited(t, []admission.Limit{{Name: "busy", Rate: 0.001, Burst: 50}}, func(t *testing.T, w *limitedWorld) {
		lost := letters(t, w.b)
		for i := range 300 {
			if err := actor.Tell(t.Context(), w.ref, Hint{fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		did := w.done()
		if len(did) != 45 { // a tenth is for those that matter more
			t.Fatalf("%d were handled", len(did))
		}
		for i, d := range did {
			if d != fmt.Sprint(i) {
				t.Fatalf("the %dth is %s", i, d)
			}
		}
		if l := lost(); len(l) != 300-len(did) || rpc.CodeOf(l[0].Reason) != rpc.Overloaded {
			t.Errorf("%d dead letters", len(l))
		}
		if n := w.b.Stats().Limited; n != uint64(300-len(did)) {
			t.Errorf("%d refusals", n)
		}
		wantErr(t, "an acked one", actor.Tell(t.Context(), w.ref, Hint{"x"}, rpc.Acked(), atOnce), rpc.Overloaded, rpc.NotRun)
		if err := actor.Tell(t.Context(), w.ref, Hint{"high"}, rpc.Acked(), atOnce, actor.OfClass(mailbox.High)); err != nil {
			t.Error(err)
		}
	})
}

// Low requests are refused first. The class of the message's type precedes the sender's.
func TestLimitClasses(t *testing.T) {
	limited(t, []admission.Limit{{Name: "busy", Concurrent: 10}}, func(t *testing.T, w *limitedWorld) {
		k := newTellers()
		spawn(t, w.b, "vip", k.kind("test.vip", actor.PriorityOf[Deed](mailbox.High)))
		spawn(t, w.b, "sloth", k.kind("test.sloth", actor.PriorityOf[Deed](mailbox.Low)))
		fill := func(opts ...rpc.Option) (in int) {
			for range 15 {
				f := actor.Ask(t.Context(), w.ref, Deed{Does: "wait"}, append(opts, atOnce)...)
				synctest.Wait()
				select {
				case <-f.Done():
				default:
					in++
				}
			}
			return in
		}
		if low, normal := fill(actor.OfClass(mailbox.Low)), fill(); low != 8 || normal != 1 {
			t.Errorf("%d low ones and %d normal ones got in", low, normal)
		}
		call := func(name string, c mailbox.Class) error {
			return second(actor.Call(t.Context(), w.a.Ref(name+"@b"), Deed{Does: "it"}, atOnce, actor.OfClass(c)))
		}
		if err := call("vip", mailbox.Low); err != nil {
			t.Errorf("of a high type: %v", err)
		}
		wantErr(t, "of a low type", call("sloth", mailbox.High), rpc.Overloaded, rpc.NotRun)
		if high := fill(actor.OfClass(mailbox.High)); high != 1 {
			t.Errorf("%d high ones got in", high)
		}
		for range 20 {
			w.open()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		w.wantUnderWay(t, "in the end", 0)
	})
}

// A mailbox with an order heeds the sender's class, here and from other nodes.
func TestOfClassOrders(t *testing.T) {
	everywhere(t, func(t *testing.T, at *actor.System, bind func(actor.Ref) actor.Ref) {
		k := newTellers()
		ref := bind(spawn(t, at, "fair", k.kind("test.fair"), actor.Mailbox(mailbox.Config{Fair: true})))
		_ = actor.Tell(t.Context(), ref, Hint{"wait"})
		synctest.Wait()
		for _, c := range []mailbox.Class{mailbox.Low, mailbox.Normal, mailbox.High, mailbox.Low, mailbox.High} {
			if err := actor.Tell(t.Context(), ref, Hint{c.String()}, actor.OfClass(c)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		k.open()
		synctest.Wait()
		if got := fmt.Sprint(k.done()); got != "[wait high high normal low low]" {
			t.Errorf("handled: %s", got)
		}
	})
}

// A virtual actor is limited by its kind and name before it is activated, and whom the access list
// refuses counts for nothing.
func TestLimitVirtual(t *testing.T) {
	k, claims := newTellers(), memory.New()
	placed := k.kind("test.placed", actor.Virtual())
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		time.Sleep(time.Minute) // a has heard that b hosts the kind
		do := func(id, what string) error {
			return second(actor.Call(t.Context(), a.Virtual(placed, id), Deed{Does: what}, atOnce))
		}
		for i := range 20 {
			wantErr(t, "denied", do(fmt.Sprint("secret", i), "it"), rpc.Denied, rpc.NotRun)
		}
		for i := range 20 {
			err := do(fmt.Sprint("x", i), "it")
			if i < 2 && err != nil {
				t.Error(err)
			} else if i >= 2 {
				wantErr(t, "refused", err, rpc.Overloaded, rpc.NotRun)
			}
		}
		synctest.Wait()
		if n := b.Stats().Virtual.Begun; n != 2 {
			t.Errorf("%d activations", n)
		}
		if n := b.Stats().Limited; n != 18 {
			t.Errorf("%d refusals", n)
		}
		for range 20 {
			if err := do("y", "it"); err != nil { // of its own limit
				t.Error(err)
			}
		}
	}, func(c *actor.Config) {
		c.Claims = claims
		if c.Name == "b" {
			c.Kinds = []*actor.Kind{placed}
			c.Admission.List = []admission.Limit{{Kinds: []string{"test.placed"}, Actors: []string{"~test.placed/x*", "~test.placed/secret*"}, Rate: 0.001, Burst: 2}, {Actors: []string{"~test.placed/y"}, Rate: 1e6}}
			c.Access.List = []access.Rule{{Effect: access.Deny, Kinds: []string{"test.placed"}, Actors: []string{"~test.placed/secret*"}}}
		}
	})
}

// A job counts for a rate, and not among the requests under way.
func TestLimitJobs(t *testing.T) {
	limited(t, []admission.Limit{{Name: "busy", Concurrent: 1, Rate: 0.001, Burst: 3}}, func(t *testing.T, w *limitedWorld) {
		w.asks(t, "wait")
		for i := range 5 {
			_, err := actor.Submit(t.Context(), w.ref, Deed{Does: "it"}, atOnce)
			if i < 2 && err != nil {
				t.Error(err)
			} else if i >= 2 {
				wantErr(t, "one more", err, rpc.Overloaded, rpc.NotRun)
			}
		}
		w.open()
	})
}

// What one instance of a service refuses goes to another at once; a node's own actors are not limited.
func TestLimitService(t *testing.T) {
	limited(t, []admission.Limit{{Name: "busy", Services: []string{"desk"}, Rate: 0.001, Burst: 1}}, func(t *testing.T, w *limitedWorld) {
		here, there := newTellers(), newTellers()
		spawn(t, w.a, "desk", here.kind("test.desk"), actor.Expose("desk"))
		spawn(t, w.b, "desk", there.kind("test.desk"), actor.Expose("desk"))
		time.Sleep(time.Second)
		begun := time.Now()
		for range 20 {
			if err := second(actor.Call(t.Context(), w.a.Service("desk"), Deed{Does: "it"})); err != nil {
				t.Error(err)
			}
			if err := second(actor.Call(t.Context(), w.b.Ref("desk@b"), Deed{Does: "it"})); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("it took %v", took)
		}
		if h, n := len(here.done()), len(there.done()); h != 19 || n != 21 {
			t.Errorf("%d were done here and %d there", h, n)
		}
	})
}

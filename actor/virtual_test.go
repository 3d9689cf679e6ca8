package actor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The kind of virtual actors that the tests use: a counter that says where it is.
type (
	where  struct{ actor.Returns[string] }
	total  struct{ actor.Returns[int] }
	bump   struct{}
	onward struct {
		actor.Returns[string]
		To actor.Ref
	}
)

func (where) WireName() string  { return "virtual.where" }
func (total) WireName() string  { return "virtual.total" }
func (bump) WireName() string   { return "virtual.bump" }
func (onward) WireName() string { return "virtual.onward" }

type counter struct{ n int }

func (k *counter) where(ctx *actor.Context, _ where) (string, error) { return ctx.System().Name(), nil }
func (k *counter) total(*actor.Context, total) (int, error)          { return k.n, nil }
func (k *counter) bump(*actor.Context, bump) error                   { k.n++; return nil }
func (k *counter) onward(ctx *actor.Context, m onward) (string, error) {
	return actor.Call(ctx, m.To, where{})
}

var counterKind = actor.Define("counter", func() *counter { return new(counter) },
	actor.Answer((*counter).where), actor.Answer((*counter).total), actor.Handle((*counter).bump), actor.Answer((*counter).onward)).
	With(actor.Virtual(), actor.Idle(time.Minute))

// On a single node a virtual actor needs neither a registry nor claims.
func TestVirtualAlone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{counterKind}})
		ref := sys.Virtual(counterKind, "alice")
		if got := ref.String(); got != "counter/alice@~" {
			t.Errorf("its address is %s", got)
		}
		for range 3 {
			if err := actor.Tell(t.Context(), ref, bump{}); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := actor.Call(t.Context(), ref, total{}); n != 3 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		time.Sleep(3 * time.Minute) // it is idle, and ends
		synctest.Wait()
		if n, err := actor.Ask(t.Context(), ref, total{}).Await(t.Context()); n != 0 || err != nil {
			t.Errorf("the next activation has %d, %v", n, err)
		}
		if st := sys.Stats().Virtual; st.Begun != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// All nodes reach the one activation, by all verbs, and it is spread over the nodes.
func TestVirtualInACluster(t *testing.T) {
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}, "both": {"direct", "bus"}} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				c := startCluster3(t, roads...)
				at := map[string]int{}
				for i := range 60 {
					id := string(rune('A'+i%26)) + string(rune('a'+i/26))
					want := c.holder(t, "a", id)
					at[want]++
					for _, from := range []string{"b", "c"} {
						if got := c.holder(t, from, id); got != want {
							t.Fatalf("%s: on %s and on %s", id, want, got)
						}
						ref := c.sys[from].Virtual(counterKind, id)
						if err := actor.Tell(t.Context(), ref, bump{}); err != nil {
							t.Fatal(err)
						}
						if err := actor.Tell(t.Context(), ref, bump{}, rpc.Acked()); err != nil {
							t.Fatal(err)
						}
						tok, err := actor.Submit(t.Context(), ref, where{})
						if err != nil {
							t.Fatal(err)
						}
						if got, err := tok.Await(t.Context()); got != want || err != nil {
							t.Fatalf("a job of %s: %s, %v", id, got, err)
						}
					}
					synctest.Wait()
					if n, err := actor.Ask(t.Context(), c.sys["b"].Virtual(counterKind, id), total{}).Await(t.Context()); n != 4 || err != nil {
						t.Fatalf("%s has counted %d, %v", id, n, err)
					}
				}
				if len(at) != 3 {
					t.Errorf("they are at %v", at)
				}
			})
		})
	}
}

// When a node joins, it would be chosen for some of the actors that others have. Who asks it is told who has
// them, and follows at once.
func TestVirtualFollowed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		if err := c.sys["c"].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		at := map[string]string{}
		for i := range 40 {
			id := string(rune('A'+i%26)) + string(rune('a'+i/26))
			at[id] = c.holder(t, "a", id)
		}
		c.start(t, "c")
		synctest.Wait()
		began := time.Now()
		for id, want := range at {
			if got := c.holder(t, "c", id); got != want {
				t.Errorf("%s: on %s and on %s", id, want, got)
			}
			if err := actor.Tell(t.Context(), c.sys["c"].Virtual(counterKind, id), bump{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if st := c.sys["c"].Stats().Virtual; st.Moved < 5 || st.Begun > 0 {
			t.Errorf("%+v", st)
		}
		for id := range at {
			if n, err := actor.Call(t.Context(), c.sys["c"].Virtual(counterKind, id), total{}); n != 1 || err != nil {
				t.Errorf("%s has counted %d, %v", id, n, err)
			}
		}
	})
}

// A caller whose first choice is wrong is told who has the actor, and follows.
func TestVirtualMoved(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		for _, id := range []string{"x", "y", "z", "u", "v"} {
			at := c.holder(t, "a", id)
			for _, wrong := range []string{"a", "b", "c"} {
				if wrong == at {
					continue
				}
				direct := c.sys["a"].Ref("~counter/" + id + "@" + wrong)
				if wrong == "a" {
					direct = c.sys["b"].Ref("~counter/" + id + "@a")
				}
				_, err := actor.Call(t.Context(), direct, where{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
				var e *rpc.Error
				if !errors.As(err, &e) || e.Code != rpc.Moved || e.Verdict != rpc.NotRun {
					t.Fatalf("%s at %s, which is on %s: %v", id, wrong, at, err)
				}
			}
		}
	})
}

// When a node leaves, its actors are activated elsewhere. When it is cut off from the registry, it
// ends its activations before another node may have them.
func TestVirtualFenced(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		id, at := "", ""
		for _, id = range []string{"p", "q", "r", "s", "t"} {
			if at = c.holder(t, "a", id); at == "b" {
				break
			}
		}
		if at != "b" {
			t.Fatal("none is on b")
		}
		events := c.sys["b"].Events(t.Context())
		c.reg["b"].cut.off()
		cutAt := time.Now()
		own := c.sys["b"].Virtual(counterKind, id)
		last, elsewhere := time.Time{}, time.Hour // the last answer on b, and the first one on another node
		for time.Since(cutAt) < 2*leaseTime {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if got, err := actor.Call(ctx, own, where{}); err == nil && got == "b" {
				last = time.Now()
			}
			if got, err := actor.Call(ctx, c.sys["c"].Virtual(counterKind, id), where{}); err == nil && got != "b" {
				elsewhere = min(elsewhere, time.Since(cutAt))
			}
			cancel()
			time.Sleep(50 * time.Millisecond)
		}
		if d := last.Sub(cutAt); d < leaseTime/3 || d > leaseTime || elsewhere < d || elsewhere > leaseTime+time.Second {
			t.Errorf("b answered for %v, and another node after %v", d, elsewhere)
		}
		if got := c.holder(t, "c", id); got == "b" {
			t.Error("b still has it")
		}
		fenced := false
		for len(events) > 0 {
			if e := <-events; e.Type == actor.ActivationsFenced {
				fenced = true
			}
		}
		if !fenced {
			t.Error("no event")
		}
		c.reg["b"].cut.on()
		time.Sleep(leaseTime)
		for i := range 20 {
			id := string(rune('A' + i))
			if c.holder(t, "b", id) != c.holder(t, "a", id) {
				t.Errorf("%s is on two nodes", id)
			}
		}
	})
}

// A node that leaves gives its actors up: others have them at once.
func TestVirtualDrained(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		var ids []string
		for i := range 20 {
			if id := string(rune('A' + i)); c.holder(t, "a", id) == "b" {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			t.Fatal("b has none")
		}
		if err := c.sys["b"].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for _, id := range ids {
			if got := c.holder(t, "a", id); got == "b" || got != c.holder(t, "c", id) {
				t.Errorf("%s is on %s", id, got)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What a handler has worked out after the node's lease had run out is not answered, in whichever way it
// answers. The error says that it ran.
func TestVirtualAnswersTooLate(t *testing.T) {
	type state struct{}
	kind := func(h actor.Handler[*state]) *actor.Kind {
		return actor.Define("slow", func() *state { return new(state) }, h)
	}
	for name, kind := range map[string]*actor.Kind{
		"at the end": kind(actor.Answer(func(_ *state, _ *actor.Context, _ total) (int, error) {
			time.Sleep(leaseTime)
			return 1, nil
		})),
		"with an error": kind(actor.Answer(func(_ *state, _ *actor.Context, _ total) (int, error) {
			time.Sleep(leaseTime)
			return 0, errors.New("no")
		})),
		"later": kind(actor.Answer(func(_ *state, ctx *actor.Context, _ total) (int, error) {
			later := actor.Defer[int](ctx)
			go func() {
				time.Sleep(leaseTime)
				_ = later.Answer(1)
			}()
			return 0, nil
		})),
		"later with an error": kind(actor.Answer(func(_ *state, ctx *actor.Context, _ total) (int, error) {
			later := actor.Defer[int](ctx)
			go func() {
				time.Sleep(leaseTime)
				_ = later.Fail(errors.New("no"))
			}()
			return 0, nil
		})),
		"in Receive":               actor.Define("slow", func() late { return late{} }, actor.Accepts[late, total]()),
		"in Receive with an error": actor.Define("slow", func() late { return late{fails: true} }, actor.Accepts[late, total]()),
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				reg := newLeases()
				kind := kind.With(actor.Virtual())
				sys := newSystem(t, actor.Config{Name: "n", Registry: reg, Claims: memory.New(), Kinds: []*actor.Kind{kind}, Logger: quiet,
					Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}})
				reg.cut.off()
				_, err := actor.Call(t.Context(), sys.Virtual(kind, "x"), total{})
				if rpc.CodeOf(err) != rpc.Unavailable && rpc.CodeOf(err) != rpc.Failed || rpc.Ran(err) != rpc.HasRun || !strings.Contains(err.Error(), "could not confirm its own lease") {
					t.Errorf("got %v", err)
				}
				time.Sleep(time.Second) // until that activation has ended
				_, err = actor.Call(t.Context(), sys.Virtual(kind, "x"), total{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
				if rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.NotRun {
					t.Errorf("the next one: %v", err)
				}
				reg.cut.on()
			})
		})
	}
}

// late is a Receiver that answers after its node's lease has run out.
type late struct{ fails bool }

func (l late) Receive(c *actor.Context) error {
	time.Sleep(leaseTime)
	if l.fails {
		return errors.New("no")
	}
	return c.Reply(1)
}

// What cannot be done with a virtual actor is refused with a typed error, and nothing runs.
func TestVirtualMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{counterKind}, Logger: quiet})
		ref, ctx := sys.Virtual(counterKind, "x"), t.Context()
		_, keyed := actor.Call(ctx, ref, total{}, rpc.Key("k"))
		_, job := actor.Submit(ctx, ref, total{}, rpc.Key("k"))
		_, seen := sys.Inspect(ctx, ref)
		_, spawned := sys.Spawn("y", counterKind)
		_, named := sys.Spawn("~counter/y", AccountKind)
		for what, err := range map[string]error{
			"a key": keyed, "a job with a key": job, "inspected": seen, "spawned": spawned, "its name is taken": named,
			"a reliable message":    actor.TellReliably(ctx, ref, bump{}),
			"another kind's ref":    errorOf(actor.Call(ctx, sys.Ref("bank.account/x@~"), total{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))),
			"an activation's child": errorOf(actor.Call(ctx, sys.Ref("~counter/x/y"), total{})),
		} {
			if err == nil || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, id := range []string{"", "a/b", "a@b", "a b", string(make([]byte, 201))} {
			if r := sys.Virtual(counterKind, id); !r.IsZero() {
				t.Errorf("id %q: %v", id, r)
			}
		}
		if r := sys.Virtual(AccountKind, "x"); !r.IsZero() {
			t.Errorf("of a kind that is not virtual: %v", r)
		}
		if st := sys.Stats().Virtual; st.Begun != 0 {
			t.Errorf("%+v", st)
		}
	})
	for _, kinds := range [][]*actor.Kind{
		{actor.Define("a/b", func() *counter { return new(counter) }, actor.Answer((*counter).total)).With(actor.Virtual())},
		{counterKind.With(actor.Durable())},
		{counterKind.With(actor.KeptLocal())},
	} {
		if _, err := actor.NewSystem(actor.Config{Kinds: kinds, Logger: quiet}); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("kind %s: %v", kinds[0].Name(), err)
		}
	}
	if _, err := actor.NewSystem(actor.Config{Name: "n", Registry: static.New(), Kinds: []*actor.Kind{counterKind}, Logger: quiet,
		Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}}); err == nil {
		t.Error("a node of a cluster without Claims")
	}
}

func errorOf[T any](_ T, err error) error { return err }

// A virtual actor's own address is its virtual one: what it sends can be answered wherever it goes.
func TestVirtualSender(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := startCluster3(t)
		senders := make(chan actor.Ref, 10)
		kind := actor.Define("sink", func() struct{} { return struct{}{} },
			actor.Answer(func(_ struct{}, ctx *actor.Context, _ where) (string, error) {
				senders <- ctx.Sender()
				return "", nil
			}))
		for name, sys := range c.sys {
			sink := spawn(t, sys, "sink-"+name, kind)
			for from := range c.sys {
				ref := c.sys[from].Virtual(counterKind, "teller")
				if _, err := actor.Call(t.Context(), ref, onward{To: sink}); err != nil {
					t.Fatal(err)
				}
				if got := (<-senders).String(); got != "counter/teller@~" {
					t.Errorf("the sender is %s", got)
				}
			}
		}
	})
}

package actor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/topic"
)

// invoice is what the tests publish on invoices.
type invoice struct{ N int }

var invoices = actor.NewTopic[invoice]("invoices.>").Durable()

// ledgerman subscribes when it is told to, and has do handle each invoice.
type ledgerman struct {
	do   func(*actor.Context, invoice) error
	opts []topic.Option // for Started; nil: it does not subscribe there
}

func (l *ledgerman) Started(ctx *actor.Context) error {
	if l.opts == nil {
		return nil
	}
	return ctx.Subscribe(invoices, l.opts...)
}

func (l *ledgerman) onInvoice(ctx *actor.Context, m invoice) error { return l.do(ctx, m) }

// bookwork has the actor do something in its turn.
type bookwork struct {
	actor.Returns[bool]
	do func(*actor.Context) error
}

func (l *ledgerman) run(ctx *actor.Context, m bookwork) (bool, error) { return true, m.do(ctx) }

func spawnLedgerman(t *testing.T, sys *actor.System, do func(*actor.Context, invoice) error, opts ...topic.Option) actor.Ref {
	t.Helper()
	kind := actor.Define("test.ledgerman", func() *ledgerman { return &ledgerman{do, opts} },
		actor.Handle((*ledgerman).onInvoice), actor.Answer((*ledgerman).run))
	ref := actortest.Spawn(t, sys, "ledgerman", kind)
	if _, err := actor.Call(t.Context(), ref, bookwork{do: func(*actor.Context) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	return ref
}

func publishInvoices(t *testing.T, sys *actor.System, ns ...int) {
	t.Helper()
	for _, n := range ns {
		if err := actor.Publish(t.Context(), invoices.Bind(sys).At("invoices.a"), invoice{n}); err != nil {
			t.Fatal(err)
		}
	}
}

// within takes from c what comes within an hour of a bubble's time.
func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Hour):
		t.Fatal("nothing comes")
	}
	return v
}

// What is wrong with a use of a durable topic, and the code that says so. All these errors are NotRun.
func TestDurableTopicMisuse(t *testing.T) {
	other := actor.NewTopic[string]("other").Durable()
	plain := actor.NewTopic[invoice]("invoices.>")
	for _, row := range []struct {
		name    string
		without bool // Config.Topics
		do      func(*actor.Context) error
		want    rpc.Code
	}{
		{"no store, publish", true, func(ctx *actor.Context) error {
			return actor.Publish(ctx, invoices.At("invoices.a"), invoice{})
		}, rpc.Invalid},
		{"no store, subscribe", true, func(ctx *actor.Context) error { return ctx.Subscribe(invoices) }, rpc.Invalid},
		{"publish on a pattern", false, func(ctx *actor.Context) error { return actor.Publish(ctx, invoices, invoice{}) }, rpc.Invalid},
		{"acked", false, func(ctx *actor.Context) error {
			return actor.Publish(ctx, invoices.At("invoices.a"), invoice{}, rpc.Acked())
		}, rpc.Invalid},
		{"no key", false, func(ctx *actor.Context) error {
			return actor.Publish(ctx, invoices.At("invoices.a"), invoice{}, rpc.Key(""))
		}, rpc.Invalid},
		{"a type without a name", false, func(ctx *actor.Context) error {
			return actor.Publish(ctx, actor.NewTopic[struct{ A int }]("a").Durable(), struct{ A int }{})
		}, rpc.Invalid},
		{"group", false, func(ctx *actor.Context) error { return ctx.Subscribe(invoices, topic.Group("g")) }, rpc.Invalid},
		{"when full", false, func(ctx *actor.Context) error { return ctx.Subscribe(invoices, topic.WhenFull(topic.DropOldest)) }, rpc.Invalid},
		{"not a name", false, func(ctx *actor.Context) error { return ctx.Subscribe(invoices, topic.Named("a.b")) }, rpc.Invalid},
		{"no attempts", false, func(ctx *actor.Context) error { return ctx.Subscribe(invoices, topic.Attempts(0)) }, rpc.Invalid},
		{"no time", false, func(ctx *actor.Context) error { return ctx.Subscribe(invoices, topic.FromTime(time.Time{})) }, rpc.Invalid},
		{"no handler", false, func(ctx *actor.Context) error { return ctx.Subscribe(other) }, rpc.Unhandled},
		{"named, on a topic that is not durable", false, func(ctx *actor.Context) error { return ctx.Subscribe(plain, topic.Named("a")) }, rpc.Invalid},
		{"from the start of one", false, func(ctx *actor.Context) error { return ctx.Subscribe(plain, topic.FromStart()) }, rpc.Invalid},
		{"attempts on one", false, func(ctx *actor.Context) error { return ctx.Subscribe(plain, topic.Attempts(3)) }, rpc.Invalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := actor.Config{Topics: new(actortest.Topics)}
			if row.without {
				cfg.Topics = nil
			}
			sys := actortest.NewSystem(t, cfg)
			ref := spawnLedgerman(t, sys, nil)
			var got error
			_, _ = actor.Call(t.Context(), ref, bookwork{do: func(ctx *actor.Context) error { got = row.do(ctx); return nil }})
			if rpc.CodeOf(got) != row.want || rpc.Ran(got) != rpc.NotRun {
				t.Errorf("%v, code %v, verdict %v", got, rpc.CodeOf(got), rpc.Ran(got))
			}
		})
	}
}

// The node's rules have to allow its own principal to publish.
func TestDurableTopicAccess(t *testing.T) {
	rules := access.Rules{List: []access.Rule{{Effect: access.Allow, Principals: []string{"tls:shop"}, Topics: []string{"invoices.a"}, Ops: access.Publish}}, Default: access.Deny}
	sys := actortest.NewSystem(t, actor.Config{Topics: new(actortest.Topics), Principal: "tls:shop", Access: rules})
	publishInvoices(t, sys, 1)
	err := actor.Publish(t.Context(), invoices.Bind(sys).At("invoices.b"), invoice{2})
	if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun || sys.Stats().Denied != 1 {
		t.Errorf("%v, verdict %v, %d denied", err, rpc.Ran(err), sys.Stats().Denied)
	}
}

// An actor that panics is restarted, subscribes anew, and goes on where it was; the message comes again
// after its back-off, as its second attempt.
func TestDurableTopicRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{Topics: new(actortest.Topics)})
		seen := make(chan topic.Delivery, 16)
		spawnLedgerman(t, sys, func(ctx *actor.Context, m invoice) error {
			d, _ := ctx.Delivery()
			seen <- d
			if m.N == 2 && d.Attempt == 1 {
				panic("the first time")
			}
			return nil
		}, topic.Named("books"))
		publishInvoices(t, sys, 1, 2, 3)
		for i, want := range []topic.Delivery{{Position: 1, Attempt: 1}, {Position: 2, Attempt: 1}, {Position: 2, Attempt: 2}, {Position: 3, Attempt: 1}} {
			if d := <-seen; d.Position != want.Position || d.Attempt != want.Attempt {
				t.Errorf("delivery %d: %+v, want %+v", i, d, want)
			}
		}
	})
}

// A handler that fails waits longer each time, and the message that is given up is kept as a dead letter, and
// can be sent again.
func TestDurableTopicBackoff(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{Topics: new(actortest.Topics)})
		letters := sys.DeadLetters(t.Context())
		var pauses []time.Duration
		last, mended := time.Now(), make(chan invoice, 1)
		bad := errors.New("bad")
		spawnLedgerman(t, sys, func(ctx *actor.Context, m invoice) error {
			if _, stored := ctx.Delivery(); !stored {
				mended <- m
				return nil
			}
			pauses, last = append(pauses, time.Since(last)), time.Now()
			return bad
		}, topic.Attempts(4))
		publishInvoices(t, sys, 7)
		l := within(t, letters)
		if want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}; len(pauses) != 4 || pauses[1] != want[1] || pauses[2] != want[2] || pauses[3] != want[3] {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
		if rpc.CodeOf(l.Reason) != rpc.Failed || sys.Stats().DeadLetters != 1 || sys.Stats().Failed != 4 {
			t.Errorf("%v, %+v", l.Reason, sys.Stats())
		}
		if err := sys.ResendLetter(t.Context(), l.ID, actor.Ref{}); err != nil {
			t.Fatal(err)
		}
		if m := <-mended; m.N != 7 {
			t.Errorf("sent again: %+v", m)
		}
	})
}

// When the store is gone, that is an event; when the loss is accepted, subscriptions go on.
func TestDurableTopicGone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		store := new(actortest.Topics)
		sys := actortest.NewSystem(t, actor.Config{Topics: store})
		events := sys.Events(t.Context(), actor.TopicsGone, actor.TopicsBack)
		seen := make(chan invoice, 16)
		spawnLedgerman(t, sys, func(_ *actor.Context, m invoice) error { seen <- m; return nil }, topic.Named("books"))
		publishInvoices(t, sys, 1)
		<-seen
		store.Lose()
		if e := <-events; e.Type != actor.TopicsGone || !errors.Is(e.Err, topic.ErrGone) {
			t.Errorf("%+v", e)
		}
		if err := actor.Publish(t.Context(), invoices.Bind(sys).At("invoices.a"), invoice{2}); !errors.Is(err, topic.ErrGone) || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("%v", err)
		}
		store.Accept()
		publishInvoices(t, sys, 3)
		if m := <-seen; m.N != 3 {
			t.Errorf("%+v", m)
		}
		if e := <-events; e.Type != actor.TopicsBack {
			t.Errorf("%+v", e)
		}
	})
}

// Subscribing again replaces the subscription, and Unsubscribe ends it. A handler that ends its own
// subscription has handled the message all the same.
func TestDurableTopicUnsubscribe(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{Topics: new(actortest.Topics)})
		seen := make(chan int, 16)
		do := func(ctx *actor.Context, m invoice) error {
			if m.N == 3 {
				ctx.Unsubscribe(invoices)
			}
			seen <- m.N
			return nil
		}
		ref := spawnLedgerman(t, sys, do, topic.Attempts(10))
		publishInvoices(t, sys, 1, 2)
		synctest.Wait()
		if len(seen) != 2 {
			t.Errorf("%d invoices came, want 2", len(seen))
		}
		<-seen
		<-seen
		subscribe := func(opts ...topic.Option) {
			_, err := actor.Call(t.Context(), ref, bookwork{do: func(ctx *actor.Context) error { return ctx.Subscribe(invoices, opts...) }})
			if err != nil {
				t.Fatal(err)
			}
		}
		subscribe(topic.Named("books"))
		subscribe(topic.Named("books"))
		subscribe(topic.FromStart())
		publishInvoices(t, sys, 3)
		for want := 1; want <= 3; want++ {
			if n := <-seen; n != want {
				t.Errorf("invoice %d, want %d", n, want)
			}
		}
		publishInvoices(t, sys, 4)
		synctest.Wait()
		subscribe(topic.Named("books"))
		if n := <-seen; n != 3 {
			t.Errorf("the name begins with invoice %d, want 3", n)
		}
	})
}

// A shutdown does not wait for what is only in a mailbox, and the store gets that back.
func TestDurableTopicShutdown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		store := new(actortest.Topics)
		sys := actortest.NewSystem(t, actor.Config{Topics: store})
		ref := spawnLedgerman(t, sys, func(*actor.Context, invoice) error { t.Error("it was handled"); return nil }, topic.Named("books"))
		gate := make(chan bool)
		go func() {
			_, _ = actor.Call(context.Background(), ref, bookwork{do: func(*actor.Context) error { <-gate; return nil }})
		}()
		synctest.Wait()
		publishInvoices(t, sys, 1)
		synctest.Wait()
		down := make(chan error)
		go func() { down <- sys.Shutdown(context.Background()) }()
		synctest.Wait()
		close(gate)
		if err := <-down; err != nil {
			t.Error(err)
		}
		next := actortest.NewSystem(t, actor.Config{Topics: store})
		seen := make(chan int, 1)
		spawnLedgerman(t, next, func(_ *actor.Context, m invoice) error { seen <- m.N; return nil }, topic.Named("books"))
		if n := within(t, seen); n != 1 {
			t.Errorf("invoice %d", n)
		}
	})
}

package actor_test

// A stash in an actor that gets messages which are kept until they were handled: those of a durable topic,
// and reliable one-way messages. What is aside is not handled yet.

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/topic"
)

// rack puts all entries and invoices aside until it is opened.
type rack struct {
	book *book
	open bool
	fail int // how many handlers fail after that
	opts []topic.Option
}

func (s *rack) Started(ctx *actor.Context) error {
	if s.opts == nil {
		return nil
	}
	return ctx.Subscribe(invoices, s.opts...)
}

func (s *rack) handle(ctx *actor.Context, n int) error {
	if !s.open {
		return errors.Join(ctx.Stash(), errors.New("ignored"))
	}
	s.book.entry(ctx, Entry{n})
	if s.fail > 0 {
		s.fail--
		return errFunds
	}
	return nil
}

func (s *rack) onEntry(ctx *actor.Context, m Entry) error     { return s.handle(ctx, m.N) }
func (s *rack) onInvoice(ctx *actor.Context, m invoice) error { return s.handle(ctx, m.N) }

// rackwork has a rack do something in its turn.
type rackwork struct {
	actor.Returns[int]
	do func(*rack, *actor.Context)
}

func (s *rack) work(ctx *actor.Context, m rackwork) (int, error) {
	m.do(s, ctx)
	return 0, nil
}

func (b *book) rack(opts ...topic.Option) *actor.Kind {
	return actor.Define("test.rack", func() *rack { return &rack{book: b, opts: opts} },
		actor.Handle((*rack).onEntry), actor.Handle((*rack).onInvoice), actor.Answer((*rack).work)).With(actor.Stash(4))
}

// onRack has the rack on a node do something.
func onRack(t *testing.T, at *actor.System, do func(*rack, *actor.Context)) {
	t.Helper()
	if _, err := actor.Call(t.Context(), at.Ref("k"), rackwork{do: do}); err != nil {
		t.Fatal(err)
	}
}

func openRack(s *rack, ctx *actor.Context) {
	s.open = true
	ctx.Unstash()
}

// A reliable message is handled when it was handled after Unstash, and those behind it wait until then.
func TestReliableStashed(t *testing.T) {
	for _, end := range []string{"unstash", "the handler fails then", "restart", "stop", "the road is lost"} {
		t.Run(end, func(t *testing.T) {
			onEachRoad(t, func(t *testing.T, c *cluster) {
				book, a, b := newBook(), c.start("a"), c.start("b")
				ref := spawn(t, b, "k", book.rack())
				write(t, a, "b", 1, 2, 3)
				time.Sleep(time.Hour)
				book.has(t)
				wantOutbox(t, a, 3, 0, 0)
				if st := inspected(t, b, "k"); st.Stashed != 1 {
					t.Errorf("%d are aside, want 1", st.Stashed)
				}
				switch end {
				case "the handler fails then":
					onRack(t, b, func(s *rack, ctx *actor.Context) { s.fail = 1; openRack(s, ctx) })
				case "restart":
					_, _ = actor.Call(t.Context(), b.Ref("k"), rackwork{do: func(*rack, *actor.Context) { panic("on purpose") }})
					time.Sleep(time.Minute)
					book.has(t)
					wantOutbox(t, a, 3, 0, 0)
					onRack(t, b, openRack)
				case "stop":
					if err := b.Stop(t.Context(), ref); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					wantOutbox(t, a, 3, 0, 0)
					spawn(t, b, "k", book.rack())
					onRack(t, b, openRack)
				case "the road is lost":
					c.net.Reset("", "a", "b")
					time.Sleep(time.Minute)
					book.has(t)
					wantOutbox(t, a, 3, 0, 0)
					onRack(t, b, openRack)
				default:
					onRack(t, b, openRack)
				}
				time.Sleep(time.Minute)
				book.has(t, 1, 2, 3)
				wantOutbox(t, a, 0, 3, 0)
			})
		})
	}
}

// A message of a durable topic is handled when it was handled after Unstash, and none comes before.
func TestDurableTopicStashed(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(t *testing.T, sys *actor.System, ref actor.Ref, b *book)
		want []int
	}{
		{"unstash", func(t *testing.T, sys *actor.System, _ actor.Ref, _ *book) { onRack(t, sys, openRack) }, []int{1, 2}},
		{"the handler fails then", func(t *testing.T, sys *actor.System, _ actor.Ref, _ *book) {
			onRack(t, sys, func(s *rack, ctx *actor.Context) { s.fail = 1; openRack(s, ctx) })
		}, []int{1, 1, 2}},
		{"restart", func(t *testing.T, sys *actor.System, ref actor.Ref, b *book) {
			_, _ = actor.Call(t.Context(), ref, rackwork{do: func(*rack, *actor.Context) { panic("on purpose") }})
			time.Sleep(time.Minute)
			b.has(t)
			onRack(t, sys, openRack)
		}, []int{1, 2}},
		{"stop", func(t *testing.T, sys *actor.System, ref actor.Ref, b *book) {
			if err := sys.Stop(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			spawn(t, sys, "k", b.rack(topic.Named("books")))
			onRack(t, sys, openRack)
		}, []int{1, 2}},
		{"unsubscribe", func(t *testing.T, sys *actor.System, ref actor.Ref, b *book) {
			onRack(t, sys, func(s *rack, ctx *actor.Context) { ctx.Unsubscribe(invoices) })
			time.Sleep(time.Minute)
			onRack(t, sys, openRack)
			time.Sleep(time.Minute)
			b.has(t) // it went back, and is not handled here
			onRack(t, sys, func(s *rack, ctx *actor.Context) {
				if err := ctx.Subscribe(invoices, topic.Named("books")); err != nil {
					t.Error(err)
				}
			})
		}, []int{1, 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, store := newBook(), new(actortest.Topics)
				sys := actortest.NewSystem(t, actor.Config{Topics: store})
				ref := spawn(t, sys, "k", b.rack(topic.Named("books")))
				synctest.Wait()
				publishInvoices(t, sys, 1, 2)
				time.Sleep(time.Hour)
				b.has(t)
				if st := inspected(t, sys, "k"); st.Stashed != 1 {
					t.Errorf("%d are aside, want 1", st.Stashed)
				}
				row.end(t, sys, ref, b)
				time.Sleep(time.Minute)
				b.has(t, row.want...)
				if n := sys.Stats().DeadLetters; n != 0 {
					t.Errorf("%d dead letters", n)
				}
			})
		})
	}
}

// The workers of a pool handle reliable messages in the order of the calls, each once, also if one panics.
// None goes to two of them.
func TestReliableToAPool(t *testing.T) {
	byNumber := route.ByKey(func(m Entry) string { return string(rune('a' + m.N%3)) })
	for _, by := range []route.Policy{route.RoundRobin(), route.Random(), route.LeastBusy(), byNumber, route.FirstOf(2)} {
		t.Run(by.String(), func(t *testing.T) {
			everywhere(t, func(t *testing.T, at *actor.System, bind func(actor.Ref) actor.Ref) {
				b := newBook()
				to := bind(spawn(t, at, "k", b.kind(), actor.Pool(3, by)))
				for _, n := range upTo(20) { // the handler of 13 panics
					if err := actor.TellReliably(t.Context(), to, Entry{n}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Hour)
				got := b.entries()
				if !slices.Equal(got, upTo(20)) {
					t.Errorf("the workers have handled %v", got)
				}
			})
		})
	}
}

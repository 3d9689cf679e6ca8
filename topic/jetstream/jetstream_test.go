package jetstream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/topic/topictest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// The parallel tests wait more than they work, so more of them run at a time than there are processors.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// Order is what the tests publish.
type Order struct{ N int }

var Orders = actor.NewTopic[Order]("orders.>").Durable()

// ok ends the test unless err is nil, or wraps the error that is given.
func ok(t testing.TB, err error, want ...error) {
	t.Helper()
	if len(want) == 0 && err != nil || len(want) == 1 && !errors.Is(err, want[0]) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func start(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Port == 0 {
		cfg.Port = ports.Free() // it may be started again there
	}
	s, err := embedded.Start(cfg)
	ok(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t testing.TB, s *embedded.Server) natsjs.JetStream {
	t.Helper()
	nc, err := s.Connect(nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	return js
}

func open(t testing.TB, js natsjs.JetStream, cfg jetstream.Config) *jetstream.Store {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := jetstream.Open(t.Context(), js, cfg)
	ok(t, err)
	t.Cleanup(s.Close)
	return s
}

func system(t testing.TB, store topic.Store) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler), Topics: store})
	ok(t, err)
	t.Cleanup(func() { shutdown(t, sys) })
	return sys
}

func shutdown(t testing.TB, sys *actor.System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := sys.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// single is a server, a store and a system.
func single(t testing.TB) (natsjs.JetStream, *jetstream.Store, *actor.System) {
	js := connect(t, start(t, embedded.Config{}))
	store := open(t, js, jetstream.Config{})
	return js, store, system(t, store)
}

func publish(t testing.TB, sys *actor.System, name string, ns ...int) {
	t.Helper()
	for _, n := range ns {
		ok(t, actor.Publish(t.Context(), Orders.Bind(sys).At(name), Order{n}))
	}
}

// got is what a clerk was given.
type got struct {
	who string
	n   int
	topic.Delivery
	principal, node, header string
}

// clerk subscribes to Orders and reports each order. handle is what its handler does.
type clerk struct {
	seen   chan got
	opts   []topic.Option
	handle func(got) error
}

func (c *clerk) Started(ctx *actor.Context) error { return ctx.Subscribe(Orders, c.opts...) }

func (c *clerk) OnOrder(ctx *actor.Context, m Order) error {
	d, stored := ctx.Delivery()
	if !stored {
		return errors.New("the message has no delivery")
	}
	g := got{who: ctx.Self().String(), n: m.N, Delivery: d, principal: ctx.Principal(), node: ctx.Node(), header: ctx.Header("colour")}
	err := error(nil)
	if c.handle != nil {
		err = c.handle(g)
	}
	c.seen <- g
	return err
}

// Ready is answered when the clerk has subscribed.
type Ready struct{ actor.Returns[bool] }

func (c *clerk) Ready(*actor.Context, Ready) (bool, error) { return true, nil }

// Quit ends a subscription.
type Quit struct{ actor.Returns[bool] }

func (c *clerk) Quit(ctx *actor.Context, _ Quit) (bool, error) {
	ctx.Unsubscribe(Orders)
	return true, nil
}

func spawn(t testing.TB, sys *actor.System, name string, seen chan got, handle func(got) error, opts ...topic.Option) actor.Ref {
	t.Helper()
	kind := actor.Define("test.clerk", func() *clerk { return &clerk{seen, opts, handle} },
		actor.Handle((*clerk).OnOrder), actor.Answer((*clerk).Ready), actor.Answer((*clerk).Quit))
	ref, err := sys.Spawn(name, kind)
	ok(t, err)
	_, err = actor.Call(t.Context(), ref, Ready{})
	ok(t, err)
	return ref
}

// next waits for what a clerk reports.
func next(t testing.TB, seen chan got) got {
	t.Helper()
	select {
	case g := <-seen:
		return g
	case <-time.After(30 * time.Second):
		t.Fatal("no message")
		return got{}
	}
}

// take waits for n reports, and returns the numbers of the orders.
func take(t testing.TB, seen chan got, n int) (ns []int) {
	t.Helper()
	for range n {
		ns = append(ns, next(t, seen).n)
	}
	return ns
}

func upTo(n int) (ns []int) {
	for i := range n {
		ns = append(ns, i+1)
	}
	return ns
}

func want(t testing.TB, what string, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Where a subscription begins.
func TestFrom(t *testing.T) {
	for _, row := range []struct {
		name string
		opts func(second time.Time) []topic.Option
		want []int
	}{
		{"new", func(time.Time) []topic.Option { return nil }, []int{3, 4}},
		{"start", func(time.Time) []topic.Option { return []topic.Option{topic.FromStart()} }, []int{1, 2, 3, 4}},
		{"time", func(at time.Time) []topic.Option { return []topic.Option{topic.FromTime(at)} }, []int{2, 3, 4}},
		{"named", func(time.Time) []topic.Option { return []topic.Option{topic.Named("a")} }, []int{3, 4}},
		{"named start", func(time.Time) []topic.Option { return []topic.Option{topic.Named("b"), topic.FromStart()} }, []int{1, 2, 3, 4}},
		{"named time", func(at time.Time) []topic.Option { return []topic.Option{topic.Named("bücher"), topic.FromTime(at)} }, []int{2, 3, 4}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			js, _, sys := single(t)
			publish(t, sys, "orders.eu", 1, 2)
			s, err := js.Stream(t.Context(), "tandem_topics")
			ok(t, err)
			m, err := s.GetMsg(t.Context(), s.CachedInfo().State.LastSeq)
			ok(t, err)
			seen := make(chan got, 16)
			spawn(t, sys, "clerk", seen, nil, row.opts(m.Time)...)
			publish(t, sys, "orders.us", 3, 4)
			want(t, "orders", take(t, seen, len(row.want)), row.want)
		})
	}
}

// What the handler learns of a message.
func TestDelivery(t *testing.T) {
	_, _, sys := single(t)
	seen := make(chan got, 16)
	spawn(t, sys, "clerk", seen, nil)
	before := time.Now().Add(-time.Second)
	ok(t, actor.Publish(t.Context(), Orders.Bind(sys).At("orders.eu"), Order{7}, rpc.WithHeader("colour", "red\r\n ü")))
	g := next(t, seen)
	if g.Topic != "orders.eu" || g.Position == 0 || g.Attempt != 1 || g.ID == "" || g.Publisher != "local" || g.Time.Before(before) ||
		g.principal != "anonymous" || g.node != "" || g.header != "red\r\n ü" {
		t.Errorf("%+v", g)
	}
}

// A name keeps its position when its actor, its system and the server end.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	server := start(t, embedded.Config{StoreDir: dir})
	js := connect(t, server)
	store := open(t, js, jetstream.Config{})
	sys := system(t, store)
	seen := make(chan got, 16)
	ref := spawn(t, sys, "clerk", seen, nil, topic.Named("billing"))
	publish(t, sys, "orders.a", 1, 2)
	want(t, "before", take(t, seen, 2), []int{1, 2})
	ok(t, sys.Stop(t.Context(), ref))
	publish(t, sys, "orders.b", 3)
	spawn(t, sys, "clerk", seen, nil, topic.Named("billing"))
	want(t, "another actor", take(t, seen, 1), []int{3})
	publish(t, sys, "orders.b", 4)
	want(t, "another actor", take(t, seen, 1), []int{4})
	shutdown(t, sys)

	sys = system(t, store)
	publish(t, sys, "orders.b", 5)
	server.Shutdown()
	server = start(t, embedded.Config{StoreDir: dir})
	store = open(t, connect(t, server), jetstream.Config{})
	sys = system(t, store)
	publish(t, sys, "orders.b", 6)
	spawn(t, sys, "clerk", seen, nil, topic.Named("billing"), topic.FromStart())
	want(t, "after all has ended", take(t, seen, 2), []int{5, 6})
}

var errBad = errors.New("bad")

// A message whose handler fails comes again, before any later one, and in the end is a dead letter.
func TestFailing(t *testing.T) {
	for _, named := range []bool{false, true} {
		for _, panics := range []bool{false, true} {
			if panics && !named { // a restarted actor begins anew
				continue
			}
			t.Run(fmt.Sprint("named=", named, ",panics=", panics), func(t *testing.T) {
				_, _, sys := single(t)
				letters := sys.DeadLetters(t.Context())
				opts := []topic.Option{topic.Attempts(3)}
				if named {
					opts = append(opts, topic.Named("billing"))
				}
				fail := func(g got) error {
					if g.n != 2 {
						return nil
					}
					if panics {
						panic(errBad)
					}
					return errBad
				}
				seen := make(chan got, 16)
				spawn(t, sys, "clerk", seen, fail, opts...)
				publish(t, sys, "orders.a", 1, 2, 3)
				if panics {
					want(t, "orders", take(t, seen, 2), []int{1, 3})
				} else {
					for i, n := range []int{1, 2, 2, 2, 3} {
						attempt := 1
						if n == 2 {
							attempt = i
						}
						if g := next(t, seen); g.n != n || g.Attempt != attempt {
							t.Errorf("order %d attempt %d, want %d attempt %d", g.n, g.Attempt, n, attempt)
						}
					}
				}
				l := <-letters
				if !strings.Contains(l.Reason.Error(), "attempt 3") || l.Type != "jetstream_test.Order" || l.ID == "" {
					t.Errorf("%+v", l)
				}
				if !panics && sys.Stats().Failed != 3 {
					t.Errorf("%d failed", sys.Stats().Failed)
				}
				if n := sys.Stats().DeadLetters; n != 1 {
					t.Errorf("%d dead letters", n)
				}
			})
		}
	}
}

func TestStore(t *testing.T) {
	topictest.Run(t, func(t *testing.T) topic.Store {
		return open(t, connect(t, start(t, embedded.Config{})), jetstream.Config{})
	})
}

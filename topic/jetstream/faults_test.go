package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func streamOf(t testing.TB, js natsjs.JetStream) natsjs.Stream {
	t.Helper()
	s, err := js.Stream(t.Context(), "tandem_topics")
	ok(t, err)
	return s
}

// consumers returns the names of all consumers.
func consumers(t testing.TB, js natsjs.JetStream) (names []string) {
	t.Helper()
	l := streamOf(t, js).ConsumerNames(t.Context())
	for name := range l.Name() {
		names = append(names, name)
	}
	ok(t, l.Err())
	return names
}

// Subscriptions outlive a restart of the server, and consumers that were deleted: nothing is lost, and
// the order stays.
func TestConsumerLost(t *testing.T) {
	for _, named := range []bool{false, true} {
		for _, fault := range []string{"server restarted", "consumer deleted"} {
			t.Run(fmt.Sprintf("%s,named=%v", fault, named), func(t *testing.T) {
				t.Parallel()
				cfg := embedded.Config{Port: ports.Free(), StoreDir: t.TempDir()}
				server := start(t, cfg)
				js := connect(t, server)
				sys := system(t, open(t, js, jetstream.Hasty(jetstream.Config{}, 4*time.Second)))
				opts := []topic.Option{topic.FromStart()}
				if named {
					opts = append(opts, topic.Named("billing"))
				}
				gate, seen := make(chan bool), make(chan got, 64)
				spawn(t, sys, "clerk", seen, func(g got) error {
					if g.n == 3 {
						<-gate // the fault comes while a message is in hand
					}
					return nil
				}, opts...)
				publish(t, sys, "orders.a", upTo(10)...)
				want(t, "before", take(t, seen, 2), upTo(2))
				if fault == "server restarted" {
					server.Shutdown()
					start(t, cfg)
				} else {
					for _, name := range consumers(t, js) {
						ok(t, js.DeleteConsumer(t.Context(), "tandem_topics", name))
					}
				}
				close(gate)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for n := 11; n <= 12; n++ {
					ok(t, actor.Publish(ctx, Orders.Bind(sys).At("orders.a"), Order{n}))
				}
				var all []int
				for len(all) == 0 || all[len(all)-1] != 12 {
					if n := next(t, seen).n; len(all) == 0 || n != all[len(all)-1] { // the one in hand may come twice
						all = append(all, n)
					}
				}
				want(t, "after", all, upTo(12)[2:])
			})
		}
	}
}

// A stream that is deleted is not made anew in silence.
func TestStreamDeleted(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("made again by the operator=", again), func(t *testing.T) {
			t.Parallel()
			js := connect(t, start(t, embedded.Config{}))
			changes := make(chan jetstream.State, 16)
			store := open(t, js, jetstream.Config{Changed: func(s jetstream.State) { changes <- s }})
			sys := system(t, store)
			events := sys.Events(t.Context(), actor.TopicsGone, actor.TopicsBack)
			seen, named := make(chan got, 16), make(chan got, 16)
			spawn(t, sys, "clerk", seen, nil)
			spawn(t, sys, "named", named, nil, topic.Named("billing"))
			publish(t, sys, "orders.a", 1)
			want(t, "before", append(take(t, seen, 1), take(t, named, 1)...), []int{1, 1})

			if again {
				ok(t, servers.Recreate(t.Context(), js, "tandem_topics", nil))
			} else {
				ok(t, js.DeleteStream(t.Context(), "tandem_topics"))
			}
			if s := <-changes; s != jetstream.Gone {
				t.Errorf("state %v", s)
			}
			if e := <-events; e.Type != actor.TopicsGone || !errors.Is(e.Err, topic.ErrGone) {
				t.Errorf("event %+v", e)
			}
			err := actor.Publish(t.Context(), Orders.Bind(sys).At("orders.a"), Order{2})
			ok(t, err, topic.ErrGone)
			var gone *jetstream.GoneError
			if !errors.As(err, &gone) || rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) != rpc.Failed || store.Err() == nil {
				t.Errorf("%v, verdict %v", err, rpc.Ran(err))
			}
			_, err = store.Open(t.Context(), topic.Reading{Pattern: ">"})
			ok(t, err, topic.ErrGone)
			if _, err := js.Stream(t.Context(), "tandem_topics"); !again && !errors.Is(err, natsjs.ErrStreamNotFound) {
				t.Errorf("the stream: %v", err)
			}

			ok(t, store.Accept(t.Context()))
			ok(t, store.Accept(t.Context()))
			if s := <-changes; s != jetstream.Opened {
				t.Errorf("state %v", s)
			}
			publish(t, sys, "orders.a", 3, 4)
			want(t, "after", append(take(t, seen, 2), take(t, named, 2)...), []int{3, 4, 3, 4})
			if e := <-events; e.Type != actor.TopicsBack {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// A full store refuses, and what it refuses is not stored.
func TestFull(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	sys := system(t, open(t, js, jetstream.Config{MaxBytes: 4096}))
	stored := 0
	var err error
	for n := 1; err == nil; n++ {
		if err = actor.Publish(t.Context(), Orders.Bind(sys).At("orders.a"), Order{n}); err == nil {
			stored++
		}
	}
	ok(t, err, topic.ErrFull)
	if rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) != rpc.Overloaded {
		t.Errorf("%v, verdict %v", err, rpc.Ran(err))
	}
	if n := streamOf(t, js).CachedInfo().State.Msgs; int(n) != stored {
		t.Errorf("%d are stored, %d were confirmed", n, stored)
	}
	seen := make(chan got, 64)
	spawn(t, sys, "clerk", seen, nil, topic.FromStart())
	want(t, "orders", take(t, seen, stored), upTo(stored))
}

// Blob is a large message.
type Blob struct{ Data []byte }

func TestTooLarge(t *testing.T) {
	_, _, sys := single(t)
	err := actor.Publish(t.Context(), actor.NewTopic[Blob]("blobs").Durable().Bind(sys), Blob{make([]byte, 1<<20)})
	ok(t, err, topic.ErrTooLarge)
	if rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) != rpc.TooLarge {
		t.Errorf("%v, verdict %v", err, rpc.Ran(err))
	}
}

// A Publish under one key is stored once, also when many are made at a time.
func TestPublishedTwice(t *testing.T) {
	js, store, sys := single(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if err := actor.Publish(t.Context(), Orders.Bind(sys).At("orders.a"), Order{1}, rpc.Key("one")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	m := topic.Message{ID: "two", Topic: "orders.a", TypeID: 1}
	first, err := store.Publish(t.Context(), m)
	ok(t, err)
	second, err := store.Publish(t.Context(), m)
	ok(t, err)
	if first != second || first == 0 {
		t.Errorf("positions %d and %d", first, second)
	}
	if n := streamOf(t, js).CachedInfo().State.Msgs; n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

// While NATS is away a Publish waits. Its verdict is NotRun if it was never sent.
func TestPublishWhileAway(t *testing.T) {
	cfg := embedded.Config{Port: ports.Free(), StoreDir: t.TempDir()}
	server := start(t, cfg)
	js := connect(t, server)
	sys := system(t, open(t, js, jetstream.Config{}))
	server.Shutdown()
	for js.Conn().IsConnected() {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := actor.Publish(ctx, Orders.Bind(sys).At("orders.a"), Order{1})
	ok(t, err, topic.ErrAway)
	if rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("%v, verdict %v", err, rpc.Ran(err))
	}
	result := make(chan error)
	go func() {
		result <- actor.Publish(context.Background(), Orders.Bind(sys).At("orders.a"), Order{2})
	}()
	start(t, cfg)
	ok(t, <-result)
	seen := make(chan got, 4)
	spawn(t, sys, "clerk", seen, nil, topic.FromStart())
	want(t, "orders", take(t, seen, 1), []int{2})
}

// Several subscriptions of one name, in two systems, share what is published, and all is in order.
// When one ends, the others go on.
func TestShared(t *testing.T) {
	js, store, one := single(t)
	two := system(t, open(t, js, jetstream.Config{}))
	seen := make(chan got, 128)
	var busy sync.Mutex
	alone := func(got) error {
		if !busy.TryLock() {
			t.Error("two have a message at a time")
			return nil
		}
		defer busy.Unlock()
		time.Sleep(time.Millisecond)
		return nil
	}
	spawn(t, one, "first", seen, alone, topic.Named("billing"))
	spawn(t, two, "second", seen, alone, topic.Named("billing"))
	publish(t, one, "orders.a", upTo(40)...)
	by := map[string]int{}
	for i := range 40 {
		g := next(t, seen)
		if by[g.who]++; g.n != i+1 {
			t.Fatalf("order %d, want %d", g.n, i+1)
		}
	}
	if len(by) != 2 {
		t.Errorf("they went to %v", by)
	}
	shutdown(t, two)
	began := time.Now()
	publish(t, one, "orders.a", 41, 42, 43, 44)
	want(t, "after one has ended", take(t, seen, 4), []int{41, 42, 43, 44})
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v: what the one had in hand was not given back", d)
	}
	_ = store
}

// A message that its holder has taken to the grave comes again.
func TestHolderKilled(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	sys := system(t, open(t, js, jetstream.Hasty(jetstream.Config{}, time.Second)))
	seen := make(chan got, 16)
	ref := spawn(t, sys, "clerk", seen, nil, topic.Named("billing"))
	ok(t, sys.Stop(t.Context(), ref))
	publish(t, sys, "orders.a", 1, 2)
	c, err := js.Consumer(t.Context(), "tandem_topics", consumers(t, js)[0])
	ok(t, err)
	batch, err := c.Fetch(1)
	ok(t, err)
	if m := <-batch.Messages(); m == nil {
		t.Fatal("no message")
	}
	spawn(t, sys, "clerk", seen, nil, topic.Named("billing"))
	if g := next(t, seen); g.n != 1 || g.Attempt != 2 {
		t.Errorf("%+v", g)
	}
	want(t, "and then", take(t, seen, 1), []int{2})
}

// A message that is handled for long is not delivered again meanwhile.
func TestHeld(t *testing.T) {
	t.Parallel()
	const wait = 2 * topic.HoldEvery
	sys := system(t, open(t, connect(t, start(t, embedded.Config{})), jetstream.Hasty(jetstream.Config{}, wait)))
	seen := make(chan got, 16)
	slow := func(g got) error {
		if g.n == 1 {
			time.Sleep(wait * 3 / 2) // longer than NATS waits for an ack
		}
		return nil
	}
	for _, name := range []string{"a", "b"} {
		spawn(t, sys, name, seen, slow, topic.Named("billing"))
	}
	publish(t, sys, "orders.a", 1, 2, 3)
	want(t, "orders", take(t, seen, 3), []int{1, 2, 3})
}

// What a subscriber does not handle, because its node shuts down, comes again.
func TestShutdownGivesBack(t *testing.T) {
	_, store, sys := single(t)
	in, gate, seen := make(chan bool), make(chan bool), make(chan got, 16)
	spawn(t, sys, "clerk", seen, func(g got) error { in <- true; <-gate; return nil }, topic.Named("billing"))
	publish(t, sys, "orders.a", 1, 2, 3)
	<-in
	down := make(chan error)
	go func() { down <- sys.Shutdown(context.Background()) }()
	for actor.Publish(t.Context(), actor.NewTopic[Blob]("blobs").Durable().Bind(sys), Blob{}) == nil { // it does not drain yet
	}
	close(gate)
	ok(t, <-down)
	handled := map[int]bool{}
	for len(seen) > 0 {
		handled[next(t, seen).n] = true
	}
	other := system(t, store)
	spawn(t, other, "clerk", seen, nil, topic.Named("billing"))
	publish(t, other, "orders.a", 4)
	if len(handled) != 1 {
		t.Errorf("handled during the shutdown: %v", handled)
	}
	for {
		g := next(t, seen)
		handled[g.n] = true
		if g.n == 4 {
			break
		}
	}
	for n := 1; n <= 4; n++ {
		if !handled[n] {
			t.Errorf("order %d is lost", n)
		}
	}
}

// A message that cannot be decoded is a dead letter, and the next one follows.
func TestUndecodable(t *testing.T) {
	js, _, sys := single(t)
	letters := sys.DeadLetters(t.Context())
	seen := make(chan got, 16)
	spawn(t, sys, "clerk", seen, nil, topic.Named("billing"))
	publish(t, sys, "orders.a", 1)
	m, err := streamOf(t, js).GetMsg(t.Context(), next(t, seen).Position)
	ok(t, err)
	_, err = js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Data: []byte("?")})
	ok(t, err)
	publish(t, sys, "orders.a", 2)
	want(t, "orders", take(t, seen, 1), []int{2})
	if l := <-letters; rpc.CodeOf(l.Reason) != rpc.Undecodable || l.ID == "" {
		t.Errorf("%+v", l)
	}
}

// A slow subscriber slows nobody else, and loses nothing.
func TestSlow(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	sys := system(t, open(t, js, jetstream.Config{Window: 4}))
	gate, slow, fast := make(chan bool), make(chan got, 256), make(chan got, 256)
	spawn(t, sys, "slow", slow, func(got) error { <-gate; return nil })
	spawn(t, sys, "slow-named", slow, func(got) error { <-gate; return nil }, topic.Named("slow"))
	spawn(t, sys, "fast", fast, nil)
	publish(t, sys, "orders.a", upTo(100)...)
	want(t, "fast", take(t, fast, 100), upTo(100))
	close(gate)
	by := map[string][]int{}
	for range 200 {
		g := next(t, slow)
		by[g.who] = append(by[g.who], g.n)
	}
	for who, ns := range by {
		want(t, who, ns, upTo(100))
	}
}

// After Unsubscribe nothing comes any more, and the name keeps its position.
func TestUnsubscribe(t *testing.T) {
	_, _, sys := single(t)
	seen := make(chan got, 16)
	ref := spawn(t, sys, "clerk", seen, nil, topic.Named("billing"))
	publish(t, sys, "orders.a", 1)
	want(t, "before", take(t, seen, 1), []int{1})
	_, err := actor.Call(t.Context(), ref, Quit{})
	ok(t, err)
	publish(t, sys, "orders.a", 2)
	spawn(t, sys, "other", seen, nil, topic.Named("billing"))
	if g := next(t, seen); g.n != 2 || g.who != "other@local" {
		t.Errorf("%+v", g)
	}
}

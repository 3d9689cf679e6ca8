package jetstream_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/queue/jetstream"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	if config, ok := os.LookupEnv(serveEnv); ok {
		serve(config)
	}
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0))))
	goleak.VerifyTestMain(m)
}

type Work struct{ N int }

func start(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Port == 0 {
		cfg.Port = ports.Free() // it may be started again there
	}
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t testing.TB, s *embedded.Server) natsjs.JetStream {
	t.Helper()
	nc, err := s.Connect(nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func system(t testing.TB) *actor.System {
	t.Helper()
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := sys.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return sys
}

func spawn(t testing.TB, sys *actor.System, js natsjs.JetStream, cfg queue.Config) actor.Ref {
	t.Helper()
	q, err := jetstream.Open(t.Context(), js, jetstream.Config{Name: "jobs", Queue: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	ref, err := sys.Spawn("jobs", actor.StoredQueueKind[Work]("test.jobs", q))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// ok ends the test unless err is nil, or wraps the error that is given.
func ok(t testing.TB, err error, want ...error) {
	t.Helper()
	if len(want) == 0 && err != nil || len(want) == 1 && !errors.Is(err, want[0]) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func textKind(t testing.TB, js natsjs.JetStream, cfg queue.Config) *actor.Kind {
	t.Helper()
	q, err := jetstream.Open(t.Context(), js, jetstream.Config{Name: "texts", Queue: cfg, Logger: slog.New(slog.DiscardHandler)})
	ok(t, err)
	t.Cleanup(q.Close)
	return actor.StoredQueueKind[Text]("test.texts", q)
}

func push(t testing.TB, q actor.Ref, n int, opts ...actor.PushOption) {
	t.Helper()
	ok(t, actor.Push(t.Context(), q, Work{n}, opts...))
}

func pull(t testing.TB, q actor.Ref, want []string, opts ...actor.PullOption) []actor.Delivery[Work] {
	t.Helper()
	ds, err := actor.Pull[Work](t.Context(), q, opts...)
	ok(t, err)
	var got []string
	for _, d := range ds {
		got = append(got, fmt.Sprint(d.Message.N, ":", d.Attempt))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("pulled %v, want %v", got, want)
	}
	return ds
}

// pending waits until the consumers at NATS have the given numbers of items of high, normal
// and low priority. They learn of items later than NATS confirms the push.
func pending(t testing.TB, js natsjs.JetStream, want ...uint64) {
	t.Helper()
	for i, name := range []string{"high", "normal", "low"} {
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			c, err := js.Consumer(t.Context(), "tandem_queue_jobs", name)
			ok(t, err)
			if n := c.CachedInfo().NumPending; n == want[i] {
				break
			} else if time.Since(began) > 30*time.Second {
				t.Fatalf("%d of %s priority are there, want %d", n, name, want[i])
			}
		}
	}
}

func TestQueue(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	q := spawn(t, system(t), js, queue.Config{})
	ctx := t.Context()
	push(t, q, 1)
	push(t, q, 2, actor.PushID("x"))
	push(t, q, 2, actor.PushID("x"))
	push(t, q, 3, actor.Priority(1))
	push(t, q, 4, actor.Priority(-1))
	push(t, q, 5, actor.Delay(1500*time.Millisecond))
	pushed := time.Now()
	pending(t, js, 1, 3, 1)
	ds := pull(t, q, []string{"3:1", "1:1", "2:1", "4:1"}, actor.Max(10))
	if ds[2].ID != "x" || ds[0].ID == "" || ds[0].ID == ds[1].ID || ds[0].Priority != 1 || ds[0].Lease <= 0 {
		t.Errorf("%+v", ds)
	}
	ok(t, ds[0].Ack(ctx))
	ok(t, actor.AckAll(ctx, ds[1:3]))
	ok(t, ds[3].Nack(ctx, 0))
	again := pull(t, q, []string{"4:2"}, actor.Max(10))
	ok(t, again[0].Extend(ctx, time.Minute))
	ok(t, again[0].Ack(ctx))
	late := pull(t, q, []string{"5:1"})
	if took := time.Since(pushed); took < 1400*time.Millisecond {
		t.Errorf("the delayed item came after %v", took)
	}
	ok(t, late[0].Ack(ctx))
	s, err := actor.QueueStats[Work](ctx, q)
	if err != nil || s.Depth != 0 || s.InFlight != 0 || s.Acked != 5 || s.Nacked != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	pull(t, q, nil, actor.Wait(0))

	go func() { // an item that comes while a pull waits
		time.Sleep(100 * time.Millisecond)
		_ = actor.Push(ctx, q, Work{6})
	}()
	ok(t, pull(t, q, []string{"6:1"})[0].Ack(ctx))
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	sys := system(t)
	q := spawn(t, sys, connect(t, start(t, embedded.Config{})), queue.Config{Lease: time.Second})
	ctx := t.Context()
	all := func(what string, d actor.Delivery[Work], want error) {
		t.Helper()
		for op, err := range map[string]error{"ack": d.Ack(ctx), "nack": d.Nack(ctx, 0), "extend": d.Extend(ctx, time.Second)} {
			if !errors.Is(err, want) || rpc.Ran(err) != rpc.HasRun {
				t.Errorf("%s of %s: %v, want %v", op, what, err, want)
			}
		}
	}
	push(t, q, 1)
	d := pull(t, q, []string{"1:1"})[0]
	ok(t, d.Ack(ctx))
	all("an acked one", d, actor.ErrDone)
	push(t, q, 2)
	d = pull(t, q, []string{"2:1"})[0]
	again := pull(t, q, []string{"2:2"})[0] // a second later
	all("a lapsed one", d, actor.ErrLeaseExpired)
	ok(t, again.Extend(ctx, 5*time.Second))
	pull(t, q, nil, actor.Wait(2*time.Second))
	ok(t, again.Ack(ctx))
	all("one that another delivery has acked", d, actor.ErrDone)
	push(t, q, 3)
	d = pull(t, q, []string{"3:1"})[0]
	ok(t, sys.StopNow(ctx, q))
	for {
		if _, err := actor.Pull[Work](ctx, q, actor.Wait(0)); rpc.CodeOf(err) == rpc.NotFound {
			break
		}
	}
	spawn(t, sys, connect(t, start(t, embedded.Config{})), queue.Config{})
	all("one of an earlier start", d, actor.ErrForeign)
}

func TestDeadLetters(t *testing.T) {
	q := spawn(t, system(t), connect(t, start(t, embedded.Config{})), queue.Config{Lease: 300 * time.Millisecond, Attempts: 2, Dead: 2})
	ctx := t.Context()
	push(t, q, 1, actor.PushID("one"), actor.Priority(3))
	push(t, q, 2)
	for seen := map[int]int{}; seen[1]+seen[2] < 4; {
		for _, d := range must(actor.Pull[Work](ctx, q)) {
			if seen[d.Message.N]++; d.Attempt != seen[d.Message.N] {
				t.Fatalf("%+v is delivery %d", d, seen[d.Message.N])
			}
			if d.Message.N == 2 { // the lease of the other one ends
				ok(t, d.Nack(ctx, 0))
			}
		}
	}
	dead := waitDead(t, q, 2)
	slices.SortFunc(dead, func(a, b actor.DeadItem[Work]) int { return a.Message.N - b.Message.N })
	one, two := dead[0], dead[1]
	if one.ID != "one" || one.Attempts != 2 || one.Reason != queue.LeaseExpired || one.Priority != 3 || two.Reason != queue.Nacked || two.Attempts != 2 {
		t.Errorf("%+v", dead)
	}
	// There is room for two dead letters, so a third item is delivered further times.
	push(t, q, 3)
	for attempt := 1; attempt <= 4; attempt++ {
		d := pull(t, q, []string{fmt.Sprint("3:", attempt)})[0]
		ok(t, d.Nack(ctx, 0))
	}
	ok(t, one.Revive(ctx))
	ok(t, two.Discard(ctx))
	for _, err := range []error{one.Revive(ctx), one.Discard(ctx), two.Revive(ctx), two.Discard(ctx)} {
		if !errors.Is(err, actor.ErrDone) {
			t.Error(err)
		}
	}
	// Now there is room for the third one, which may have become a dead letter by now.
	for revived := false; !revived || len(must(actor.DeadItems[Work](ctx, q))) == 0; {
		for _, d := range must(actor.Pull[Work](ctx, q, actor.Wait(100*time.Millisecond))) {
			if d.Message.N == 3 {
				ok(t, d.Nack(ctx, 0))
				continue
			}
			if revived = true; d.Message.N != 1 || d.Attempt != 1 || d.ID != "one" {
				t.Errorf("%+v", d)
			}
			ok(t, d.Ack(ctx))
		}
	}
	if dead := waitDead(t, q, 1); dead[0].Message.N != 3 {
		t.Errorf("%+v", dead)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// waitDead waits until there are so many dead letters, and lists them.
func waitDead(t *testing.T, q actor.Ref, n int) []actor.DeadItem[Work] {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		dead, err := actor.DeadItems[Work](t.Context(), q, actor.Max(10))
		ok(t, err)
		if len(dead) == n {
			return dead
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%d dead letters, want %d", len(dead), n)
		}
	}
}

func TestFull(t *testing.T) {
	q := spawn(t, system(t), connect(t, start(t, embedded.Config{})), queue.Config{Capacity: 3})
	for n := range 3 {
		push(t, q, n)
	}
	err := actor.Push(t.Context(), q, Work{3})
	if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("push into the full queue: %v", err)
	}
	ok(t, pull(t, q, []string{"0:1"})[0].Ack(t.Context()))
	push(t, q, 4)
	if err := actor.Push(t.Context(), q, Work{5}); rpc.CodeOf(err) != rpc.Overloaded {
		t.Errorf("push into the full queue: %v", err)
	}
}

// Consumers work while the actor that serves the queue is stopped and spawned on another node,
// and while the server is restarted. Nothing that was pushed is lost, and what was acked is
// not delivered again.
func TestRestarts(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir(), SyncAlways: true}
	server := start(t, cfg)
	cfg.Port = server.Port()
	js := connect(t, server)
	lease := queue.Config{Lease: 2 * time.Second, Attempts: 100}
	var mu sync.Mutex
	sys := system(t)
	ref := spawn(t, sys, js, lease)
	current := func() actor.Ref { mu.Lock(); defer mu.Unlock(); return ref }

	const jobs = 300
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	done, acked := map[int]int{}, map[int]bool{} // acked: false if the outcome is unknown, because the answer was lost
	progress := make(chan int, jobs*10)
	var all sync.WaitGroup
	all.Go(func() {
		for n := range jobs {
			for { // until it is in the stream
				try, stop := context.WithTimeout(ctx, 3*time.Second)
				err := actor.Push(try, current(), Work{n}, actor.PushID(fmt.Sprint(n)))
				stop()
				if err == nil || ctx.Err() != nil {
					break
				}
			}
		}
	})
	for range 3 {
		all.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				left := jobs - len(acked)
				mu.Unlock()
				if left == 0 {
					return
				}
				try, stop := context.WithTimeout(ctx, time.Second)
				ds, _ := actor.Pull[Work](try, current(), actor.Max(8))
				for _, d := range ds {
					mu.Lock()
					if acked[d.Message.N] {
						t.Errorf("%d comes again after it was acked", d.Message.N)
					}
					done[d.Message.N]++
					mu.Unlock()
					if err := d.Ack(try); err == nil || rpc.Ran(err) == rpc.Unknown {
						mu.Lock()
						acked[d.Message.N] = err == nil
						progress <- len(acked)
						mu.Unlock()
					}
				}
				stop()
			}
		})
	}
	reach := func(n int) {
		t.Helper()
		for {
			select {
			case got := <-progress:
				if got >= n {
					return
				}
			case <-ctx.Done():
				mu.Lock()
				defer mu.Unlock()
				s, _ := js.Stream(context.Background(), "tandem_queue_jobs")
				t.Fatalf("%d acked, want %d; in the stream: %+v", len(acked), n, s.CachedInfo().State)
			}
		}
	}
	reach(50)
	next := spawn(t, system(t), js, lease) // on another node
	mu.Lock()
	old := ref
	ref = next
	mu.Unlock()
	ok(t, sys.StopNow(ctx, old))
	reach(150)
	server.Shutdown()
	start(t, cfg)
	reach(jobs)
	all.Wait()
	if ctx.Err() != nil {
		t.Fatal("out of time")
	}
	twice := 0
	for n := range jobs {
		if done[n] > 1 {
			twice++
		}
	}
	t.Logf("%d of %d were done more than once", twice, jobs)
}

func TestOpen(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	for want, cfg := range map[string]jetstream.Config{
		"Name": {}, "Cluster": {Name: "x", Cluster: "a b"}, "only refuse": {Name: "x", Queue: queue.Config{Policy: queue.DropOldest}},
		"negative": {Name: "x", Queue: queue.Config{Lease: -1}},
	} {
		if _, err := jetstream.Open(t.Context(), js, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

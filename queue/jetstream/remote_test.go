package jetstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Consumers are on other nodes. One of them loses all items that it pulls, and then ends.
func TestOtherNode(t *testing.T) {
	t.Parallel()
	reg := static.New()
	node := func(name string) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Logger: slog.New(slog.DiscardHandler), AckWait: time.Millisecond,
			Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
		ok(t, err)
		t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
		return sys
	}
	a, b := node("a"), node("b")
	spawn(t, b, connect(t, start(t, embedded.Config{})), queue.Config{Lease: time.Second, Attempts: 100, Capacity: 100})
	q := a.Ref("jobs@b")
	const jobs = 100
	for n := range jobs {
		push(t, q, n, actor.PushID(fmt.Sprint(n)), actor.Priority(n%3-1))
	}
	once := rpc.CodeOf(actor.Push(t.Context(), q, Work{0}))
	if once != rpc.Overloaded {
		t.Errorf("push into the full queue: %v", once)
	}
	lost := 0
	for range 3 {
		lost += len(must(actor.Pull[Work](t.Context(), q, actor.Max(10))))
	}
	seen := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for {
				ds, err := actor.Pull[Work](t.Context(), q, actor.Max(7), actor.Wait(3*time.Second))
				if err != nil || len(ds) == 0 {
					return
				}
				mu.Lock()
				for _, d := range ds {
					seen[d.Message.N] = d.Attempt
				}
				mu.Unlock()
				if err := actor.AckAll(t.Context(), ds); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	again := 0
	for _, attempt := range seen {
		if attempt > 1 {
			again++
		}
	}
	if len(seen) != jobs || lost == 0 || again < lost {
		t.Errorf("%d of %d were done; %d were lost, %d came again", len(seen), jobs, lost, again)
	}
	if s := must(actor.QueueStats[Work](t.Context(), q)); s.Depth+s.InFlight+s.Dead != 0 {
		t.Errorf("%+v", s)
	}
}

// BenchmarkPull measures how many items per second 16 consumers pull and ack from a queue in
// NATS, by the size of the batches. "ratio" compares with batches of one.
func BenchmarkPull(b *testing.B) {
	sys := system(b)
	q := spawn(b, sys, connect(b, start(b, embedded.Config{})), queue.Config{Capacity: 1 << 20})
	single := 0.0
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			const items, consumers = 1 << 12, 16
			for b.Loop() {
				b.StopTimer()
				var pushing, pulling sync.WaitGroup
				for c := range consumers {
					pushing.Go(func() {
						for n := c; n < items; n += consumers {
							if err := actor.Push(b.Context(), q, Work{n}); err != nil {
								b.Error(err)
							}
						}
					})
				}
				pushing.Wait()
				b.StartTimer()
				var left sync.WaitGroup
				left.Add(items)
				ctx, cancel := context.WithCancel(b.Context())
				for range consumers {
					pulling.Go(func() {
						for {
							ds, err := actor.Pull[Work](ctx, q, actor.Max(batch))
							if err != nil {
								return
							}
							if err := actor.AckAll(b.Context(), ds); err != nil {
								b.Error(err)
							}
							left.Add(-len(ds))
						}
					})
				}
				left.Wait()
				b.StopTimer()
				cancel()
				pulling.Wait()
				b.StartTimer()
			}
			perSecond := float64(b.N) * (1 << 12) / b.Elapsed().Seconds()
			if batch == 1 {
				single = perSecond
			}
			b.ReportMetric(perSecond, "items/s")
			b.ReportMetric(perSecond/single, "ratio")
		})
	}
}

// Config.CopyLocal copies what applications send, but not what a queue sends to its own actor.
func TestCopyLocal(t *testing.T) {
	t.Parallel()
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler), CopyLocal: true})
	ok(t, err)
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	q := spawn(t, sys, connect(t, start(t, embedded.Config{})), queue.Config{})
	for n := range 3 {
		push(t, q, n)
		ok(t, pull(t, q, []string{fmt.Sprint(n, ":1")}, actor.Wait(10*time.Second))[0].Ack(t.Context()))
	}
}

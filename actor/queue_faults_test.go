package actor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// tally counts what the consumers of a test have seen.
type tally struct {
	mu       sync.Mutex
	attempts map[int][]int // the attempts of each item, in the order of its deliveries
	acked    map[int]int
}

func newTally() *tally { return &tally{attempts: map[int][]int{}, acked: map[int]int{}} }

func (l *tally) saw(d actor.Delivery[Work]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts[d.Message.N] = append(l.attempts[d.Message.N], d.Attempt)
}

func (l *tally) done(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[n]++
}

// consume pulls until ctx ends. It drops some of the items that it gets, and acks the others.
func (l *tally) consume(t testing.TB, ctx context.Context, q actor.Ref, rnd *rand.Rand, drop float64) {
	for ctx.Err() == nil {
		ds, err := actor.Pull[Work](ctx, q, actor.Max(1+rnd.IntN(8)))
		if err != nil {
			if ctx.Err() == nil && rpc.Ran(err) == rpc.HasRun && rpc.CodeOf(err) != rpc.ReplyDropped {
				t.Errorf("pull: %v", err)
			}
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for _, d := range ds {
			l.saw(d)
			if rnd.Float64() < drop {
				continue // as if the consumer had died
			}
			if err := d.Ack(ctx); err == nil {
				l.done(d.Message.N)
			}
		}
	}
}

// finish waits until the queue is empty, and checks that each of n items was done.
func (l *tally) finish(t testing.TB, q actor.Ref, n int) {
	t.Helper()
	for {
		time.Sleep(time.Second)
		if s := stats(t, q); s.Acked == uint64(n) {
			if s.Depth+s.Delayed+s.InFlight+s.Dead != 0 || s.Pushed != uint64(n) || s.Nacked != 0 {
				t.Errorf("at the end: %+v", s)
			}
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.attempts) != n {
		t.Errorf("%d of %d items were seen", len(l.attempts), n)
	}
}

// Consumers lose items that they have pulled. Each item is delivered once more than it was
// lost, with the right attempt number, whether the queue is on the same node or on another
// one.
func TestLostDeliveriesComeAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		const items = 300
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{Lease: 5 * time.Second, Attempts: 1000})))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		l := newTally()
		for who := range 3 {
			all.Go(func() { l.consume(t, ctx, q, rand.New(rand.NewPCG(1, uint64(who))), 0.2) })
		}
		for n := range items {
			pushAll(t, q, []actor.PushOption{actor.Priority(n % 2)}, n)
		}
		l.finish(t, q, items)
		cancel()
		all.Wait()
		for n, attempts := range l.attempts {
			for i, a := range attempts {
				if a != i+1 {
					t.Errorf("item %d: attempts %v", n, attempts)
					break
				}
			}
			if l.acked[n] != 1 {
				t.Errorf("item %d was acked %d times", n, l.acked[n])
			}
		}
	})
}

// three starts three systems in a bubble, with a direct road and a bus.
func three(t *testing.T, run func(t *testing.T, net *memnet.Network, a, b, c *actor.System)) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 7}), static.New()
		var all [3]*actor.System
		for i := range all {
			all[i] = newSystem(t, actor.Config{Name: string(rune('a' + i)), Registry: reg, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true), net.Transport("bus", false)}})
		}
		run(t, net, all[0], all[1], all[2])
	})
}

// A node with two consumers vanishes. It has pulled items, and a pull of it waits. Another
// node gets all items.
func TestConsumerNodeVanishes(t *testing.T) {
	three(t, func(t *testing.T, net *memnet.Network, a, b, c *actor.System) {
		const items = 200
		q := spawn(t, b, "jobs", queueKind(queue.Config{Lease: 10 * time.Second}))
		doomed, cancelDoomed := context.WithCancel(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		l := newTally()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for n := 0; doomed.Err() == nil; n++ {
					ds, _ := actor.Pull[Work](doomed, c.Ref("jobs@b"), actor.Max(5))
					for _, d := range ds {
						if l.saw(d); n < 3 {
							if d.Ack(doomed) == nil {
								l.done(d.Message.N)
							}
						} else { // it never acks
							<-doomed.Done()
						}
					}
				}
			})
		}
		for n := range items / 2 {
			pushAll(t, a.Ref("jobs@b"), nil, n)
		}
		time.Sleep(time.Second)
		for _, road := range []string{"direct", "bus"} {
			net.Partition(road, "b", "c")
			net.Reset(road, "b", "c")
		}
		cancelDoomed()
		all.Go(func() { l.consume(t, ctx, a.Ref("jobs@b"), rand.New(rand.NewPCG(2, 2)), 0) })
		for n := items / 2; n < items; n++ {
			pushAll(t, a.Ref("jobs@b"), nil, n)
		}
		l.finish(t, q, items)
		cancel()
		all.Wait()
		again := 0
		for n, attempts := range l.attempts {
			if len(attempts) > 1 {
				again++
			}
			if slices.Max(attempts) > 2 || l.acked[n] > 1 {
				t.Errorf("item %d: attempts %v, acked %d times", n, attempts, l.acked[n])
			}
		}
		if again == 0 || again > 10 {
			t.Errorf("%d items were delivered again", again)
		}
		for _, road := range []string{"direct", "bus"} {
			net.Heal(road, "b", "c")
		}
	})
}

// The roads lose and double messages and cut links. No item is lost, and no push, pull or ack
// takes effect twice.
func TestQueueThroughFaults(t *testing.T) {
	for _, roads := range [][]string{{"direct"}, {"bus"}, {"direct", "bus"}} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			world(t, roads, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
				const items = 300
				q := spawn(t, b, "jobs", queueKind(queue.Config{Lease: 20 * time.Second, Attempts: 1000}))
				net.SetFaults("direct", "", "", memnet.Faults{Kill: 0.01, MaxDelay: 5 * time.Millisecond})
				net.SetFaults("bus", "", "", memnet.Faults{Drop: 0.05, Duplicate: 0.1, Reorder: 0.1, MaxDelay: 5 * time.Millisecond})
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				l := newTally()
				for who := range 3 {
					all.Go(func() { l.consume(t, ctx, a.Ref("jobs@b"), rand.New(rand.NewPCG(3, uint64(who))), 0.1) })
				}
				all.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						time.Sleep(700 * time.Millisecond)
						net.Reset(roads[i%len(roads)], "a", "b")
					}
				})
				for n := range items {
					for actor.Push(ctx, a.Ref("jobs@b"), Work{n}, actor.PushID(fmt.Sprint(n))) != nil && ctx.Err() == nil {
					}
				}
				l.finish(t, q, items)
				cancel()
				all.Wait()
				net.SetFaults("", "", "", memnet.Faults{})
				for n, attempts := range l.attempts {
					slices.Sort(attempts)
					if l.acked[n] > 1 || len(slices.Compact(attempts)) != len(attempts) {
						t.Errorf("item %d: attempts %v, acked %d times", n, attempts, l.acked[n])
					}
				}
			})
		})
	}
}

// BenchmarkPull is the throughput of pulling and acking over TCP, by the size of the
// batches: 64 pulls are outstanding at a time. "ratio" compares with batches of one.
//
//	go test ./actor -run '^$' -bench Pull
func BenchmarkPull(b *testing.B) {
	from, at := pair(b, func() []transport.Transport { return []transport.Transport{overTCP()} })
	q := spawn(b, at, "jobs", queueKind(queue.Config{Capacity: 1 << 30}))
	to := from.Ref("jobs@b")
	single := 0.0
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			ctx := b.Context()
			for b.Loop() {
				b.StopTimer()
				const items = 1 << 15
				var push, work sync.WaitGroup
				for w := range 64 {
					push.Go(func() {
						for n := w; n < items; n += 64 {
							if err := actor.Push(ctx, q, Work{n}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				push.Wait()
				b.StartTimer()
				for range 64 {
					work.Go(func() {
						for {
							ds, err := actor.Pull[Work](ctx, to, actor.Max(batch), now)
							if err != nil || len(ds) == 0 {
								return
							}
							if err := actor.AckAll(ctx, ds); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				work.Wait()
			}
			perSecond := float64(b.N) * (1 << 15) / b.Elapsed().Seconds()
			if batch == 1 {
				single = perSecond
			}
			b.ReportMetric(perSecond, "items/s")
			b.ReportMetric(perSecond/single, "ratio")
			if s := stats(b, q); s.Depth+s.InFlight != 0 {
				b.Errorf("%+v", s)
			}
		})
	}
}

package actor_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// A pull that waits gets an item as soon as it is pushed. If no item comes, it returns none.
// If its caller cancels it, it takes none.
func TestPullWaits(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		time.AfterFunc(7*time.Second, func() { pushAll(t, q, nil, 1) })
		began := time.Now()
		ds := pulls(t, q, []string{"1:1"}, actor.Max(4))
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("after %v", took)
		}
		if err := ds[0].Ack(t.Context()); err != nil {
			t.Error(err)
		}

		began = time.Now()
		pulls(t, q, nil)
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("empty after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began = time.Now()
		if ds, err := actor.Pull[Work](ctx, q); err != nil || len(ds) != 0 || time.Since(began) > 5*time.Second {
			t.Errorf("within a deadline: %v, %v after %v", ds, err, time.Since(began))
		}

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := actor.Pull[Work](ctx, q)
		if rpc.CodeOf(err) != rpc.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		time.Sleep(time.Second)
		pushAll(t, q, nil, 2)
		pulls(t, q, []string{"2:1"}, now)
		if s := stats(t, q); s.Waiting != 0 || s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Consumers that wait are served in turn, and none gets an item for which another one waits.
func TestQueueFair(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		const consumers, rounds = 5, 8
		type got struct{ who, n int }
		ch := make(chan got, consumers*rounds)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for who := range consumers {
			all.Go(func() {
				for {
					ds, err := actor.Pull[Work](ctx, q, actor.Max(16))
					if err != nil {
						return
					}
					for _, d := range ds {
						if err := d.Ack(ctx); err != nil {
							t.Error(err)
						}
						ch <- got{who, d.Message.N}
					}
				}
			})
			time.Sleep(time.Millisecond) // so that they wait in this order
		}
		counts := map[int]int{}
		for n := range consumers * rounds {
			pushAll(t, q, nil, n)
			g := <-ch
			time.Sleep(time.Second) // until the consumer that was served waits again
			counts[g.who]++
			if g.who != n%consumers {
				t.Errorf("item %d went to consumer %d", n, g.who)
			}
		}
		if len(counts) != consumers {
			t.Errorf("served: %v", counts)
		}
		cancel()
		all.Wait()
	})
}

// If items are larger than one message can hold, they are delivered by several pulls.
func TestPullOfLargeItems(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		spawn(t, b, "texts", actor.QueueKind[string]("test.texts", queue.Config{}))
		q := a.Ref("texts@b")
		text := strings.Repeat("x", 90<<10)
		for range 12 {
			if err := actor.Push(t.Context(), q, text); err != nil {
				t.Fatal(err)
			}
		}
		total := 0
		for total < 12 {
			ds, err := actor.Pull[string](t.Context(), q, actor.Max(100), now)
			if err != nil || len(ds) == 0 || len(ds) > 3 {
				t.Fatalf("%d items, %v", len(ds), err)
			}
			for _, d := range ds {
				if d.Attempt != 1 || d.Message != text {
					t.Errorf("attempt %d", d.Attempt)
				}
			}
			if err := actor.AckAll(t.Context(), ds); err != nil {
				t.Error(err)
			}
			total += len(ds)
		}
	})
}

// A push meets a pull that its caller has just cancelled. The item is not lost, and this does
// not count as an attempt.
func TestPushMeetsAPullGivenUp(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		entered, leave := make(chan struct{}), make(chan struct{})
		self := func(o *actor.Offer[Work]) *actor.Offer[Work] { return o }
		q := bind(spawn(t, b, "jobs", actor.Define("test.plugged", func() *actor.Offer[Work] { return actor.NewOffer[Work](queue.Config{}) },
			actor.Handle(func(*actor.Offer[Work], *actor.Context, Found) error { close(entered); <-leave; return nil }),
			actor.ServePull(self), actor.ServePush(self))))
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() { _, err := actor.Pull[Work](ctx, q); given <- err }()
		time.Sleep(time.Second)
		if err := actor.Tell(t.Context(), q, Found{}); err != nil {
			t.Fatal(err)
		}
		<-entered
		pushed := make(chan error, 1)
		go func() { pushed <- actor.Push(t.Context(), q, Work{1}) }()
		time.Sleep(time.Second) // now it is in the mailbox
		cancel()
		<-given
		time.Sleep(time.Second) // now the cancel has reached the pull
		close(leave)
		if err := <-pushed; err != nil {
			t.Fatal(err)
		}
		pulls(t, q, []string{"1:1"}, now)
		if s := stats(t, q); s.Waiting != 0 || s.Deliveries != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Pulling an item that cannot be sent to another node is an error there. The item becomes a
// dead letter, so it does not block the queue for ever.
func TestPullOfWhatCannotBeSent(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		q := spawn(t, b, "jobs", actor.QueueKind[[]any]("test.any", queue.Config{Attempts: 2}))
		for _, v := range []any{make(chan int), "fine"} {
			if err := actor.Push(t.Context(), q, []any{v}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			_, err := actor.Pull[[]any](t.Context(), a.Ref("jobs@b"), actor.Max(9))
			if rpc.Ran(err) != rpc.HasRun {
				t.Errorf("pull: %v", err)
			}
		}
		ds, err := actor.Pull[[]any](t.Context(), a.Ref("jobs@b"), actor.Max(9))
		if err != nil || len(ds) != 1 || ds[0].Message[0] != "fine" {
			t.Errorf("%v, %v", ds, err)
		}
		dead, err := actor.DeadItems[[]any](t.Context(), q)
		if err != nil || len(dead) != 1 || dead[0].Attempts != 2 {
			t.Errorf("%v, %v", dead, err)
		}
	})
}

// A shutdown does not wait for pulls that wait, and they return without an error.
func TestShutdownEndsPulls(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		q := bind(spawn(t, b, "jobs", queueKind(queue.Config{})))
		done := make(chan error, 2)
		for range 2 {
			go func() {
				ds, err := actor.Pull[Work](t.Context(), q)
				if len(ds) != 0 {
					t.Error(ds)
				}
				done <- err
			}()
		}
		time.Sleep(time.Second)
		began := time.Now()
		if err := b.Shutdown(t.Context()); err != nil || time.Since(began) > 6*time.Second { // including the wait for acks
			t.Errorf("%v after %v", err, time.Since(began))
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A pull that waits ends when its actor stops, or is restarted after a panic.
func TestPullsEndWithTheActor(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		for what, end := range map[string]func(actor.Ref){
			"stop":  func(c actor.Ref) { actor.Halt(b, b.Ref("crawler")) },
			"panic": func(c actor.Ref) { _, _ = actor.Call(t.Context(), c, Crash{}) },
		} {
			c := bind(spawn(t, b, "crawler", CrawlerKind))
			f := actor.Ask(t.Context(), c, actor.Dequeue[Work]{Op: queuestore.Pull, Max: 1, Wait: 20 * time.Second}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			time.Sleep(time.Second)
			began := time.Now()
			end(c)
			_, err := f.Await(t.Context())
			wantErr(t, what, err, rpc.Unavailable, rpc.NotRun)
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: after %v", what, took)
			}
			actor.Halt(b, b.Ref("crawler"))
			synctest.Wait()
		}
	})
}

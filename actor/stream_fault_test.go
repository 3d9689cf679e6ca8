package actor_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// hurt harms the roads in one of several ways, and ends the harm later.
func hurt(net *memnet.Network, i int) {
	switch i % 4 {
	case 0:
		net.Reset("", "a", "b")
	case 1:
		net.Partition("direct", "a", "b")
		time.AfterFunc(3*time.Second, func() { net.Heal("direct", "a", "b") })
	case 2:
		net.Reset("bus", "a", "b")
		net.Disturb("bus", "a")
	case 3:
		net.PartitionOneWay("bus", "b", "a")
		net.Reset("direct", "a", "b")
		time.AfterFunc(4*time.Second, func() { net.Heal("bus", "a", "b") })
	}
}

// Whatever happens to the roads, every item arrives once and in order, in each direction.
func TestStreamAcrossCuts(t *testing.T) {
	const n = 20_000
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}, "both": {"direct", "bus"}} {
		t.Run(name, func(t *testing.T) {
			world(t, roads, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
				net.SetFaults("direct", "", "", memnet.Faults{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond})
				net.SetFaults("bus", "", "", memnet.Faults{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond, Drop: 0.05, Duplicate: 0.05, Reorder: 0.05})
				stalls, s := newStall()
				depots, d := newDepot(nil)
				spawn(t, b, "stall", stalls)
				spawn(t, b, "depot", depots)
				got := 0
				for it, err := range actor.Stream(t.Context(), a.Ref("stall@b"), List{N: n}) {
					if err != nil || it.N != got {
						t.Fatalf("number %d: %d, %v", got, it.N, err)
					}
					if got++; got%1500 == 0 {
						hurt(net, got/1500)
					}
				}
				if got != n {
					t.Errorf("%d of %d items", got, n)
				}
				up, err := actor.Open(t.Context(), a.Ref("depot@b"), Upload{})
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					if err := up.Send(t.Context(), Item{N: i}); err != nil {
						t.Fatalf("sending %d: %v", i, err)
					}
					if i%1500 == 1499 {
						hurt(net, i/1500)
					}
				}
				if sum, err := up.CloseAndReceive(t.Context()); sum != (Sum{n, n * (n - 1) / 2}) || err != nil {
					t.Errorf("%+v, %v", sum, err)
				}
				talk, err := actor.Talk(t.Context(), a.Ref("depot@b"), Parrot{})
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					for i := range n {
						if err := talk.Send(t.Context(), Item{N: i}); err != nil {
							t.Errorf("sending %d: %v", i, err)
							return
						}
						if i%3000 == 2999 {
							hurt(net, i/3000)
						}
					}
					if err := talk.CloseSend(t.Context()); err != nil {
						t.Error(err)
					}
				})
				if back, err := collect(t, talk.Items()); back != n || err != nil {
					t.Errorf("%d of %d came back, %v", back, n, err)
				}
				wg.Wait()
				if r := a.Stats().RPC; r.Resent < 3 {
					t.Errorf("%d requests were sent again: the cuts hit nothing", r.Resent)
				}
				time.Sleep(time.Minute) // until the last messages have arrived, even over a road that loses some
				d.wantIdle(t)
				if n := s.running.Load(); n != 0 {
					t.Errorf("%d producers still run", n)
				}
			})
		})
	}
}

// bound is how many items a producer yields if nobody reads: those that are ready, two
// batches that were sent, and one that the producer holds.
const bound = 3*1024 + 1

// A reader that stands still stops its own producer and nothing else. It can continue later,
// however long it waits.
func TestStalledReader(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, s := newStall()
		to := bind(spawn(t, b, "stall", kind))
		next, stop := iter.Pull2(actor.Stream(t.Context(), to, List{N: -1}))
		defer stop()
		got := 0
		read := func(n int) {
			t.Helper()
			for range n {
				if it, err, _ := next(); it.N != got || err != nil {
					t.Fatalf("number %d: %d, %v", got, it.N, err)
				}
				got++
			}
		}
		read(10)
		for range 3 {
			time.Sleep(10 * time.Minute) // much longer than a lease
			synctest.Wait()
			made := int(s.made.Load())
			if made > got+bound {
				t.Errorf("%d items were made ahead", made-got)
			}
			if _, err := actor.Call(t.Context(), to, Count{}); err != nil {
				t.Error(err)
			}
			if n, err := collect(t, actor.Stream(t.Context(), to, List{N: 10_000})); n != 10_000 || err != nil {
				t.Errorf("%d items of another stream, %v", n, err)
			}
			if again := int(s.made.Load()); again != made+10_000 {
				t.Errorf("%d items were made meanwhile", again-made-10_000)
			}
			s.made.Store(int64(made))
			read(5000)
		}
		if got+bound < int(s.made.Load()) {
			t.Errorf("%d were made, %d read", s.made.Load(), got)
		}
	})
}

// If the actor's function stands still, it stops its own sender and nothing else.
func TestStalledSender(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		gate := make(chan struct{})
		kind, _ := newDepot(gate)
		to := bind(spawn(t, b, "depot", kind))
		up, err := actor.Open(t.Context(), to, Upload{})
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			err = up.Send(ctx, Item{N: sent})
			cancel()
			if err != nil {
				break
			}
			sent++
		}
		wantErr(t, "the send that found no room", err, rpc.Expired, rpc.NotRun)
		if sent < 1024 || sent > 5*1024 {
			t.Errorf("%d items were sent", sent)
		}
		if _, err := actor.Call(t.Context(), to, Count{}); err != nil {
			t.Error(err)
		}
		close(gate)
		for range 5000 {
			if err := up.Send(t.Context(), Item{N: sent}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		if s, err := up.CloseAndReceive(t.Context()); s.N != sent || err != nil {
			t.Errorf("%d of %d, %v", s.N, sent, err)
		}
	})
}

// If a reader leaves its loop, cancels, or reaches its deadline, the producer ends, even if
// it waits.
func TestStreamLeft(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, s := newStall()
		to := bind(spawn(t, b, "stall", kind))
		idle := func(what string) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if n := s.running.Load(); n != 0 {
				t.Errorf("%s: %d producers still run", what, n)
			}
			if n := b.Stats().Actors; n != 1 {
				t.Errorf("%s: %d actors are left", what, n)
			}
		}
		for _, m := range []List{{N: -1}, {N: 3, Fails: "waits"}} {
			for it, err := range actor.Stream(t.Context(), to, m) {
				if err != nil {
					t.Error(err)
				}
				if it.N == 2 {
					break
				}
			}
			idle("left")

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			time.AfterFunc(500*time.Millisecond, cancel)
			var last error
			for it, err := range actor.Stream(ctx, to, m) {
				if last = err; it.N == 2 && err == nil && m.N < 0 {
					<-ctx.Done()
				}
			}
			wantErr(t, "cancelled", last, rpc.Canceled, rpc.HasRun)
			idle("cancelled")

			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			for it, err := range actor.Stream(ctx, to, m) {
				if last = err; it.N == 2 && err == nil && m.N < 0 {
					<-ctx.Done()
				}
			}
			cancel()
			wantErr(t, "past its deadline", last, rpc.Expired, rpc.HasRun)
			if !errors.Is(last, context.DeadlineExceeded) {
				t.Error(last)
			}
			idle("past its deadline")
		}
	})
}

// If the two sides lose each other, both notice it within about a minute.
func TestStreamLost(t *testing.T) {
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}, "both": {"direct", "bus"}} {
		t.Run(name, func(t *testing.T) {
			world(t, roads, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
				stalls, s := newStall()
				depots, d := newDepot(nil)
				spawn(t, b, "stall", stalls)
				spawn(t, b, "depot", depots)
				up, err := actor.Open(t.Context(), a.Ref("depot@b"), Upload{})
				if err != nil {
					t.Fatal(err)
				}
				if err := up.Send(t.Context(), Item{}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var last error
				n := 0
				for it, err := range actor.Stream(t.Context(), a.Ref("stall@b"), List{N: 3, Fails: "waits"}) {
					if last = err; err == nil && it.N == 2 {
						synctest.Wait()
						net.Partition("", "a", "b")
						began = time.Now()
					}
					n++
				}
				if n != 4 {
					t.Errorf("%d items and errors", n)
				}
				wantErr(t, "lost", last, rpc.Unavailable, rpc.HasRun)
				if took := time.Since(began); took > 70*time.Second {
					t.Errorf("the reader learned it after %v", took)
				}
				_, err = up.CloseAndReceive(t.Context())
				wantErr(t, "the sender", err, rpc.Unavailable, rpc.HasRun)
				time.Sleep(90*time.Second - time.Since(began))
				synctest.Wait()
				if n := s.running.Load() + d.running.Load(); n != 0 {
					t.Errorf("%d functions still run after a minute and a half", n)
				}
				if err := <-d.ends; rpc.CodeOf(err) != rpc.Unavailable {
					t.Errorf("the actor's function was told %v", err)
				}
				if n := b.Stats().Actors; n != 2 {
					t.Errorf("%d actors are left", n)
				}
				net.Heal("", "a", "b")
			})
		})
	}
}

// The streams of a server end when it shuts down, and when it is restarted.
func TestStreamOfLostServer(t *testing.T) {
	for _, how := range []string{"killed", "shut down"} {
		t.Run(how, func(t *testing.T) {
			onEachRoad(t, func(t *testing.T, c *cluster) {
				kind, s := newStall()
				a, b := c.start("a"), c.start("b")
				spawn(t, b, "stall", kind)
				var last error
				n := 0
				for it, err := range actor.Stream(t.Context(), a.Ref("stall@b"), List{N: -1}) {
					if err != nil {
						last = err
					} else if it.N != n {
						t.Fatalf("number %d: %d", n, it.N)
					}
					if n++; n != 5000 {
						continue
					}
					if how == "killed" {
						c.kill(b, nil)
					} else {
						began := time.Now()
						if err := b.Shutdown(t.Context()); err != nil || time.Since(began) > 10*time.Second {
							t.Errorf("the shutdown: %v after %v", err, time.Since(began))
						}
					}
					b = c.start("b")
					spawn(t, b, "stall", kind)
				}
				wantErr(t, how, last, rpc.Unavailable, rpc.HasRun)
				synctest.Wait()
				if n := s.running.Load(); n != 0 {
					t.Errorf("%d producers still run", n)
				}
			})
		})
	}
}

// When a server that keeps records is restarted, it knows at once that it has no streams of
// before.
func TestStreamOfLostServerWithRecords(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		kind, _ := newStall()
		d := new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "stall", kind)
		var last error
		var killed time.Time
		for it, err := range actor.Stream(t.Context(), a.Ref("stall@b"), List{N: 3, Fails: "waits"}) {
			if last = err; err == nil && it.N == 2 { // from now on, the reader waits for another one
				time.AfterFunc(moment, func() {
					killed = time.Now()
					c.kill(b, d)
					spawn(t, c.start("b", d.config), "stall", kind)
				})
			}
		}
		wantErr(t, "killed", last, rpc.Unavailable, rpc.HasRun)
		if took := time.Since(killed); took > 6*time.Second { // an attempt to reach the dead one takes 5 s
			t.Errorf("the reader learned it after %v", took)
		}
	})
}

// Many streams are open at the same time, and nobody reads one of them.
func TestManyStreams(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		kind, _ := newStall()
		to := bind(spawn(t, b, "stall", kind))
		next, stop := iter.Pull2(actor.Stream(t.Context(), to, List{N: -1}))
		defer stop()
		next()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if n, err := collect(t, actor.Stream(t.Context(), to, List{N: 500})); n != 500 || err != nil {
					t.Errorf("%d of 500 items, %v", n, err)
				}
			})
		}
		wg.Wait()
	})
}

// A principal can have a limited number of streams. One that ends makes room.
func TestMaxStreams(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		kind, _ := newStall()
		spawn(t, b, "stall", kind)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		to := a.Ref("stall@b")
		var stops []func()
		for range actor.MaxStreams {
			next, stop := iter.Pull2(actor.Stream(ctx, to, List{N: 1, Fails: "waits"}))
			if _, err, _ := next(); err != nil {
				t.Fatal(err)
			}
			stops = append(stops, stop)
		}
		_, err := collect(t, actor.Stream(ctx, to, List{N: 1}))
		wantErr(t, "one too many", err, rpc.Overloaded, rpc.NotRun)
		if n, err := collect(t, actor.Stream(ctx, b.Ref("stall"), List{N: 1})); n != 1 || err != nil {
			t.Errorf("on the same node: %d, %v", n, err)
		}
		stops[0]()
		synctest.Wait()
		if n, err := collect(t, actor.Stream(ctx, to, List{N: 1})); n != 1 || err != nil {
			t.Errorf("with room: %d, %v", n, err)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

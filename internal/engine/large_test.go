package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// large returns a body of n bytes that is different for each i.
func large(i, n int) string {
	return fmt.Sprintf("%d:", i) + strings.Repeat(string(rune('a'+i%26)), n)
}

// Requests, replies and one-way messages of all sizes run once and complete, while messages are
// lost, doubled and reordered, and links die.
func TestLargeUnderFaults(t *testing.T) {
	for seed := range uint64(3) {
		for _, roads := range [][]string{direct, bus, twoRoads} {
			t.Run(fmt.Sprintf("%v/%d", roads, seed), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					keep := func(c *Config) { c.Keep = 8 << 20 } // large replies are kept, so that they can be replayed
					a, b := r.start("a", "a1", roads, keep), r.start("b", "b1", roads, keep)
					random := rand.New(rand.NewPCG(seed, 7))
					b.handle(func(_ *server.Inbound, body string) string { return body })
					a.echoes("b", "hello")
					r.net.SetFaults("bus", "", "", memnet.Faults{MaxDelay: time.Millisecond, Drop: 0.02, Duplicate: 0.02, Reorder: 0.02})
					r.net.SetFaults("direct", "", "", memnet.Faults{MaxDelay: time.Millisecond, Kill: 0.001})
					const count = 40
					var futures []*rpc.Future[string]
					var bodies []string
					for i := range count {
						size := random.IntN(500)
						if i%3 == 0 {
							size = random.IntN(900 << 10)
						}
						bodies = append(bodies, large(i, size))
						f, _ := a.send(request("b", bodies[i], time.Hour))
						futures = append(futures, f)
						time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
					}
					for i, f := range futures {
						got, err := f.Await(context.Background())
						if err != nil || got != bodies[i] {
							t.Errorf("request %d of %d bytes: %d bytes, %v", i, len(bodies[i]), len(got), err)
						}
						if n := b.ran(bodies[i]); n != 1 {
							t.Errorf("request %d ran %d times", i, n)
						}
					}
				})
			})
		}
	}
}

// While a large request takes long, its client does not ask for it again and again. A reply
// that is too large to be kept is not lost when it arrives after the word that it was dropped.
func TestLargeOnASlowBus(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net.SetFaults("bus", "", "", memnet.Faults{MinDelay: 300 * time.Millisecond, MaxDelay: 400 * time.Millisecond})
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		body := large(1, 4<<20)
		began := time.Now()
		f, _ := a.send(request("b", body, time.Hour))
		got, err := f.Await(context.Background())
		if got != body || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("took %v: no probe was due", took)
		}
		if s := a.Stats(); b.ran(body) != 1 || s.Resent > 0 {
			t.Errorf("ran %d times, resent %d", b.ran(body), s.Resent)
		}
	})
}

// Small requests overtake a large one and its reply, also while the large one waits for room.
func TestSmallPassLargeRequests(t *testing.T) {
	for _, roads := range [][]string{direct, bus} {
		withRig(t, func(t *testing.T, r *rig) { smallPassLarge(t, r, roads) })
	}
}

func smallPassLarge(t *testing.T, r *rig, roads []string) {
	a, b := r.start("a", "a1", roads, func(c *Config) { c.MaxPending = 30 << 20 }), r.start("b", "b1", roads)
	b.handle(func(_ *server.Inbound, body string) string { return body })
	a.echoes("b", "hello")
	r.net.SetFaults("", "", "", memnet.Faults{MinDelay: 5 * time.Millisecond, MaxDelay: 5 * time.Millisecond})
	var ends []chan time.Time
	for i := range 3 { // the second and the third wait for room
		end := make(chan time.Time, 1)
		ends = append(ends, end)
		go func() {
			body := large(i, 20<<20)
			req := request("b", body, time.Hour)
			req.Target = "large"
			f, _ := a.send(req)
			if got, err := f.Await(context.Background()); got != body || err != nil {
				t.Errorf("large %d: %d bytes, %v", i, len(got), err)
			}
			end <- time.Now()
		}()
		time.Sleep(time.Millisecond)
	}
	for i := range 5 {
		began := time.Now()
		a.echoes("b", fmt.Sprint(i))
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("a small one took %v", took)
		}
	}
	small := time.Now()
	for i, end := range ends {
		if at := <-end; at.Before(small) {
			t.Errorf("large %d was there before the small ones", i)
		}
	}
	if s := a.Stats(); s.Outstanding != 0 {
		t.Errorf("%d outstanding", s.Outstanding)
	}
}

// One-way messages of all sizes and targets keep their order, also when the road changes, and
// none of them is dropped as late.
func TestLargeTellsKeepOrder(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.net.SetFaults("bus", "", "", memnet.Faults{MinDelay: 2 * time.Millisecond, MaxDelay: 4 * time.Millisecond})
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		r.net.Partition("direct", "a", "b")
		a.echoes("b", "hello")
		const count = 60
		var want []string
		for i := range count {
			n := 10
			if i%7 == 0 {
				n = 300 << 10
			}
			want = append(want, large(i, n))
			req := request("b", want[i], patience)
			req.Target = fmt.Sprint(i % 3)
			if err := a.Client.Tell(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			if i == count/2 {
				r.net.Heal("direct", "a", "b")
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(10 * time.Second)
		got := b.received()
		if len(got) != count {
			t.Fatalf("%d of %d came", len(got), count)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("message %d is another one", i)
			}
		}
		if s := b.Stats(); s.TellsDropped+s.TellsMissed != 0 {
			t.Errorf("%d dropped, %d missed", s.TellsDropped, s.TellsMissed)
		}
	})
}

// A large request that is cancelled while it is sent does not run, and leaves nothing behind.
func TestLargeCanceled(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		b.handle(func(_ *server.Inbound, body string) string { return body })
		a.echoes("b", "hello")
		r.net.SetFaults("", "", "", memnet.Faults{MinDelay: 50 * time.Millisecond, MaxDelay: 50 * time.Millisecond})
		for i := range 3 {
			body := large(i, 10<<20)
			f, call := a.send(request("b", body, time.Hour))
			time.Sleep(time.Duration(i) * 120 * time.Millisecond)
			call.GiveUp(rpc.Canceled, "not wanted")
			_, err := f.Await(context.Background())
			wantErr(t, "given up", err, rpc.Canceled, rpc.Unknown)
			began := time.Now()
			a.echoes("b", "behind it")
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("what came behind took %v", took)
			}
			time.Sleep(5 * time.Second)
			if b.ran(body) != 0 {
				t.Error("it ran")
			}
		}
		synctest.Wait()
		if s := a.Stats(); s.Outstanding != 0 {
			t.Errorf("%d outstanding", s.Outstanding)
		}
	})
}

// If its link dies in the middle, a large request is sent as a whole over the next one.
func TestLargeOutlivesItsLink(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		b.handle(func(_ *server.Inbound, body string) string { return body[:min(len(body), 9)] })
		a.echoes("b", "hello")
		r.net.SetFaults("", "", "", memnet.Faults{MinDelay: 20 * time.Millisecond, MaxDelay: 20 * time.Millisecond})
		body := large(1, 8<<20)
		f, _ := a.send(request("b", body, time.Hour))
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			r.net.Reset("", "a", "b")
		}
		if got, err := f.Await(context.Background()); got != body[:9] || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if n := b.ran(body); n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

// If a node accepts less than its peer sends, TooLarge comes back, for requests and for
// replies.
func TestLargeAtASmallerPeer(t *testing.T) {
	for _, roads := range [][]string{direct, bus} {
		withRig(t, func(t *testing.T, r *rig) {
			a := r.start("a", "a1", roads)
			b := r.start("b", "b1", roads, func(c *Config) { c.MaxBody = 2 << 20 })
			a.echoes("b", large(1, 2<<20-2))
			_, err := a.ask("b", large(2, 2<<20-1))
			wantErr(t, "one byte more", err, rpc.TooLarge, rpc.NotRun)
			_, err = a.ask("b", large(2, 8<<20))
			wantErr(t, "far more", err, rpc.TooLarge, rpc.NotRun)
			wantErr(t, "told", a.Client.Tell(t.Context(), request("b", large(3, 8<<20), patience)), rpc.TooLarge, rpc.NotRun)
			a.handle(func(*server.Inbound, string) string { return large(4, 8<<20) })
			_, err = b.ask("a", "x")
			wantErr(t, "a reply", err, rpc.ReplyDropped, rpc.HasRun)
			a.echoes("b", "small")
		})
	}
}

// A server limits the bytes of large requests that have no outcome yet. It refuses others at
// once, even before all of their parts have come, and a small request finds room.
func TestLargeRequestsAreBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, func(c *Config) { c.MaxBody, c.MemoryBytes = 1<<20, 12<<20 })
		gate := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-gate; return "done" })
		body := large(1, 1<<20-2)
		for round := range 3 {
			var futures []*rpc.Future[string]
			var calls []*client.Call
			for range 5 {
				f, call := a.send(request("b", body, time.Hour))
				futures, calls = append(futures, f), append(calls, call)
			}
			_, err := futures[4].Await(context.Background())
			wantErr(t, "a fifth", err, rpc.Overloaded, rpc.NotRun)
			small, _ := a.send(request("b", "small", time.Hour))
			futures = append(futures[:4], small)
			if round == 1 { // cancelled, and still running
				for _, call := range calls[:4] {
					call.GiveUp(rpc.Canceled, "not wanted")
				}
			}
			close(gate)
			for _, f := range futures {
				if got, err := f.Await(context.Background()); (round != 1 || f == small) && (got != "done" || err != nil) {
					t.Errorf("%q, %v", got, err)
				}
			}
			synctest.Wait()
			time.Sleep(time.Minute) // until the last acks have come, and nothing is reserved any more
			if used := b.account.Held(); used != 0 {
				t.Errorf("round %d: %d bytes counted, and %d records are there", round, used, b.Stats().Records)
			}
			gate = make(chan struct{})
		}
	})
}

// When a bus may have lost messages, a client asks what became of its large requests instead of
// sending them again.
func TestLargeIsNotResent(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		gate := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-gate; return body })
		body := large(1, 1<<20)
		f, _ := a.send(request("b", body, time.Hour))
		synctest.Wait()
		for range 3 {
			r.net.Disturb("bus", "a")
			r.net.Disturb("bus", "b")
			synctest.Wait()
		}
		close(gate)
		if got, err := f.Await(context.Background()); got != body || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if s := a.Stats(); b.ran(body) != 1 || s.Resent > 0 {
			t.Errorf("ran %d times, sent %d times more", b.ran(body), s.Resent)
		}
	})
}

// A request to the node itself may be as large as one to another node.
func TestLargeToItself(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", direct, func(c *Config) { c.MaxBody = 5 << 20 })
		a.echoes("a", large(1, 5<<20-2))
		_, err := a.ask("a", large(1, 5<<20-1))
		wantErr(t, "one byte more", err, rpc.TooLarge, rpc.NotRun)
		a.echoes("a", "small")
	})
}

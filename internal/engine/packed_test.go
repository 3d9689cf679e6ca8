package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
	"github.com/tandem-go/tandem/transport/memnet"
)

// compressing makes a node compress.
func compressing(a transport.Algorithm) func(*Config) {
	return func(c *Config) { c.Compression = compress.New(compress.Config{Algorithm: a}) }
}

// packedHops counts the envelopes that offer the link a compressed form of their body, by road.
func packedHops(r *rig) (counts map[string]*atomic.Int64) {
	counts = map[string]*atomic.Int64{"direct": {}, "bus": {}}
	r.setTap(func(h hop) fate {
		if h.Packed != nil {
			counts[h.road].Add(1)
		}
		return pass
	})
	return counts
}

// Requests, replies and one-way messages of all sizes run once and complete, while their bodies travel
// compressed, messages are lost, doubled and reordered, and links die.
func TestPackedUnderFaults(t *testing.T) {
	for seed := range uint64(2) {
		for _, roads := range [][]string{direct, bus, twoRoads} {
			t.Run(fmt.Sprintf("%v/%d", roads, seed), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					keep := func(c *Config) { c.Keep = 8 << 20 }
					a, b := r.start("a", "a1", roads, keep, compressing(transport.S2)), r.start("b", "b1", roads, keep, compressing(transport.Zstd))
					random := rand.New(rand.NewPCG(seed, 7))
					b.handle(func(_ *server.Inbound, body string) string { return body })
					a.echoes("b", "hello")
					counts := packedHops(r)
					r.net.SetFaults("bus", "", "", memnet.Faults{MaxDelay: time.Millisecond, Drop: 0.02, Duplicate: 0.02, Reorder: 0.02})
					r.net.SetFaults("direct", "", "", memnet.Faults{MaxDelay: time.Millisecond, Kill: 0.001})
					const count = 60
					var futures []*rpc.Future[string]
					var bodies []string
					for i := range count {
						size := random.IntN(5000)
						if i%3 == 0 {
							size = random.IntN(3 << 20)
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
					if n := counts["direct"].Load() + counts["bus"].Load(); n < count {
						t.Errorf("only %d bodies were compressed", n)
					}
				})
			})
		}
	}
}

// Small and large one-way messages keep their order if some of them are compressed, and travel between
// those that share a frame.
func TestPackedTellsKeepOrder(t *testing.T) {
	for _, roads := range [][]string{direct, bus} {
		withRig(t, func(t *testing.T, r *rig) {
			r.lends = true
			a, b := r.start("a", "a1", roads, compressing(transport.S2)), r.start("b", "b1", roads, compressing(transport.S2))
			var sent []string
			for i := range 300 {
				body := large(i, []int{5, 900, 2000, 4000, 5000, 200 << 10}[i*i%6])
				sent = append(sent, body)
				if err := a.tell("b", body); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			got := b.received()
			if len(got) != len(sent) {
				t.Fatalf("%d received, want %d", len(got), len(sent))
			}
			for i := range got {
				if got[i] != sent[i] {
					t.Fatalf("message %d: %d bytes, want %d", i, len(got[i]), len(sent[i]))
				}
			}
		})
	}
}

// A node with compression and one without work together in both directions, also if it is another start
// of the node that has no compression any more, to which requests are sent again.
func TestPackedPeers(t *testing.T) {
	body := large(1, 300<<10)
	for _, roads := range [][]string{direct, bus} {
		withRig(t, func(t *testing.T, r *rig) {
			counts := packedHops(r)
			a, b := r.start("a", "a1", roads, compressing(transport.S2)), r.start("b", "b1", roads)
			a.echoes("b", "hello")
			a.echoes("b", body)
			b.echoes("a", body)
			if n := counts[roads[0]].Load(); n != 0 {
				t.Errorf("%d bodies were compressed for, or by, a node without compression", n)
			}
			c := r.start("c", "c1", roads, compressing(transport.Zstd))
			a.echoes("c", "hello")
			a.echoes("c", body)
			if n := counts[roads[0]].Load(); n != 2 {
				t.Errorf("%d bodies were compressed, want the request and the reply", n)
			}
			c.crash(true)
			f, _ := a.send(client.Request{Node: "c", Target: "t", TypeID: 1, Codec: 1, Body: []byte(body), Timeout: time.Hour,
				Retry: &rpc.Retry{Attempts: 5}, Rare: &client.Rare{Idempotent: true}})
			time.Sleep(time.Second)
			r.net.Heal("", "c", "")
			r.start("c", "c2", roads)
			if got, err := f.Await(context.Background()); got != body || err != nil {
				t.Errorf("from the start without compression: %d bytes, %v", len(got), err)
			}
		})
	}
}

// without is a road whose links agree on no compression.
type without struct{ transport.Transport }

func (w without) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	local.Compression = nil
	return w.Transport.Start(ctx, local, accept)
}

// A link is lost while a large compressed request, or the reply to it, is half on its way. The copy on the
// other road, which has no compression, is the same request: it runs once, and the answer is complete.
func TestPackedAndThenNot(t *testing.T) {
	for _, inReply := range []bool{false, true} {
		withRig(t, func(t *testing.T, r *rig) {
			plainBus := func(c *Config) {
				c.Transports[1] = without{c.Transports[1]}
				c.Keep = 8 << 20
			}
			a, b := r.start("a", "a1", twoRoads, compressing(transport.S2), plainBus), r.start("b", "b1", twoRoads, compressing(transport.S2), plainBus)
			question, answer := mix(3<<20), "ok" // it compresses to a half, so it needs many chunks
			if inReply {
				question, answer = answer, question
			}
			b.handle(func(*server.Inbound, string) string { return answer })
			if _, err := a.ask("b", "hello"); err != nil {
				t.Fatal(err)
			}
			counts := packedHops(r)
			r.net.SetFaults("direct", "", "", memnet.Faults{MinDelay: 5 * time.Millisecond, MaxDelay: 5 * time.Millisecond})
			f, _ := a.send(request("b", question, time.Hour))
			time.Sleep(30 * time.Millisecond)
			if counts["direct"].Load() == 0 {
				t.Fatal("nothing was compressed")
			}
			r.net.Partition("direct", "a", "b")
			r.net.Reset("direct", "a", "b")
			got, err := f.Await(context.Background())
			if got != answer || err != nil {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if n := b.ran(question); n != 1 {
				t.Errorf("ran %d times", n)
			}
			if s := a.Stats(); s.Resent == 0 {
				t.Error("the link was lost when all was over")
			}
			if s := b.Stats(); s.Refused > 0 {
				t.Errorf("%d copies were taken for other requests", s.Refused)
			}
		})
	}
}

// mix returns n bytes that compress to about a half.
func mix(n int) string {
	random, b := rand.New(rand.NewPCG(3, 4)), make([]byte, 0, n)
	for len(b) < n {
		for range 64 {
			b = append(b, byte(random.Uint32()))
		}
		b = append(b, "................................................................"...)
	}
	return string(b[:n])
}

// While a body is being compressed, at the client or at the server, other messages between the same nodes
// pass: no lock is held, and neither a link's reader nor its writer is stopped.
func TestPackingStopsNobody(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		slow := func(c *Config) { c.Compression = &slowly{Compressor: compress.New(compress.Config{})} }
		a, b := r.start("a", "a1", direct, slow), r.start("b", "b1", direct, slow)
		a.echoes("b", "hello")
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() { a.echoes("b", large(1, 5000)) })
		all.Go(func() {
			if err := a.tell("b", large(2, 5000)); err != nil {
				t.Error(err)
			}
		})
		for range 25 { // it takes 10 s at either end
			time.Sleep(time.Second)
			at := time.Now()
			a.echoes("b", "small")
			b.echoes("a", "small")
			if err := a.tell("b", "small"); err != nil {
				t.Error(err)
			}
			if took := time.Since(at); took > 100*time.Millisecond {
				t.Errorf("%v after the beginning small requests took %v", at.Sub(began), took)
			}
		}
		all.Wait()
		synctest.Wait()
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("all took %v: nothing was compressed", took)
		}
	})
}

// slowly is a Compressor that takes 10 s for a body.
type slowly struct{ *compress.Compressor }

func (s *slowly) Pack(codec uint8, typeID uint64, body []byte) *transport.Packed {
	p := s.Compressor.Pack(codec, typeID, body)
	if p != nil {
		time.Sleep(10 * time.Second)
	}
	return p
}

// What a request inflates to counts in the account of its sender: it is refused if it does not fit, and
// nothing stays counted.
func TestPackedInTheAccount(t *testing.T) {
	for _, roads := range [][]string{direct, bus} {
		withRig(t, func(t *testing.T, r *rig) {
			a := r.start("a", "a1", roads, compressing(transport.S2))
			b := r.start("b", "b1", roads, compressing(transport.S2), func(c *Config) { c.MemoryBytes = 8 << 20 })
			b.handle(func(*server.Inbound, string) string { return "ok" })
			for _, size := range []int{1 << 20, 6 << 20, 1 << 20} {
				body := large(1, size)
				got, err := a.ask("b", body)
				switch {
				case size > 4<<20:
					wantErr(t, "more than there is room for", err, rpc.Overloaded, rpc.NotRun)
				case got != "ok" || err != nil:
					t.Errorf("%d bytes: %q, %v", size, got, err)
				}
			}
			a.echoes("b", "ok")
			time.Sleep(time.Second)
			if held := b.account.Held(); held > 64<<10 {
				t.Errorf("%d bytes are still counted", held)
			}
		})
	}
}

// A recorded outcome is kept as it is, and sent so to whoever asks again under the key.
func TestPackedReplay(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		keep := func(c *Config) { c.Keep = 1 << 20 }
		a, b := r.start("a", "a1", direct, compressing(transport.S2), keep), r.start("b", "b1", direct, compressing(transport.S2), keep)
		body := large(1, 200<<10)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		for i := range 2 {
			req := request("b", body, patience)
			req.Rare = &client.Rare{Key: "k"}
			f, _ := a.send(req)
			if got, err := f.Await(context.Background()); got != body || err != nil {
				t.Errorf("attempt %d: %d bytes, %v", i, len(got), err)
			}
		}
		if n := b.ran(body); n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

// The limit of a message holds for what its body inflates to.
func TestPackedLimit(t *testing.T) {
	for _, roads := range [][]string{direct, bus} {
		withRig(t, func(t *testing.T, r *rig) {
			const most = 1 << 20
			small := func(c *Config) { c.MaxBody = most }
			a, b := r.start("a", "a1", roads, compressing(transport.S2), small), r.start("b", "b1", roads, compressing(transport.S2), small)
			wide := r.start("c", "c1", roads, compressing(transport.S2))
			for _, n := range []int{most - 1, most, most + 1} {
				body := large(1, n)[:n]
				got, err := a.ask("b", body)
				if n > most {
					wantErr(t, "a request above the limit of both", err, rpc.TooLarge, rpc.NotRun)
				} else if got != body || err != nil {
					t.Errorf("%d bytes: %d bytes, %v", n, len(got), err)
				}
			}
			_, err := wide.ask("b", large(1, 2*most))
			wantErr(t, "a request above the limit of the server", err, rpc.TooLarge, rpc.NotRun)
			wide.handle(func(*server.Inbound, string) string { return large(2, 2*most) })
			_, err = a.ask("c", "much, please")
			wantErr(t, "a reply above the limit of the client", err, rpc.ReplyDropped, rpc.HasRun)
			a.echoes("b", "hello")
			if a.Stats().LinksLost+b.Stats().LinksLost+wide.Stats().LinksLost > 0 {
				t.Error("a link was lost")
			}
		})
	}
}

package sim

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

var (
	sieges   = flag.Int("sim.sieges", 20, "how many seeds with hostile peers to run")
	oneSiege = flag.Uint64("sim.siege", 0, "run this seed with hostile peers alone, with its transcript under -v")
)

// siegePlan is what a run with hostile peers is made of.
type siegePlan struct {
	Roads    []string
	Peers    int
	Steps    int // of each of them
	Clients  int // of each honest node
	Ops      int // of each of them
	Pace     time.Duration
	Lease    time.Duration
	KeyLife  time.Duration
	Faults   map[string]memnet.Faults
	Policies map[string]rpc.RoadPolicy

	// Impostors says that a peer that claims a node's name receives what is sent to that node
	// over the bus. No bus with permissions allows this.
	Impostors bool
}

func newSiegePlan(r *rand.Rand) siegePlan {
	p := siegePlan{
		Roads: draw.Pick(r, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct"}, []string{"bus"}),
		Peers: 3 + r.IntN(4), Steps: 60 + r.IntN(100), Clients: 1 + r.IntN(2), Ops: 8 + r.IntN(12),
		Pace: draw.Pick(r, time.Millisecond, 5*time.Millisecond, 50*time.Millisecond), Lease: draw.Pick(r, 5*time.Second, 20*time.Second), KeyLife: time.Minute,
		Faults: map[string]memnet.Faults{}, Policies: map[string]rpc.RoadPolicy{}, Impostors: draw.Chance(r, 0.3),
	}
	p.Faults["direct"] = memnet.Faults{MaxDelay: draw.Pick(r, 0, time.Millisecond, 20*time.Millisecond)}
	p.Faults["bus"] = memnet.Faults{MaxDelay: draw.Pick(r, 0, 2*time.Millisecond, 50*time.Millisecond), Duplicate: draw.Pick(r, 0, 0.1)}
	for _, name := range []string{"ann", "shop"} {
		p.Policies[name] = draw.Pick(r, rpc.DirectFirst, rpc.Adaptive)
	}
	return p
}

// siege is a run: two honest nodes, and hostile peers that know the whole protocol.
type siege struct {
	seed   uint64
	plan   siegePlan
	net    *memnet.Network
	reg    *static.Registry
	books  *books
	honest map[string]*actor.System
	known  knowledge
	desk   string // the name of the actor that takes jobs
	cheat  siegeCheat
	tamper func(*earLink, *transport.Envelope) (uint64, error)
}

// siegeCheat breaks a protection, or makes the books wrong, on purpose.
type siegeCheat struct {
	config func(*actor.Config)
	books  string
	tamper func(*siege) func(*earLink, *transport.Envelope) (uint64, error)
}

func (w *siege) rng(what string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte("siege " + what))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// rules say who may do what: honest nodes everything, the others nothing with the vault and the
// line.
var siegeRules = access.Rules{
	List: []access.Rule{
		{Effect: access.Allow, Principals: []string{rpc.NodePrincipal("ann"), rpc.NodePrincipal("shop")}},
		{Effect: access.Deny, Actors: []string{"vault", "line"}},
		{Effect: access.Deny, Ops: access.Manage},
	},
}

// start starts an honest node.
func (w *siege) start(name string) error {
	cfg := actor.Config{Name: name, Registry: w.reg, Logger: quiet, Roads: w.plan.Policies[name], AckWait: time.Second, TokenLife: 30 * time.Second,
		Access: siegeRules, Setup: w.books.spawn,
		RPC: rpc.Limits{SessionLease: w.plan.Lease, KeyLife: w.plan.KeyLife, MemoryBytes: 32 << 20}}
	r := w.rng("pauses of " + name)
	var mu sync.Mutex
	cfg.RPC.Random = func() float64 { mu.Lock(); defer mu.Unlock(); return r.Float64() }
	for _, road := range w.plan.Roads {
		prefix := map[string]string{"direct": "tls:", "bus": "nats:"}[road]
		cfg.Transports = append(cfg.Transports, &ear{w.net.TransportAs(road, road == "direct", prefix+name), w})
	}
	if w.cheat.config != nil {
		w.cheat.config(&cfg)
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return err
	}
	w.honest[name] = sys
	for _, other := range []string{"ann", "shop"} {
		events := sys.Events(context.Background(), rpc.SessionGone, actor.ActorRestarted)
		go func() {
			for e := range events {
				if e.Peer == other && !w.ended() || e.Type == actor.ActorRestarted {
					w.books.bad("at %s: %s %s %s %v", name, e.Type, e.Peer, e.Actor, e.Err)
				}
			}
		}()
	}
	return nil
}

// ended reports whether the honest nodes are done.
func (w *siege) ended() bool {
	w.books.mu.Lock()
	defer w.books.mu.Unlock()
	return w.books.over
}

// siegeResult is the result of a run.
type siegeResult struct {
	plan   siegePlan
	wrong  []string
	script []string
	calls  int
	shed   int
	heard  int
	served map[string]int
}

// besiege runs one seed in a bubble of its own.
func besiege(t *testing.T, seed uint64, c siegeCheat) (res siegeResult) {
	bubble.Test(t, func(t *testing.T) {
		w := &siege{seed: seed, net: memnet.New(memnet.Config{Seed: seed}), reg: static.New(), honest: map[string]*actor.System{}, desk: "$jobs", cheat: c}
		w.books = newBooks(w.rng("books"))
		w.books.cheat = c.books
		if c.tamper != nil {
			w.tamper = c.tamper(w)
		}
		w.plan = newSiegePlan(w.rng("plan"))
		w.books.talks = *oneSiege != 0 && testing.Verbose()
		w.books.impostors = w.plan.Impostors
		for road, f := range w.plan.Faults {
			w.net.SetFaults(road, "", "", f)
		}
		for _, name := range []string{"ann", "shop"} {
			if err := w.start(name); err != nil {
				t.Fatal(err)
			}
		}
		var peers []*hostile
		for i := range w.plan.Peers {
			r := w.rng(fmt.Sprintf("peer %d", i))
			h := &hostile{w: w, r: r, no: i, given: hostiles[i%len(hostiles)], road: draw.Pick(r, w.plan.Roads...), to: draw.Pick(r, "shop", "shop", "ann")}
			if h.claim = h.given; i >= len(hostiles) || draw.Chance(r, 0.3) {
				h.claim = draw.Pick(r, h.given, "ann", "shop")
			}
			if err := h.start(); err != nil {
				t.Fatal(err)
			}
			peers = append(peers, h)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var attacks, clients sync.WaitGroup
		for _, h := range peers {
			attacks.Go(func() { h.run(ctx, w.plan.Steps) })
		}
		no := uint64(0)
		for _, pair := range [][2]string{{"ann", "shop"}, {"shop", "ann"}} {
			for range w.plan.Clients {
				no++
				c := &client{w: w, r: w.rng(fmt.Sprintf("client %d", no)), no: no, sys: w.honest[pair[0]], to: pair[1], line: fmt.Sprintf("line %d", no)}
				clients.Go(func() {
					for range w.plan.Ops {
						time.Sleep(time.Duration(c.r.ExpFloat64() * 10 * float64(w.plan.Pace)))
						c.step()
					}
				})
			}
		}
		clients.Wait()
		attacks.Wait()
		cancel()
		for _, h := range peers {
			_ = h.tr.Close()
		}
		// Meanwhile leases end, keys and tokens are forgotten, and streams without a client are
		// ended.
		time.Sleep(3*time.Minute + 2*w.plan.Lease + 2*w.plan.KeyLife)
		for name, sys := range w.honest {
			st := sys.Stats().RPC
			if st.HeldBytes != 0 || st.Records != 0 || st.Outstanding != 0 || st.Keys != 0 {
				w.books.bad("%s at rest: %d bytes kept, %d records, %d keys, %d outstanding", name, st.HeldBytes, st.Records, st.Keys, st.Outstanding)
			}
		}
		w.books.mu.Lock()
		w.books.over = true
		w.books.mu.Unlock()
		for _, name := range []string{"ann", "shop"} {
			if err := w.honest[name].Shutdown(context.Background()); err != nil {
				w.books.bad("shutdown of %s: %v", name, err)
			}
		}
		b := w.books
		res = siegeResult{w.plan, b.wrong, b.script, b.calls, b.refused, b.heard, b.served}
	})
	return res
}

// TestHostilePeers runs whole nodes beside peers that have their own certificates and know the
// whole protocol. All promises to honest clients are kept, and no principal sees or ends
// anything of another one.
func TestHostilePeers(t *testing.T) {
	first, count := *from, *sieges
	if *oneSiege != 0 {
		first, count = *oneSiege, 1
	}
	var mu sync.Mutex // guards what follows
	next, failed, calls, shed, heard, served := first, 0, 0, 0, 0, map[string]int{}
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= first+uint64(count) && failed < 10
	}
	t.Run("workers", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), count) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for s, more := take(); more; s, more = take() {
					for range *tries {
						res := besiege(t, s, siegeCheat{})
						mu.Lock()
						calls, shed, heard = calls+res.calls, shed+res.shed, heard+res.heard
						for who, n := range res.served {
							served[who] += n
						}
						mu.Unlock()
						if *oneSiege != 0 && (len(res.wrong) > 0 || *tries == 1) {
							t.Logf("%+v\n%s", res.plan, strings.Join(res.script, "\n"))
						}
						if len(res.wrong) > 0 {
							mu.Lock()
							failed++
							mu.Unlock()
							t.Errorf("seed %d:\n\t%s\n\tgo test ./test/sim -run HostilePeers -sim.siege %d -sim.tries 100 -v\n", s, strings.Join(res.wrong, "\n\t"), s)
							break
						}
					}
				}
			})
		}
	})
	var runs []string
	for _, who := range slices.Sorted(maps.Keys(served)) {
		runs = append(runs, fmt.Sprintf("%s %d", who, served[who]))
	}
	t.Logf("%d seeds: %d honest operations, %d shed; %d envelopes came to hostile peers; handlers ran for %s", count, calls, shed, heard, strings.Join(runs, ", "))
	if count >= 20 && (served["node:mallory"] == 0 || served["tls:trudy"]+served["nats:trudy"] == 0 || calls == 0) {
		t.Error("who did not get through to any handler has shown nothing")
	}
}

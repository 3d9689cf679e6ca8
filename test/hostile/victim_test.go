//go:build linux && !race

package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

const victimName = "shop"

// kind is a way to set up a victim.
type kind string

const (
	byTLS     kind = ""          // certificates on both sides of TCP
	byToken   kind = "token"     // TCP without TLS, and a secret that all share
	withStore kind = "store"     // as byTLS, with records in JetStream
	onBus     kind = "bus"       // NATS, with a user for each
	asClient  kind = "as client" // as byTLS, and it calls a node that is hostile
)

func (k kind) usesBus() bool { return k == onBus || k == withStore }

// The messages to the victim's actors.
type (
	Echo struct {
		actor.Returns[int]
		N int
	}
	Relay struct { // an Echo that goes on to a good node
		actor.Returns[int]
		N int
	}
	Nap  struct{ Pad []byte } // to the slow actor, one way or not
	Fail struct {
		actor.Returns[int]
		Pad []byte
	}
	Report struct{ actor.Returns[[]byte] } // to "reports", or to "pages"
	Boom   struct{ N int }
	Mail   struct{ N int }
	Inside struct{ actor.Returns[Inner] }
	Inner  struct {
		Echoed int
		RSS    int64
		Stats  actor.Stats
		Bus    natsbus.Stats
		Asked  int           // of the hostile server
		Paused time.Duration // the longest that all of it stood still, for the collection of garbage
	}
)

func (Echo) WireName() string   { return "hostile.echo" }
func (Relay) WireName() string  { return "hostile.relay" }
func (Nap) WireName() string    { return "hostile.nap" }
func (Fail) WireName() string   { return "hostile.fail" }
func (Report) WireName() string { return "hostile.report" }
func (Boom) WireName() string   { return "hostile.boom" }
func (Mail) WireName() string   { return "hostile.mail" }
func (Inside) WireName() string { return "hostile.inside" }
func (Inner) WireName() string  { return "hostile.inner" }

type target struct{}

const (
	errorText  = 60 << 10
	reportSize = 20 << 20
	pageSize   = 200 << 10 // of a reply that is kept, however small the account
	lineSize   = 24 << 10  // of one that is sent in one piece
)

// victim is the node that is attacked.
type victim struct {
	role
	sys    *actor.System
	bus    *natsbus.Transport
	echoed atomic.Int64
	asked  atomic.Int64
}

// victim starts the node that is attacked, with its share of the default limits, and returns its
// address on TCP.
func (r role) victim() (*actor.System, string, error) {
	v := &victim{role: r}
	cfg := actor.Config{Name: r.Name, Setup: v.setup, Tokens: max(1024/r.Share, 256),
		RPC:    rpc.Limits{MemoryBytes: account / int64(r.Share), MaxSessions: 16384 / r.Share},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Compression: compress.New(compress.Config{})}
	if r.Kind == withStore {
		js, err := r.jets("records")
		if err != nil {
			return nil, "", err
		}
		cfg.Store, cfg.Kinds = jetstream.New(js, jetstream.Config{}), []*actor.Kind{v.echo()}
	}
	if r.Kind == onBus {
		road, reg, err := r.onBus(context.Background(), r.Name, natsbus.Config{MaxLinks: 4096 / r.Share})
		if err != nil {
			return nil, "", err
		}
		v.bus, cfg.Registry, cfg.Transports = road, reg, []transport.Transport{road}
		sys, err := actor.NewSystem(cfg)
		return sys, "bus", err
	}
	direct, err := r.tcp()
	if err != nil {
		return nil, "", err
	}
	direct.Listen, direct.MaxConns, direct.MaxConnsPerIP = "127.0.0.1:0", 4096/r.Share, 4096
	road := tcp.New(direct)
	reg := static.New()
	if r.Kind == asClient {
		reg = static.New(registry.Node{Name: "honest"})
		if r.Peer != "" {
			reg = static.New(registry.Node{Name: "honest"}, registry.Node{Name: "mallory", Addrs: map[string]string{tcp.Road: r.Peer}})
		}
	}
	cfg.Registry, cfg.Transports = reg, []transport.Transport{road}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return nil, "", err
	}
	return sys, road.Addr().String(), nil
}

// setup spawns the actors that are attacked, and those that the honest client calls.
func (v *victim) setup(sys *actor.System) error {
	v.sys = sys
	of := func() target { return target{} }
	big := func(n int) *actor.Kind {
		all := bytes.Repeat([]byte{1}, n)
		return actor.Define(fmt.Sprintf("hostile.report%d", n), of, actor.Answer(func(target, *actor.Context, Report) ([]byte, error) { return all, nil }))
	}
	kinds := map[string]*actor.Kind{
		"echo": v.echo(),
		"relay": actor.Define("hostile.relay", of, actor.Answer(func(_ target, ctx *actor.Context, m Relay) (int, error) {
			v.echoed.Add(1)
			return actor.Call(ctx, sys.Ref("till@honest"), Echo{N: m.N})
		})),
		"slow": actor.Define("hostile.slow", of, actor.Handle(func(_ target, ctx *actor.Context, _ Nap) error { return nap(ctx) })),
		"fails": actor.Define("hostile.fails", of, actor.Answer(func(target, *actor.Context, Fail) (int, error) {
			return 0, errors.New(strings.Repeat("x", errorText))
		})),
		"reports": big(reportSize / v.Share),
		"pages":   big(pageSize),
		"lines":   big(lineSize),
		"panics": actor.Define("hostile.panics", of, actor.Handle(func(target, *actor.Context, Boom) error { panic("no") })).
			With(actor.Supervise(actor.Strategy{Window: time.Nanosecond})), // it is to panic often
		"mails": actor.QueueKind[Mail]("mails", queue.Config{Waiters: 4096 / v.Share}),
		"inside": actor.Define("hostile.inside", of, actor.Answer(func(target, *actor.Context, Inside) (Inner, error) {
			return v.inside()
		})),
	}
	for name, kind := range kinds {
		if _, err := sys.Spawn(name, kind); err != nil {
			return err
		}
	}
	if v.Peer != "" {
		for range 8 {
			go v.ask()
		}
	}
	return nil
}

// ask calls the hostile server all the time. The results do not matter.
func (v *victim) ask() {
	for to := v.sys.Ref("any@mallory"); ; time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, _ = actor.Call(ctx, to, Echo{})
		cancel()
		v.asked.Add(1)
	}
}

// echo is the actor that honest clients call. It is durable if there is a store.
func (v *victim) echo() *actor.Kind {
	k := actor.Define("hostile.echo", func() target { return target{} }, actor.Answer(func(_ target, _ *actor.Context, m Echo) (int, error) {
		v.echoed.Add(1)
		return m.N, nil
	}))
	if v.Kind == withStore {
		return k.With(actor.Durable())
	}
	return k
}

func (v *victim) inside() (Inner, error) {
	debug.FreeOSMemory()
	in := Inner{Echoed: int(v.echoed.Load()), Stats: v.sys.Stats(), Asked: int(v.asked.Load())}
	if v.bus != nil {
		in.Bus = v.bus.Stats()
	}
	in.Paused = longestPause()
	var err error
	_, in.RSS, err = memoryOf("self")
	return in, err
}

// longestPause returns about how long the longest stop of the process's goroutines was, from
// when they were asked to stop until they ran again.
func longestPause() (longest time.Duration) {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	for i, n := range h.Counts {
		if at := h.Buckets[i]; n > 0 && at > 0 {
			longest = time.Duration(at * float64(time.Second))
		}
	}
	return longest
}

// nap takes long, so that everything else waits.
func nap(ctx *actor.Context) error {
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
	}
	return nil
}

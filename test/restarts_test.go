package test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

var restartCount = flag.Int("restarts", 4, "graceful restarts for each set of roads and registry")

// Nodes are restarted gracefully under load, on real sockets and a real NATS server. No call to
// a service of two instances fails, and no call to an actor on one node is lost or has an
// unknown outcome.
func TestGracefulRestarts(t *testing.T) {
	for _, r := range []roads{direct, bus, direct | bus} {
		for _, kv := range []bool{false, true} {
			t.Run(fmt.Sprintf("roads %d, natskv %v", r, kv), func(t *testing.T) { gracefulRestarts(t, r, kv) })
		}
	}
}

// fleet starts the nodes of such a test, each of which has its own connection.
type fleet struct {
	t    *testing.T
	nats *embedded.Server
	r    roads
	kv   bool
	all  *static.Registry
	kind *actor.Kind
}

// deployed is a start of a node.
type deployed struct {
	*actor.System
	reg *natskv.Registry
	nc  *nats.Conn
}

func (f *fleet) start(name string, hosts bool) *deployed {
	f.t.Helper()
	nc, err := natsbus.Connect(f.t.Context(), f.nats.URL())
	if err != nil {
		f.t.Fatal(err)
	}
	d := &deployed{nc: nc}
	cfg := actor.Config{Name: name, Logger: slog.New(slog.DiscardHandler)}
	if f.r&direct != 0 {
		cfg.Transports = append(cfg.Transports, tcp.New(tcp.Config{Listen: "127.0.0.1:0"}))
	}
	if f.r&bus != 0 {
		cfg.Transports = append(cfg.Transports, natsbus.New(nc, natsbus.Config{}))
	}
	cfg.Registry = f.all
	if f.kv {
		js, err := jetstream.New(nc)
		if err == nil {
			d.reg, err = natskv.New(f.t.Context(), js, natskv.Config{})
		}
		if err != nil {
			f.t.Fatal(err)
		}
		cfg.Registry = d.reg
	}
	if hosts {
		cfg.Setup = func(sys *actor.System) error {
			_, err := sys.Spawn("own", f.kind)
			if err == nil {
				_, err = sys.Spawn("shared", f.kind, actor.Expose("counting"))
			}
			return err
		}
	}
	if d.System, err = actor.NewSystem(cfg); err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *fleet) stop(d *deployed) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := d.Shutdown(ctx); err != nil {
		f.t.Errorf("shutting %s down: %v", d.Name(), err)
	}
	if d.reg != nil {
		d.reg.Close()
	}
	d.nc.Close()
}

func gracefulRestarts(t *testing.T, r roads, kv bool) {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	tr := newTruth()
	f := &fleet{t: t, nats: srv, r: r, kv: kv, all: static.New(), kind: counterKind(tr)}
	a := f.start("a", false)
	nodes := map[string]*deployed{"b": f.start("b", true), "c": f.start("c", true)}
	const callers = 4
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var id, calls, failed, unknown atomic.Uint64
	var first sync.Once
	for i := range 2 * callers {
		to := a.Service("counting")
		if i >= callers {
			to = a.Ref("own@b")
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				op := id.Add(1)
				got, err := actor.Call(context.Background(), to, Op{ID: op})
				tr.check(t, op, got, err)
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					if rpc.Ran(err) == rpc.Unknown {
						unknown.Add(1)
					}
					first.Do(func() { t.Errorf("a call to %v: %v", to, err) })
				}
			}
		})
	}
	for calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for i := range *restartCount {
		name := []string{"b", "c"}[i%2]
		f.stop(nodes[name])
		nodes[name] = f.start(name, true)
		for came, until := calls.Load(), time.Now().Add(10*time.Second); calls.Load() < came+100 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d restarts, %d calls, %d failed, %d unknown", *restartCount, calls.Load(), failed.Load(), unknown.Load())
	for _, d := range []*deployed{a, nodes["b"], nodes["c"]} {
		f.stop(d)
	}
}

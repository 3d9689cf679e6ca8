package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The cluster that is observed: a node in the test's own process, "desk", which has the page, and others that are processes of their
// own, so that they can be killed. Their TCP road leads through a gate in the test's process, which can be closed.

type (
	greet struct {
		actor.Returns[string]
		Name string
	}
	parcel struct{ Text string }
	linger struct {
		actor.Returns[bool]
		For time.Duration
	}
)

func (greet) WireName() string  { return "observed.Greet" }
func (parcel) WireName() string { return "observed.Parcel" }
func (linger) WireName() string { return "observed.Linger" }

type greeter struct{}

func (greeter) greet(_ *actor.Context, m greet) (string, error) { return "hello " + m.Name, nil }
func (greeter) parcel(*actor.Context, parcel) error             { return nil }
func (greeter) linger(ctx *actor.Context, m linger) (bool, error) {
	select {
	case <-time.After(m.For):
	case <-ctx.Done():
	}
	return true, nil
}

var (
	greeterKind = actor.Define("observed.greeter", func() greeter { return greeter{} }, actor.Answer(greeter.greet), actor.Handle(greeter.parcel), actor.Answer(greeter.linger))
	parcelsKind = actor.QueueKind[parcel]("observed.parcels", queue.Config{Attempts: 1})
)

// Of a process that is a node.
const (
	envNode = "TANDEM_TEST_NODE"
	envNATS = "TANDEM_TEST_NATS"
	envGate = "TANDEM_TEST_GATE" // the address that others dial
	envPort = "TANDEM_TEST_PORT" // that it listens on
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envNode); name != "" {
		if err := beNode(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beNode is the life of a process that is a node. It ends when the test's process does.
func beNode(name string) error {
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the test
		end()
	}()
	cfg, leave, err := nodeConfig(ctx, name, os.Getenv(envNATS), tcp.Config{Listen: "127.0.0.1:" + os.Getenv(envPort), Advertise: os.Getenv(envGate)})
	if err != nil {
		return err
	}
	defer leave()
	cfg.Setup = func(sys *actor.System) error {
		_, err := sys.Spawn("greeter-"+name, greeterKind, actor.Expose("greeters"))
		_, errQueue := sys.Spawn("parcels", parcelsKind)
		return errors.Join(err, errQueue, openAdmin(sys))
	}
	return actor.Run(ctx, cfg)
}

// openAdmin lets everybody in: the test proves who is who by nothing.
func openAdmin(sys *actor.System) error {
	return admin.Open(sys, admin.Config{Operate: []string{transport.Anonymous}, Logger: slog.New(slog.DiscardHandler)})
}

func nodeConfig(ctx context.Context, name, url string, direct tcp.Config) (cfg actor.Config, leave func(), err error) {
	quiet := slog.New(slog.DiscardHandler)
	bus, err := natsbus.Connect(ctx, url)
	if err != nil {
		return cfg, nil, err
	}
	js, err := jetstream.New(bus)
	if err != nil {
		return cfg, nil, err
	}
	reg, err := natskv.New(ctx, js, natskv.Config{Cluster: "observed", Lease: 3 * time.Second, Logger: quiet})
	if err != nil {
		return cfg, nil, err
	}
	return actor.Config{Name: name, Cluster: "observed", Transports: []transport.Transport{tcp.New(direct), natsbus.New(bus, natsbus.Config{})}, Registry: reg, Logger: quiet},
		func() { reg.Close(); bus.Close() }, nil
}

// cluster is the desk, and processes.
type cluster struct {
	t     *testing.T
	nats  *embedded.Server
	desk  *actor.System
	procs map[string]*exec.Cmd
	gates map[string]*gate
}

// start starts a cluster. It ends with the test.
func start(t *testing.T, names ...string) *cluster {
	t.Helper()
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	c := &cluster{t: t, nats: srv, procs: map[string]*exec.Cmd{}, gates: map[string]*gate{}}
	for _, name := range names {
		c.start(name)
	}
	cfg, leave, err := nodeConfig(t.Context(), "desk", srv.URL(), tcp.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Setup = openAdmin
	if c.desk, err = actor.NewSystem(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the others are gone
		defer cancel()
		_ = c.desk.Shutdown(ctx)
		leave()
	})
	for _, name := range names {
		c.await(name)
	}
	return c
}

// await waits until a node answers the desk.
func (c *cluster) await(name string) {
	c.t.Helper()
	until := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		_, err := actor.Call(ctx, c.desk.Ref("greeter-"+name+"@"+name), greet{Name: "desk"})
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(until) {
			c.t.Fatalf("node %s: %v", name, err)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
}

// start starts a process.
func (c *cluster) start(name string) {
	c.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	g := newGate(c.t, "127.0.0.1:"+port)
	cmd := exec.CommandContext(c.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envNode+"="+name, envNATS+"="+c.nats.URL(), envPort+"="+port, envGate+"="+g.addr())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c.procs[name], c.gates[name] = cmd, g
}

// kill ends a process as kill -9 does.
func (c *cluster) kill(name string) {
	c.t.Helper()
	if err := c.procs[name].Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
}

// load keeps asking the service until the test ends, so that there is something to see.
func (c *cluster) load() {
	var asking sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _ = actor.Call(ctx, c.desk.Service("greeters"), greet{Name: "x"}, rpc.Idempotent())
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	c.t.Cleanup(func() { end(); asking.Wait() })
}

// gate forwards connections to an address, until it is closed.
type gate struct {
	l  net.Listener
	to string

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[net.Conn]bool
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, to: to, open: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { g.forward(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.set(true)
		serving.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.l.Addr().String() }

// set closes the gate, with all connections, or opens it for new ones.
func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed = closed; closed {
		for c := range g.open {
			c.Close()
		}
	}
}

// keep reports whether a connection may be; a closed gate closes it.
func (g *gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		c.Close()
		return false
	}
	g.open[c] = true
	return true
}

func (g *gate) forward(in net.Conn) {
	if !g.keep(in) {
		return
	}
	out, err := net.Dial("tcp", g.to)
	if err != nil {
		in.Close()
		return
	}
	if !g.keep(out) {
		in.Close()
		return
	}
	var both sync.WaitGroup
	for _, p := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(p[0], p[1])
			p[0].Close()
			p[1].Close()
		})
	}
	both.Wait()
	g.mu.Lock()
	delete(g.open, in)
	delete(g.open, out)
	g.mu.Unlock()
}

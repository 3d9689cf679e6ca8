// Package oncall is a cluster of processes for tests of what operators see: a node in the test's own process, "desk", and others that
// are processes of their own, so that they can be killed. Their TCP road leads through a gate in the test's process, which can be
// closed. It is for tests only, whose TestMain has to call Main.
package oncall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The messages of the actors.
type (
	Greet struct {
		actor.Returns[string]
		Name string
	}
	Parcel struct{ Text string }
	Linger struct { // its handler takes so long, or until a Release
		actor.Returns[bool]
		For time.Duration
	}
	Release struct{ actor.Returns[bool] } // to the actor releaser-NAME
)

func (Greet) WireName() string   { return "observed.Greet" }
func (Parcel) WireName() string  { return "observed.Parcel" }
func (Linger) WireName() string  { return "observed.Linger" }
func (Release) WireName() string { return "observed.Release" }

type greeter struct{ released chan struct{} }

func (greeter) greet(_ *actor.Context, m Greet) (string, error) { return "hello " + m.Name, nil }
func (greeter) parcel(*actor.Context, Parcel) error             { return nil }
func (g greeter) linger(ctx *actor.Context, m Linger) (bool, error) {
	select {
	case <-time.After(m.For):
	case <-g.released:
	case <-ctx.Done():
	}
	return true, nil
}

type releaser struct{ greeter }

func (r releaser) release(*actor.Context, Release) (bool, error) {
	r.released <- struct{}{}
	return true, nil
}

// GreeterKind is the kind of the actor greeter-NAME of each process NAME, an instance of the service greeters. Each also has a queue, parcels.
var (
	GreeterKind = greeterKind(nil)
	parcelsKind = actor.QueueKind[Parcel]("observed.parcels", queue.Config{Attempts: 1})
)

func greeterKind(released chan struct{}) *actor.Kind {
	return actor.Define("observed.greeter", func() greeter { return greeter{released} }, actor.Answer(greeter.greet), actor.Handle(greeter.parcel), actor.Answer(greeter.linger))
}

// Of a process that is a node.
const (
	envNode = "TANDEM_TEST_NODE"
	envNATS = "TANDEM_TEST_NATS"
	envGate = "TANDEM_TEST_GATE" // the address that others dial
	envPort = "TANDEM_TEST_PORT" // that it listens on
)

// Main runs the tests, or is a node if this process was started to be one.
func Main(m *testing.M) {
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
		released := make(chan struct{}, 16)
		_, err := sys.Spawn("greeter-"+name, greeterKind(released), actor.Expose("greeters"))
		_, errRelease := sys.Spawn("releaser-"+name, actor.Define("observed.releaser", func() releaser { return releaser{greeter{released}} }, actor.Answer(releaser.release)))
		_, errQueue := sys.Spawn("parcels", parcelsKind)
		return errors.Join(err, errRelease, errQueue, openAdmin(sys))
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return err
	}
	api, err := serveAdmin(ctx, sys, os.Getenv(envNATS))
	if err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(api.Close(context.Background()), sys.Shutdown(context.Background()))
}

// serveAdmin opens the admin actor of a system to plain NATS.
func serveAdmin(ctx context.Context, sys *actor.System, url string) (*natsapi.Server, error) {
	return natsadmin.Serve(ctx, sys, natsadmin.Config{Cluster: "observed", Logger: slog.New(slog.DiscardHandler), Connect: func(ctx context.Context) (*nats.Conn, error) { return nats.Connect(url) }})
}

// openAdmin lets everybody in: the test proves who is who by nothing.
func openAdmin(sys *actor.System) error {
	return admin.Open(sys, admin.Config{Operate: []string{transport.Anonymous, "nats:ann"}, Level: new(slog.LevelVar), Logger: slog.New(slog.DiscardHandler)})
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

// Cluster is the desk, and processes.
type Cluster struct {
	t     *testing.T
	NATS  *embedded.Server
	Desk  *actor.System // the test's own node
	procs map[string]*exec.Cmd
	Gates map[string]*Gate // by node
}

// Start starts a cluster. It ends with the test.
func Start(t *testing.T, names ...string) *Cluster {
	t.Helper()
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	c := &Cluster{t: t, NATS: srv, procs: map[string]*exec.Cmd{}, Gates: map[string]*Gate{}}
	for _, name := range names {
		c.Start(name)
	}
	cfg, leave, err := nodeConfig(t.Context(), "desk", srv.URL(), tcp.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Setup = openAdmin
	if c.Desk, err = actor.NewSystem(cfg); err != nil {
		t.Fatal(err)
	}
	api, err := serveAdmin(t.Context(), c.Desk, srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the others are gone
		defer cancel()
		_ = api.Close(ctx)
		_ = c.Desk.Shutdown(ctx)
		leave()
	})
	for _, name := range names {
		c.Await(name)
	}
	return c
}

// Await waits until a node answers the desk, and over NATS.
func (c *Cluster) Await(name string) {
	c.t.Helper()
	until := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		_, err := actor.Call(ctx, c.Desk.Ref("greeter-"+name+"@"+name), Greet{Name: "desk"})
		if err == nil {
			err = c.overNATS(ctx, name)
		}
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

// overNATS asks the admin actor of a node.
func (c *Cluster) overNATS(ctx context.Context, node string) error {
	nc, err := c.NATS.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	all, err := natsadmin.Connect(nc, natsadmin.Client{Cluster: "observed", User: "ann"})
	if err == nil {
		_, err = admin.Ask(ctx, all, node, admin.Node{})
	}
	return err
}

// Start starts a process, also one of a node that was killed.
func (c *Cluster) Start(name string) {
	c.t.Helper()
	port := strconv.Itoa(ports.Free())
	g := newGate(c.t, "127.0.0.1:"+port)
	cmd := exec.CommandContext(c.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envNode+"="+name, envNATS+"="+c.NATS.URL(), envPort+"="+port, envGate+"="+g.addr())
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
	c.procs[name], c.Gates[name] = cmd, g
}

// Kill ends a process as kill -9 does.
func (c *Cluster) Kill(name string) {
	c.t.Helper()
	if err := c.procs[name].Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
}

// Load keeps asking the service until the test ends, so that there is something to see.
func (c *Cluster) Load() {
	var asking sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _ = actor.Call(ctx, c.Desk.Service("greeters"), Greet{Name: "x"}, rpc.Idempotent())
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	c.t.Cleanup(func() { end(); asking.Wait() })
}

// Gate forwards connections to an address, until it is closed.
type Gate struct {
	l  net.Listener
	to string

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[net.Conn]bool
}

func newGate(t *testing.T, to string) *Gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{l: l, to: to, open: map[net.Conn]bool{}}
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
		g.Set(true)
		serving.Wait()
	})
	return g
}

func (g *Gate) addr() string { return g.l.Addr().String() }

// Set closes the gate, with all connections, or opens it for new ones.
func (g *Gate) Set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed = closed; closed {
		for c := range g.open {
			c.Close()
		}
	}
}

// keep reports whether a connection may be; a closed gate closes it.
func (g *Gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		c.Close()
		return false
	}
	g.open[c] = true
	return true
}

func (g *Gate) forward(in net.Conn) {
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

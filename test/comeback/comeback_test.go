// Package comeback checks that a node whose process has crashed gets its name back: at once if
// the crash can be proved, otherwise when its lease has run out, and never from a process that
// lives. The processes are real, and so is the NATS server.
package comeback

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// holdURL is the variable that makes this program a process that holds the name.
const holdURL = "TANDEM_COMEBACK_NATS"

func TestMain(m *testing.M) {
	if url := os.Getenv(holdURL); url != "" {
		hold(url)
		return
	}
	// Most tests wait for a lease, so more of them run in parallel than there are processors,
	// unless -parallel says otherwise.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	os.Exit(m.Run())
}

// hold runs the node until its standard input is closed.
func hold(url string) {
	lease, err := time.ParseDuration(os.Getenv("TANDEM_COMEBACK_LEASE"))
	check(err)
	nc, err := natsbus.Connect(context.Background(), url)
	check(err)
	js, err := jetstream.New(nc)
	check(err)
	reg, err := natskv.New(context.Background(), js, natskv.Config{Lease: lease})
	check(err)
	sys, err := actor.NewSystem(actor.Config{Name: "n", Registry: reg, Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
	check(err)
	fmt.Println(sys.Epoch())
	io.Copy(io.Discard, os.Stdin)
}

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// nats is a server and a client of its registry.
type nats struct {
	*testing.T
	srv   *embedded.Server
	js    jetstream.JetStream
	reg   *natskv.Registry
	lease time.Duration
}

func startNATS(t *testing.T, lease time.Duration) *nats {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := natskv.New(t.Context(), js, natskv.Config{Lease: lease, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	return &nats{t, srv, js, reg, lease}
}

// holder starts a process that holds the name.
func (n *nats) holder() (p *exec.Cmd, epoch string) {
	n.Helper()
	p = exec.Command(os.Args[0])
	p.Env = append(os.Environ(), holdURL+"="+n.srv.URL(), "TANDEM_COMEBACK_LEASE="+n.lease.String())
	if _, err := p.StdinPipe(); err != nil {
		n.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		n.Fatal(err)
	}
	if err := p.Start(); err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "failed") {
		n.Fatalf("the holder says %q, %v", line, err)
	}
	return p, strings.TrimSpace(line)
}

// log keeps what is logged.
type log struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// start starts the node in this process, and ends it when the test is over.
func (n *nats) start(wait time.Duration, road transport.Transport) (*log, error) {
	l := new(log)
	sys, err := actor.NewSystem(actor.Config{Name: "n", Registry: n.reg, StartWait: wait, Logger: slog.New(slog.NewTextHandler(l, nil)),
		Transports: []transport.Transport{road}})
	if err == nil {
		n.Cleanup(func() { sys.Shutdown(context.Background()) })
	}
	return l, err
}

func road() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }

func TestKilled(t *testing.T) {
	n := startNATS(t, natskv.DefaultLease)
	p, epoch := n.holder()
	if err := p.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	l, err := n.start(0, road())
	if err != nil {
		t.Fatal(err)
	}
	d := time.Since(killed)
	if d > time.Second {
		t.Errorf("it took %v", d)
	}
	t.Logf("from kill -9 to the same name registered: %v", d)
	if l.count("taken over from a process that is dead") != 1 {
		t.Errorf("logged:\n%s", l.text.String())
	}
	if past, err := n.reg.Departed(t.Context(), "n"); err != nil || past.Epoch != epoch || past.Change != registry.Left {
		t.Errorf("departed: %+v, %v", past, err)
	}
}

// A process that is stopped is not dead: its name is not taken from it.
func TestStopped(t *testing.T) {
	t.Parallel()
	n := startNATS(t, natskv.DefaultLease)
	p, epoch := n.holder()
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l, err := n.start(time.Second, road())
	if !errors.Is(err, registry.ErrTaken) {
		t.Errorf("got %v", err)
	}
	if l.count("still held by epoch "+epoch) != 1 {
		t.Errorf("logged:\n%s", l.text.String())
	}
	if got, err := n.reg.Lookup(t.Context(), "n"); err != nil || got.Epoch != epoch {
		t.Errorf("holder %v, %v", got.Epoch, err)
	}
}

// If a node is started a second time while the first process lives, the second start ends with
// an error when the first one has answered. The first one is not affected.
func TestAlive(t *testing.T) {
	t.Parallel()
	n := startNATS(t, 3*time.Second)
	_, epoch := n.holder()
	began := time.Now()
	if _, err := n.start(time.Minute, road()); !errors.Is(err, registry.ErrTaken) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	if got, err := n.reg.Lookup(t.Context(), "n"); err != nil || got.Epoch != epoch {
		t.Errorf("holder %v, %v", got.Epoch, err)
	}
}

// record is a claim of a node that does not answer any more.
func (n *nats) record(change func(*registry.Node)) {
	n.Helper()
	r := registry.Node{Name: "n", Epoch: "e1", Addrs: map[string]string{tcp.Road: "tandem.test:7420"}}
	if change != nil {
		change(&r)
	}
	if err := n.reg.Register(n.Context(), r); err != nil {
		n.Fatal(err)
	}
}

// elsewhere makes the holder's record one of a process on this machine, in another container.
func elsewhere(r *registry.Node) {
	p := *registry.Self()
	p.Namespace = "pid:[1]"
	r.Proof = &p
}

// If nothing can be proved, the node waits until the lease has run out.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	n := startNATS(t, 2*time.Second)
	n.record(nil)
	began := time.Now()
	l, err := n.start(0, road())
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < time.Second || d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	if l.count("waiting for its lease to run out") != 1 {
		t.Errorf("logged:\n%s", l.text.String())
	}
}

// named is a road whose address has a host name that leads to this process.
type named struct {
	transport.Transport
	name, at string
}

func (r *named) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	at, err := r.Transport.Start(ctx, local, accept)
	r.at = at
	return r.name, err
}

func (r *named) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	if to.Addr == r.name {
		to.Addr = r.at
	}
	return r.Transport.Dial(ctx, to, open)
}

// A container that was restarted answers at the address of the one that crashed.
func TestAddressAnswersAnew(t *testing.T) {
	n := startNATS(t, natskv.DefaultLease)
	n.record(elsewhere)
	began := time.Now()
	if _, err := n.start(0, &named{Transport: road(), name: "tandem.test:7420"}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("it took %v", d)
	}
}

// These look similar and prove nothing: an address on another machine, a loopback address of
// another container, and an address at which nobody answers.
func TestAddressProvesNothing(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*registry.Node)
		name   string
	}{
		"another machine": {func(r *registry.Node) { elsewhere(r); r.Proof.Boot = "another" }, "tandem.test:7420"},
		"no proof":        {nil, "tandem.test:7420"},
		"loopback":        {func(r *registry.Node) { elsewhere(r); r.Addrs[tcp.Road] = "127.0.0.1:7420" }, "127.0.0.1:7420"},
		"localhost":       {func(r *registry.Node) { elsewhere(r); r.Addrs[tcp.Road] = "localhost:7420" }, "localhost:7420"},
		"nobody answers":  {func(r *registry.Node) { elsewhere(r); r.Addrs[tcp.Road] = "tandem.invalid:7420" }, "tandem.test:7420"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := startNATS(t, natskv.DefaultLease)
			n.record(c.change)
			if _, err := n.start(time.Second, &named{Transport: road(), name: c.name}); !errors.Is(err, registry.ErrTaken) {
				t.Errorf("got %v", err)
			}
		})
	}
}

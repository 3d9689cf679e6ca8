package natskv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/gateway/bindtest"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, js natsjs.JetStream, cfg Config) *Bindings {
	t.Helper()
	cfg.Logger, cfg.StartWait = slog.New(slog.DiscardHandler), time.Minute
	b, err := Open(t.Context(), js, cfg)
	ok(t, err)
	return b
}

func binds(t testing.TB, b gateway.Bindings, name, address, want string) {
	t.Helper()
	if got, err := b.Bind(t.Context(), name, address); got != want || err != nil {
		t.Errorf("%s to %s: got %q, %v; want %s", name, address, got, err, want)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	clusters := 0
	bindtest.Run(t, bindtest.Config{Open: func(t *testing.T, life time.Duration) func() gateway.Bindings {
		clusters++
		cfg := Config{Cluster: fmt.Sprint("c", clusters), Life: life, Wait: time.Minute}
		return func() gateway.Bindings { return open(t, servers.Connect(t, s), cfg) }
	}})
}

// Bindings outlive the server. While it is away, nobody can tell.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	s := servers.Start(t, cfg)
	cfg.Port = s.Port()
	b := open(t, servers.Connect(t, s), Config{Wait: 50 * time.Millisecond})
	for err := error(nil); ; { // a busy machine may take longer than that
		if _, err = b.Bind(t.Context(), "x", "1"); err == nil {
			break
		}
	}
	s.Shutdown()
	began := time.Now()
	for _, name := range []string{"x", "y"} {
		if got, err := b.Bind(t.Context(), name, "2"); got != "" || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost) {
			t.Errorf("while the server is away: %q, %v", got, err)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	s = servers.Start(t, cfg)
	patient := open(t, servers.Connect(t, s), Config{Wait: time.Minute})
	binds(t, patient, "x", "3", "1")
	b.wait = time.Minute // its connection comes back by itself
	binds(t, b, "x", "4", "1")
}

// With three servers, bindings outlive any one of them.
func TestReplicated(t *testing.T) {
	t.Parallel()
	c := servers.Three(t)
	ctx := servers.Within(t, time.Minute)
	cfg := Config{Replicas: 3, Wait: time.Minute}
	binds(t, open(t, servers.Connect(t, c.Servers[0]), cfg), "x", "1", "1")
	leader := c.Leader(ctx, "KV_tandem_bindings")
	left := c.Servers[(leader+1)%3]
	b := open(t, servers.Connect(t, left), cfg)
	c.Stop(leader)
	binds(t, b, "x", "2", "1")
	binds(t, b, "y", "3", "3")
}

// With lost messages and answers, Bind finds out by itself what became of it.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	b := open(t, f, Config{Wait: time.Minute})
	for i, faults := range [][]servers.Fault{{servers.Lost}, {servers.AckLost}, {servers.Lost, servers.AckLost}, {servers.AckLost, servers.Lost}, {servers.Late},
		{servers.LateAgain}, {servers.Busy}, {servers.AckLost, servers.Busy}, {servers.InFlight}, {servers.AckLost, servers.InFlight}} {
		name := fmt.Sprint(i)
		f.Plan(faults...)
		binds(t, b, name, "1", "1")
		f.Plan(faults...)
		binds(t, b, name, "2", "1")
	}
}

// A bucket that an operator deletes does not begin anew, for then a request would run again at another instance.
func TestLost(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	b := open(t, js, Config{Wait: time.Minute})
	binds(t, b, "x", "1", "1")
	ok(t, js.DeleteStream(t.Context(), "KV_tandem_bindings"))
	for range 2 {
		if got, err := b.Bind(t.Context(), "x", "2"); got != "" || !errors.Is(err, ErrLost) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := Open(t.Context(), js, Config{}); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "stop all gateways") {
		t.Errorf("open: %v", err)
	}
	ok(t, js.DeleteStream(t.Context(), "tandem_bindings_made"))
	binds(t, open(t, js, Config{}), "x", "3", "3")
}

// What cannot be read is not overwritten, and nobody is sent anywhere.
func TestFormat(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	b := open(t, js, Config{Wait: time.Minute})
	for name, text := range map[string]string{"version": `{"v":2,"address":"a@b"}`, "empty": `{"v":1}`, "none": "", "text": "a@b"} {
		_, err := js.Publish(t.Context(), b.home.Subject(name), []byte(text))
		ok(t, err)
		if got, err := b.Bind(t.Context(), name, "1"); got != "" || !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	for _, bad := range []Config{{Cluster: "a.b"}, {Cluster: strings.Repeat("c", maxCluster+1)}, {Life: minLife - 1}, {Life: -1}, {Wait: -1}} {
		if _, err := Open(t.Context(), js, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	binds(t, open(t, js, Config{Cluster: strings.Repeat("c", maxCluster), Life: minLife + 1}), "x", "1", "1")
	if b := open(t, js, Config{Cluster: "d", Life: minLife + 1}); b.life != 2*time.Second {
		t.Errorf("a life of %v", b.life)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, js, Config{Cluster: "e"}); err == nil {
		t.Error("opened although ctx had ended")
	}
}

type greet struct{ actor.Returns[string] }

func (greet) WireName() string { return "bindings.Greet" }

// While the bindings are away, a gateway sends nothing, and says so.
func TestGatewaySendsNothingWithoutBindings(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	b := open(t, servers.Connect(t, s), Config{Wait: 10 * time.Second})
	ran := make(chan struct{}, 10)
	greeter := actor.Define("greeter", func() int { return 0 }, actor.Answer(func(int, *actor.Context, greet) (string, error) {
		ran <- struct{}{}
		return "hello", nil
	}))
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	ok(t, err)
	t.Cleanup(func() { ok(t, sys.Shutdown(context.WithoutCancel(t.Context()))) })
	_, err = sys.Spawn("g", greeter, actor.Expose("greeters"))
	ok(t, err)
	table, err := gateway.Config{Bindings: b}.New(sys, gateway.Service("greeters", greeter))
	ok(t, err)
	call, err := table.Find("greeters", "", "Greet")
	ok(t, err)
	for range 2 {
		a, err := call.Do(t.Context(), gateway.Request{Key: "k"})
		if string(a.Body) != `"hello"` || err != nil {
			t.Errorf("%s, %v", a.Body, err)
		}
	}
	s.Shutdown()
	b.wait = 20 * time.Millisecond
	if _, err := call.Do(t.Context(), gateway.Request{Key: "k"}); rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.NotRun || !errors.Is(err, ErrUnavailable) {
		t.Errorf("without bindings: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	b.wait = time.Minute
	if _, err := call.Do(ctx, gateway.Request{Key: "k"}); rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("when the time is over: %v", err)
	}
	if len(ran) != 1 {
		t.Errorf("it ran %d times", len(ran))
	}
}

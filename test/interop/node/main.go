// This program is one node of the tests in package interop. It does what it reads from its standard input, one order a line,
// and writes one answer a line to its standard output. It ends when its input does.
//
// It is compiled in the tree of another commit, too. So it uses only what that has as well.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	records "github.com/tandem-go/tandem/ledger/jetstream"
	claims "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/queue"
	items "github.com/tandem-go/tandem/queue/jetstream"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The limits of everything that this program does.
const (
	startLimit = 30 * time.Second
	orderLimit = 40 * time.Second
)

// role is what this process is to be. It comes as the argument, in JSON.
type role struct {
	Name    string
	URL     string // of the NATS server
	Roads   string // tcp, nats, or both
	Journal string // file to which a host adds the id of each request that runs; empty: this is no host
	Seed    int    // of the ids of a user's requests: no two users have the same
}

// order is what is to be done.
type order struct {
	Do   string
	Host string // node that is asked
	Text string
	N    int
}

// answer is what became of an order.
type answer struct {
	Err string `json:",omitempty"`
	Out any    `json:",omitempty"`
}

// node is this process.
type node struct {
	role
	sys  *actor.System
	bus  *nats.Conn
	jobs *items.Queue // of a host
	load *load        // of a user
}

func main() {
	n := new(node)
	out := json.NewEncoder(os.Stdout)
	if err := n.start(os.Args[1]); err != nil {
		_ = out.Encode(answer{Err: "start: " + err.Error()})
		os.Exit(1)
	}
	_ = out.Encode(answer{Out: "ready"})
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		err := json.Unmarshal(in.Bytes(), &o)
		var a answer
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), orderLimit)
			a.Out, err = n.do(ctx, o)
			cancel()
		}
		if err != nil {
			a.Err = err.Error()
		}
		_ = out.Encode(a)
	}
}

func (n *node) do(ctx context.Context, o order) (any, error) {
	switch o.Do {
	case "patterns":
		return n.patterns(ctx, o.Host), nil
	case "leave within ms":
		return nil, n.leave(time.Duration(o.N) * time.Millisecond)
	case "leave late": // the error says that not everything came to an end in time
		return fmt.Sprint(n.leave(time.Duration(o.N) * time.Millisecond)), nil
	case "keyed":
		return n.keyed(ctx, o.Host, o.Text, o.N)
	case "submit":
		return n.submit(ctx, o.Host, o.N)
	case "redeem":
		return n.redeem(ctx, o.Text)
	case "push":
		return nil, n.push(ctx, o.Host, o.N)
	case "pull":
		return n.pull(ctx, o.Host, o.N)
	case "done":
		return n.done(ctx)
	case "hold":
		return nil, n.hold(ctx, o.Host, o.N)
	case "load":
		n.load = n.newLoad(o.Host)
		return nil, nil
	case "rest":
		return n.load.rest(), nil
	}
	return nil, fmt.Errorf("an order that this build does not know: %q", o.Do)
}

func (n *node) start(text string) (err error) {
	if err := json.Unmarshal([]byte(text), &n.role); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if n.bus, err = natsbus.Connect(ctx, n.URL); err != nil {
		return err
	}
	js, err := jetstream.New(n.bus)
	if err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	cfg := actor.Config{Name: n.Name, Logger: logger, RPC: rpc.Limits{Heartbeat: 200 * time.Millisecond, SessionLease: 20 * time.Second}}
	reg, err := nodes.New(ctx, js, nodes.Config{Lease: 2 * time.Second, Logger: logger})
	if err != nil {
		return err
	}
	cfg.Registry = reg
	if n.Roads != "nats" {
		cfg.Transports = append(cfg.Transports, tcp.New(tcp.Config{Listen: "127.0.0.1:0"}))
	}
	if n.Roads != "tcp" {
		cfg.Transports = append(cfg.Transports, natsbus.New(n.bus, natsbus.Config{}))
	}
	if cfg.Claims, err = claims.Open(ctx, js, claims.Config{}); err != nil {
		return err
	}
	if cfg.States, err = states.Open(ctx, js, states.Config{}); err != nil {
		return err
	}
	if n.Journal != "" {
		if err := n.host(ctx, js, &cfg); err != nil {
			return err
		}
	}
	n.sys, err = actor.NewSystem(cfg)
	return err
}

// host makes the node one that is asked.
func (n *node) host(ctx context.Context, js jetstream.JetStream, cfg *actor.Config) (err error) {
	j, err := os.OpenFile(n.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cfg.Store = records.New(js, records.Config{})
	if n.jobs, err = items.Open(ctx, js, items.Config{Name: "jobs", Queue: queue.Config{Lease: 10 * time.Second}}); err != nil {
		return err
	}
	banks := actor.Define("interop.bank", func() *bank { return &bank{j} }, actor.Answer((*bank).deposit), actor.Answer((*bank).hold))
	vaults := actor.Define("interop.vault", func() *bank { return &bank{j} }, actor.Answer((*bank).deposit)).With(actor.Durable())
	cfg.Kinds = []*actor.Kind{accountKind, vaults}
	cfg.Setup = func(sys *actor.System) error {
		for name, kind := range map[string]*actor.Kind{"vault": vaults, "line": actor.QueueKind[Item]("interop.line", queue.Config{Lease: 10 * time.Second}),
			"jobs": actor.StoredQueueKind[Item]("interop.jobs", n.jobs), "all": allKind, "slow": banks} {
			if _, err := sys.Spawn(name, kind); err != nil {
				return err
			}
		}
		_, err := sys.Spawn("bank", banks, actor.Expose("banks"))
		return err
	}
	return nil
}

// leave ends the node in good order.
func (n *node) leave(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := n.sys.Shutdown(ctx)
	if n.jobs != nil {
		n.jobs.Close()
	}
	n.bus.Close()
	return err
}

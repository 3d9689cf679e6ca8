//go:build unix

package procs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	store "github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// role is what a child process is to be. It comes to it as JSON in the environment.
type role struct {
	Kind  string // nats, server, client; host, user; instance, asker, member; being; post; virtuals; stored, payer
	Name  string
	Who   who
	Life  uint16 // which start of it
	Dir   string // of the run
	Seed  uint64
	Cheat cheat

	Port, Route int      // nats: for clients, for the other nodes
	Routes      []string // nats: of all nodes

	Bus     []string        // where the NATS nodes are, in the order in which to try them
	BusOnly bool            // no traffic over TCP
	Nodes   []registry.Node // whom the process knows from the start
	Panics  bool            // some requests make their handler panic
	Records records         // what the servers keep beyond their death
	Service *service        // of the suites of a service's life
	Dies    *doom           // stored: when it is to kill itself
}

// cluster names the run's own: the system gives the port of a server that was killed to
// another run's soon, and clients that still look for it there must not be taken in.
func (r role) cluster() string {
	h := fnv.New64a()
	h.Write([]byte(r.Dir))
	return fmt.Sprintf("run-%x", h.Sum64())
}

// cheat is a rule to break on purpose, so that the judge can be seen to notice.
type cheat string

const (
	honest      cheat = ""
	idempotent  cheat = "every request may run twice, says its caller, which it may not"
	lying       cheat = "a caller that does not know says that it did not run"
	mute        cheat = "a caller keeps what it was told to itself"
	absentMinds cheat = "a server answers another question"
	dishonest   cheat = "in all patterns, lives, virtuals and stored actors: items vanish or are acked twice, jobs run twice, cuts are hushed up, producers go on, verdicts are lies"
)

// Names of nodes.
const (
	nodeA = "a" // the server under fault
	nodeB = "b"
)

const (
	roleEnv   = "TANDEM_PROCS_ROLE"
	maxLife   = 2 * time.Hour // of any child, should all else fail
	heartbeat = 100 * time.Millisecond
	lease     = 1500 * time.Millisecond // of a session
)

// What the referee may say, once each.
const (
	restOrder = "rest\n" // begin nothing new
	endOrder  = "end\n"
)

// play is a child's main. It returns once the referee has said "end".
func play(env string) error {
	var r role
	if err := json.Unmarshal([]byte(env), &r); err != nil {
		return err
	}
	time.AfterFunc(maxLife, func() { os.Exit(3) })
	rest, end := make(chan struct{}), make(chan struct{})
	go func() {
		orders := bufio.NewReader(os.Stdin)
		for {
			switch order, _ := orders.ReadString('\n'); order {
			case restOrder:
				close(rest)
			case endOrder:
				close(end)
			default:
				os.Exit(2) // the referee is gone
			}
		}
	}()
	switch r.Kind {
	case "nats":
		return r.nats(end)
	case "server":
		return r.serve(end)
	case "client":
		return r.ask(end)
	case "host":
		return r.host(end)
	case "user":
		return r.use(rest, end)
	case "instance":
		return r.serveService(end)
	case "asker":
		return r.askService(end)
	case "member":
		return r.join(end)
	case "post":
		return r.post(rest, end)
	case "being":
		return r.live(rest, end)
	case "virtuals":
		return r.hostVirtuals(rest, end)
	case "stored":
		return r.hostStored(end)
	case "payer":
		return r.pay(rest, end)
	}
	return fmt.Errorf("no such role: %q", r.Kind)
}

// ready tells the referee that the child is up, and what others need to know of it.
func ready(what string) { fmt.Println("ready " + what) }

// nats is one node of the NATS cluster.
func (r role) nats(end <-chan struct{}) error {
	cfg := embedded.Config{Port: r.Port, Name: r.Name, StoreDir: filepath.Join(r.Dir, r.Name)}
	if len(r.Routes) > 1 {
		cfg.Cluster = &embedded.ClusterConfig{Name: "procs", Port: r.Route, Routes: r.Routes}
		cfg.Configure = func(o *server.Options) { o.Cluster.NoAdvertise = true } // clients use the nodes that they were given
	}
	if r.Service != nil {
		cfg.Logger = r.logger()
	}
	s, err := embedded.Start(cfg)
	if err != nil {
		return err
	}
	defer s.Shutdown()
	together := func() bool {
		return s.Server().NumRemotes() >= len(r.Routes)-1 && (r.Records != inStore || s.Server().JetStreamIsCurrent())
	}
	for r.Service == nil && !together() { // in the suites of a service's life nobody waits for that
		time.Sleep(2 * time.Millisecond)
	}
	ready(strconv.Itoa(s.Port()))
	<-end
	return nil
}

// system starts a Tandem node on both roads, which knows kinds of actors, and returns where it listens. The caller
// closes the connection after the system's end.
func (r role) system(kinds []*actor.Kind) (sys *actor.System, nc *nats.Conn, addr string, err error) {
	moves, err := openJournal(r.Dir, movesFile)
	if err != nil {
		return nil, nil, "", err
	}
	connected := func(nc *nats.Conn) {
		if _, port, ok := strings.Cut(nc.ConnectedAddr(), ":"); ok {
			n, _ := strconv.ParseUint(port, 10, 64)
			moves.put(record{sort: bus, who: r.Who, life: r.Life, aux: n})
		}
	}
	nc, err = natsbus.Connect(context.Background(), strings.Join(r.Bus, ","), nats.DontRandomize(), nats.IgnoreDiscoveredServers(), nats.Timeout(time.Second),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond), nats.ReconnectHandler(connected))
	if err != nil {
		return nil, nil, "", err
	}
	connected(nc)
	direct := tcp.New(tcp.Config{Listen: "127.0.0.1:0", HandshakeTimeout: time.Second})
	policy := rpc.DirectFirst
	if r.BusOnly {
		policy = rpc.BusOnly
	}
	cfg := actor.Config{
		Cluster:    r.cluster(),
		Name:       r.Name,
		Transports: []transport.Transport{direct, natsbus.New(nc, natsbus.Config{OpenTimeout: 2 * time.Second})},
		Registry:   static.New(r.Nodes...),
		Roads:      policy,
		Kinds:      kinds,
		Tokens:     1 << 20,
		Logger:     slog.New(slog.DiscardHandler),
		RPC:        rpc.Limits{Heartbeat: heartbeat, SessionLease: lease},
	}
	if r.Records == inStore && kinds != nil {
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, nil, "", err
		}
		cfg.Store = store.New(js, store.Config{Replicas: 3})
	}
	if sys, err = actor.NewSystem(cfg); err != nil {
		nc.Close()
		return nil, nil, "", err
	}
	go func() {
		for e := range sys.Events(context.Background(), rpc.RoadChanged) {
			if e.Peer == nodeA {
				moves.put(record{sort: road, who: r.Who, life: r.Life, at: e.Time.UnixNano(), aux: roads[e.Road]})
			}
		}
	}()
	return sys, nc, direct.Addr().String(), nil
}

// leave ends a system in good order.
func leave(sys *actor.System, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := sys.Shutdown(ctx)
	nc.Close()
	return err
}

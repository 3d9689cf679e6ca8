//go:build unix

package procs

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	store "github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/mailbox"
	queues "github.com/tandem-go/tandem/queue/jetstream"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// service is what a process does in the suites of a service's life. All settings that are
// not named here are the defaults: the limits are meant for what users run.
type service struct {
	KV        bool          // the nodes find each other in NATS; otherwise by the list in role.Nodes
	Lease     time.Duration // of their names there; 0: the default
	Road      string        // the only road; empty: both
	Listen    string        // address for TCP; empty: any free port
	Advertise string        // address that others are given for it

	Name    string        // of the service that an instance exposes its actor as; empty: none
	Work    time.Duration // that a request takes there
	Refuses bool          // it is busy with something else for good, and its mailbox refuses

	Callers int
	Solo    string        // address of an actor that a third of the calls go to, or all of them if there is no service
	Pause   time.Duration // mean pause of a caller between two calls
	Within  time.Duration // deadline of a call

	Others []string // members: the nodes that each one calls before it says that it is ready
}

// actorName is the name of the actor of an instance.
const actorName = "worker"

// Ask is a request in these suites.
type Ask struct {
	actor.Returns[Done]
	ID uint64
}

// Busy keeps an actor from its other work.
type Busy struct{}

// instance is the actor of an instance.
type instance struct {
	role    role
	journal journal
	end     <-chan struct{}
	began   chan struct{} // a token when it has begun to be busy
}

func (i *instance) ask(_ *actor.Context, m Ask) (Done, error) {
	i.journal.put(record{sort: ran, who: i.role.Who, life: i.role.Life, op: m.ID})
	if w := i.role.Service.Work; w > 0 {
		time.Sleep(w)
	}
	return Done{m.ID}, nil
}

func (i *instance) busy(*actor.Context, Busy) error {
	i.began <- struct{}{}
	<-i.end
	return nil
}

// bus connects to NATS, as an application would.
func (r role) bus() (*nats.Conn, jetstream.JetStream, error) {
	nc, err := natsbus.Connect(context.Background(), strings.Join(r.Bus, ","), nats.Name(r.Name))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

// config is what all nodes of these suites have in common. done ends what it has opened.
func (r role) config(log *slog.Logger) (cfg actor.Config, done func(), err error) {
	cfg = actor.Config{Cluster: r.cluster(), Name: r.Name, Logger: log}
	done = func() {}
	s := r.Service
	if s.Road != "nats" {
		listen := s.Listen
		if listen == "" {
			listen = "127.0.0.1:0"
		}
		cfg.Transports = append(cfg.Transports, tcp.New(tcp.Config{Listen: listen, Advertise: s.Advertise}))
	}
	if s.Road == "tcp" && !s.KV {
		cfg.Registry = static.New(r.Nodes...)
		return cfg, done, nil
	}
	nc, js, err := r.bus()
	if err != nil {
		return cfg, done, err
	}
	done = nc.Close
	if s.Road != "tcp" {
		cfg.Transports = append([]transport.Transport{}, append(cfg.Transports, natsbus.New(nc, natsbus.Config{}))...)
	}
	if !s.KV {
		cfg.Registry = static.New(r.Nodes...)
		return cfg, done, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	reg, err := natskv.New(ctx, js, natskv.Config{Cluster: r.cluster(), Lease: s.Lease, Replicas: min(len(r.Bus), 3), Logger: log})
	if err != nil {
		nc.Close()
		return cfg, done, err
	}
	cfg.Registry = reg
	done = func() { reg.Close(); nc.Close() }
	return cfg, done, nil
}

// logger writes what an operator would read to the child's log.
func (r role) logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

// serveService is an instance of a service.
func (r role) serveService(end <-chan struct{}) error {
	j, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	cfg, done, err := r.config(r.logger())
	if err != nil {
		return err
	}
	defer done()
	i := &instance{r, j, end, make(chan struct{}, 2)}
	kind := actor.Define("procs.instance", func() *instance { return i }, actor.Answer((*instance).ask), actor.Handle((*instance).busy))
	var opts []actor.SpawnOption
	if r.Service.Name != "" {
		opts = append(opts, actor.Expose(r.Service.Name))
	}
	if r.Service.Refuses {
		opts = append(opts, actor.Mailbox(mailbox.Config{Capacity: 1, Policy: mailbox.Refuse}))
	}
	cfg.Setup = func(sys *actor.System) error {
		ref, err := sys.Spawn(actorName, kind, opts...)
		if err != nil || !r.Service.Refuses {
			return err
		}
		if err := actor.Tell(context.Background(), ref, Busy{}); err != nil {
			return err
		}
		<-i.began
		return actor.Tell(context.Background(), ref, Busy{}) // which fills the mailbox
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return err
	}
	ready("")
	<-end
	return shut(sys)
}

func shut(sys *actor.System) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return sys.Shutdown(ctx)
}

// askService is a client: callers that ask until it is to end.
func (r role) askService(end <-chan struct{}) error {
	j, err := openJournal(r.Dir, askedFile)
	if err != nil {
		return err
	}
	cfg, done, err := r.config(r.logger())
	if err != nil {
		return err
	}
	defer done()
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return err
	}
	ready("")
	var all sync.WaitGroup
	for i := range r.Service.Callers {
		all.Go(func() { r.callService(sys, j, uint16(i), end) })
	}
	all.Wait()
	return shut(sys)
}

func (r role) callService(sys *actor.System, j journal, no uint16, end <-chan struct{}) {
	for n := uint32(1); ; n++ {
		select {
		case <-end:
			return
		case <-time.After(r.Service.Pause):
		}
		id, to, ref := opID(r.Life, no, n), anyone, sys.Service(r.Service.Name)
		if r.Service.Solo != "" && (n%3 == 0 || r.Service.Name == "") {
			to, ref = serverA, sys.Ref(r.Service.Solo)
		}
		ctx, cancel := context.WithTimeout(context.Background(), r.Service.Within)
		j.put(record{sort: asked, who: to, life: r.Life, op: id, aux: uint64(time.Now().Add(r.Service.Within).UnixNano())})
		reply, err := actor.Call(ctx, ref, Ask{ID: id})
		cancel()
		j.put(record{sort: told, who: to, life: r.Life, op: id, verdict: rpc.Ran(err), code: rpc.CodeOf(err), aux: reply.ID})
		if err != nil {
			r.logger().Error("a call failed", "op", id, "solo", to == serverA, "err", err)
		}
	}
}

// join is a process that opens all that a service may need, hosts an instance, and calls
// those of all others. It knows no order in which things start.
func (r role) join(end <-chan struct{}) error {
	log := r.logger()
	cfg, done, err := r.config(log)
	if err != nil {
		return err
	}
	defer done()
	nc, js, err := r.bus()
	if err != nil {
		return err
	}
	defer nc.Close()
	cfg.Store = store.New(js, store.Config{Cluster: r.cluster(), Replicas: 3})
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	jobs, err := queues.Open(ctx, js, queues.Config{Name: "jobs", Cluster: r.cluster(), Replicas: 3, Logger: log})
	if err != nil {
		return err
	}
	defer jobs.Close()
	kind := actor.Define("procs.member", func() *instance { return &instance{role: r, end: end} }, actor.Answer((*instance).hello)).With(actor.Durable())
	cfg.Kinds = []*actor.Kind{kind}
	cfg.Setup = func(sys *actor.System) error {
		if _, err := sys.Spawn(actorName, kind, actor.Expose(crew)); err != nil {
			return err
		}
		_, err := sys.Spawn("jobs", actor.StoredQueueKind[Ask]("procs.jobs", jobs))
		return err
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return err
	}
	for _, other := range r.Service.Others {
		for { // a peer that has not come yet is not known
			_, err := actor.Call(ctx, sys.Ref(actorName+"@"+other), Hello{})
			if err == nil {
				break
			}
			log.Info("a peer does not answer yet", "peer", other, "err", err)
			if ctx.Err() != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	ready("")
	<-end
	return shut(sys)
}

// Hello asks whether anybody is there.
type Hello struct{ actor.Returns[string] }

func (i *instance) hello(*actor.Context, Hello) (string, error) { return i.role.Name, nil }

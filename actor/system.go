package actor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// Defaults of Config.
const (
	DefaultCluster   = "tandem"
	DefaultTimeout   = 30 * time.Second // of a call whose context has no deadline
	DefaultSendWait  = 5 * time.Second  // of a handler for room in a mailbox
	DefaultStartWait = 30 * time.Second // of NewSystem for transports and registry; longer than a lease of natskv, for a name that a crashed process holds
	DefaultLinger    = 5 * time.Second  // of Shutdown for the acks of replies it has given
	DefaultShutdown  = 30 * time.Second // of Shutdown for everything, if its context has no deadline
)

// Config describes a system. Its zero value, with a Name, is one that talks to no
// other node.
type Config struct {
	Name       string                // the node's name, unique in the cluster; empty only without Transports: "local"
	Cluster    string                // default "tandem"
	Transports []transport.Transport // roads to other nodes; they need a Registry
	Registry   registry.Registry
	Roads      rpc.RoadPolicy            // default rpc.DirectFirst
	Kinds      []*Kind                   // what KindNamed can name
	Version    string                    // of the program, for others to see in the registry
	Zone       string                    // where the node runs: a rack, a data centre; likewise
	Weight     int                       // of its instances of services beside those of other nodes; default 1
	Balance    map[string]balance.Policy // how an instance is chosen, by service; default balance.LeastLoaded

	// Setup spawns what the node hosts, and whatever else must be there before it serves.
	// NewSystem calls it when everything is up: the name is claimed, roads lead to other
	// nodes; and no request of theirs is answered before it returns. An error ends the
	// start. nil: there is nothing to set up.
	Setup func(*System) error

	// CopyLocal is for tests and development: each message and each outcome within the
	// system is encoded and decoded, as if it had come from another node, so that nothing is
	// shared by accident. What would fail between nodes fails with the same error: what a
	// codec cannot carry, a type of package main without a WireName, a message that a
	// Receiver's kind does not accept. Unexported fields are lost, refs come unbound, and of
	// an error's cause there is the text. It costs what encoding, decoding and the memory for
	// both cost, for every message; without it, it costs nothing.
	//
	// What never leaves its actor is as it was: what a handler in its turn sends to its own
	// actor, unless with Context.Detached, and what Pipe brings back.
	CopyLocal bool

	Logger *slog.Logger  // default slog.Default
	Store  dedup.Store   // of the records of Durable kinds
	Codec  codec.Codec   // of outgoing messages; default msgpack
	Codecs []codec.Codec // further ones to understand, beside msgpack, JSON and raw
	Limits codec.Limits  // of decoding; the length of a body is by default for rpc.Config.MaxBody to bound

	Timeout      time.Duration // of a call whose context has no deadline; default 30 s
	SendWait     time.Duration // of a handler for room in a mailbox; default 5 s
	StartWait    time.Duration // of NewSystem for transports, registry and store; default 30 s
	Linger       time.Duration // of Shutdown for acks; default 5 s
	ShutdownWait time.Duration // of Shutdown for everything, if its context has no deadline; default 30 s
	Tokens       int           // of jobs, for each principal; default 1,024
	ResultBytes  int           // of the results of jobs from other nodes; default 256 MiB, of one principal a quarter
	TokenLife    time.Duration // of a job's result; default 10 min
	Retry        rpc.Retry     // when a request to another node that did not run is made anew

	// Principals is who a peer is, with one name on all roads, which is what tokens, keys,
	// streams and sessions belong to. It is called once for each link. Default:
	// rpc.PrincipalOf, by which a node whose certificate and NATS user have its name is the
	// same on both roads.
	Principals func(road string, peer transport.Peer) string

	// Principal is what peers know this node by, as their Principals has it ("tls:shop"); it
	// goes into the node's record, and only who proves it is reached as this node. Empty: who
	// proves to have the node's name, and, on roads that prove no names, everybody.
	Principal string

	// Access is who of other nodes may do what, see SetAccess. Zero: everybody everything.
	Access access.Rules
	// PanicTexts has callers on other nodes get the text of a panic, which may hold data of
	// others. It is for development; without it they learn that the handler panicked.
	PanicTexts bool

	Tune func(*rpc.Config) // the limits of the remote side, before it starts; nil: defaults
}

// validate fills in defaults and returns everything that is wrong, joined.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("actor: "+format, args...)) }
	if c.Name == "" && len(c.Transports) == 0 {
		c.Name = "local"
	}
	if c.Cluster == "" {
		c.Cluster = DefaultCluster
	}
	for what, name := range map[string]string{"Config.Name": c.Name, "Config.Cluster": c.Cluster} {
		if err := transport.ValidName(what, name); err != nil {
			errs = append(errs, err)
		}
	}
	if len(c.Transports) > 0 && c.Registry == nil {
		bad("Config.Transports without Config.Registry: nobody would find anybody (static.New() serves a fixed list)")
	}
	if len(c.Transports) == 0 && c.Registry != nil {
		bad("Config.Registry without Config.Transports: there is no road to take")
	}
	roads := map[string]bool{}
	for i, t := range c.Transports {
		switch {
		case t == nil:
			bad("Config.Transports[%d] is nil", i)
		case roads[t.Road()]:
			bad("Config.Transports: two roads named %q", t.Road())
		default:
			roads[t.Road()] = true
		}
	}
	if !c.Roads.Valid() {
		bad("Config.Roads: no such policy: %d", c.Roads)
	}
	kinds := map[string]bool{}
	for i, k := range c.Kinds {
		switch {
		case k == nil:
			bad("Config.Kinds[%d] is nil", i)
		case k.byName:
			bad("Config.Kinds[%d] is KindNamed(%q): it needs the kind itself", i, k.name)
		case kinds[k.name]:
			bad("Config.Kinds: two kinds named %q", k.name)
		default:
			kinds[k.name] = true
		}
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{{"Timeout", &c.Timeout, DefaultTimeout}, {"SendWait", &c.SendWait, DefaultSendWait}, {"Linger", &c.Linger, DefaultLinger}, {"ShutdownWait", &c.ShutdownWait, DefaultShutdown}, {"StartWait", &c.StartWait, DefaultStartWait}, {"TokenLife", &c.TokenLife, DefaultTokenLife}} {
		if *d.v < 0 {
			bad("Config.%s is negative: %v", d.name, *d.v)
		} else if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Weight < 0 || c.Weight > registry.MaxWeight {
		bad("Config.Weight is %d: want 0 to %d", c.Weight, registry.MaxWeight)
	}
	if c.ResultBytes < 0 {
		bad("Config.ResultBytes is negative: %d", c.ResultBytes)
	} else if c.ResultBytes == 0 {
		c.ResultBytes = DefaultResultBytes
	}
	if c.Tokens < 0 {
		bad("Config.Tokens is negative: %d", c.Tokens)
	} else if c.Tokens == 0 {
		c.Tokens = DefaultTokens
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Limits.Body <= 0 && c.Limits.Bytes <= 0 {
		c.Limits.Body = math.MaxInt32
	}
	if c.Codec == nil {
		c.Codec = codec.Msgpack(c.Limits)
	}
	return errors.Join(errs...)
}

// System is one node: the actors that live in a process, and its roads to the other
// nodes of the cluster. Several may live in one process. All methods may be called
// concurrently.
type System struct {
	cfg      Config
	epoch    string
	log      *slog.Logger
	types    typeTable
	codecs   *codec.Set
	control  codec.Codec // of what the system's own actors are sent: msgpack
	kinds    map[string]*Kind
	refs     refTable
	node     *rpc.Node
	started  sync.Once // the node, if nothing needed it from the start
	members  *members
	services services
	workers  workers
	waiters  rpc.Waiters
	timers   timers
	stats    counters
	events   feed[Event]
	letters  feed[DeadLetter]
	changes  lineLimit                   // of links and peers; owned by the goroutine that reports the node's events
	sums     letterLog                   // of dead letters
	faults   letterLog                   // of handlers
	audit    letterLog                   // of refusals
	access   atomic.Pointer[access.List] // nil: everybody may do everything
	streams  streamTable
	jobs     jobTable

	allKindTypes sync.Map                       // *Kind → *kindTypes
	kindTypes    [256]atomic.Pointer[kindTypes] // some of them, by where their kinds lie: much quicker

	ctx     context.Context // parent of all handlers' contexts
	cancel  context.CancelCauseFunc
	lines   lines
	life    life
	loops   loops
	fence   sync.Once
	quiet   chan struct{} // a token when busy fell to 0 while draining
	down    chan struct{} // closed when Shutdown is over
	downErr error         // its result, set before down is closed
	endErr  error         // see Err, likewise

	_     [64]byte      // a cache line: what is above is read all the time
	busy  atomic.Int64  // actors with a run loop, which changes all the time
	waits atomic.Uint64 // the latest number of a wait, see turn; from a random one on
	_     [64]byte
}

// refTable finds targets by address; see ref.go.
type refTable struct {
	seed   maphash.Seed
	recent [64]atomic.Pointer[target] // of live, by hash: spares most messages the lock

	mu     sync.RWMutex // guards what follows
	actors map[string]*target
	gone   map[*cell]chan struct{} // closed when the actor has left; only for those that are waited for
	closed bool                    // none may begin any more
	unseen int                     // of actors: the system's own, and those that are still being made
	weak   map[address]weak.Pointer[target]
}

// NewSystem starts a system. It claims its name in the registry, takes over the records of
// earlier starts, opens its roads and calls Config.Setup; then other nodes see it, and it
// serves them. An error lists everything that is wrong with cfg, or says what could not be
// started: nothing is left behind then, and another process that has the name is not
// disturbed.
func NewSystem(cfg Config) (*System, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &System{cfg: cfg, epoch: uuid.NewString(), log: cfg.Logger.With("node", cfg.Name), kinds: map[string]*Kind{},
		refs:  refTable{seed: maphash.MakeSeed(), actors: map[string]*target{}, gone: map[*cell]chan struct{}{}, weak: map[address]weak.Pointer[target]{}},
		quiet: make(chan struct{}, 1), down: make(chan struct{}), changes: lineLimit{}}
	if s.life.minds = draining; cfg.CopyLocal {
		s.life.minds = joining
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.startLogs()
	s.waits.Store(rand.Uint64())
	s.members = newMembers(s)
	s.services.init(s)
	s.jobs.init(s)
	var err error
	if s.codecs, err = codecSet(cfg); err != nil {
		return nil, err
	}
	if s.control, err = s.codecs.ByID(codec.IDMsgpack); err != nil {
		return nil, err
	}
	for _, k := range cfg.Kinds {
		s.kinds[k.name] = k
		for _, err := range s.checkKind(k) {
			if len(cfg.Transports) > 0 {
				s.log.Warn("a message or reply of this kind cannot travel between nodes", "kind", k.name, "err", err)
			}
		}
	}
	if err := s.SetAccess(cfg.Access); err != nil {
		return nil, err
	}
	s.node = s.newNode()
	if _, err := s.spawnHidden(jobDeskName, jobDeskKind); err != nil {
		return nil, err
	}
	start := s.join
	if len(cfg.Transports) == 0 && cfg.Store == nil {
		start = s.setUp
	}
	if err := start(); err != nil {
		return nil, s.abandon(err)
	}
	return s, nil
}

// codecSet is what a system understands: the three standard ones and the user's own.
func codecSet(cfg Config) (*codec.Set, error) {
	all := map[uint8]codec.Codec{}
	for _, c := range []codec.Codec{codec.Msgpack(cfg.Limits), codec.JSON(cfg.Limits), codec.Raw(cfg.Limits), cfg.Codec} {
		all[c.ID()] = c
	}
	var list []codec.Codec
	for _, own := range cfg.Codecs { // one that is given twice is no clash
		if !slices.ContainsFunc(list, func(c codec.Codec) bool { return sameCodec(c, own) }) {
			list = append(list, own)
		}
	}
	for id, c := range all {
		for _, own := range list {
			if own.ID() == id && !sameCodec(own, c) {
				return nil, fmt.Errorf("actor: Config.Codecs: %s has the id of %s", own.Name(), c.Name())
			}
		}
		list = append(slices.DeleteFunc(list, func(own codec.Codec) bool { return own.ID() == id }), c)
	}
	for i, c := range list {
		list[i] = codec.Guarded(c)
	}
	return codec.NewSet(list...)
}

// Name is the node's name, Epoch the random id of this start of it.
func (s *System) Name() string  { return s.cfg.Name }
func (s *System) Epoch() string { return s.epoch }

// Stop ends an actor of this system after the message it is handling. What waits in
// its mailbox is handed back: requests as Unavailable, tells as dead letters. An
// actor that does not live here is none of its business.
func (s *System) Stop(r Ref) {
	if r.Node() != s.cfg.Name {
		return
	}
	if c := s.refs.live(r.Name()); c != nil {
		c.stop()
	}
}

// StopAndWait is Stop, and returns when the actor has gone: its last handler has
// returned, it is no instance of a service any more, and its name is free. If ctx ends
// first the actor goes on stopping, and the error says so. An actor cannot wait for its
// own end: that is Invalid, and does not stop it.
func (s *System) StopAndWait(ctx context.Context, r Ref) error {
	if r.Node() != s.cfg.Name {
		return nil
	}
	c := s.refs.live(r.Name())
	if c == nil {
		return nil
	}
	if handling(ctx).isIn(c) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v waits for its own end", c.self.addr)
	}
	gone := s.refs.whenGone(c)
	c.stop()
	select {
	case <-gone:
		return nil
	default:
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return rpc.FromContext(ctx, rpc.Unknown)
	}
}

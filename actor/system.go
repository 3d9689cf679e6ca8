package actor

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/internal/engine"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// System is one node: its actors, and its roads to the other nodes of the cluster. A process
// may have several systems. All methods may be called concurrently.
type System struct {
	cfg       Config
	epoch     string
	log       *slog.Logger
	refs      refTable
	services  services
	mirrored  mirrorCounts
	virtuals  virtuals
	names     requestNames                // of requests to stored actors
	topics    topicTable                  // of this node's actors
	farTopics farTopics                   // of other nodes
	access    atomic.Pointer[access.List] // nil: everybody may do everything
	admission admissions
	retry     atomic.Pointer[rpc.Retry] // of requests that have none of their own

	systemTypes
	systemNode
	systemWork
	systemReports
	systemLife
	systemTopics
	systemLoad
}

// systemTypes is what a system knows about the types of messages, and how they are encoded.
type systemTypes struct {
	types   typeTable
	codecs  *codec.Set
	control codec.Codec // for messages to actors that are internal to the system: msgpack
	kinds   map[string]*Kind

	compacts compacts

	allKindTypes sync.Map                       // *Kind → *kindTypes
	poolKinds    sync.Map                       // *Kind → the *Kind of pools of it
	wrappedKinds sync.Map                       // *Kind → *Kind, see System.intercepted
	kindTypes    [256]atomic.Pointer[kindTypes] // a cache of allKindTypes, indexed by the address of the kind
}

// systemNode is the way to other nodes.
type systemNode struct {
	node    *engine.Node
	started sync.Once // starts the node of a system without transports when it is first needed
	members *members
	far     farNodes
	keeps   followers
}

// systemWork is what runs and what waits.
type systemWork struct {
	workers   workers
	clock     clock
	trail     *trail.Trail // what became of requests to and from other nodes; nil: nothing is noted
	waiters   promise.Waiters
	asks      asks
	waitLists waitLists
	streams   streamTable
	jobs      jobTable
	outbox    outboxes
	reminding reminding
	loops     loops
}

// systemReports is what users and operators learn of a system.
type systemReports struct {
	stats     counters
	events    subscribers[Event]
	letters   subscribers[DeadLetter]
	kept      keptLetters
	changes   lineLimit  // limits the log lines about links and peers; only the goroutine that reports the node's events uses it
	letterLog summaryLog // logs dead letters
	faults    summaryLog // logs failures of handlers
	audit     summaryLog // logs refusals
}

// systemLife is how far a system has come, and how it ended.
type systemLife struct {
	life    life
	ctx     context.Context // parent of all handlers' contexts
	cancel  context.CancelCauseFunc
	fence   sync.Once
	quiet   chan struct{}             // gets a token when busy falls to 0 while draining
	endBy   atomic.Pointer[time.Time] // the deadline of Shutdown; set before it drains
	down    chan struct{}             // closed when the system has ended
	downErr error                     // the result of Shutdown; set before down is closed
	endErr  error                     // the result of Err; set before down is closed
}

// systemLoad is what changes with nearly every message. It is a cache line away from what is read
// with nearly every message.
type systemLoad struct {
	_     [64]byte
	busy  atomic.Int64  // how many run loops, deferred answers, streams and the like a shutdown has to wait for
	waits atomic.Uint64 // the latest number of a wait, see turn; it starts at random
	_     [64]byte
}

// refTable finds targets by address; see ref.go.
type refTable struct {
	seed   maphash.Seed
	recent [64]atomic.Pointer[target] // a cache for live, indexed by a hash of the name: most messages need no lock

	mu      sync.RWMutex // guards what follows
	actors  map[string]*target
	changed map[*target]chan struct{} // closed when the actor has ended, or the one that is being made has begun; only for names that somebody waits for
	closed  bool                      // no actor may start any more
	unseen  int                       // how many of actors Stats does not count: internal ones, and those that are still being made
	weak    map[address]weak.Pointer[target]
}

// NewSystem starts a system. It claims its name in the registry, takes over the records of
// earlier starts, opens its roads and calls Config.Setup; after that other nodes see it, and it
// serves them. An error wraps ErrConfig and lists everything that is wrong with cfg, or says what could not be
// started. After an error nothing is left behind, and another process that has the name was
// not disturbed.
func NewSystem(cfg Config) (*System, error) { return newSystem(context.Background(), cfg) }

// newSystem is NewSystem, until ctx ends.
func newSystem(ctx context.Context, cfg Config) (*System, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := &System{cfg: cfg, epoch: uuid.NewString(), log: cfg.Logger.With("node", cfg.Name),
		refs: refTable{seed: maphash.MakeSeed(), actors: map[string]*target{}, changed: map[*target]chan struct{}{}, weak: map[address]weak.Pointer[target]{}}}
	s.kinds, s.changes = map[string]*Kind{}, lineLimit{}
	s.waiters.Init(cfg.Timeout)
	s.quiet, s.down = make(chan struct{}, 1), make(chan struct{})
	if s.life.checksSendsFrom = draining; cfg.CopyLocal || len(cfg.Outgoing) > 0 {
		s.life.checksSendsFrom = joining
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.reminding.ctx, s.reminding.stop = context.WithCancel(s.ctx)
	s.startLogs()
	s.kept.store = deadletter.New[letterCarries](cfg.DeadLetters, s.epoch[:8]+"-")
	s.waits.Store(rand.Uint64())
	s.members = newMembers(s)
	s.clock.start = time.Now()
	s.trail = trail.New(cfg.RecentRequests)
	s.services.init(s)
	s.setTraffic()
	s.virtuals.init(s)
	s.topics.sys = s
	s.far.sys, s.keeps.sys = s, s
	s.jobs.init(s)
	s.outbox.init(s)
	var err error
	if s.codecs, err = codecSet(cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.types.codecs = s.codecs.WireName
	if w, ok := cfg.Codec.(interface{ CheckWhole(reflect.Type) error }); ok {
		s.types.whole = w.CheckWhole
	}
	if s.control, err = s.codecs.ByID(codec.IDMsgpack); err != nil {
		return nil, err
	}
	s.compacts.init(s)
	for _, k := range cfg.Kinds {
		s.kinds[k.name] = k
		s.learn(k)
		for _, err := range s.checkKind(k) {
			if len(cfg.Transports) > 0 {
				s.log.Warn("a message or reply of this kind cannot travel between nodes", "kind", k.name, "err", err)
			}
		}
	}
	if err := s.SetAccess(cfg.Access); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err = s.admission.init(s, cfg.Admission); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.retry.Store(&s.cfg.Retry)
	s.node = s.newNode()
	for name, kind := range map[string]*Kind{jobServerName: jobServerKind, nodeServerName: nodeServerKind, topicServerName: topicServerKind} {
		if _, err := s.spawnHidden(name, kind); err != nil {
			return nil, err
		}
	}
	start := s.join
	if len(cfg.Transports) == 0 && cfg.Store == nil {
		start = s.setUp
	}
	called := context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
	if err := start(); err != nil {
		called()
		return nil, s.abandon(err)
	}
	if !called() {
		return nil, s.abandon(context.Cause(ctx))
	}
	s.outbox.open()
	s.virtuals.rouseSoon()
	s.followReminders()
	s.virtuals.keep.start()
	s.virtuals.balance.start(s)
	return s, nil
}

// codecSet returns the codecs that a system understands: the three standard ones and those of
// the Config.
func codecSet(cfg Config) (*codec.Set, error) {
	var forms []codec.JSONForm
	for _, c := range append([]codec.Codec{cfg.Codec}, cfg.Codecs...) {
		if f, ok := c.(codec.JSONForm); ok {
			forms = append(forms, f)
		}
	}
	all := map[uint8]codec.Codec{}
	for _, c := range []codec.Codec{codec.Msgpack(cfg.Limits), codec.JSONWith(cfg.Limits, forms...), codec.Raw(cfg.Limits), cfg.Codec} {
		all[c.ID()] = c
	}
	var list []codec.Codec
	for _, own := range cfg.Codecs { // the same codec may be given twice
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

// Name is the node's name, and Epoch the random id of this start of the node.
func (s *System) Name() string  { return s.cfg.Name }
func (s *System) Epoch() string { return s.epoch }

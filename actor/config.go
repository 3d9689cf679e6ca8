package actor

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport"
)

// Defaults of Config.
const (
	DefaultCluster   = "tandem"
	DefaultTimeout   = 30 * time.Second // of a call whose context has no deadline
	DefaultSendWait  = 5 * time.Second  // how long a handler waits for room in a mailbox
	DefaultStartWait = 30 * time.Second // how long NewSystem waits for transports and registry; longer than a lease of natskv, in which a crashed process still holds the name
	DefaultAckWait   = 5 * time.Second  // how long Shutdown waits for the acks of replies
	DefaultShutdown  = 30 * time.Second // how long Shutdown takes in all, if its context has no deadline
)

// Config describes a system. Its zero value describes one that talks to no other node.
type Config struct {
	Name       string                // the node's name, unique in the cluster; default "local", but only without Transports
	Cluster    string                // default "tandem"
	Transports []transport.Transport // roads to other nodes; they need a Registry
	Registry   registry.Registry
	Roads      rpc.RoadPolicy            // default rpc.DirectFirst
	Kinds      []*Kind                   // the kinds that KindNamed can name
	Version    string                    // of the program; others see it in the registry
	Zone       string                    // where the node runs (a rack, a data centre); others see it in the registry
	Weight     int                       // of the node's instances of services, relative to those of other nodes; default 1
	Balance    map[string]balance.Policy // how an instance is chosen, by service; default balance.LeastLoaded
	Weights    map[string]map[string]int // which share of the requests the versions of a service get, by service, see SetWeights
	Mirrors    map[string]Mirror         // where copies of the messages to a service go, by service, see SetMirror

	// Setup spawns the actors that the node hosts, and prepares whatever else must be there
	// before it serves. NewSystem calls it when the name is claimed and other nodes can be
	// reached. No request of another node is answered before it returns. An error ends the
	// start. nil: there is nothing to set up.
	Setup func(*System) error

	// CopyLocal is for tests and development: each message and each outcome within the
	// system is encoded and decoded, as if it had come from another node, so that nothing is
	// shared by accident. What would fail between nodes fails with the same error: a value
	// that the codec cannot encode, a type of package main without a WireName, a message that
	// a Receiver's kind does not accept, a type with a field that is not exported and would stay
	// behind. Refs arrive unbound, and
	// errors arrive with the text of their cause only. Every message costs an encoding, a
	// decoding and the memory for both.
	//
	// Messages that never leave their actor are not copied: those that a handler sends to its
	// own actor, unless under Context.Detached, and those that Pipe delivers.
	CopyLocal bool

	Logger    *slog.Logger     // default slog.Default
	Store     ledger.Store     // keeps the records of Durable kinds
	Claims    placement.Claims // says which node has which virtual actor; needed to host Virtual kinds together with other nodes
	States    state.Store      // keeps the state of Stored kinds
	Topics    topic.Store      // keeps what is published on durable topics, see Topic.Durable
	Reminders reminder.Store   // keeps the reminders of Virtual kinds, see Remind
	Codec     codec.Codec      // of outgoing messages; default msgpack
	Codecs    []codec.Codec    // further codecs to understand, besides msgpack, JSON and raw
	Compact   bool             // leaves out the names of fields in messages to nodes that have the same types, see codec.Compact
	Limits    codec.Limits     // of decoding; by default the length of a body is bounded only by RPC.MaxBody

	// Rebalance is how many activations of virtual actors per second this node may give up to nodes that
	// the cluster chooses for them now, since those have joined. 0: none; then they take over what falls idle.
	// One that is given up ends as an idle one does, and is active again at its next message, or at once with
	// KeepActive. Nothing is given up for 5 s after the hosts of a kind have changed, and none that is busy
	// all the time, or has timers, subscriptions or children, except with KeepActive.
	Rebalance float64

	Timeout      time.Duration // of a call whose context has no deadline; default 30 s
	SendWait     time.Duration // how long a handler waits for room in a mailbox; default 5 s
	StartWait    time.Duration // how long NewSystem waits for transports, registry and store; default 30 s
	AckWait      time.Duration // how long Shutdown waits for the acks of replies; default 5 s
	ShutdownWait time.Duration // how long Shutdown takes in all, if its context has no deadline; default 30 s
	Tokens       int           // how many job tokens a principal may have; default 1,024
	ResultBytes  int           // bound of the results of jobs from other nodes; default 256 MiB, a quarter of it for one principal
	TokenLife    time.Duration // how long a job's result is kept; default 10 min
	Retry        rpc.Retry     // when a request to another node is retried that did not run; see SetRetry

	// Principals returns the principal of a peer: one name for all roads, to which tokens, keys,
	// streams and sessions belong. It is called once for each link. Default: rpc.PrincipalOf,
	// with which a node is the same principal on both roads if its certificate and its NATS
	// user have its name.
	Principals func(road string, peer transport.Peer) string

	// Principal is this node as its peers' Principals names it ("tls:shop"). It is written into
	// the node's record in the registry; peers accept a process as this node only if it proves
	// this principal. Empty: the process has to prove the node's name, and nothing on roads that
	// cannot prove names.
	Principal string

	// Access says which principals of other nodes may do what, see SetAccess. The zero value
	// allows everybody everything.
	Access access.Rules

	// Admission limits what other nodes may send: how fast, and how many requests at a time, by
	// principal, actor, service and message. The zero value limits nothing. See package admission, and
	// SetAdmission.
	Admission admission.Rules

	// Outgoing intercepts what is sent, also within the system, and Incoming what its actors get; the
	// first interceptor is the outermost. See package intercept.
	Outgoing, Incoming []intercept.Func

	// DeadLetters bounds the dead letters that are kept with their messages, see System.KeptLetters.
	DeadLetters deadletter.Limits

	// Outbox bounds what TellReliably keeps, and says whether it is kept in Store.
	Outbox outbox.Config

	// RecentRequests is about how many requests to and from other nodes are remembered for System.Why and
	// System.Requests; default 1,024, at most 1,048,576, each of about 1 KiB once that many were made. Half
	// of them are unusual ones. Negative: none are.
	RecentRequests int

	// PanicTexts sends the text of a panic to callers on other nodes. It is for development,
	// because the text may contain data of others. Without it they only learn that the handler
	// panicked.
	PanicTexts bool

	// Compression compresses the bodies of messages to nodes that inflate them: compress.New of package
	// transport/compress returns one. nil: nothing is compressed, in either direction.
	Compression transport.Compression

	RPC rpc.Limits // limits of the traffic with other nodes
}

// validate fills in defaults, and returns all errors joined.
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
			if err := k.checkVirtual(); err != nil {
				errs = append(errs, fmt.Errorf("actor: Config.Kinds[%d]: %w", i, err))
			}
			if err := k.checkStored(); err != nil {
				errs = append(errs, fmt.Errorf("actor: Config.Kinds[%d]: %w", i, err))
			}
			if k.keeps != nil && c.States == nil {
				bad("Config.Kinds[%d] is Stored, and Config.States is nil", i)
			}
			if k.placed && c.Registry != nil && c.Claims == nil {
				bad("Config.Kinds[%d] is Virtual, and Config.Claims is nil: two nodes would activate the same actor", i)
			}
		}
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{{"Timeout", &c.Timeout, DefaultTimeout}, {"SendWait", &c.SendWait, DefaultSendWait}, {"AckWait", &c.AckWait, DefaultAckWait}, {"ShutdownWait", &c.ShutdownWait, DefaultShutdown}, {"StartWait", &c.StartWait, DefaultStartWait}, {"TokenLife", &c.TokenLife, DefaultTokenLife}} {
		if *d.v < 0 {
			bad("Config.%s is negative: %v", d.name, *d.v)
		} else if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Weight < 0 || c.Weight > registry.MaxWeight {
		bad("Config.Weight is %d: want 0 to %d", c.Weight, registry.MaxWeight)
	}
	for service, weights := range c.Weights {
		if _, err := sharesOf(service, weights); err != nil {
			bad("Config.Weights: %w", err)
		}
	}
	for service, m := range c.Mirrors {
		if err := m.validate(service); err != nil {
			bad("Config.Mirrors: %w", err)
		}
	}
	if !(c.Rebalance >= 0 && c.Rebalance <= maxRebalance) {
		bad("Config.Rebalance is %v: want 0 to %v activations per second", c.Rebalance, maxRebalance)
	}
	if c.ResultBytes < 0 {
		bad("Config.ResultBytes is negative: %d", c.ResultBytes)
	} else if c.ResultBytes == 0 {
		c.ResultBytes = DefaultResultBytes
	}
	if c.RecentRequests > trail.Most {
		bad("Config.RecentRequests is %d: want %d at most", c.RecentRequests, trail.Most)
	}
	if c.Tokens < 0 {
		bad("Config.Tokens is negative: %d", c.Tokens)
	} else if c.Tokens == 0 {
		c.Tokens = DefaultTokens
	}
	if slices.ContainsFunc(slices.Concat(c.Outgoing, c.Incoming), func(fn intercept.Func) bool { return fn == nil }) {
		bad("Config.Outgoing or Config.Incoming has an interceptor that is nil")
	}
	if err := c.Retry.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("actor: Config.Retry: %w", err))
	}
	var err error
	if c.Outbox, err = c.Outbox.WithDefaults(); err != nil {
		errs = append(errs, fmt.Errorf("actor: Config.Outbox: %w", err))
	}
	if c.Outbox.Durable && c.Store == nil {
		bad("Config.Outbox: %w: it is Durable, and Config.Store is nil", outbox.ErrConfig)
	}
	c.Logger = c.logger()
	if c.Limits.Body <= 0 && c.Limits.Bytes <= 0 {
		c.Limits.Body = math.MaxInt32
	}
	if c.Codec == nil {
		c.Codec = codec.Msgpack(c.Limits)
	}
	if c.Codec.ID() == codec.IDCompact {
		bad("Config.Codec: compact bodies can be read only where that was agreed upon: set Config.Compact")
	}
	if c.Compact && c.Codec.ID() != codec.IDMsgpack {
		bad("Config.Compact: only msgpack has a compact form, and Config.Codec is %s", c.Codec.Name())
	}
	return errors.Join(errs...)
}

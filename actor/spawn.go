package actor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// ErrNameTaken is the error of a Spawn under the name of a live actor.
var ErrNameTaken = errors.New("actor: a live actor has this name")

// SpawnOption changes one actor.
type SpawnOption func(*spawn)

type spawn struct {
	box      *mailbox.Config
	services []string
	local    bool
	pool     *pool // nil: a single actor
	seat     *seat // for a worker of a pool
}

// Mailbox sets the actor's mailbox: its capacity, and what happens when it is full.
// A message that finds the mailbox full takes the place of requests that will never run,
// because their callers cancelled or their deadlines passed. A full mailbox is searched for
// such requests again after 10 µs for each message in it, or after a second if that is less.
//
// With Config.Fair senders take turns: each actor of this node, all that is no actor together, and
// each other node with its principal, whatever it says of its own actors. Config.PerSender bounds
// how much of the mailbox one of them may fill. Classes of messages are given by PriorityOf.
func Mailbox(c mailbox.Config) SpawnOption { return func(s *spawn) { s.box = &c } }

// Expose makes the actor an instance of services, which System.Service reaches from every node: of
// one under several names (aliases), or of several. It may be given several times.
//
// Actors of any names and kinds may be instances of one service, on one node or on many, which makes
// it the name of a group. A request for which the chosen one has no handler goes to another one, as
// any that did not run; a one-way message becomes a dead letter there, unless it is rpc.Acked. So what is
// sent to a group should best be for all its kinds.
func Expose(services ...string) SpawnOption {
	return func(s *spawn) {
		for _, service := range services {
			if !slices.Contains(s.services, service) {
				s.services = append(s.services, service)
			}
		}
	}
}

// ErrOtherKind is the error of a GetOrSpawn when the live actor of that name is of another kind.
var ErrOtherKind = errors.New("actor: the live actor of this name is of another kind")

// Spawn starts an actor of a kind. If a live actor of this system has the name, the error is
// ErrNameTaken; an empty name stands for a random one. The actor lives until it is stopped, by
// itself, by System.Stop, or because it fails too often (Supervise). A stopped actor keeps its name
// until its handler and its hooks have returned and its children have ended: see System.Stop.
//
// The state may have methods that are called in the actor's turn, once for each state that newState
// has made; all are optional:
//
//	Started(ctx *actor.Context) error             // before the first message; an error is a failure
//	Restarting(ctx *actor.Context, why error)     // the state is given up after a failure
//	Stopping(ctx *actor.Context, why error)       // the actor ends; after the last message
//
// Each state that was Started comes to either Restarting or Stopping. Stopping's why is nil if
// somebody stopped the actor, else the failure, ErrParentStopped or ErrShutdown. In a shutdown its
// context has the shutdown's deadline. A panic in Started is a failure; in the others it is logged.
func (s *System) Spawn(name string, kind *Kind, opts ...SpawnOption) (Ref, error) {
	if name == "" {
		name = uuid.NewString()
	}
	return s.spawn(nil, name, kind, opts)
}

// GetOrSpawn returns the live actor of that name and kind, or starts it. Of several calls at once,
// one starts it and all return it. If an actor of that name is ending, GetOrSpawn waits for its end,
// for Config.SendWait at most; then the error is ErrNameTaken. If the actor is of another kind, the
// error is ErrOtherKind.
func (s *System) GetOrSpawn(name string, kind *Kind, opts ...SpawnOption) (Ref, error) {
	var late <-chan time.Time
	for {
		c := s.refs.live(name)
		if c != nil && !c.life.ends() {
			if kind == nil || c.kind.name != kind.name {
				return Ref{}, fmt.Errorf("%w: %s", ErrOtherKind, name)
			}
			return Ref{to: c.self}, nil
		}
		r, err := s.Spawn(name, kind, opts...)
		if !errors.Is(err, ErrNameTaken) {
			return r, err
		}
		if late == nil {
			timer := time.NewTimer(s.cfg.SendWait)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-s.refs.whenOther(name, c):
		case <-late:
			return Ref{}, err
		}
	}
}

// spawn is Spawn of a child of parent, or with nil of an actor without a parent.
func (s *System) spawn(parent *cell, name string, kind *Kind, opts []SpawnOption) (Ref, error) {
	var o spawn
	for _, opt := range opts {
		opt(&o)
	}
	if err := validActorName(name); err != nil {
		return Ref{}, err
	} else if strings.HasPrefix(name, hidden) {
		return Ref{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "actor name %q: a leading %s is for the system's own", name, hidden)
	}
	if parent == nil && strings.HasPrefix(name, placed) {
		return Ref{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "actor name %q: a leading %s is for virtual actors", name, placed)
	}
	if kind == nil {
		return Ref{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "Spawn(%q) of no kind", name)
	}
	if kind.byName {
		known := s.kinds[kind.name]
		if known == nil {
			return Ref{}, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no kind named %q in Config.Kinds", kind.name)
		}
		kind = known
	}
	if kind.placed {
		return Ref{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "Spawn(%q): kind %s is virtual, see System.Virtual", name, kind.name)
	}
	if o.pool != nil {
		if err := o.pool.of(kind); err != nil {
			return Ref{}, fmt.Errorf("Spawn(%q): %w", name, err)
		}
		kind = s.pooled(kind)
	}
	if o.box != nil {
		if err := o.box.Validate(); err != nil {
			return Ref{}, err
		}
	}
	for _, service := range o.services {
		if err := transport.ValidName("service", service); err != nil {
			return Ref{}, err
		}
	}
	if len(o.services) > 0 && (o.local || kind.local) {
		return Ref{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "Spawn(%q): an actor that is kept from other nodes cannot be exposed to them", name)
	}
	if parent == nil && s.draining() {
		return Ref{}, errShutdown
	}
	if err := s.checkDurable(kind); err != nil {
		return Ref{}, err
	}
	t, err := s.refs.reserve(s, name)
	if err != nil {
		return Ref{}, err
	}
	if t == nil {
		return Ref{}, fmt.Errorf("%w: %s", ErrNameTaken, name)
	}
	kind = s.intercepted(kind)
	if len(s.cfg.Transports) > 0 {
		s.learn(kind) // other nodes may ask what it takes before they send it anything
	}
	state, err := kind.fresh()
	if err != nil {
		s.refs.unreserve(t)
		return Ref{}, err
	}
	c := &cell{kind: kind, state: state}
	if len(o.services) > 0 || o.local || kind.local || parent != nil || o.pool != nil {
		c.more.Store(&annex{role: &role{services: o.services, local: o.local || kind.local, parent: parent, pool: o.pool, seat: o.seat}})
	}
	starts := kind.hooks.started || kind.pool
	if starts {
		c.life.word.Store(uint32(starting))
	}
	c.initBox(o.box)
	if err := s.refs.begun(t, c); err != nil {
		return Ref{}, err
	}
	if kind.idle > 0 {
		c.minds()
	}
	s.resume(c)
	if starts && c.box.Wake() {
		c.run()
	}
	if o.pool != nil {
		if err := <-o.pool.ready; err != nil {
			return Ref{}, err
		}
	}
	if len(o.services) > 0 {
		if err := s.members.expose(c); err != nil {
			c.end(nil)
			return Ref{}, err
		}
	}
	return Ref{to: t}, nil
}

// hidden is the prefix of the names of actors that are internal to the system.
const hidden = "$"

// spawnHidden starts an actor that is internal to the system, whose name begins with hidden,
// or returns the actor that has the name already.
func (s *System) spawnHidden(name string, kind *Kind) (Ref, error) {
	if c := s.refs.live(name); c != nil {
		return Ref{to: c.self}, nil
	}
	state, err := kind.fresh()
	if err != nil {
		return Ref{}, err
	}
	t, err := s.enter(name, &cell{kind: kind, state: state})
	switch {
	case err != nil:
		return Ref{}, err
	case t == nil: // another goroutine was faster
		return s.spawnHidden(name, kind)
	}
	return Ref{to: t}, nil
}

// enter makes c the actor of that name, which is internal to the system.
func (s *System) enter(name string, c *cell) (*target, error) {
	c.box.Init(nil)
	return s.refs.enter(s, name, c)
}

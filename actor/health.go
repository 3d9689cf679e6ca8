package actor

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotReady is wrapped by errors of Health.Ready.
var ErrNotReady = errors.New("actor: the node is not ready")

// The stages of a system's life, as Health has them.
const (
	StageJoining  = "joining"  // it claims its name, opens its roads, and runs Config.Setup; no request of another node is answered
	StageServing  = "serving"  // requests are answered
	StageParting  = "parting"  // Shutdown has begun: other nodes learn that they should send elsewhere; what still comes is answered
	StageDraining = "draining" // new requests are refused, and the others are finished
	StageDown     = "down"     // it has ended
)

// Health is what a node knows of what it needs to serve. What is missing from its Config is never wrong.
type Health struct {
	Stage string // of its life: StageJoining and so on

	// Name says why the node cannot rely on holding its name: its lease may have ended, since the registry has not
	// confirmed it for so long. Other nodes then do not find this one any more, unless they have a link to it, and
	// its virtual actors do not answer.
	Name error

	// Records says why records are not written to Config.Store: durable requests and jobs are not begun.
	Records error

	// States says why Config.States served nothing when it was last used, if that is not longer ago than StatesMemory.
	States error
}

// StatesMemory is how long a node counts as unable to reach its Config.States after a request to that has failed. The node
// only learns that it can be reached again when a stored actor uses it, which on a node that gets no requests is never.
const StatesMemory = 15 * time.Second

// Ready returns nil if the node is to get requests: it serves, and nothing of what it needs is wrong. Otherwise
// the error wraps ErrNotReady and the errors in h.
func (h Health) Ready() error {
	var why []error
	if h.Stage != StageServing {
		why = append(why, fmt.Errorf("it is %s", h.Stage))
	}
	for _, c := range []struct {
		what string
		err  error
	}{{"its name", h.Name}, {"its records", h.Records}, {"its states", h.States}} {
		if c.err != nil {
			why = append(why, fmt.Errorf("%s: %w", c.what, c.err))
		}
	}
	if why == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotReady, errors.Join(why...))
}

// errLeaseLate is Health.Name.
var errLeaseLate = errors.New("the registry has not confirmed this node's lease in time")

// fault is when something failed, and why. It is not changed.
type fault struct {
	err error
	at  time.Time
}

// Health says what the system knows of itself. It does no I/O and does not wait for any. From the moment that Shutdown is called
// the stage is not StageServing, which is before anything is refused. The errors are looked for only while it serves.
func (s *System) Health() Health {
	h := Health{Stage: [...]string{StageJoining, StageServing, StageParting, StageDraining, StageDown}[s.life.stage.Load()]}
	if h.Stage != StageServing {
		return h
	}
	if !s.members.offered() {
		h.Stage = StageJoining
		return h
	}
	if !s.members.certain() {
		h.Name = errLeaseLate
	}
	h.Records = s.node.StoreFailing()
	if f := s.virtuals.statesFail.Load(); f != nil && s.virtuals.statesAway.Load() && time.Since(f.at) < StatesMemory {
		h.States = f.err
	}
	return h
}

package actor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/rpc"
)

// DeadLetter is a one-way message that reached nobody.
type DeadLetter = deadletter.Letter

// The events of a system, in addition to those of package rpc.
const (
	ActorRestarted rpc.EventType = "actor restarted" // the actor has failed, as Err says, and goes on with fresh state
	ActorStopped   rpc.EventType = "actor stopped"   // Err is the failure that it has stopped because of; nil if there was none
	NodeJoined     rpc.EventType = "node joined"
	NodeLeft       rpc.EventType = "node left"
	NameTaken      rpc.EventType = "name taken"  // another process holds this node's name in the registry
	NodeFenced     rpc.EventType = "node fenced" // another process has taken over this node's name or its records, and this system ends

	InstanceEjected rpc.EventType = "instance ejected" // the instance gets no requests to Service any more; Err says why
	InstanceBack    rpc.EventType = "instance back"    // the instance gets requests to Service again
)

// Event is something that happened in a system or to its links.
type Event struct {
	Time  time.Time
	Type  rpc.EventType
	Actor string // address, for events of actors
	Peer  string // node, for events of links, nodes and instances
	Road  string
	Err   error

	Service string // for events of instances and mirrors
	Count   uint64 // for AccessDenied and Limited: how many refusals it stands for; for ActivationsFenced: how many activations

	Lost uint64 // how many events of this Type right before this one the subscriber has lost because it fell behind
}

// How many entries a subscriber may fall behind before it loses some.
const (
	eventRoom  = 2048 // events of all types
	letterRoom = 4096 // dead letters
)

// Events returns a channel of the events of the system's actors, links and peers from now on.
// It is closed when ctx ends or the system has shut down. With types it has only events
// of these types.
//
// A subscriber may fall 2,048 events behind. Beyond that it loses the oldest events of the
// type of which most are waiting, so that many events of one type never push out the
// few of another. The next event of that type says in Lost how many were lost, and
// Stats counts them.
func (s *System) Events(ctx context.Context, types ...rpc.EventType) <-chan Event {
	return s.events.subscribe(ctx, eventRoom, types...)
}

// DeadLetters returns a channel of the one-way messages that reach nobody, from now on. It is
// closed when ctx ends or the system has shut down. A subscriber that falls more
// than 4,096 entries behind loses the oldest: the next entry says in Lost how
// many, and Stats counts them.
func (s *System) DeadLetters(ctx context.Context) <-chan DeadLetter {
	return s.letters.subscribe(ctx, letterRoom)
}

func (s *System) event(e Event) {
	e.Time = time.Now()
	s.events.publish(e)
}

// rpcEvent publishes and logs a change of a link or a peer. No other place logs such changes.
func (s *System) rpcEvent(e rpc.Event) {
	defer s.events.publish(Event{Time: e.Time, Type: e.Type, Peer: e.Peer, Road: e.Road, Err: e.Err})
	if e.Type == rpc.LinkDown || e.Type == rpc.SessionGone {
		s.far.stir(e.Peer)
	}
	if lost := s.node.EventsLost(); s.far.missed.Swap(lost) != lost {
		s.far.stirAll()
	}
	unsaid, due := s.changes.due(e.Type, e.Time)
	if !due {
		return
	}
	attrs := []slog.Attr{slog.String("peer", e.Peer)}
	if e.Road != "" {
		attrs = append(attrs, slog.String("road", e.Road))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("err", e.Err))
	}
	if unsaid > 0 {
		attrs = append(attrs, slog.Uint64("unsaid", unsaid)) // changes of this type right before it that were not logged
	}
	s.log.LogAttrs(context.Background(), levelOf(e.Type), string(e.Type), attrs...)
}

// levelOf is the level at which an event of links and peers is logged. Events that are not a
// change of their state are logged where they are found out, if at all, and here only at the
// debug level.
func levelOf(t rpc.EventType) slog.Level {
	switch t {
	case rpc.LinkUp, rpc.RoadChanged, rpc.PeerUp:
		return slog.LevelInfo
	case rpc.LinkDown, rpc.PeerDown, rpc.SessionGone:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// deadLetter keeps, counts, publishes and logs a dead letter, whose message is in it, and its body
// in body if it came from another node. owner is the
// principal to which the memory of a message belongs that is not known from the message; empty:
// this node.
func (s *System) deadLetter(d DeadLetter, it item, body []byte, owner string) {
	d.Time = time.Now()
	s.kept.keep(&d, it, body, owner)
	s.stats.deadLetters.Add(1)
	s.letters.publish(d)
	if rpc.CodeOf(d.Reason) != rpc.Denied { // those are logged as refusals
		trace := rpc.Trace{}
		if it.meta != nil {
			trace = it.meta.trace
		}
		s.letterLog.noteUnder(trace, d, "")
	}
}

// encodedLetter is deadLetter for a message of which only the encoded form is there.
func (s *System) encodedLetter(d DeadLetter, body deadletter.Encoded, came *letterCame) {
	d.Time = time.Now()
	s.kept.keepEncoded(&d, body, came)
	s.stats.deadLetters.Add(1)
	s.letters.publish(d)
	s.letterLog.note(d, "")
}

// counters are the counts behind Stats.
type counters struct {
	handled, panics, failed, deadLetters, denied, limited atomic.Uint64
}

// Stats is a snapshot of what a system has counted since it started.
type Stats struct {
	Serving     bool // it has started, and does not shut down
	Actors      int  // live now
	Running     Running
	Handled     uint64 // messages taken out of mailboxes by run loops, in whole batches
	Panics      uint64 // handlers that panicked
	Failed      uint64 // handlers of one-way messages that returned an error
	DeadLetters uint64

	LettersKept    int    // dead letters that are kept with their messages now
	LetterBytes    int    // what they take, see deadletter.Kept
	LettersDropped uint64 // dead letters that were pushed out by later ones, or were too large to be kept

	Outbox  OutboxStats
	Virtual VirtualStats
	Mirror  MirrorStats

	Denied   uint64 // messages from other nodes, and requests for stored replies, that were refused by access rules
	Limited  uint64 // messages from other nodes that were refused by limits (Config.Admission)
	FeedLost uint64 // events and dead letters that slow subscribers have lost
	RPC      rpc.Stats
}

// Running says what the actors have to do that have messages in hand now. To count it costs no look at any other actor.
type Running struct {
	Actors  int // that handle messages now
	Waiting int // messages in their mailboxes, without those in hand

	// Oldest is how long the run loop that has had its batch of messages in hand for longest has had it, to a second
	// or so. No message that waits in the mailbox of one of these actors is older.
	Oldest time.Duration
}

// Stats returns a snapshot.
func (s *System) Stats() Stats {
	st := Stats{Handled: s.stats.handled.Load(), Panics: s.stats.panics.Load(), Failed: s.stats.failed.Load(),
		DeadLetters: s.stats.deadLetters.Load(), Denied: s.stats.denied.Load(), Limited: s.stats.limited.Load(), FeedLost: s.events.lost.Load() + s.letters.lost.Load()}
	s.kept.mu.Lock()
	st.LettersKept, st.LetterBytes, st.LettersDropped = s.kept.store.Count()
	s.kept.mu.Unlock()
	s.refs.mu.RLock()
	st.Actors = len(s.refs.actors) - s.refs.unseen
	s.refs.mu.RUnlock()
	st.Serving = s.life.stage.Load() == serving
	st.Running = s.workers.look(time.Since(s.clock.start))
	st.RPC, st.Outbox, st.Virtual, st.Mirror = s.node.Stats(), s.outbox.stats(), s.virtuals.stats(), s.mirrored.stats()
	return st
}

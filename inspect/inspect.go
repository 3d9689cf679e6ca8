// Package inspect says what an actor looks like from outside: what actor.System.Inspect, Actors
// and ActorsOf return. It never has the content of a message.
//
//	for a := range sys.Actors(inspect.Filter{Kind: "bank.account", Stage: inspect.Suspended}) {
//		fmt.Println(a.Name, a.Failed, a.Restarts)
//	}
package inspect

import (
	"strings"
	"time"
)

// Stage is how far the life of an actor has come.
type Stage string

// The stages.
const (
	Starting  Stage = "starting"  // the hook Started has not returned yet, or a virtual actor has no claim yet
	Working   Stage = "working"   // it handles messages, or is idle
	Suspended Stage = "suspended" // it has failed, and its supervision has it wait
	Ending    Stage = "ending"    // it handles no further message, and waits for its children to end
	Closing   Stage = "closing"   // it handles the messages that wait, takes no more, and then ends
	Gone      Stage = "gone"
)

// Actor is one actor as it was seen. Its numbers were read one after another while it ran, so they
// need not fit together exactly.
type Actor struct {
	Name, Node string
	Kind       string
	Stage      Stage
	Parent     string // the name of its parent; empty: none
	Behaviour  string // the one on top; empty: none, so it has its kind's own handlers

	Waiting  int    // messages in its mailbox; those that its run loop has taken out are not among them
	Stashed  int    // messages that it has put aside
	Handled  uint64 // messages, counted when the run loop is done with a batch
	Failed   uint64 // messages whose handlers failed
	Restarts uint64
	Children int
	Watchers int // actors of its own node that watch it, and watches by other nodes
	Watching int // actors that it watches
	Topics   int // subscriptions
	Timers   int // that have not ended

	// Due is when the first of its timers comes; zero: it has none. In the past: the message waits
	// for its turn. Of an actor with many timers, only the latest MaxTimers are looked at.
	Due time.Time

	// Running is the type of the message that a handler has now; empty: none, or a hook runs, or
	// the state is a Receiver. For is how long the run loop has had the batch of messages in hand
	// that the message is of, to a second or so: the handler runs no longer than that, and no
	// message that waits in the mailbox is older.
	Running string
	For     time.Duration

	Details *Details // of System.Inspect; nil in lists
}

// Details names what an actor has to do with, MaxListed of each sort at most; the numbers in Actor
// are of all. Names of actors are sorted. Those that an access list hides are left out.
type Details struct {
	Children []string // names
	Watching []string // addresses
	Topics   []Subscription
}

// Subscription is to a topic, or to all topics of a pattern.
type Subscription struct {
	Pattern string
	Group   string // empty: none
	Type    string // of the messages, by its name on the wire
}

// The limits of what is looked at.
const (
	MaxListed = 100
	MaxTimers = 1000
)

// Filter says which actors to list. Its zero value lists all.
type Filter struct {
	Kind   string // only those of this kind
	Prefix string // only those whose names begin with it
	Stage  Stage  // only those in this stage
}

// Match reports whether the filter lets a through.
func (f Filter) Match(a Actor) bool {
	return f.MayMatch(a.Name, a.Kind) && (f.Stage == "" || f.Stage == a.Stage)
}

// MayMatch is Match for an actor of which only the name and the kind are known.
func (f Filter) MayMatch(name, kind string) bool {
	return strings.HasPrefix(name, f.Prefix) && (f.Kind == "" || f.Kind == kind)
}

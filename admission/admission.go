// Package admission decides which messages from other nodes a node takes on: limits on their rate and
// on how many requests are under way, as an operator writes them, their compiled form, and the decision
// on one message. It has no lock, clock, goroutine or I/O; package actor asks it when a message
// arrives, before it is decoded or takes room in a mailbox (actor.Config.Admission).
//
//	rules := admission.Rules{List: []admission.Limit{
//		{Name: "each client", Per: admission.PerPrincipal, Rate: 1000},
//		{Name: "search", Services: []string{"search"}, Concurrent: 64},
//		{Name: "reports", Messages: []string{"shop.report.*"}, Per: admission.PerActor, Concurrent: 2},
//	}}
//
// All limits that match a message must admit it, and none of them counts it otherwise. A request that
// is refused did not run (rpc.Overloaded, rpc.NotRun); its error says after which time another attempt
// may be admitted, and Tandem's own retries wait for that. A one-way message that is refused becomes a
// dead letter.
//
// # Priorities
//
// When there is too much to do, what matters least is refused first. A fifth of what a limit allows is
// out of reach for messages of class mailbox.Low, and a tenth for mailbox.Normal; mailbox.High and
// mailbox.Urgent may use all of it. These parts are rounded down, so small limits have none. The class is
// that of the message's type (actor.PriorityOf), else that which its sender has given (actor.OfClass).
//
// # What is not limited
//
// Messages between the actors of one node; what the system sends to itself on other nodes, such as the
// batches of an open stream, watches and receipts; publications on topics; and a copy of a request that
// has been admitted before, which gets the outcome of that.
//
// # The limits of limits
//
// A limit with Per has a limiter for each of what it tells apart, up to MaxKeys at a time. Limiters
// that are not in use make room for others. If all are in use, further principals or actors share one
// more limiter: they are limited together, never unlimited.
package admission

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tandem-go/tandem/access"
)

// Per says what a limit tells apart: it has a limiter for each, or for each combination of several,
// which are combined with |.
type Per uint8

// What a limit can tell apart.
const (
	PerNode      Per = 0         // nothing: one limiter for all that matches on this node
	PerService   Per = 1 << iota // the service of which the actor is an instance, of several the first that Services names; other actors are not limited
	PerActor                     // the actor
	PerMessage                   // the type of the message
	PerPrincipal                 // the sender

	allPer = PerService | PerActor | PerMessage | PerPrincipal
)

// DefaultMaxKeys is Limit.MaxKeys of a limit that says none.
const DefaultMaxKeys = 10_000

// Limit is one limit on the messages that all of its conditions match. The conditions are those of an
// access.Rule: an empty one matches everything, a name that ends in "*" all names with that beginning,
// and "@group" the members of a group.
type Limit struct {
	Name string // for the log and events; empty: its position in the list

	Principals []string // who has sent the message
	Kinds      []string // the kind of the actor that it is for
	Actors     []string // its name; of a virtual actor "~", its kind, "/" and its id
	Services   []string // a service of which it is an instance
	Messages   []string // the wire name of the message's type

	Per Per // what has a limiter of its own; PerNode: there is one limiter

	// Rate is how many messages are admitted per second, and Burst how many at once after a pause.
	// Rate 0: any number. Burst 0: what Rate allows in a tenth of a second, at least one.
	Rate  float64
	Burst int

	// Concurrent is how many requests may be under way: in a mailbox, with a handler, or with an answer
	// that was put off. 0: any number. One-way messages do not count, for which the mailbox has a
	// bound; nor does a Pull, which waits for an item of a queue.
	Concurrent int

	// Adaptive finds out by itself how many requests may be under way. It goes not with Concurrent.
	Adaptive *Gradient

	// MaxKeys bounds the limiters of a limit with Per; 0: DefaultMaxKeys. Each takes about 400 bytes.
	MaxKeys int
}

// Rules are all limits of a node. The zero value has none.
type Rules struct {
	Groups map[string][]string // principals by the group's name, as in access.Rules
	List   []Limit
}

// compiled is a Limit with its conditions compiled and its defaults filled in.
type compiled struct {
	Limit
	principals, kinds, actors, services, messages access.Names
	unnamed                                       bool // Name is its position
	*limiters
}

// FieldError says what is wrong with Rules, and where. The error of New wraps one for each thing that is wrong.
type FieldError struct {
	Limit int    // the index in List; -1: it is about the rules as a whole
	Name  string // of the limit, or "limit" and its position; of the rules empty
	Field string // as the Go field is named, or as it stands in JSON if the JSON is wrong
	Err   error  // what is wrong, with the name of the field
}

// Error says where it is, and what is wrong.
func (e *FieldError) Error() string {
	if e.Limit < 0 {
		return "admission: " + e.Err.Error()
	}
	return "admission: " + e.Name + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

// New checks rules and returns their Table. The error names everything that is wrong, see FieldError.
func New(r Rules) (*Table, error) {
	var errs []error
	t := &Table{}
	for i, l := range r.List {
		c := &compiled{Limit: l, unnamed: l.Name == ""}
		if l.Name == "" {
			c.Name = fmt.Sprintf("limit %d", i+1)
		}
		bad := func(field, format string, args ...any) {
			errs = append(errs, &FieldError{Limit: i, Name: c.Name, Field: field, Err: fmt.Errorf(format, args...)})
		}
		if slices.ContainsFunc(r.List[:i], func(o Limit) bool { return o.Name == c.Name }) {
			bad("Name", "another limit has this name")
		}
		c.check(bad)
		var err error
		if c.principals, err = access.PrincipalsOf(l.Principals, r.Groups); err != nil {
			bad("Principals", "%w", err)
		}
		if slices.Contains(l.Principals, "") {
			bad("Principals", "Principals: an empty name")
		}
		for _, n := range []struct {
			what string
			from []string
			to   *access.Names
		}{{"Kinds", l.Kinds, &c.kinds}, {"Actors", l.Actors, &c.actors}, {"Services", l.Services, &c.services}, {"Messages", l.Messages, &c.messages}} {
			if *n.to, err = access.NamesOf(n.from); err != nil {
				bad(n.what, "%s: %w", n.what, err)
			}
		}
		c.setDefaults()
		c.limiters = newLimiters(c)
		t.limits = append(t.limits, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// check reports what is wrong with the numbers of l.
func (l *Limit) check(bad func(field, format string, args ...any)) {
	if l.Rate < 0 || math.IsNaN(l.Rate) || math.IsInf(l.Rate, 0) {
		bad("Rate", "Rate is %v", l.Rate)
	}
	if l.Burst < 0 || l.Burst > 0 && l.Rate == 0 {
		bad("Burst", "Burst is %d, Rate %v", l.Burst, l.Rate)
	}
	if l.Concurrent < 0 || l.MaxKeys < 0 {
		bad("Concurrent", "Concurrent is %d, MaxKeys %d", l.Concurrent, l.MaxKeys)
	}
	if l.Rate == 0 && l.Concurrent == 0 && l.Adaptive == nil {
		bad("Rate", "it limits nothing: neither Rate nor Concurrent nor Adaptive is set")
	}
	if l.Concurrent > 0 && l.Adaptive != nil {
		bad("Adaptive", "Concurrent together with Adaptive, which has a Max of its own")
	}
	if l.Per&^allPer != 0 {
		bad("Per", "Per is %#x", uint8(l.Per))
	}
	if l.Adaptive != nil {
		if err := l.Adaptive.withDefaults().validate(); err != nil {
			bad("Adaptive", "Adaptive: %w", err)
		}
	}
}

// setDefaults fills in what l leaves out.
func (l *Limit) setDefaults() {
	if l.Burst == 0 {
		l.Burst = int(max(1, min(l.Rate/10, math.MaxInt32)))
	}
	if l.MaxKeys == 0 {
		l.MaxKeys = DefaultMaxKeys
	}
}

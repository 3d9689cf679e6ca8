// Package access decides who may do what with which actor: rules as an operator writes
// them, their compiled form, and the decision on one message. It has no lock, clock,
// goroutine or I/O; package actor asks it before a message from another node is decoded
// or put into a mailbox (actor.Config.Access, actor.System.SetAccess).
//
//	rules := access.Rules{
//		Groups: map[string][]string{"staff": {"tls:ann", "tls:bob"}},
//		List: []access.Rule{
//			{Effect: access.Allow, Principals: []string{"@staff"}},
//			{Effect: access.Allow, Kinds: []string{"shop.cart"}, Ops: access.Call | access.Stream},
//			{Effect: access.Deny, Messages: []string{"shop.*"}, Name: "shop is for staff"},
//		},
//		Default: access.Deny,
//	}
//
// The first rule that matches decides; if none matches, Default decides. So a list is read
// from top to bottom, and exceptions stand above the rule that they are exceptions to.
//
// The limits: the road proves who a principal is and from which address it comes. A
// decision looks at the rules one by one until one matches.
package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Op is an operation that a message asks for. Several are combined with |.
type Op uint16

// The operations.
const (
	Send   Op = 1 << iota // a one-way message
	Call                  // a request
	Stream                // to open a stream, and to read or write each batch of it
	Push                  // to add to a queue
	Pull                  // to take from a queue, and to ack or give back what was taken
	Manage                // to inspect, pause and purge a queue, and to revive dead letters
	Submit                // to submit a job
	Redeem                // to poll and to await a job by its token
	Cancel                // to cancel a job by its token

	All = Send | Call | Stream | Push | Pull | Manage | Submit | Redeem | Cancel | Publish | Watch | Inspect

	// Expose is to offer an instance of a service to the actors of this node. It is not a
	// message: only rules whose Ops name it apply, neither Default nor ExposedOnly, and if
	// no such rule matches, every node may. The principal is that of the node's record.
	Expose Op = 1 << 9

	// Stop is to end an actor. Only rules whose Ops name it apply, and if no such rule matches,
	// nobody may: neither Default nor an empty list allows it.
	Stop Op = 1 << 10

	// Publish is to publish a message on a topic, for the subscribers of this node. It goes by Topics
	// and Messages; such a message is to no actor of a name, kind or service.
	Publish Op = 1 << 11

	Watch   Op = 1 << 12 // to learn that an actor has ended
	Inspect Op = 1 << 13 // to see that an actor exists, and what it does; never the content of a message

	// Relay is to send requests on behalf of other principals, as a gateway does (rpc.OnBehalfOf). Only rules
	// whose Ops name it apply, and if no such rule matches, nobody may; without an access list, nodes may
	// that are all anonymous, or that share a token. What the other principal may do is decided as if it
	// had sent the request itself.
	Relay Op = 1 << 14
)

var opNames = [...]string{"send", "call", "stream", "push", "pull", "manage", "submit", "redeem", "cancel", "expose", "stop", "publish", "watch", "inspect", "relay"}

// String returns the names of the operations, joined with "|".
func (o Op) String() string {
	var names []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Effect is what a rule says.
type Effect uint8

// The effects.
const (
	Allow Effect = 1
	Deny  Effect = 2
)

// Rule allows or denies what all of its conditions match. An empty condition matches
// everything. A name matches itself, and a name that ends in "*" matches all names with that
// prefix.
type Rule struct {
	Name   string // for the audit log; empty: its position in the list
	Effect Effect // required

	Principals []string       // who: names, and "@group" for the members of a group
	Networks   []netip.Prefix // from where; does not match on a road without addresses, such as NATS
	Ops        Op             // to do what; 0: All

	Kinds    []string // with an actor of one of these kinds
	Actors   []string // of one of these names
	Services []string // that is an instance of one of these services
	Messages []string // by one of these messages, by their wire names; a message type that the node does not know has none
	Topics   []string // on one of these topics; other operations than Publish have none
	Behalf   []string // for Relay: on behalf of one of these principals, named as in Principals
}

// Rules are an access list. Its zero value allows everything.
type Rules struct {
	Groups  map[string][]string // principals by the group's name; "*" as in a Rule
	List    []Rule
	Default Effect // if no rule matches; 0: Allow

	// ExposedOnly denies other nodes all actors that are not instances of a service, and to
	// publish, except for what an Allow in List matches.
	ExposedOnly bool
}

// IsZero reports whether r allows everything and has no rules.
func (r Rules) IsZero() bool { return len(r.List) == 0 && r.Default != Deny && !r.ExposedOnly }

// Who is the sender of a message.
type Who struct {
	Principal string
	Addr      netip.Addr // zero: the road knows none
}

// What is the operation and its target.
type What struct {
	Kind, Actor string
	Services    []string // of which the actor is an instance
	Message     string   // wire name; empty if the node does not know it
	Topic       string   // of a Publish
	Op          Op       // exactly one
}

// Decision is the answer of a List.
type Decision struct {
	Allowed bool
	Rule    string // the name of the rule; "default" or "exposed only" if no rule matched
}

// List is the compiled form of Rules. It is immutable, and may be used concurrently.
type List struct {
	rules       []rule
	byDefault   Decision
	exposedOnly bool
	source      Rules
}

// Rules returns what l was compiled from. It shares its slices and maps, which must not be changed.
func (l *List) Rules() Rules { return l.source }

type rule struct {
	decision                                 Decision
	principals                               Names
	networks                                 []netip.Prefix
	ops                                      Op
	kinds, actors, services, message, topics Names
	behalf                                   Names
}

// everything reports whether the rule has no condition on the target.
func (r *rule) everything() bool {
	return r.kinds.any && r.actors.any && r.services.any && r.message.any && r.topics.any
}

func (r *rule) matchWho(w Who, op Op) bool {
	return r.ops&op != 0 && r.principals.Match(w.Principal) && (len(r.networks) == 0 ||
		slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(w.Addr) }))
}

// FieldError says what is wrong with Rules, and where. The error of Compile wraps one for each thing that is wrong.
type FieldError struct {
	Rule  int    // the index in List; -1: it is about the rules as a whole
	Name  string // of the rule, or "rule" and its position; of the rules empty
	Field string // as the Go field is named, or as it stands in JSON if the JSON is wrong
	Err   error  // what is wrong, with the name of the field
}

// Error says where it is, and what is wrong.
func (e *FieldError) Error() string {
	if e.Rule < 0 {
		return "access: " + e.Err.Error()
	}
	return "access: " + e.Name + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

// Compile checks rules and compiles them. The error names everything that is wrong, see FieldError.
func Compile(r Rules) (*List, error) {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{Rule: -1, Field: field, Err: fmt.Errorf(format, args...)})
	}
	l := &List{byDefault: Decision{r.Default != Deny, "default"}, exposedOnly: r.ExposedOnly, source: r}
	if r.Default > Deny {
		wrong("Default", "Default: no such effect: %d", r.Default)
	}
	for group, members := range r.Groups {
		if group == "" {
			wrong("Groups", "a group without a name")
		}
		for _, m := range members {
			if m == "" || strings.HasPrefix(m, "@") {
				wrong("Groups", "group %s: member %q is no principal", group, m)
			}
		}
	}
	for i, in := range r.List {
		out := rule{decision: Decision{in.Effect == Allow, in.Name}, ops: in.Ops}
		if out.decision.Rule == "" {
			out.decision.Rule = fmt.Sprintf("rule %d", i+1)
		}
		bad := func(field, format string, args ...any) {
			errs = append(errs, &FieldError{Rule: i, Name: out.decision.Rule, Field: field, Err: fmt.Errorf(format, args...)})
		}
		if in.Effect != Allow && in.Effect != Deny {
			bad("Effect", "Effect is %d: want Allow or Deny", in.Effect)
		}
		if in.Ops&^(All|Expose|Stop|Relay) != 0 {
			bad("Ops", "unknown operations: %#x", uint16(in.Ops&^(All|Expose|Stop|Relay)))
		}
		if in.Ops&Expose != 0 && len(in.Networks)+len(in.Kinds)+len(in.Messages)+len(in.Topics) > 0 {
			bad("Ops", "Expose goes by Principals, Services and Actors alone: the registry says nothing else")
		}
		if in.Ops&Relay != 0 && len(in.Kinds)+len(in.Actors)+len(in.Services)+len(in.Messages)+len(in.Topics) > 0 {
			bad("Ops", "Relay goes by Principals, Networks and Behalf alone: what is done for another is decided by the rules for that one")
		}
		if len(in.Behalf) > 0 && in.Ops&Relay == 0 {
			bad("Behalf", "Behalf goes with Relay only")
		}
		if out.ops == 0 {
			out.ops = All
		}
		if len(in.Topics) > 0 && out.ops&Publish == 0 {
			bad("Topics", "Topics go with Publish only")
		}
		for _, n := range in.Networks {
			if !n.IsValid() {
				bad("Networks", "Networks: an invalid prefix")
				continue
			}
			out.networks = append(out.networks, unmapped(n))
		}
		var err error
		if out.principals, err = PrincipalsOf(in.Principals, r.Groups); err != nil {
			bad("Principals", "%w", err)
		}
		if out.behalf, err = PrincipalsOf(in.Behalf, r.Groups); err != nil {
			bad("Behalf", "%w", err)
		}
		if slices.Contains(in.Principals, "") || slices.Contains(in.Behalf, "") {
			bad("Principals", "Principals: an empty name")
		}
		for _, c := range []struct {
			what string
			from []string
			to   *Names
		}{{"Kinds", in.Kinds, &out.kinds}, {"Actors", in.Actors, &out.actors}, {"Services", in.Services, &out.services}, {"Messages", in.Messages, &out.message}, {"Topics", in.Topics, &out.topics}} {
			if *c.to, err = NamesOf(c.from); err != nil {
				bad(c.what, "%s: %w", c.what, err)
			}
		}
		l.rules = append(l.rules, out)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// unmapped turns a prefix of IPv4-mapped IPv6 addresses into one of IPv4 addresses.
func unmapped(n netip.Prefix) netip.Prefix {
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		return netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n
}

// Decide says whether who may do what.
func (l *List) Decide(who Who, what What) Decision {
	who.Addr = who.Addr.Unmap().WithZone("")
	for i := range l.rules {
		r := &l.rules[i]
		if r.matchWho(who, what.Op) && r.kinds.Match(what.Kind) && r.actors.Match(what.Actor) && r.services.MatchOne(what.Services) && r.message.Match(what.Message) && r.topics.Match(what.Topic) {
			return r.decision
		}
	}
	if what.Op == Stop {
		return Decision{false, "default"}
	}
	if l.exposedOnly && len(what.Services) == 0 {
		return Decision{false, "exposed only"}
	}
	return l.byDefault
}

// MayExpose says whether a node of that principal may offer an actor as an instance of a
// service.
func (l *List) MayExpose(principal, service, actor string) Decision {
	for i := range l.rules {
		r := &l.rules[i]
		if r.matchWho(Who{Principal: principal}, Expose) && r.actors.Match(actor) && r.services.Match(service) {
			return r.decision
		}
	}
	return Decision{true, "default"}
}

// MayRelay says whether who may send requests on behalf of a principal.
func (l *List) MayRelay(who Who, behalf string) Decision {
	who.Addr = who.Addr.Unmap().WithZone("")
	for i := range l.rules {
		r := &l.rules[i]
		if r.matchWho(who, Relay) && r.behalf.Match(behalf) {
			return r.decision
		}
	}
	return Decision{false, "default"}
}

// MayAny reports whether there can be a target on which who may do op. It is for messages
// whose target is not known yet. If MayAny is false, Decide denies every What.
func (l *List) MayAny(who Who, op Op) bool {
	who.Addr = who.Addr.Unmap().WithZone("")
	for i := range l.rules {
		r := &l.rules[i]
		switch {
		case !r.matchWho(who, op):
		case r.decision.Allowed:
			return true
		case r.everything():
			return false
		}
	}
	return l.byDefault.Allowed && op != Stop
}

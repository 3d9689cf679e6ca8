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
// The first rule that matches decides, and Default where none does. So a list reads from
// above like a program, and what decides does not hang on which of five conditions counts
// as the narrower one: exceptions stand above what they are exceptions of.
//
// Limits: who a principal is, and from which address it comes, is for the road to prove. A
// Decision costs one look at each rule until one matches.
package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Op is what a message is for. Ops are joined with |.
type Op uint16

// The operations.
const (
	Send   Op = 1 << iota // a one-way message
	Call                  // a request
	Stream                // to open a stream, and each batch of it
	Push                  // to add to a queue
	Pull                  // to take from a queue, and to settle what was taken
	Manage                // to look into a queue, to pause, purge and revive
	Submit                // of a job
	Redeem                // of a job's token: to poll and to await
	Cancel                // of a job's token

	All = Send | Call | Stream | Push | Pull | Manage | Submit | Redeem | Cancel

	// Expose is to be an instance of a service for the actors of this node. It is no message,
	// and only rules whose Ops name it are about it, neither Default nor ExposedOnly: where
	// no such rule matches, every node may. Its principal is that of the node's record.
	Expose Op = 1 << 9
)

var opNames = [...]string{"send", "call", "stream", "push", "pull", "manage", "submit", "redeem", "cancel", "expose"}

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
// everything. Names match as they are, and one that ends in "*" matches all that begin with
// what stands before it.
type Rule struct {
	Name   string // for the audit log; empty: its place in the list
	Effect Effect // required

	Principals []string       // who: names, and "@group" for the members of a group
	Networks   []netip.Prefix // from where; never matches on a road without addresses, such as a bus
	Ops        Op             // to do what; 0: All

	Kinds    []string // with an actor of one of these kinds
	Actors   []string // of one of these names
	Services []string // that is an instance of one of these services
	Messages []string // and with one of these messages, by their wire names; one that the node does not know has none
}

// Rules are an access list. Its zero value allows everything.
type Rules struct {
	Groups  map[string][]string // principals by the group's name; "*" as in a Rule
	List    []Rule
	Default Effect // of what no rule matches; 0: Allow

	// ExposedOnly keeps other nodes from actors that are no instance of a service, save
	// from what an Allow in List matches.
	ExposedOnly bool
}

// IsZero reports whether r allows everything without looking.
func (r Rules) IsZero() bool { return len(r.List) == 0 && r.Default != Deny && !r.ExposedOnly }

// Who asks.
type Who struct {
	Principal string
	Addr      netip.Addr // zero: the road knows none
}

// What is asked for.
type What struct {
	Kind, Actor string
	Services    []string // that the actor is an instance of
	Message     string   // wire name; empty if the node does not know it
	Op          Op       // one
}

// Decision is what a list says.
type Decision struct {
	Allowed bool
	Rule    string // its name; "default" and "exposed only" for those
}

// List is the compiled form of Rules. It is immutable, and may be used concurrently.
type List struct {
	rules       []rule
	byDefault   Decision
	exposedOnly bool
}

type rule struct {
	decision                         Decision
	principals                       names
	networks                         []netip.Prefix
	ops                              Op
	kinds, actors, services, message names
}

// names is a condition on a name. nil matches every name.
type names struct {
	any    bool
	exact  map[string]bool
	prefix []string
}

func (n *names) match(name string) bool {
	return n.any || n.exact[name] || slices.ContainsFunc(n.prefix, func(p string) bool { return strings.HasPrefix(name, p) })
}

func (n *names) matchOne(of []string) bool { return n.any || slices.ContainsFunc(of, n.match) }

// everything reports whether the rule says nothing of what is asked for, but the operation.
func (r *rule) everything() bool {
	return r.kinds.any && r.actors.any && r.services.any && r.message.any
}

func (r *rule) matchWho(w Who, op Op) bool {
	return r.ops&op != 0 && r.principals.match(w.Principal) && (len(r.networks) == 0 ||
		slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(w.Addr) }))
}

// Compile checks rules and makes a list of them. The error names all that is wrong.
func Compile(r Rules) (*List, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("access: "+format, args...)) }
	l := &List{byDefault: Decision{r.Default != Deny, "default"}, exposedOnly: r.ExposedOnly}
	if r.Default > Deny {
		bad("Default: no such effect: %d", r.Default)
	}
	for group, members := range r.Groups {
		if group == "" {
			bad("a group without a name")
		}
		for _, m := range members {
			if m == "" || strings.HasPrefix(m, "@") {
				bad("group %s: member %q is no principal", group, m)
			}
		}
	}
	for i, in := range r.List {
		out := rule{decision: Decision{in.Effect == Allow, in.Name}, ops: in.Ops}
		if out.decision.Rule == "" {
			out.decision.Rule = fmt.Sprintf("rule %d", i+1)
		}
		where := out.decision.Rule
		if in.Effect != Allow && in.Effect != Deny {
			bad("%s: Effect is %d: want Allow or Deny", where, in.Effect)
		}
		if in.Ops&^(All|Expose) != 0 {
			bad("%s: unknown operations: %#x", where, uint16(in.Ops&^(All|Expose)))
		}
		if in.Ops&Expose != 0 && len(in.Networks)+len(in.Kinds)+len(in.Messages) > 0 {
			bad("%s: Expose goes by Principals, Services and Actors alone: the registry says nothing else", where)
		}
		if out.ops == 0 {
			out.ops = All
		}
		for _, n := range in.Networks {
			if !n.IsValid() {
				bad("%s: Networks: an invalid prefix", where)
				continue
			}
			out.networks = append(out.networks, unmapped(n))
		}
		var who []string
		for _, p := range in.Principals {
			group, isGroup := strings.CutPrefix(p, "@")
			members, known := r.Groups[group]
			switch {
			case !isGroup:
				who = append(who, p)
			case !known:
				bad("%s: no group %s", where, group)
			default:
				who = append(who, members...)
			}
		}
		out.principals = compileNames(who, len(in.Principals) == 0) // an empty group matches nobody
		for _, c := range []struct {
			what string
			from []string
			to   *names
		}{{"Kinds", in.Kinds, &out.kinds}, {"Actors", in.Actors, &out.actors}, {"Services", in.Services, &out.services}, {"Messages", in.Messages, &out.message}} {
			if slices.Contains(c.from, "") {
				bad("%s: %s: an empty name", where, c.what)
			}
			*c.to = compileNames(c.from, len(c.from) == 0)
		}
		if slices.Contains(in.Principals, "") {
			bad("%s: Principals: an empty name", where)
		}
		l.rules = append(l.rules, out)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

func compileNames(from []string, anyone bool) names {
	n := names{any: anyone, exact: map[string]bool{}}
	for _, name := range from {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			n.prefix = append(n.prefix, prefix)
			n.any = n.any || prefix == "" && len(from) == 1
		} else {
			n.exact[name] = true
		}
	}
	return n
}

// unmapped is a prefix of IPv4 addresses that is written as one of IPv6 addresses.
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
		if r.matchWho(who, what.Op) && r.kinds.match(what.Kind) && r.actors.match(what.Actor) && r.services.matchOne(what.Services) && r.message.match(what.Message) {
			return r.decision
		}
	}
	if l.exposedOnly && len(what.Services) == 0 {
		return Decision{false, "exposed only"}
	}
	return l.byDefault
}

// MayExpose says whether a node of that principal may have an actor be an instance of a
// service.
func (l *List) MayExpose(principal, service, actor string) Decision {
	for i := range l.rules {
		r := &l.rules[i]
		if r.matchWho(Who{Principal: principal}, Expose) && r.actors.match(actor) && r.services.match(service) {
			return r.decision
		}
	}
	return Decision{true, "default"}
}

// MayAny reports whether there can be anything with which who may do op: for a message
// whose real target is not known yet. Where it says no, Decide does for each What.
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
	return l.byDefault.Allowed
}

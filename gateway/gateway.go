// Package gateway opens actors to those who are outside of the cluster: it has what every gateway needs, whatever the
// protocol is that its clients speak. Package httpapi is a gateway for HTTP, package natsapi one for plain NATS.
//
//	table, err := gateway.New(sys,
//		gateway.Actor("ledger", sys.Ref("ledger@bank"), Ledger),
//		gateway.Service("mailer", Mailer),
//		gateway.Virtual("account", Account))
//	call, err := table.Find("account", "ann", "Deposit")
//	answer, err := call.Do(ctx, gateway.Request{Principal: "web:ann", Key: "5f0a", Body: []byte(`{"Amount": 5}`)})
//
// Nothing is open unless a Target names it. Bodies are JSON, as package codec decodes it, and are decoded where the actor
// is. Messages of types that a codec of the gateway's system names, as generated protobuf messages, are open as well, if that codec
// has a form in JSON for them (codec.JSONForm). Every request is sent on behalf of the principal that the gateway has found out (rpc.OnBehalfOf): that one's access
// rules count where the actor is, and keys and jobs belong to it, whichever gateway it asks.
//
// The promise: a request with a key that was sent before, through whatever gateway, does not run again, as rpc.Key says;
// and the error of a request tells whether it ran.
//
// The limits: streams go out only, and a message that opens a stream to the actor (actor.Collect, actor.Converse), or that
// belongs to a queue, cannot be sent. For keys of requests to a service, which has several instances, see Config.Bindings. A
// stored actor keeps about 700 outcomes of requests with keys, if replies are small, each for rpc.Limits.KeyLife (10 minutes);
// beyond that it refuses new keys as overloaded.
package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Anonymous is the principal of clients whom a gateway does not know.
const Anonymous = transport.Anonymous

// Target is what a gateway opens under a name: an actor, a service, or the actors of a virtual kind.
type Target struct {
	name string
	kind *actor.Kind
	ref  func(sys *actor.System, id string) actor.Ref
	many bool // id says which actor
	any  bool // it is a service
}

// Actor opens one actor, which is of that kind.
func Actor(name string, ref actor.Ref, kind *actor.Kind) Target {
	return Target{name: name, kind: kind, ref: func(*actor.System, string) actor.Ref { return ref }}
}

// Service opens a service, whose instances are of that kind, under its own name: with selectors, those
// of its instances only.
func Service(name string, kind *actor.Kind, which ...actor.Selector) Target {
	return Target{name: name, kind: kind, any: true, ref: func(sys *actor.System, _ string) actor.Ref { return sys.Service(name, which...) }}
}

// As is the target under another name, for example a version of a service beside the service as a whole.
func (t Target) As(name string) Target {
	t.name = name
	return t
}

// Virtual opens all actors of a virtual kind. A client says the id of the one that it wants.
func Virtual(name string, kind *actor.Kind) Target {
	return Target{name: name, kind: kind, many: true, ref: func(sys *actor.System, id string) actor.Ref { return sys.Virtual(kind, id) }}
}

// Table finds what a client names. It is immutable, and may be used concurrently.
type Table struct {
	sys     *actor.System
	cfg     Config
	targets map[string]*target
}

// Config changes how a Table works. Its zero value is the default.
type Config struct {
	// Bindings remember which instance of a service got the request with a key, so that it gets the next attempt as well.
	// Nil: requests with a key to services are refused. Package gateway/natskv has those that several gateways share.
	Bindings Bindings
}

type target struct {
	Target
	messages map[string]*Endpoint
}

// Endpoint is a message that a target takes.
type Endpoint struct {
	Target  string // name of the target
	Many    bool   // a client has to say the id of an actor
	Name    string // the message's name in this gateway: its name on the wire from the last "." or "/" on
	Message actor.Message
	Keys    bool // a key can be given

	of *target
}

// New returns the table of the targets, with the default Config. The error names everything that is wrong: names that are
// not 1 to 128 letters, digits, "-" and "_", or that are given twice, messages that cannot be sent to other nodes, and two
// messages of one target with the same name here.
func New(sys *actor.System, targets ...Target) (*Table, error) { return Config{}.New(sys, targets...) }

// New is the function New, with a Config of its own.
func (cfg Config) New(sys *actor.System, targets ...Target) (*Table, error) {
	t := &Table{sys: sys, cfg: cfg, targets: map[string]*target{}}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("gateway: "+format, args...)) }
	for _, given := range targets {
		to := &target{Target: given, messages: map[string]*Endpoint{}}
		if err := transport.ValidName("target", to.name); err != nil {
			bad("%w", err)
		}
		if t.targets[to.name] != nil {
			bad("two targets of name %s", to.name)
		}
		t.targets[to.name] = to
		if to.kind == nil || to.many && !to.kind.IsVirtual() {
			bad("target %s: it needs its kind, and a virtual one to be open as Virtual", to.name)
			continue
		}
		for _, m := range sys.Messages(to.kind) {
			if m.Op&(access.Send|access.Call|access.Stream) == 0 || m.Inputs != nil {
				continue
			}
			e := &Endpoint{Target: to.name, Many: to.many, Name: shortName(m.Name), Message: m, of: to}
			e.Keys = m.Items == nil && (!to.any || cfg.Bindings != nil) && (!to.many || to.kind.IsStored()) && m.Reply != nil
			switch other := to.messages[e.Name]; {
			case m.Err != nil:
				bad("target %s: %w", to.name, m.Err)
			case other != nil:
				bad("target %s: messages %s and %s would both be %s: give one of them another WireName", to.name, other.Message.Name, m.Name, e.Name)
			}
			to.messages[e.Name] = e
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// shortName is the part of a wire name that stands for a message within its target.
func shortName(wire string) string { return wire[strings.LastIndexAny(wire, "./")+1:] }

// Endpoints returns all that is open, by target and name.
func (t *Table) Endpoints() []*Endpoint {
	var all []*Endpoint
	for _, to := range t.targets {
		for _, e := range to.messages {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Endpoint) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Name, b.Name)) })
	return all
}

// Find returns what sends that message to that target. id is that of the virtual actor, and empty for other targets. The
// error, NotFound or Invalid, says what there is not.
func (t *Table) Find(name, id, message string) (Call, error) {
	to := t.targets[name]
	if to == nil {
		return Call{}, rpc.Errorf(rpc.NotFound, rpc.NotRun, "nothing is open under the name %q", clip(name))
	}
	e := to.messages[message]
	if e == nil {
		return Call{}, rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s takes no message %q", name, clip(message))
	}
	if to.many != (id != "") {
		return Call{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s: want %s", name, map[bool]string{true: "the id of an actor", false: "no id, because it is one actor"}[to.many])
	}
	ref := to.ref(t.sys, id)
	if ref.IsZero() {
		return Call{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s: %q is no id of an actor", name, clip(id))
	}
	return Call{Endpoint: e, to: ref, table: t}, nil
}

// clip shortens what a client has sent, for an error text.
func clip(s string) string { return s[:min(len(s), 64)] }

// Reply is the type of what answers the message: of its reply, or of the items of its stream; nil: nothing does.
func (e *Endpoint) Reply() reflect.Type {
	if e.Message.Items != nil {
		return e.Message.Items
	}
	return e.Message.Reply
}

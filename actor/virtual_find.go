package actor

import (
	"context"
	"reflect"
	"slices"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// ErrNotActive is wrapped by the error of an Inspect of a virtual actor that is active nowhere, and is why a watch of one ends.
var ErrNotActive error = rpc.NewError("actor.not_active", "the virtual actor is not active")

// findVirtual asks a node that hosts a virtual kind where an actor is active.
type findVirtual struct {
	Returns[string] // the node; empty: it is not active
	Name            string
	Op              access.Op // what is to be done there
}

func (findVirtual) WireName() string            { return "tandem.node.find" }
func (findVirtual) neededOp() (access.Op, bool) { return 0, true } // it is the one in the message, see nodeServer.find

// find says where a virtual actor is active, to those who may do there what they want to do.
func (nodeServer) find(ctx *Context, m findVirtual) (string, error) {
	s := ctx.System()
	if m.Op != access.Stop && m.Op != access.Inspect && m.Op != access.Watch {
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "a search for a virtual actor to %v it", m.Op)
	}
	if err := ctx.mayUse(m.Name, s.types.get(reflect.TypeFor[findVirtual]()).id, m.Op); err != nil {
		ctx.refuse(err)
		return "", nil
	}
	key, ok := activationOf(m.Name)
	if !ok {
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "%q is not a virtual actor", m.Name)
	}
	later := Defer[string](ctx)
	if !s.services.run(func() { // the store of claims may take a while
		if node, err := s.virtuals.find(ctx, key); err != nil {
			_ = later.Fail(err)
		} else {
			_ = later.Answer(node)
		}
	}) {
		_ = later.Fail(errLeaving)
	}
	return "", nil
}

// find returns the node that has an actor of a kind that this node hosts; empty: none.
func (v *virtuals) find(ctx context.Context, key placement.Key) (node string, err error) {
	s := v.sys
	if s.refs.live(placed+key.String()) != nil {
		return s.cfg.Name, nil
	}
	if s.cfg.Claims == nil {
		return "", nil
	}
	found, err := s.cfg.Claims.Get(ctx, key)
	if err != nil {
		return "", rpc.Errorf(rpc.Unavailable, rpc.NotRun, "reading the claim of virtual actor %v: %w", key, err)
	}
	if found.Token == 0 || found.Node == s.cfg.Name { // it is not live here
		return "", nil
	}
	sight := s.members.sight(found.Claim)
	if sight == placement.Unseen {
		if sight, err = s.members.confirm(ctx, found.Claim); err != nil {
			return "", rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w", err)
		}
	}
	if sight != placement.Alive {
		return "", nil
	}
	return found.Node, nil
}

// activeAt returns the activation of a virtual actor, wherever it is, to do something with it; nil: there is none. It
// does not activate it. A node that does not host the kind asks one that does.
func (s *System) activeAt(ctx context.Context, t *target, op access.Op) (*target, error) {
	key, err := virtualKey(t.addr.name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout(ctx))
	defer cancel()
	name, node := placed+t.addr.name, ""
	if kind := s.kinds[key.Kind]; kind != nil && kind.placed {
		node, err = s.virtuals.find(ctx, key)
	} else {
		node, err = s.askWhere(ctx, key, findVirtual{Name: name, Op: op})
	}
	if err != nil || node == "" {
		return nil, err
	}
	return s.refs.target(s, address{name, node}), nil
}

// askWhere asks the nodes that host the kind, one after another.
func (s *System) askWhere(ctx context.Context, key placement.Key, m findVirtual) (node string, err error) {
	hosts := s.virtuals.hostsOf(key.Kind)
	err = errNobody(key)
	for tried := []string(nil); len(tried) < maxLeftOut; {
		next, ok := hosts.choose(key, tried)
		if !ok {
			break
		}
		if node, err = Call(ctx, s.Ref(nodeServerName+"@"+next), m); err == nil || !slices.Contains([]rpc.Code{rpc.Leaving, rpc.Unavailable, rpc.NotFound}, rpc.CodeOf(err)) {
			break
		}
		tried = append(tried, next)
	}
	return node, err
}

// notActive is the error of an Inspect of a virtual actor that is active nowhere.
func (s *System) notActive(t *target) error {
	return rpc.Errorf(rpc.NotFound, rpc.NotRun, "%v: %w", t.addr, ErrNotActive)
}

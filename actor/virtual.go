package actor

import (
	"strconv"
	"strings"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// anywhere is the node in the address of a virtual actor: kind/id@~.
const anywhere = "~"

// placed is the prefix of the name that an activation of a virtual actor has on its node: ~kind/id.
const placed = "~"

// Virtual makes the actors of a kind virtual: nobody spawns them. An actor exists for each id, and
// System.Virtual addresses it. Its first message activates it on one of the nodes that have the kind in
// Config.Kinds, which makes fresh state for it. It ends there when it is idle (Idle), is stopped, or
// its node leaves; the next message activates it again, perhaps elsewhere.
//
// In the whole cluster at most one activation of an actor answers at any time, whatever crashes,
// hangs or is cut off: each holds a claim in Config.Claims, and answers only while its node's lease
// in the registry is certain. A request that an activation has handled, but could not answer in time, fails as
// rpc.Unavailable, and its verdict says that it ran.
//
// What such an actor has in memory is lost when its activation ends. A retry that the first activation
// has not answered is not recognised by the next one; so a request whose node has died fails with the
// verdict Unknown, as at any other actor.
//
// Access rules name an activation ~kind/id. The kind's name has no "/". The kind cannot be Durable, Transactional or KeptLocal.
func Virtual() KindOption { return func(k *Kind) { k.placed = true } }

// checkVirtual returns what is wrong with a virtual kind, or nil.
func (k *Kind) checkVirtual() error {
	switch {
	case !k.placed && len(k.kept) > 0:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %s has KeepActive, so it has to be Virtual", k.name)
	case !k.placed:
		return nil
	case strings.Contains(k.name, "/"):
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %q: the name of a virtual kind has no \"/\"", k.name)
	case len(k.name) > placement.MaxKey:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %q: the name of a virtual kind has at most %d bytes", k.name, placement.MaxKey)
	case k.recorded():
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %s is virtual: its records would stay on one node, so it cannot be Durable or Transactional", k.name)
	case k.local:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %s is virtual, so it cannot be KeptLocal", k.name)
	}
	return k.checkKept()
}

// Virtual returns a bound ref to a virtual actor, wherever it is or will be. Its text form is
// kind/id@~. The id is 1 to 200 bytes of UTF-8 without "/", "@", white space and control characters;
// for another one, and for a kind that is not virtual, it returns the zero Ref, and logs why.
//
// The node does not have to host the kind itself. A send goes to the node that has the actor, as far
// as this node knows, or to the one that the cluster chooses for it; a node that does not have it
// says who does. Requests that are provably not run are sent again, as those to services.
// Messages of one sender arrive in order while the actor stays where it is.
//
// Such refs can be used with all verbs but TellReliably, and without rpc.Key, because other activations
// would not know what an earlier one has handled.
func (s *System) Virtual(kind *Kind, id string) Ref {
	if kind != nil && kind.byName && s.kinds[kind.name] != nil {
		kind = s.kinds[kind.name]
	}
	if kind == nil || !kind.placed && !kind.byName {
		s.log.Warn("no virtual actor: the kind is not virtual", "id", id)
		return Ref{}
	}
	return s.Ref(kind.name + "/" + id + "@" + anywhere)
}

// FencingToken is the number of this activation of a virtual actor; 0 for other actors. Each activation
// of an actor has a higher one than those before it, on whatever node. A store that is told it with each
// write, and refuses writes with a lower one than it has seen, is safe from an activation that is about
// to learn that it has been replaced.
func (c *Context) FencingToken() uint64 {
	if c.cell.place() == nil {
		return 0
	}
	return uint64(c.cell.token())
}

// token is that of an activation's claim; 0: it has none.
func (c *cell) token() placement.Token {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.place.token
}

// virtualSelf is the target of the virtual actor whose activation c is.
func (c *cell) virtualSelf() *target {
	s := c.self.sys
	return s.refs.target(s, address{c.self.addr.name[len(placed):], anywhere})
}

// address is what others send to: the virtual actor of an activation, and else the actor itself.
func (c *cell) address() *target {
	if c.kind.placed {
		return c.virtualSelf()
	}
	return c.self
}

// routed reports whether an address leaves open which node is asked.
func (a address) routed() bool { return a.node == anyNode || a.node == anywhere }

// maxID is the largest id of a virtual actor in bytes.
const maxID = 200

// virtualKey returns the kind and id in the name of a virtual actor.
func virtualKey(name string) (key placement.Key, err error) {
	kind, id, ok := strings.Cut(name, "/")
	if !ok || kind == "" || id == "" || strings.Contains(id, "/") || len(id) > maxID || len(name)+len(placed) > transport.MaxTarget {
		return key, rpc.Errorf(rpc.Invalid, rpc.NotRun, "virtual actor %q: want kind/id, with an id of 1 to %d bytes without \"/\"", name, maxID)
	}
	return placement.Key{Kind: kind, ID: id}, nil
}

// activationOf returns the key of the activation of that name on this node, and false if it is not
// the name of one.
func activationOf(name string) (placement.Key, bool) {
	if !strings.HasPrefix(name, placed) {
		return placement.Key{}, false
	}
	key, err := virtualKey(name[len(placed):])
	return key, err == nil
}

// moved is the error of a node that does not have a virtual actor.
func moved(key placement.Key, h placement.Held) *rpc.Error {
	err := rpc.Errorf(rpc.Moved, rpc.NotRun, "virtual actor %v is on node %s", key, h.Node)
	err.Elsewhere = h.Node + "/" + h.Epoch + "/" + strconv.FormatUint(uint64(h.Token), 10)
	return err
}

// holderIn returns what such an error says of the holder, and false if that is nothing of use.
func holderIn(err *rpc.Error) (h placement.Holder, ok bool) {
	node, rest, _ := strings.Cut(err.Elsewhere, "/")
	epoch, token, ok := strings.Cut(rest, "/")
	n, bad := strconv.ParseUint(token, 10, 64)
	if !ok || bad != nil || transport.ValidName("node", node) != nil {
		return h, false
	}
	return placement.Holder{Node: node, Epoch: epoch, Token: placement.Token(n)}, true
}

package actor

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
	"unique"
	"weak"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// anyNode stands where a ref's node does if the ref is to a service.
const anyNode = "*"

// address says which actor: its name and its node.
type address struct{ name, node string }

func (a address) String() string { return a.name + "@" + a.node }

// parseAddress reads name@node, where node may be "*" for a service.
func parseAddress(s string) (address, error) {
	name, node, ok := strings.Cut(s, "@")
	a := address{name, node}
	if !ok {
		return a, rpc.Errorf(rpc.Invalid, rpc.NotRun, "address %q: want name@node", s)
	}
	if err := validActorName(name); err != nil {
		return a, err
	}
	if node == anyNode {
		return a, nil
	}
	if err := transport.ValidName("node", node); err != nil {
		return a, rpc.Errorf(rpc.Invalid, rpc.NotRun, "address %q: %w", s, err)
	}
	return a, nil
}

func validActorName(s string) error {
	bad := func(r rune) bool { return r == '@' || unicode.IsSpace(r) || unicode.IsControl(r) }
	if s == "" || len(s) > transport.MaxTarget || !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "actor name %q: want 1 to %d bytes of UTF-8 without '@', white space and control characters", s, transport.MaxTarget)
	}
	return nil
}

// Ref is an actor's address: one actor on one node, or any instance of a service. It
// is a small immutable value, may be copied, compared, used as a map key and sent
// inside messages. The zero Ref addresses nobody.
//
// A Ref from Spawn, System.Ref, System.Service or Context is bound to its system and
// can be sent to from anywhere. One decoded from a message is not: send to it with
// the handler's *Context, or bind it with System.Bind. Refs bound to one system are
// == exactly if their addresses are, and so are unbound ones; across the two use
// Equal.
type Ref struct {
	to    *target                // bound; nil otherwise
	plain unique.Handle[address] // unbound; zero otherwise
}

// target is what the bound refs to one address share. A system has at most one per
// address.
type target struct {
	sys  *System
	addr address
	cell atomic.Pointer[cell] // the actor, while it lives here
}

func (r Ref) address() address {
	switch {
	case r.to != nil:
		return r.to.addr
	case r.plain != unique.Handle[address]{}:
		return r.plain.Value()
	}
	return address{}
}

// IsZero reports whether r addresses nobody.
func (r Ref) IsZero() bool { return r == Ref{} }

// Bound reports whether r can be sent to without a *Context.
func (r Ref) Bound() bool { return r.to != nil }

// Equal reports whether both address the same, bound or not.
func (r Ref) Equal(other Ref) bool { return r.address() == other.address() }

// Name is the actor's name, or the service's.
func (r Ref) Name() string { return r.address().name }

// Node is the actor's node, or "*" for a service.
func (r Ref) Node() string { return r.address().node }

// String returns the text form, name@node, and "" for the zero Ref.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.address().String()
}

// MarshalText returns the text form. It is how refs travel in msgpack and JSON.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText makes r an unbound ref to the given address.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Ref{}
		return nil
	}
	a, err := parseAddress(string(text))
	if err != nil {
		return err
	}
	*r = Ref{plain: unique.Make(a)}
	return nil
}

// ErrUnbound is the error of a send to a ref that knows no system.
var ErrUnbound = fmt.Errorf("actor: the ref is bound to no system: use the handler's *Context, or System.Bind")

// Ref returns a bound ref to the actor of that address, name@node, or name alone for
// this node. Nothing says that it exists. An address that is not well-formed gives
// the zero Ref.
func (s *System) Ref(addr string) Ref {
	if !strings.Contains(addr, "@") {
		addr += "@" + s.cfg.Name
	}
	a, err := parseAddress(addr)
	if err != nil {
		s.log.Warn("bad address", "err", err)
		return Ref{}
	}
	return Ref{to: s.refs.target(s, a)}
}

// Service returns a bound ref to any actor of the cluster that was exposed under
// that name. Each send picks an instance as Config.Balance says (package balance);
// a request stays with its own, and goes to another one only if it did not run there.
// An instance that cannot be reached, is silent, or refuses what it gets is left out
// until it serves again: see InstanceEjected. While a service that had instances has
// none, Call, Submit and the opening of a stream wait for one within their deadline.
func (s *System) Service(name string) Ref { return s.Ref(name + "@" + anyNode) }

// Bind returns r bound to this system.
func (s *System) Bind(r Ref) Ref {
	if r.IsZero() || r.to != nil && r.to.sys == s {
		return r
	}
	return Ref{to: s.refs.target(s, r.address())}
}

// target returns the one target of an address. Those without an actor here are held
// weakly: refs keep them, the table does not.
func (t *refTable) target(s *System, a address) *target {
	t.mu.RLock()
	found := t.find(s, a)
	t.mu.RUnlock()
	if found != nil {
		return found
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found := t.find(s, a); found != nil {
		return found
	}
	made := &target{sys: s, addr: a}
	t.hold(made)
	return made
}

// find returns the target of an address if there is one. t.mu is held.
func (t *refTable) find(s *System, a address) *target {
	if a.node == s.cfg.Name {
		if live := t.actors[a.name]; live != nil {
			return live
		}
	}
	if w, ok := t.weak[a]; ok {
		return w.Value()
	}
	return nil
}

// hold keeps a target weakly. t.mu is held.
func (t *refTable) hold(v *target) {
	t.weak[v.addr] = weak.Make(v)
	runtime.AddCleanup(v, t.drop, v.addr)
}

// drop forgets a target that nothing refers to any more.
func (t *refTable) drop(a address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w, ok := t.weak[a]; ok && w.Value() == nil {
		delete(t.weak, a)
	}
}

func (t *refTable) slot(name string) *atomic.Pointer[target] {
	return &t.recent[maphash.String(t.seed, name)%uint64(len(t.recent))]
}

// live returns the actor of that name on this node, or nil.
func (t *refTable) live(name string) *cell {
	slot := t.slot(name)
	if v := slot.Load(); v != nil && v.addr.name == name {
		if c := v.cell.Load(); c != nil {
			return c
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := t.actors[name]
	if v == nil {
		return nil
	}
	slot.Store(v)
	return v.cell.Load()
}

// shut lets no actor begin from here on.
func (t *refTable) shut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// enter starts c under a name of the system's own. It returns nil and no error if a live
// actor has that.
func (t *refTable) enter(s *System, name string, c *cell) (*target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, err := t.take(s, name)
	if v != nil {
		t.begin(v, c)
	}
	return v, err
}

// reserve takes a name for an actor that is to be made; begun or unreserve follows. It
// returns nil and no error if the name is taken.
func (t *refTable) reserve(s *System, name string) (*target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.take(s, name)
}

// begun starts c under the name that was reserved for it, unless none may begin any more.
func (t *refTable) begun(v *target, c *cell) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.free(v)
		return errShutdown
	}
	t.begin(v, c)
	return nil
}

// unreserve gives up a name that was reserved.
func (t *refTable) unreserve(v *target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free(v)
	t.hold(v)
}

// take, begin and free are done while t.mu is held.
func (t *refTable) take(s *System, name string) (*target, error) {
	if t.closed {
		return nil, errShutdown
	}
	a := address{name, s.cfg.Name}
	if t.actors[name] != nil {
		return nil, nil
	}
	var v *target
	if w, ok := t.weak[a]; ok {
		v = w.Value()
		delete(t.weak, a)
	}
	if v == nil {
		v = &target{sys: s, addr: a}
	}
	t.actors[name] = v
	t.unseen++
	return v, nil
}

func (t *refTable) begin(v *target, c *cell) {
	c.self = v
	v.cell.Store(c)
	if !strings.HasPrefix(v.addr.name, hidden) {
		t.unseen--
	}
}

func (t *refTable) free(v *target) {
	delete(t.actors, v.addr.name)
	t.unseen--
}

// whenGone returns a channel that is closed when c has left.
func (t *refTable) whenGone(c *cell) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := t.gone[c]
	if gone == nil {
		gone = make(chan struct{})
		if c.self.cell.Load() != c {
			close(gone)
		} else {
			t.gone[c] = gone
		}
	}
	return gone
}

// leave frees the name of a stopped actor. It reports false if that was done before:
// the name may be another actor's by now.
func (t *refTable) leave(c *cell) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.self.cell.Load() != c {
		return false
	}
	c.self.cell.Store(nil)
	delete(t.actors, c.self.addr.name)
	if gone := t.gone[c]; gone != nil {
		close(gone)
		delete(t.gone, c)
	}
	t.slot(c.self.addr.name).CompareAndSwap(c.self, nil)
	if strings.HasPrefix(c.self.addr.name, hidden) {
		t.unseen--
	}
	if !c.self.sys.draining() { // in a system that ends nobody looks for it any more
		t.hold(c.self)
	}
	return true
}

// all returns the live actors.
func (t *refTable) all() []*cell {
	t.mu.RLock()
	defer t.mu.RUnlock()
	cells := make([]*cell, 0, len(t.actors))
	for _, v := range t.actors {
		if c := v.cell.Load(); c != nil {
			cells = append(cells, c)
		}
	}
	return cells
}

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

// anyNode is the node in the address of a service.
const anyNode = "*"

// address is the name of an actor and the name of its node.
type address struct{ name, node string }

func (a address) String() string { return a.name + "@" + a.node }

// parseAddress reads name@node, where node may be "*" for a service and "~" for a virtual actor. The result is
// in canonical form.
func parseAddress(s string) (address, error) {
	name, node, ok := strings.Cut(s, "@")
	a := address{name, node}
	if !ok {
		return a, rpc.Errorf(rpc.Invalid, rpc.NotRun, "address %q: want name@node", s)
	}
	if err := validActorName(name); err != nil {
		return a, err
	}
	switch node {
	case anyNode:
		var err error
		a.name, err = canonicalService(name)
		return a, err
	case anywhere:
		_, err := virtualKey(name)
		return a, err
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

// Ref is an actor's address: one actor on one node, any instance of a service, or a virtual actor. It
// is a small immutable value that may be copied, compared, used as a map key and sent
// inside messages. The zero Ref addresses nobody.
//
// A Ref from Spawn, System.Ref, System.Service or Context is bound to its system, and
// can be used from anywhere. A Ref that was decoded from a message is unbound: use it with
// the handler's *Context, or bind it with System.Bind. Two refs bound to one system are ==
// exactly if their addresses are equal, and so are two unbound refs. To compare a bound with
// an unbound ref, use Equal.
type Ref struct {
	to    *target                // nil if unbound
	plain unique.Handle[address] // the address of an unbound ref; zero if bound
}

// target is shared by all refs to one address that are bound to a system. A system has at
// most one for each address.
type target struct {
	sys  *System
	addr address
	cell atomic.Pointer[cell] // the actor, while it lives here

	placed   atomic.Pointer[placedTarget] // of a virtual actor that was looked for
	compact  atomic.Pointer[compactForm]  // which messages to it may be compact; see System.form
	selected *selected                    // of a service; nil: all instances
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

// Bound reports whether r can be used without a handler's *Context.
func (r Ref) Bound() bool { return r.to != nil }

// Equal reports whether both address the same, bound or not.
func (r Ref) Equal(other Ref) bool { return r.address() == other.address() }

// Name is the actor's name, or the service's with what selects its instances.
func (r Ref) Name() string { return r.address().name }

// Node is the actor's node, "*" for a service, or "~" for a virtual actor.
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

// ErrUnbound is the error of a send to an unbound ref outside of a handler.
var ErrUnbound = fmt.Errorf("actor: the ref is bound to no system: use the handler's *Context, or System.Bind")

// Ref returns a bound ref to the actor of that address, which is name@node, or only name for
// this node. It does not check that the actor exists. For an address that is not well-formed
// it returns the zero Ref.
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

// Bind returns r bound to this system.
func (s *System) Bind(r Ref) Ref {
	if r.IsZero() || r.to != nil && r.to.sys == s {
		return r
	}
	return Ref{to: s.refs.target(s, r.address())}
}

// target returns the one target of an address. The table holds targets without an actor on
// this node weakly: only refs keep them alive.
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
	if a.node != s.cfg.Name {
		a.node = unique.Make(a.node).Value() // one text for all targets on that node: Client.peer finds it faster
	}
	made := &target{sys: s, addr: a, selected: selectedBy(a)}
	t.hold(made)
	if a.node == anywhere {
		if v := t.actors[placed+a.name]; v != nil {
			t.show(v.cell.Load(), made)
		}
	}
	return made
}

// showPlaced has senders on this node find the activation of a virtual actor at once, which has its
// claim from now on.
func (t *refTable) showPlaced(c *cell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w, ok := t.weak[address{c.self.addr.name[len(placed):], anywhere}]; ok {
		t.show(c, w.Value())
	}
}

// show makes c, an activation or nil, the actor of the target of its virtual actor, which may be nil, if it has its claim.
// Requests to stored actors have to get their names, so these are always looked for. t.mu is held.
func (t *refTable) show(c *cell, v *target) {
	if c == nil || v == nil || c.kind.keeps != nil {
		return
	}
	if now := c.life.now(); now != claiming && now < ending {
		v.cell.Store(c)
	}
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
	runtime.AddCleanup(v, unheld.forget, unheld{weak.Make(t), v.addr})
}

// unheld is the address of a target that nothing refers to any more. Until then the runtime
// holds it. So it must not keep the table: from its system the application can often be reached,
// which may have a ref to that very target, and neither of them would ever be garbage.
type unheld struct {
	table weak.Pointer[refTable]
	addr  address
}

func (u unheld) forget() {
	t := u.table.Value()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if w, ok := t.weak[u.addr]; ok && w.Value() == nil {
		delete(t.weak, u.addr)
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

// shut lets no actor start from now on.
func (t *refTable) shut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// enter starts c under a name that is internal to the system. It returns nil and no error if a
// live actor has the name.
func (t *refTable) enter(s *System, name string, c *cell) (*target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, err := t.claim(s, name)
	if v != nil {
		t.begin(v, c)
	}
	return v, err
}

// reserve claims a name for an actor that is about to be made. The caller then calls begun or
// unreserve. It returns nil and no error if the name is taken.
func (t *refTable) reserve(s *System, name string) (*target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.claim(s, name)
}

// begun starts c under the name that was reserved for it, unless the table was shut.
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

// claim marks a name as taken; begin and free follow. t.mu is held in all three.
func (t *refTable) claim(s *System, name string) (*target, error) {
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
	t.tell(v)
	if !strings.HasPrefix(v.addr.name, hidden) {
		t.unseen--
	}
}

func (t *refTable) free(v *target) {
	delete(t.actors, v.addr.name)
	t.unseen--
	t.tell(v)
}

// tell tells those who wait that another actor has the name now, or none. t.mu is held.
func (t *refTable) tell(v *target) {
	if changed := t.changed[v]; changed != nil {
		close(changed)
		delete(t.changed, v)
	}
}

// whenGone returns a channel that is closed when c has left.
func (t *refTable) whenGone(c *cell) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.self.cell.Load() != c {
		return closedChannel()
	}
	return t.wait(c.self)
}

// whenOther returns a channel that is closed when the name of v has another actor than c, or none.
// c is nil while the actor is being made.
func (t *refTable) whenOther(name string, c *cell) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.actors[name]
	if v == nil || v.cell.Load() != c {
		return closedChannel()
	}
	return t.wait(v)
}

func closedChannel() <-chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}

// wait returns the channel that tell closes. t.mu is held.
func (t *refTable) wait(v *target) <-chan struct{} {
	ch := t.changed[v]
	if ch == nil {
		ch = make(chan struct{})
		t.changed[v] = ch
	}
	return ch
}

// leave frees the name of a stopped actor. It returns false if the name was freed before:
// another actor may have it by now.
func (t *refTable) leave(c *cell) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.self.cell.Load() != c {
		return false
	}
	c.self.cell.Store(nil)
	if c.kind.placed {
		if v := t.weak[address{c.self.addr.name[len(placed):], anywhere}].Value(); v != nil {
			v.cell.CompareAndSwap(c, nil)
		}
	}
	delete(t.actors, c.self.addr.name)
	t.tell(c.self)
	t.slot(c.self.addr.name).CompareAndSwap(c.self, nil)
	if strings.HasPrefix(c.self.addr.name, hidden) {
		t.unseen--
	}
	if !c.self.sys.draining() { // otherwise the system ends, and nobody looks for it any more
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

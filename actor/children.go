package actor

import (
	"github.com/google/uuid"
)

// Spawn starts an actor as a child of this one. Its name is the parent's, a slash and name; an
// empty name stands for a random one. Children are stopped, and have ended, before their parent
// ends or is restarted. If a child's strategy escalates a failure, the parent fails.
//
// While the actor ends or is being restarted, the error is ErrParentStopped. Otherwise Spawn is as
// System.Spawn, but an actor may also have children while the system shuts down, until it is
// stopped itself. Spawn may be called by any goroutine.
func (c *Context) Spawn(name string, kind *Kind, opts ...SpawnOption) (Ref, error) {
	if name == "" {
		name = uuid.NewString()
	}
	return c.cell.spawn(name, kind, opts)
}

// spawn starts a child of that name.
func (c *cell) spawn(name string, kind *Kind, opts []SpawnOption) (Ref, error) {
	if !c.expectChild() {
		return Ref{}, ErrParentStopped
	}
	r, err := c.self.sys.spawn(c, c.self.addr.name+"/"+name, kind, opts)
	var child *cell
	if err == nil {
		child = r.to.cell.Load() // nil if it has ended already
	}
	if !c.hasChild(child) {
		return Ref{}, ErrParentStopped
	}
	return r, err
}

// Children returns the actor's children that have not ended, in no order. It may be called by any
// goroutine.
func (c *Context) Children() []Ref {
	cells := c.cell.family()
	refs := make([]Ref, len(cells))
	for i, child := range cells {
		refs[i] = Ref{to: child.self}
	}
	return refs
}

// expectChild notes that a child is being made. It returns false if c may have no more children.
// The caller then calls hasChild.
func (c *cell) expectChild() bool {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.barren || c.life.now() >= ending {
		return false
	}
	a.spawning++
	return true
}

// hasChild notes that a child was made, or with nil that it was not. If c may have no more
// children by now, the child is stopped, and hasChild returns false.
func (c *cell) hasChild(child *cell) bool {
	a := c.annexed()
	a.mu.Lock()
	a.spawning--
	barren := a.barren
	if child != nil && child.life.now() != gone { // it leaves under this lock
		if a.children == nil {
			a.children = map[*cell]struct{}{}
		}
		a.children[child] = struct{}{}
	}
	a.mu.Unlock()
	if !barren {
		return true
	}
	if child != nil {
		child.end(ErrParentStopped)
	}
	c.childGone(nil)
	return false
}

// childGone notes that a child has ended. If it was the last one, c may go on.
func (c *cell) childGone(child *cell) {
	a := c.annexed()
	a.mu.Lock()
	delete(a.children, child)
	wakes := a.parked && !a.hasChildren()
	if wakes {
		a.parked = false
	}
	a.mu.Unlock()
	if wakes {
		c.self.sys.workers.run(c)
	}
}

// hasChildren reports whether there are children that have not ended.
func (c *cell) hasChildren() bool {
	a := c.more.Load()
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hasChildren()
}

// hasChildren is that of the cell. a.mu is held.
func (a *annex) hasChildren() bool { return len(a.children) > 0 || a.spawning > 0 }

// family returns the children of c.
func (c *cell) family() []*cell {
	a := c.more.Load()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*cell, 0, len(a.children))
	for child := range a.children {
		all = append(all, child)
	}
	return all
}

// siblings returns the other children of c's parent.
func (c *cell) siblings() (others []*cell) {
	if p := c.parent(); p != nil {
		for _, child := range p.family() {
			if child != c {
				others = append(others, child)
			}
		}
	}
	return others
}

// stopChildren has the children end, and lets c have no more.
func (c *cell) stopChildren() {
	a := c.annexed()
	a.mu.Lock()
	a.barren = true
	a.mu.Unlock()
	for _, child := range c.family() {
		child.end(ErrParentStopped)
	}
}

// awaitsChildren reports whether the actor is being restarted, and so waits for the end of its children.
func (c *cell) awaitsChildren() bool {
	if c.life.now() != suspended {
		return false
	}
	a := c.more.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.barren
}

// isBelow reports whether c is of, or a descendant of it.
func (c *cell) isBelow(of *cell) bool {
	for ; c != nil; c = c.parent() {
		if c == of {
			return true
		}
	}
	return false
}

package actor

import (
	"context"
	"iter"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
)

// An actor is inspected from outside, by what any goroutine may read, so that one whose handler
// does not return can be inspected as well.

// Actors returns the actors of this node that the filter lets through, in no particular order.
// Those that start or end meanwhile may be among them or not. No lock is held while the caller
// works, and none for long: the system goes on.
func (s *System) Actors(f inspect.Filter) iter.Seq[inspect.Actor] {
	return func(yield func(inspect.Actor) bool) {
		for _, c := range s.refs.some(f) {
			if a := c.inspect(); f.Match(a) && !yield(a) {
				return
			}
		}
	}
}

// Inspect returns what an actor looks like from outside. It does not go through the actor's
// mailbox, so it tells about a blocked actor, too. If there is no such actor, the error is
// rpc.NotFound. An actor of another node can be inspected if that node's access list allows it
// (access.Inspect); the request has the deadline of ctx, or Config.Timeout.
//
// Of a virtual actor it returns the activation, ~kind/id, with its node, and activates nothing: if
// there is none, the error is rpc.NotFound and wraps ErrNotActive.
func (s *System) Inspect(ctx context.Context, r Ref) (inspect.Actor, error) {
	t := s.Bind(r).to
	switch {
	case t != nil && t.addr.node == anywhere:
		at, err := s.activeAt(ctx, t, access.Inspect)
		if err != nil {
			return inspect.Actor{}, err
		}
		if at == nil {
			return inspect.Actor{}, s.notActive(t)
		}
		a, err := s.Inspect(ctx, Ref{to: at})
		if rpc.CodeOf(err) == rpc.NotFound { // it has just ended there
			err = s.notActive(t)
		}
		return a, err
	case t == nil || t.addr.routed():
		return inspect.Actor{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%q is not one actor", r)
	case t.addr.node != s.cfg.Name:
		return Call(ctx, s.Ref(nodeServerName+"@"+t.addr.node), inspectActor{Name: t.addr.name})
	}
	return s.inspect(t.addr.name, func(*cell) bool { return true })
}

// inspect is Inspect of an actor of this node. seen says which other ones may be named.
func (s *System) inspect(name string, seen func(*cell) bool) (inspect.Actor, error) {
	c := s.refs.live(name)
	if c == nil || strings.HasPrefix(name, hidden) {
		return inspect.Actor{}, rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", name, s.cfg.Name)
	}
	a := c.inspect()
	a.Details = c.details(seen)
	return a, nil
}

// ActorsOf is Actors for any node, ordered by name. It asks the node for a page of them at a time,
// each under the deadline of ctx, or for Config.Timeout. The node leaves out those that its access
// list does not let this one see (access.Inspect). An error is the last thing that is returned.
func (s *System) ActorsOf(ctx context.Context, node string, f inspect.Filter) iter.Seq2[inspect.Actor, error] {
	return func(yield func(inspect.Actor, error) bool) {
		for after := ""; ; {
			var page []inspect.Actor
			more := false
			if node != s.cfg.Name {
				reply, err := Call(ctx, s.Ref(nodeServerName+"@"+node), listActors{Filter: f, After: after})
				if err != nil {
					yield(inspect.Actor{}, err)
					return
				}
				page, more, after = reply.Actors, reply.More, reply.Last
			} else if page = s.page(f, after, pageSize, nil); len(page) == pageSize {
				after, more = page[pageSize-1].Name, true
			}
			for _, a := range page {
				if !yield(a, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// pageSize is how many actors are listed with one request.
const pageSize = 1000

// page returns the first n actors after a name that the filter lets through. seen, if not nil, says
// whether one may be seen.
func (s *System) page(f inspect.Filter, after string, n int, seen func(*cell) bool) (page []inspect.Actor) {
	all := slices.DeleteFunc(s.refs.some(f), func(c *cell) bool { return c.self.addr.name <= after })
	slices.SortFunc(all, func(a, b *cell) int { return strings.Compare(a.self.addr.name, b.self.addr.name) })
	for _, c := range all {
		if a := c.inspect(); f.Match(a) && (seen == nil || seen(c)) {
			if page = append(page, a); len(page) == n {
				break
			}
		}
	}
	return page
}

// inspect reads what there is to know about c.
func (c *cell) inspect() inspect.Actor {
	a := inspect.Actor{Name: c.self.addr.name, Node: c.self.addr.node, Kind: c.kind.name, Stage: c.life.stage(), Waiting: c.box.Len(), Handled: c.handled.Load()}
	if x := c.more.Load(); x != nil {
		if p := c.parent(); p != nil {
			a.Parent = p.self.addr.name
		}
		a.Failed, a.Restarts = x.failed.Load(), x.restarts.Load()
		x.mu.Lock()
		a.Children, a.Watchers, a.Watching = len(x.children), len(x.watchers), len(x.watching)
		if x.hears != nil {
			a.Topics = len(x.hears.topics)
		}
		a.Timers, a.Due, a.Stashed = int(x.ticking), x.due(inspect.MaxTimers), int(x.stashed.Load())
		x.mu.Unlock()
		if as := x.acts.Load(); as != nil {
			a.Behaviour = as.behaviour
		}
	}
	if w := c.self.sys.workers.running(c); w != nil {
		if h := w.doing.Load(); h != nil {
			a.Running = h.typ.String()
		}
		a.For = time.Since(c.self.sys.clock.start) - time.Duration(w.since.Load())
	}
	return a
}

// details names what c has to do with. seen says which actors of this node may be named.
func (c *cell) details(seen func(*cell) bool) *inspect.Details {
	d, x := new(inspect.Details), c.more.Load()
	if x == nil {
		return d
	}
	var children []*cell
	var watched []*target
	x.mu.Lock()
	for child := range x.children {
		if children = append(children, child); len(children) == inspect.MaxListed {
			break
		}
	}
	for t := range x.watching {
		if watched = append(watched, t); len(watched) == inspect.MaxListed {
			break
		}
	}
	if x.hears != nil {
		for _, s := range x.hears.topics[:min(len(x.hears.topics), inspect.MaxListed)] {
			d.Topics = append(d.Topics, inspect.Subscription{Pattern: s.to.pattern, Group: s.to.group, Type: s.to.mt.name})
		}
	}
	x.mu.Unlock()
	for _, child := range children {
		if seen(child) {
			d.Children = append(d.Children, child.self.addr.name)
		}
	}
	for _, t := range watched {
		if c := t.cell.Load(); c == nil || seen(c) {
			d.Watching = append(d.Watching, t.addr.String())
		}
	}
	slices.Sort(d.Children)
	slices.Sort(d.Watching)
	return d
}

// stage is the state as others see it.
func (l *cellLife) stage() inspect.Stage {
	state := l.now()
	if state == working && l.sealed() {
		return inspect.Closing
	}
	return [...]inspect.Stage{working: inspect.Working, starting: inspect.Starting, claiming: inspect.Starting, suspended: inspect.Suspended, ending: inspect.Ending, gone: inspect.Gone}[state]
}

// some returns the live actors that the filter may let through, without those that are internal.
// It gives up the lock again and again, so that others have their turn.
func (t *refTable) some(f inspect.Filter) (cells []*cell) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := 0
	for name, v := range t.actors {
		if n++; n%256 == 0 {
			t.mu.RUnlock()
			runtime.Gosched()
			t.mu.RLock()
		}
		if c := v.cell.Load(); c != nil && !strings.HasPrefix(name, hidden) && f.MayMatch(name, c.kind.name) {
			cells = append(cells, c)
		}
	}
	return cells
}

// inspectActor asks a node about one of its actors.
type inspectActor struct {
	Returns[inspect.Actor]
	Name string
}

// listActors asks a node for its actors after a name, in the order of their names.
type listActors struct {
	Returns[actorPage]
	Filter inspect.Filter
	After  string
}

// actorPage is the answer. Last is where the next page begins.
type actorPage struct {
	Actors []inspect.Actor
	Last   string
	More   bool
}

func (inspectActor) WireName() string            { return "tandem.node.inspect" }
func (listActors) WireName() string              { return "tandem.node.list" }
func (actorPage) WireName() string               { return "tandem.node.page" }
func (inspectActor) neededOp() (access.Op, bool) { return access.Inspect, true }
func (listActors) neededOp() (access.Op, bool)   { return access.Inspect, true }

func (nodeServer) inspect(ctx *Context, m inspectActor) (inspect.Actor, error) {
	s := ctx.System()
	if err := ctx.mayUse(m.Name, s.types.get(reflect.TypeFor[inspectActor]()).id, access.Inspect); err != nil {
		ctx.refuse(err)
		return inspect.Actor{}, nil
	}
	a, err := s.inspect(m.Name, func(c *cell) bool { return ctx.maySee(c, s.types.get(reflect.TypeFor[inspectActor]()).id) })
	if err != nil {
		ctx.refuse(err.(*rpc.Error))
	}
	return a, nil
}

func (nodeServer) list(ctx *Context, m listActors) (actorPage, error) {
	s := ctx.System()
	id := s.types.get(reflect.TypeFor[listActors]()).id
	page := s.page(m.Filter, m.After, pageSize, func(c *cell) bool { return ctx.maySee(c, id) })
	if len(page) < pageSize {
		return actorPage{Actors: page}, nil
	}
	return actorPage{page, page[pageSize-1].Name, true}, nil
}

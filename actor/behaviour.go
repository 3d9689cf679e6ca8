package actor

import (
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/tandem-go/tandem/rpc"
)

// MaxBehaviours is how many behaviours an actor may have on top of each other.
const MaxBehaviours = 64

var (
	// ErrNoBehaviour is the error of a Become for which the actor's kind has no behaviour.
	ErrNoBehaviour error = rpc.NewError("actor.no_behaviour", "the actor's kind has no such behaviour")

	// ErrBehaviours is the error of a Become beyond MaxBehaviours.
	ErrBehaviours error = rpc.NewError("actor.behaviours", "too many behaviours are on top of each other")
)

// Behaviour is a part of Define: other handlers, which an actor has while the behaviour of that name
// is on top, see Context.Become. A message that has none there goes to the kind's own handler.
//
//	var DoorKind = actor.Define("door", newDoor,
//		actor.Answer((*Door).Walk),
//		actor.Handle((*Door).Lock), // calls ctx.Become("locked")
//		actor.Behaviour("locked",
//			actor.Answer((*Door).Knock),    // for the same message as Walk
//			actor.Handle((*Door).Unlock))) // calls ctx.Unbecome()
//
// Behaviours have names, so that their handlers can change from any to any: a variable
// that a handler names could not be initialised with that handler.
//
// What a message is must not depend on the behaviour: its reply, and whether it opens a stream, are
// the same in all. Senders, timers, watches and topics look at all behaviours together. A
// message that the current one does not handle is rpc.Unhandled when its turn comes.
func Behaviour[S any](name string, handlers ...Handler[S]) Handler[S] {
	b := &behaviour{name: name}
	for _, given := range handlers {
		if given.b != nil {
			b.wrong = errors.New("a behaviour within a behaviour")
			continue
		}
		b.all = append(b.all, given.h)
	}
	return Handler[S]{b: b}
}

// behaviour is the handlers of a Behaviour. That without a name are the kind's own.
type behaviour struct {
	name     string
	all      []*handler // as they were given
	handlers map[reflect.Type]*handler
	wrong    error // what is wrong with it
}

// scope is how the actors of a kind act: as those of another kind, which has only the handlers that
// are for now.
type scope struct {
	own   *Kind // without a behaviour
	named map[string]*Kind
}

// behave adds the behaviours, and returns what is wrong with them.
func (k *Kind) behave(own *behaviour, names map[string]reflect.Type) (errs []error) {
	if len(k.behaviours) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, b := range k.behaviours {
		if known[b.name] || b.name == "" {
			errs = append(errs, fmt.Errorf("two behaviours named %q, or one without a name", b.name))
		}
		known[b.name] = true
		wrong := append(k.register(b, names), b.wrong)
		for _, h := range b.handlers {
			if is := k.handlers[h.typ]; h.run != nil && (is.reply != h.reply || is.opens != h.opens) {
				wrong = append(wrong, fmt.Errorf("message %v is answered otherwise than in another behaviour", h.typ))
			}
		}
		if err := errors.Join(wrong...); err != nil {
			errs = append(errs, fmt.Errorf("behaviour %q: %w", b.name, err))
		}
	}
	k.behaviours = append([]*behaviour{own}, k.behaviours...)
	return errs
}

// change replaces all handlers, in all behaviours. Kinds that k was made of keep theirs.
func (k *Kind) change(with func(*handler) *handler) {
	changed := func(all map[reflect.Type]*handler) map[reflect.Type]*handler {
		own := make(map[reflect.Type]*handler, len(all))
		for typ, h := range all {
			own[typ] = with(h)
		}
		return own
	}
	k.handlers = changed(k.handlers)
	old := k.behaviours
	k.behaviours = nil
	for _, b := range old {
		k.behaviours = append(k.behaviours, &behaviour{name: b.name, handlers: changed(b.handlers)})
	}
}

// enclose gives k, which is to be spawned, its scope.
func (k *Kind) enclose() {
	if len(k.behaviours) == 0 {
		return
	}
	s := &scope{named: map[string]*Kind{}}
	own := k.behaviours[0].handlers
	for _, b := range k.behaviours {
		as := *k
		as.behaviour, as.handlers = b.name, maps.Clone(own)
		maps.Copy(as.handlers, b.handlers)
		s.named[b.name] = &as
	}
	s.own = s.named[""]
	delete(s.named, "")
	k.scope = s
}

// Become puts a behaviour of the actor's kind on top of those that it has, from the next message on,
// until Unbecome or a restart: fresh state begins with the kind's own handlers. Each worker of a pool
// has behaviours of its own.
//
// The error is ErrNoBehaviour, or ErrBehaviours; then nothing has changed. Only the handler or the hook
// itself may call Become, until it returns; afterwards the error is rpc.Invalid.
func (c *Context) Become(behaviour string) error {
	if !c.life.running() {
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "Become after the handler has returned")
	}
	of := c.cell.kind.scope
	if of == nil || of.named[behaviour] == nil {
		return fmt.Errorf("%w: kind %s has none named %q", ErrNoBehaviour, c.cell.kind.name, behaviour)
	}
	a := c.cell.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.conducts()
	if len(k.stack) == MaxBehaviours {
		return ErrBehaviours
	}
	k.stack = append(k.stack, of.named[behaviour])
	c.cell.actAs(a)
	return nil
}

// Unbecome takes the behaviour on top off, from the next message on: the actor has the one below, or
// the kind's own handlers. It returns false if there was none. It may be called when Become may.
func (c *Context) Unbecome() bool {
	a := c.cell.more.Load()
	if a == nil || !c.life.running() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.conducts()
	n := len(k.stack)
	if n == 0 {
		return false
	}
	k.stack = k.stack[:n-1]
	c.cell.actAs(a)
	return true
}

// actAs has the run loop go on with the behaviour on top. a.mu is held.
func (c *cell) actAs(a *annex) {
	var as *Kind
	if k := a.conducts(); len(k.stack) > 0 {
		as = k.stack[len(k.stack)-1]
	}
	a.acts.Store(as)
	c.life.word.Or(turned)
}

// current is the kind as whose actor c handles the next message: its own, or one with the handlers
// that are for now.
func (c *cell) current() *Kind {
	if c.kind.scope == nil {
		return c.kind
	}
	if a := c.more.Load(); a != nil {
		if as := a.acts.Load(); as != nil {
			return as
		}
	}
	return c.kind.scope.own
}

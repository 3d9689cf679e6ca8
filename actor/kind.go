package actor

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Kind is a typed description of an actor: how to make its state, and which messages
// it handles. A Kind is immutable and may be used by any number of systems.
type Kind struct {
	name     string
	make     func() any
	handlers map[reflect.Type]*handler
	receiver bool // the state is a Receiver, which gets what no handler takes
	byName   bool // KindNamed: a stand-in that Spawn looks up

	durable     bool
	completions dedup.Completions // nil unless Transactional
	retry       *rpc.Retry        // of requests that its actors make; nil: the system's

	local  bool // see KeptLocal
	system bool // of the system's own: other nodes send it what it has handlers for, and nothing else
	asked  bool // some message is taken as a request only
}

// Name is the kind's name in the cluster.
func (k *Kind) Name() string { return k.name }

// handler runs one message type.
type handler struct {
	typ    reflect.Type
	reply  reflect.Type // nil if it answers nothing
	decode func(codec.Codec, []byte) (any, error)
	opens  bool      // the answer is a stream
	op     access.Op // what its message is for; 0: nothing special
	asked  bool      // it is taken as a request only
	also   *handler  // another one that is registered with it

	// open decodes into a box; nil: see decode.
	open func(place *any, c codec.Codec, body []byte) (any, error)
	// run handles a message as it is, or in a box of its type. nil: the Receiver gets it.
	run func(state any, c *Context, msg any, spare *boxes)
}

// openInto is open for messages of type M.
func openInto[M any](place *any, c codec.Codec, body []byte) (any, error) {
	b := boxIn[M](place)
	err := c.Decode(body, &b.V)
	if err != nil {
		b.Take()
	}
	return b, err
}

// Handler is one message type that actors with state S handle. Handle, Answer and
// Accepts make them.
type Handler[S any] struct{ h *handler }

// Define describes a kind of actor. name is unique among the kinds of a system;
// newState is called once for each actor, and again when it is restarted after a
// panic.
//
// It panics, at the program's start, if two handlers are for one message, if a
// message that declares a reply has one that answers nothing, or if there is no name
// or no state.
func Define[S any](name string, newState func() S, handlers ...Handler[S]) *Kind {
	k := &Kind{name: name, handlers: map[reflect.Type]*handler{}}
	errs := []error{validActorName(name)}
	if newState == nil {
		errs = append(errs, errors.New("no function that makes its state"))
	}
	k.make = func() any { return newState() }
	_, k.receiver = reflect.Zero(reflect.TypeFor[S]()).Interface().(Receiver)
	names := map[string]bool{}
	var all []*handler
	for _, given := range handlers {
		for h := given.h; h != nil; h = h.also {
			all = append(all, h)
		}
	}
	for _, h := range all {
		if k.handlers[h.typ] != nil {
			errs = append(errs, fmt.Errorf("two handlers for message %v", h.typ))
		}
		if h.run != nil && h.reply == nil && h.typ.Implements(reflect.TypeFor[question]()) {
			errs = append(errs, fmt.Errorf("message %v declares a reply: use Answer, not Handle", h.typ))
		}
		if err := h.streamMisuse(); err != nil {
			errs = append(errs, err)
		}
		if h.run == nil && !k.receiver {
			errs = append(errs, fmt.Errorf("message %v is only accepted, and the state has no Receive method", h.typ))
		}
		if name, _ := wireName(h.typ); names[name] {
			errs = append(errs, fmt.Errorf("two messages with the wire name %s", name))
		} else {
			names[name] = true
		}
		h.govern()
		k.asked = k.asked || h.asked
		k.handlers[h.typ] = h
	}
	if err := errors.Join(errs...); err != nil {
		panic(fmt.Sprintf("actor.Define(%q): %v", name, err))
	}
	return k
}

// Handle makes a handler of a method that answers nothing. An error that it returns
// is logged and counted, and reaches nobody.
func Handle[S, M any](fn func(S, *Context, M) error) Handler[S] {
	return Handler[S]{&handler{
		typ:    reflect.TypeFor[M](),
		decode: codec.Value[M](),
		open:   openInto[M],
		run: func(state any, c *Context, msg any, _ *boxes) {
			if err := fn(state.(S), c, unboxed[M](msg)); err != nil || c.req != nil {
				c.finish(msg, err)
			}
		},
	}}
}

// Answer makes a handler of a method that answers a message. An error that it
// returns reaches the caller as an *rpc.Error that says that the handler ran.
//
// A reply to a caller of the same system is not copied: a map, slice or pointer of the
// actor's state that it contains is then shared with the caller. Answer with a copy.
// With Config.CopyLocal the caller gets a copy, so that tests show where that was forgotten.
func Answer[S any, M Question[R], R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	return Handler[S]{&handler{
		typ:    reflect.TypeFor[M](),
		reply:  reflect.TypeFor[R](),
		decode: codec.Value[M](),
		open:   openInto[M],
		run: func(state any, c *Context, msg any, spare *boxes) {
			r, err := fn(state.(S), c, unboxed[M](msg))
			if err == nil && c.req != nil && !c.done && c.deferred() == nil {
				switch req := c.req.(type) {
				case *ask[R]:
					req.end(r, nil)
					c.done = true
					return
				case *rpc.Inbound:
					box := boxIn[R](&spare.reply)
					box.V = r
					err = c.reply(box.Value(), reflect.TypeFor[R]())
					box.Take()
				default:
					err = c.reply(r, reflect.TypeFor[R]())
				}
				c.through = err == nil
			}
			if c.req == nil && err == nil { // told, not asked
				return
			}
			c.finish(msg, err)
		},
	}}
}

// Accepts registers a message type that the Receive method of state S takes, so that
// it can be decoded when another node sends it.
func Accepts[S Receiver, M any]() Handler[S] {
	return Handler[S]{&handler{typ: reflect.TypeFor[M](), decode: codec.Value[M]()}}
}

// Receiver is the untyped way to be an actor: for behaviours, and for messages whose
// type is not known beforehand. A state with this method gets every message that no
// handler of its kind takes. It answers with Context.Reply.
type Receiver interface {
	Receive(c *Context) error
}

// KindNamed stands for the kind of that name in Config.Kinds. A handler that spawns
// its own kind needs it: naming the kind's variable there would be an
// initialisation cycle.
func KindNamed(name string) *Kind { return &Kind{name: name, byName: true} }

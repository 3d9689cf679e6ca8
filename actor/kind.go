package actor

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Kind is a typed description of an actor: how to make its state, and which messages
// it handles. A Kind is immutable and may be used by any number of systems.
type Kind struct {
	name     string
	make     func() any
	handlers map[reflect.Type]*handler // of all messages that it takes, in whichever behaviour
	receiver bool                      // the state is a Receiver, which gets the messages without a handler
	byName   bool                      // KindNamed: a stand-in that Spawn looks up

	hooks    hooks
	strategy Strategy                       // for failures
	idle     time.Duration                  // see Idle; 0: its actors may be idle
	classes  map[reflect.Type]mailbox.Class // see PriorityOf; nil: no message has one

	durable     bool
	completions ledger.Completions // nil unless Transactional
	retry       *rpc.Retry         // for requests that its actors make; nil: the system's
	incoming    []intercept.Func   // for the messages that its actors get
	sampled     []intercept.Func   // of a wrapped kind: what runs instead of incoming for a message that Config.Sampled wants; nil: there is none

	behaviours []*behaviour // see Behaviour
	scope      *scope       // which handlers an actor has when; nil: always all. Only kinds as they are spawned have it
	behaviour  string       // of a kind that is in a scope: the behaviour's name
	stash      int          // see Stash; 0: there is none

	placed    bool         // see Virtual
	kept      []string     // ids, see KeepActive
	keeps     *keeping     // see Stored; nil: nothing of the state is kept
	stateType reflect.Type // of what make returns
	local     bool         // see KeptLocal
	system    bool         // internal to the system: messages without a handler are refused before they are in a mailbox
	asked     bool         // some of its messages are accepted only as requests
	pool      bool         // for an actor that has workers handle its messages, see pooled
}

// Name is the kind's name in the cluster.
func (k *Kind) Name() string { return k.name }

// handler runs one message type.
type handler struct {
	typ    reflect.Type
	reply  reflect.Type // nil if the handler does not answer
	decode func(codec.Codec, []byte) (any, error)
	opens  bool      // the answer is a stream
	op     access.Op // what a sender must be allowed to do; 0: to send or to call
	asked  bool      // the message is accepted only as a request
	reads  bool      // see Read
	stream streamTypes
	also   *handler // another handler that is registered with this one
	wrong  error    // what is wrong with it, which Define says

	// decodeInto decodes into the codec.Reusable in place. nil: decode is used.
	decodeInto func(place *any, c codec.Codec, body []byte) (any, error)
	// run handles a message that comes directly or in a codec.Reusable of its type. nil: the Receiver gets it.
	run handle
	// wrap returns run with the interceptors of the actor's kind around the application's function.
	wrap func() handle
}

// handle handles a message.
type handle = func(state any, c *Context, msg any, spare *reusableValues)

// decodeReusable is handler.decodeInto for messages of type M.
func decodeReusable[M any](place *any, c codec.Codec, body []byte) (any, error) {
	b := reusableIn[M](place)
	err := c.Decode(body, &b.V)
	if err != nil {
		b.Take()
	}
	return b, err
}

// Handler is one message type that actors with state S handle. Handle, Answer and
// Accepts make them. It can also be several together, see Behaviour.
type Handler[S any] struct {
	h *handler
	b *behaviour // in place of h
}

// Define describes a kind of actor. name is unique among the kinds of a system;
// newState is called once for each actor, and again when it is restarted after a
// failure. The hooks of the state are described at System.Spawn.
//
// It panics, at the program's start, if two handlers are for one message (and not in different
// behaviours), if a message that declares a reply has a handler that does not answer, if a method of
// the state has the name of a hook and another signature, or if the name or newState is missing.
func Define[S any](name string, newState func() S, handlers ...Handler[S]) *Kind {
	k := &Kind{name: name, handlers: map[reflect.Type]*handler{}, stateType: reflect.TypeFor[S]()}
	errs := []error{validActorName(name)}
	if newState == nil {
		errs = append(errs, errors.New("no function that makes its state"))
	}
	k.make = func() any { return newState() }
	_, k.receiver = reflect.Zero(reflect.TypeFor[S]()).Interface().(Receiver)
	hooks, wrong := hooksOf(reflect.TypeFor[S]())
	k.hooks, errs = hooks, append(errs, wrong...)
	names := map[string]reflect.Type{}
	own := &behaviour{}
	for _, given := range handlers {
		if given.b != nil {
			k.behaviours = append(k.behaviours, &behaviour{name: given.b.name, all: given.b.all, wrong: given.b.wrong})
		} else {
			own.all = append(own.all, given.h)
		}
	}
	errs = append(errs, k.register(own, names)...)
	errs = append(errs, k.behave(own, names)...)
	if err := errors.Join(errs...); err != nil {
		panic(fmt.Sprintf("actor.Define(%q): %v", name, err))
	}
	return k
}

// register adds the handlers of b, and returns what is wrong with them. names are the names of
// messages on the wire.
func (k *Kind) register(b *behaviour, names map[string]reflect.Type) (errs []error) {
	b.handlers = map[reflect.Type]*handler{}
	for _, first := range b.all {
		for h := first; h != nil; h = h.also {
			if b.handlers[h.typ] != nil {
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
			if name, _ := wireName(h.typ); names[name] != nil && names[name] != h.typ {
				errs = append(errs, fmt.Errorf("two messages with the wire name %s", name))
			} else {
				names[name] = h.typ
			}
			h.setOp()
			k.asked = k.asked || h.asked
			b.handlers[h.typ] = h
			if is := k.handlers[h.typ]; is == nil || is.run == nil {
				k.handlers[h.typ] = h
			}
		}
	}
	return errs
}

// Handle makes a handler of a method that does not answer. An error that the method returns
// is logged and counted, but is not sent to the sender.
func Handle[S, M any](fn func(S, *Context, M) error) Handler[S] {
	return Handler[S]{h: &handler{
		typ:        reflect.TypeFor[M](),
		decode:     codec.Value[M](),
		decodeInto: decodeReusable[M],
		run: func(state any, c *Context, msg any, _ *reusableValues) {
			if err := fn(state.(S), c, valueOf[M](msg)); err != nil || c.req != nil {
				c.finish(msg, err)
			}
		},
		wrap: func() handle {
			run := passing(func(s S, c *Context, m M) (none struct{}, err error) { return none, fn(s, c, m) })
			return Handle(func(s S, c *Context, m M) error {
				_, err := run(s, c, m)
				return err
			}).h.run
		},
	}}
}

// Answer makes a handler of a method that answers a message. An error that it
// returns reaches the caller as an *rpc.Error which says that the handler ran.
//
// A reply to a caller of the same system is not copied: a map, slice or pointer of the
// actor's state that it contains is then shared with the caller. Answer with a copy.
// With Config.CopyLocal the caller gets a copy, so that tests show where that was forgotten.
func Answer[S any, M Question[R], R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	return answering(fn)
}

// answering is Answer for messages of any type.
func answering[S, M, R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	return Handler[S]{h: &handler{
		typ:        reflect.TypeFor[M](),
		reply:      reflect.TypeFor[R](),
		decode:     codec.Value[M](),
		decodeInto: decodeReusable[M],
		run: func(state any, c *Context, msg any, spare *reusableValues) {
			r, err := fn(state.(S), c, valueOf[M](msg))
			if c.cell.kind.placed && !c.cell.holds() {
				err = c.cell.outcomeUnsure()
			}
			if err == nil && c.mustAnswer() && c.deferred() == nil {
				switch req := c.req.(type) {
				case *ask[R]:
					c.life.answer()
					c.end() // before the caller gets the reply, so that it may use the request for its next Call
					req.sole = c.life.released()
					req.end(r, nil)
					return
				case *server.Inbound, *transaction: // they encode it at once
					reused := reusableIn[R](&spare.reply)
					reused.V = r
					err = c.reply(reused.Value(), reflect.TypeFor[R](), (*System).answer)
					reused.Take()
				default:
					err = c.reply(r, reflect.TypeFor[R](), (*System).answer)
				}
				if err == nil {
					c.life.own()
				}
			}
			if c.req == nil && err == nil { // it came by Tell: nobody waits for the reply
				return
			}
			c.finish(msg, err)
		},
		wrap: func() handle {
			return answering(passing(fn)).h.run
		},
	}}
}

// Accepts registers a message type that the Receive method of state S takes, so that
// it can be decoded when another node sends it.
func Accepts[S Receiver, M any]() Handler[S] {
	return Handler[S]{h: &handler{typ: reflect.TypeFor[M](), decode: codec.Value[M]()}}
}

// Receiver is the untyped way to handle messages, for those whose type is not known
// beforehand. A state with this method gets every message for which its kind has no
// handler. It answers with Context.Reply.
type Receiver interface {
	Receive(c *Context) error
}

// KindNamed stands for the kind of that name in Config.Kinds. A handler that spawns
// its own kind needs it: naming the kind's variable there would be an
// initialisation cycle.
func KindNamed(name string) *Kind { return &Kind{name: name, byName: true} }

// kindTypes is the table of a kind's handlers by type id.
type kindTypes struct {
	of   *Kind
	byID map[uint64]*handler
}

// learn returns the table of k, which it makes on first use.
func (s *System) learn(k *Kind) *kindTypes {
	if known, ok := s.allKindTypes.Load(k); ok {
		return known.(*kindTypes)
	}
	t := &kindTypes{k, make(map[uint64]*handler, len(k.handlers))}
	for typ, h := range k.handlers {
		if !toldBySystem(typ) { // no other node can say that an actor has ended, or is idle
			m := s.types.get(typ)
			t.byID[m.id] = h
			if k.recorded() || k.keeps != nil {
				m.recorded.Store(true)
			}
			if h.reply != nil {
				s.types.get(h.reply)
			}
		}
	}
	actual, _ := s.allKindTypes.LoadOrStore(k, t)
	return actual.(*kindTypes)
}

package actor

import (
	"context"
	"fmt"
	"reflect"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// Topic is where messages of type M are published for whoever subscribes. It is a small immutable
// value, made by NewTopic, often as a variable of a package.
type Topic[M any] struct{ at topicAt }

// topicAt is what a Topic[M] says.
type topicAt struct {
	pattern string
	typ     reflect.Type
	sys     *System // nil if unbound
	durable bool    // see Topic.Durable
	err     error   // why it cannot be used
}

// anyTopic is a Topic[M] of any M.
type anyTopic interface{ where() topicAt }

func (t Topic[M]) where() topicAt {
	if t.at.typ == nil {
		t.at.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "a Topic that NewTopic has not made")
	}
	return t.at
}

// NewTopic returns the topic of a name, "prices.eur", or all topics that a pattern matches,
// "prices.>": package topic describes both. To a pattern one can subscribe; to publish, choose
// one name with At. Topics of one name and of different M have nothing to do with each other.
//
// NewTopic panics, at the program's start, if the pattern is not valid, if M is an
// interface, or Terminated, which only the system itself sends.
func NewTopic[M any](pattern string) Topic[M] {
	typ := reflect.TypeFor[M]()
	err := topic.ValidPattern(pattern)
	switch {
	case err != nil:
	case typ.Kind() == reflect.Interface:
		err = fmt.Errorf("%v is an interface", typ)
	case typ == reflect.TypeFor[Terminated]():
		err = fmt.Errorf("%v cannot be published", typ)
	}
	if err != nil {
		panic(fmt.Sprintf("actor.NewTopic[%v](%q): %v", typ, pattern, err))
	}
	return Topic[M]{topicAt{pattern: pattern, typ: typ}}
}

// At returns the topic of a name that t's pattern matches, or of a narrower pattern. If name is
// not such, every use of the result returns an error with rpc.Invalid.
func (t Topic[M]) At(name string) Topic[M] {
	if t.at.err == nil {
		if err := topic.ValidPattern(name); err != nil {
			t.at.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", err)
		} else if !topic.Match(t.at.pattern, name) {
			t.at.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "topic %s is not one of %s", name, t.at.pattern)
		}
	}
	t.at.pattern = name
	return t
}

// Bind returns t bound to a system, for use without a handler's *Context.
func (t Topic[M]) Bind(s *System) Topic[M] {
	t.at.sys = s
	return t
}

// String returns the name or the pattern.
func (t Topic[M]) String() string { return t.at.pattern }

// Publish sends a message to all actors that have subscribed to t, on all nodes of the cluster,
// and to one member of each group. In the handler's *Context t need not be bound; elsewhere the
// error of an unbound Topic is ErrUnbound. nil means that the message is in the mailboxes of this
// node's subscribers, and was handed to a link to each other node that has some. Nobody may have
// subscribed. A message arrives at most once, and what one publisher publishes arrives at each
// subscriber in order. Subscribers do not make a publisher wait, see topic.Full; a link that is
// full or is being opened does, as for Tell.
//
// An error says why some node has not got the message; the others have, if its verdict is
// rpc.Unknown. After rpc.NotRun nobody has. A message for a group goes to another node then.
//
// Within a node all subscribers share the message, so that nobody may change what its pointers,
// slices and maps refer to (see Tell). Of the options, rpc.WithHeader and a codec apply; a key
// and rpc.Acked are refused.
//
// On a durable topic (Topic.Durable) Publish waits for the store until ctx ends, or for Config.Timeout
// if ctx has no deadline. nil means that the store has the message, once, however often it had to be sent
// there. The verdict of an error is rpc.NotRun only if the message provably is not stored and never will
// be. After rpc.Unknown it may be: so give it a key (rpc.Key), and publish it again under that: a store
// that still knows the key, on this topic, stores it once. The node's own access rules (Config.Access)
// must allow its own principal to publish.
func Publish[M any](ctx context.Context, t Topic[M], m M, opts ...rpc.Option) error {
	at, from := t.where(), handling(ctx)
	switch {
	case at.err != nil:
		return at.err
	case at.sys == nil && from == nil:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "publish on %s: %w", at.pattern, ErrUnbound)
	case at.sys == nil:
		at.sys = from.System()
	}
	if err := contextError(ctx); err != nil {
		return err
	}
	if fns := at.sys.senders(ctx, from); len(fns) > 0 {
		return at.publishThrough(ctx, fns, m, opts)
	}
	return at.publish(ctx, from, m, settingsOf(opts))
}

// Subscribe has the actor get the messages that are published on a Topic, by its handler for them,
// from now on in this node, and shortly after that from other nodes, which learn of it by the
// registry. The options are those of package topic: Group, WhenFull. Subscribing again
// replaces the options. A message that several of an actor's subscriptions match arrives once, and
// once more for each group that has chosen this actor.
//
// A subscription ends with Unsubscribe, and when the actor ends or is restarted; Started may
// subscribe anew. A LocalOnly actor gets only what is published in its own node.
//
// To a durable topic the options are topic.Named, FromStart, FromTime and Attempts; see
// Topic.Durable. When Subscribe has returned, it is fixed where the subscription begins: for that it
// asks the store, for Config.SendWait at most. If the store does not answer, the error is
// rpc.Unavailable. Each such subscription has a goroutine while it lasts.
//
// The error says that the actor's kind has no handler for the message (rpc.Unhandled), that the
// topic or an option is not valid (rpc.Invalid), that the node's subscriptions do not fit into its
// record (rpc.Overloaded, see registry.MaxTopics), or that the actor has ended (rpc.NotFound).
// Subscribe to a topic that is not durable does not wait. It may be called by any goroutine.
func (c *Context) Subscribe(t anyTopic, opts ...topic.Option) error {
	at := t.where()
	if at.err != nil {
		return at.err
	}
	set, err := topic.Settle(opts...)
	if err != nil {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", err)
	}
	if !at.durable && set.IsDurable() {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "subscribe to %s: topic.Named, FromStart, FromTime and Attempts are for durable topics", at.pattern)
	}
	if !c.cell.kind.takes(at.typ) {
		return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "kind %s has no handler for %v, which is published on %s", c.cell.kind.name, at.typ, at.pattern)
	}
	if at.durable {
		return c.cell.feed(c, at, set)
	}
	return c.cell.subscribe(at, set)
}

// Unsubscribe ends a subscription. What is published after it has returned does not arrive any
// more; what waits in the mailbox does. It does nothing if there is no such subscription.
func (c *Context) Unsubscribe(t anyTopic) {
	if at := t.where(); at.durable {
		c.cell.endFeed(at)
	} else {
		c.cell.unsubscribe(at)
	}
}

// takes reports whether actors of the kind handle one-way messages of a type.
func (k *Kind) takes(typ reflect.Type) bool {
	h := k.handlers[typ]
	if h == nil {
		return k.receiver
	}
	return !h.opens && !h.asked
}

// open returns why nothing may be published on the topic, or nil.
func (at topicAt) open(from *Context) error {
	if err := topic.ValidName(at.pattern); err != nil {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "publish: %w", err)
	}
	if at.sys.life.reached(down) || from == nil && at.sys.draining() {
		return errShutdown
	}
	return nil
}

// publish puts a message into the store, or hands it out.
func (at topicAt) publish(ctx context.Context, from *Context, m any, set *settings) error {
	if err := at.open(from); err != nil {
		return err
	}
	if err := ownOnly(set, "Publish"); err != nil {
		return err
	}
	if at.durable {
		return at.store(ctx, from, m, set)
	}
	return at.handOut(ctx, from, m, set)
}

// handOut gives a message to the subscribers of this node, and to the other nodes.
func (at topicAt) handOut(ctx context.Context, from *Context, m any, set *settings) error {
	s := at.sys
	if set.IsKeyed() || set.IsAcked() {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "publish on %s: a publication has no key, and nobody acks it", at.pattern)
	}
	out := outbound{sys: s, ctx: ctx, from: from, set: set, name: at.pattern, mt: s.types.get(at.typ)}
	out.plan()
	if out.leaves() || s.cfg.CopyLocal {
		if err := out.encode(m); err != nil {
			return err
		}
	}
	here := issue{name: at.pattern, mt: out.mt, all: true, groups: out.own, meta: metaOf(ctx, from, set), msg: m, body: out.body}
	out.reached = s.topics.issue(&here) > 0
	return out.send()
}

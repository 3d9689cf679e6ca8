package actor

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// PriorityOf gives the messages of type M to actors of a kind a class, so that they are handled before
// those of lower classes that wait in the mailbox, whether they come by Tell, Call or Ask, as jobs, or
// from other nodes. Messages of types without a class are mailbox.Normal:
//
//	kind.With(actor.PriorityOf[Stop](mailbox.Urgent), actor.PriorityOf[Reindex](mailbox.Low))
//
// Messages of one class keep the order of their arrival. So those of one sender keep their order only
// within a class. A low class does not wait for ever: once mailbox.Config.Overtake messages of higher
// classes were handled while a message of it waited for its turn, the oldest one of it is next. A
// message that is being handled is not interrupted. See mailbox.Box.InitOrdered for full mailboxes.
//
// The messages of watches, timers and hooks are not in the mailbox, and overtake all of them. So do those
// that Context.Unstash brings back, in the order in which they were put aside. A pool
// passes on messages of higher classes first, and its workers handle them first. An actor of a
// Durable kind with priorities waits for the store with each request, since it takes one message at a
// time.
//
// PriorityOf panics if the class is none. A type for which the kind has no handler has no effect.
func PriorityOf[M any](class mailbox.Class) KindOption {
	if !class.Valid() {
		panic(fmt.Sprintf("actor.PriorityOf[%v]: there is no %v", reflect.TypeFor[M](), class))
	}
	return func(k *Kind) {
		all := maps.Clone(k.classes)
		if all == nil {
			all = map[reflect.Type]mailbox.Class{}
		}
		all[reflect.TypeFor[M]()] = class
		k.classes = all
	}
}

// OfClass is an option of a send that says how much the message matters: mailbox.Low or mailbox.High. Its actor's node may
// refuse low ones earlier and high ones later than others when it has too much to do (Config.Admission),
// and a mailbox with an order (PriorityOf, mailbox.Config.Fair) has higher ones handled first. The class
// that PriorityOf gives a type takes precedence. Messages of TellReliably, of topics and in queues have no
// such class, nor have those that a Stored actor sends with a commit.
//
// OfClass panics if the class is neither Low, Normal nor High: only the actor's kind can say that
// something is mailbox.Urgent.
func OfClass(class mailbox.Class) rpc.Option {
	if class < mailbox.Low || class > mailbox.High {
		panic(fmt.Sprintf("actor.OfClass: a sender cannot give a message the %v", class))
	}
	return rpc.Option(sendopt.New(sendopt.Change[rpc.Retry]{Which: sendopt.Class, Class: transport.Class(class)}))
}

// initBox makes the mailbox ready for use.
func (c *cell) initBox(cfg *mailbox.Config) {
	if c.kind.classes == nil && (cfg == nil || !cfg.Fair) {
		c.box.Init(cfg)
		return
	}
	c.box.InitOrdered(cfg, c.placeOf)
}

// placeOf says where a message belongs in a mailbox with an order. What came from another node is
// not decoded for that.
func (c *cell) placeOf(it *item) mailbox.Place {
	in, remote := it.msg.(*server.Inbound)
	p := mailbox.Place{Sender: senderOf(it, in)}
	var given mailbox.Class
	if it.meta != nil {
		given = it.meta.class
	}
	switch {
	case remote && in.Receipt:
		p.Last = true // by the answer its sender learns that the messages before it were handled
	case remote:
		p.Class = c.kind.classOf(c.kind.handlerOf(c.self.sys, in.TypeID), given)
	default:
		p.Class = given
		if own, ok := c.kind.classes[typeOf(it.msg)]; ok {
			p.Class = own
		}
	}
	return p
}

// classOf is the class of a message for h, which is nil if there is no handler: that of its type, else
// that which its sender has given.
func (k *Kind) classOf(h *handler, given mailbox.Class) mailbox.Class {
	if h != nil {
		if own, ok := k.classes[h.typ]; ok {
			return own
		}
	}
	return given
}

// senderOf returns whose turn it is when a message is handled, in a mailbox that is fair: of this node
// the actor that has sent it, and all that is no actor together; of another one the node, with its
// principal. A node could name as many senders of its own as it likes, so they do not count.
func senderOf(it *item, in *server.Inbound) mailbox.Sender {
	switch from := originOf(it); {
	case from != nil && !from.Local && in != nil:
		return mailbox.Sender{Node: in.From(), Principal: from.Principal}
	case from != nil && !from.Local:
		return mailbox.Sender{Node: from.Node, Principal: from.Principal}
	case it.meta != nil && it.meta.sender.to != nil:
		return mailbox.Sender{Actor: it.meta.sender.to.addr.name}
	}
	return mailbox.Sender{}
}

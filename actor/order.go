package actor

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/mailbox"
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
	switch {
	case remote && in.Receipt:
		p.Last = true // by the answer its sender learns that the messages before it were handled
	case c.kind.classes == nil:
	case !remote:
		p.Class = c.kind.classes[typeOf(it.msg)]
	default:
		if h := c.kind.handlerOf(c.self.sys, in.TypeID); h != nil {
			p.Class = c.kind.classes[h.typ]
		}
	}
	return p
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

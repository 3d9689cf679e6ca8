package actor

import (
	"context"
	"errors"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/rpc"
)

// How a system learns which schemas another node has. It asks that node's $node in the background when the first
// message of a type goes there. Until the answer is there, and whenever it is no, messages go with names.

// agreementKey is a question to a node.
type agreementKey struct {
	node string
	pairTypes
}

// agreement is the answer, or that there is none yet.
type agreement struct {
	asking bool
	start  *client.Start // for which it holds
	id     uint64        // the type of compact messages; 0: they go with names
}

// compactForm is what a target knows about messages of one type: a link of a list, which does not change.
type compactForm struct {
	pairTypes
	start *client.Start // of the target's node, for which it holds; nil: it holds for all
	id    uint64        // as in agreement
	next  *compactForm
}

// form returns how a message to t is sent: as compact as was agreed upon with that start of its node, under
// that type; nil: with names.
func (s *System) form(t *target, msg, reply *messageType) (agreed *client.Start, id uint64) {
	for f := t.compact.Load(); f != nil; f = f.next {
		if f.msg == msg && f.reply == reply && (f.start == nil || !f.start.Over()) {
			if f.id == 0 {
				return nil, 0
			}
			return f.start, f.id
		}
	}
	return s.compacts.learn(t, pairTypes{msg, reply})
}

// mayShorten reports whether a message to t with these settings may be compact: it is for another node, with the
// system's codec, and nobody keeps its body or its reply under a name that outlives the session.
func (s *System) mayShorten(t *target, o *settings) bool {
	return !o.Keyed && o.Once.Number == 0 && sameCodec(o.Codec, s.cfg.Codec) && t.addr.node != s.cfg.Name && !t.addr.routed()
}

// maxForms bounds how many types of messages a target remembers.
const maxForms = 64

// learned has t remember how messages of these types are sent.
func (t *target) learned(p pairTypes, start *client.Start, id uint64) {
	for {
		old := t.compact.Load()
		made, n := &compactForm{pairTypes: p, start: start, id: id}, 1
		for f := old; f != nil && n < maxForms; f = f.next {
			if f.pairTypes != p && (f.start == nil || !f.start.Over()) {
				kept := *f
				kept.next = made
				made = &kept
				n++
			}
		}
		if t.compact.CompareAndSwap(old, made) {
			return
		}
	}
}

// learn is form for what t does not know.
func (c *compacts) learn(t *target, p pairTypes) (agreed *client.Start, id uint64) {
	if msg := c.schema(p.msg); msg.text == "" || p.reply != nil && c.schema(p.reply).text == "" {
		t.learned(p, nil, 0)
		return nil, 0
	}
	key := agreementKey{t.addr.node, p}
	c.mu.Lock()
	a := c.agreed[key]
	switch {
	case a != nil && a.asking:
		c.mu.Unlock()
		return nil, 0
	case a != nil && !a.start.Over():
		c.mu.Unlock()
		t.learned(p, a.start, a.id)
		if a.id == 0 {
			return nil, 0
		}
		return a.start, a.id
	}
	delete(c.agreed, key)
	if c.room() {
		a = &agreement{asking: true}
		c.agreed[key] = a
		if !c.sys.services.run(func() { c.ask(t, key) }) {
			delete(c.agreed, key)
		}
	}
	c.mu.Unlock()
	return nil, 0
}

// room reports whether another question may be asked. c.mu is held.
func (c *compacts) room() bool {
	if len(c.agreed) < maxAgreed {
		return true
	}
	for k, a := range c.agreed {
		if !a.asking && a.start.Over() {
			delete(c.agreed, k)
		}
	}
	return len(c.agreed) < maxAgreed
}

// ask asks the node of t.
func (c *compacts) ask(t *target, key agreementKey) {
	p := c.pair(key.pairTypes)
	question := agreeSchemas{Message: key.msg.id, Hash: p.hash[:]}
	if key.reply != nil {
		question.Reply = key.reply.id
	}
	ctx, cancel := context.WithTimeout(c.sys.ctx, c.sys.cfg.Timeout)
	defer cancel()
	answer, epoch, err := askStart[schemasAgreed](ctx, c.sys, key.node, question)
	if err == nil {
		epoch = answer.Epoch
	}
	start := c.sys.node.Client.StartOf(key.node, epoch)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.agreed, key)
	switch {
	case start == nil, err != nil && !cannotSay(err): // it is asked again with the next message
	case err == nil && !answer.Known: // it may know the types by the time another actor there is sent one
		t.learned(key.pairTypes, start, 0)
	default:
		a := &agreement{start: start}
		if err == nil && answer.Same && c.agree(p) {
			a.id = p.id
		}
		c.agreed[key] = a
		t.learned(key.pairTypes, start, a.id)
	}
}

// cannotSay reports whether a node has answered that it cannot answer: one of an older version does not know
// the question.
func cannotSay(err error) bool {
	var e *rpc.Error
	return errors.As(err, &e) && e.Node != "" && (e.Code == rpc.Unhandled || e.Code == rpc.Denied || e.Code == rpc.Undecodable || e.Code == rpc.NotFound)
}

package client

import (
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Bounds of a run of replies. A reply with a longer body is handled by itself.
const (
	maxRun       = 32
	maxRunBody   = 512
	maxRunBodies = 4 << 10
)

// run is a row of replies that came on a link one after another and are not handled yet. All of
// them are looked up under the peer's lock at once; then their callers are woken, and do not
// find the lock taken by the link's reader. The reader alone uses it.
type run struct {
	replies []runReply
	bodies  []byte // of all of them
}

// runReply is a reply in a run.
type runReply struct {
	seq     uint64
	typeID  uint64
	codec   uint8
	body    int   // its length
	call    *Call // what it answers, once that is known; nil: nothing
	queried bool  // it is the answer to a query
	again   bool  // it is a recorded one
}

// receiveReply adds a reply to the run, or handles one that is not small or is an error.
func (k *Link) receiveReply(e *transport.Envelope) {
	r := &k.run
	if e.Code != 0 || e.Owned || len(e.Body) > maxRunBody {
		k.endRun()
		k.peer.reply(k, e)
		return
	}
	if len(r.replies) == maxRun || len(r.bodies)+len(e.Body) > maxRunBodies {
		k.endRun()
	}
	r.replies = append(r.replies, runReply{seq: e.Seq, typeID: e.TypeID, codec: e.Codec, body: len(e.Body), again: e.Flags&transport.FlagReplayed != 0})
	r.bodies = append(r.bodies, e.Body...)
}

// Flush is called when the reader has nothing more to handle at the moment.
func (k *Link) Flush() { k.endRun() }

// endRun handles the replies of the run.
func (k *Link) endRun() {
	r := &k.run
	if len(r.replies) == 0 {
		return
	}
	p, late, now := k.peer, uint64(0), time.Duration(0)
	if p.client.cfg.Trail != nil {
		now = p.client.host.Now()
	}
	p.mu.Lock()
	for i := range r.replies {
		a := &r.replies[i]
		if c, ok := p.askedOn(k, a.seq); ok {
			a.call, a.queried = p.takeReplied(c, a.seq), c == nil
		}
	}
	p.mu.Unlock()
	rest := r.bodies
	for i := range r.replies {
		a := &r.replies[i]
		body := rest[:a.body]
		rest = rest[a.body:]
		if a.call == nil {
			late++
			continue
		}
		a.call.reply.Body = wire.CopyBody(a.call.reply.Body, body)
		if a.again || now-a.call.quiet > trail.Slow || !a.call.kept.IsZero() {
			a.call.noteReply(k.Road(), a.again, nil)
		}
		a.call.ended(a.again)
		p.answer(a.call, a.typeID, a.codec, a.queried)
		a.call = nil // it may already be used for another request
	}
	if late > 0 {
		p.client.counts.repliesLate.Add(late)
	}
	r.replies, r.bodies = r.replies[:0], r.bodies[:0]
}

// reply handles a reply that came on k. If a request is answered on several links, the first reply
// counts.
func (p *peer) reply(k *Link, e *transport.Envelope) {
	p.mu.Lock()
	c, ok := p.askedOn(k, e.Seq)
	if ok && rpc.Code(e.Code) == rpc.SessionLost && (c != nil || e.Seq == 0 && (e.Grant == p.grant || k.Direct)) {
		if c != nil && c.refused(k) {
			p.unsent++
		}
		p.lose("the server does not know the session any more", false)
		p.open(k)
		p.mu.Unlock()
		return
	}
	queried := c == nil
	if ok {
		c = p.takeReplied(c, e.Seq)
	}
	p.mu.Unlock()
	if !ok || c == nil {
		p.client.counts.repliesLate.Add(1)
		return
	}
	replayed := e.Flags&transport.FlagReplayed != 0
	err := k.ErrorOf(e)
	c.noteReply(k.Road(), replayed, err)
	if err != nil {
		err.Request = c.id()
		c.failWith(err, replayed)
		return
	}
	c.reply.Body = wire.OwnBody(c.reply.Body, e)
	c.ended(replayed)
	p.answer(c, e.TypeID, e.Codec, queried)
}

// askedOn returns the call in the window that a reply of that number is for; nil if it can only be
// for an unresolved one. ok is false if the request was not sent on k, or nobody waits for the
// session of k any more. p.mu is held.
func (p *peer) askedOn(k *Link, seq uint64) (c *Call, ok bool) {
	if !k.ready || k.grant != p.grant {
		return nil, false
	}
	if c = p.win.get(seq); c != nil {
		return c, c.isOn(k)
	}
	return nil, p.asked(k, seq)
}

// takeReplied removes c, which a reply is for, from the window. If c is nil, it removes the
// unresolved call of that number and returns it, or nil if there is none. p.mu is held.
func (p *peer) takeReplied(c *Call, seq uint64) *Call {
	if c == nil {
		c = p.takeUnresolved(seq)
	} else {
		p.remove(c)
	}
	if c != nil {
		p.sums.replies++
	}
	return c
}

// answer ends c with a reply whose body is in c.reply. queried says that c was unresolved. From
// then on c may be used for another request.
func (p *peer) answer(c *Call, typeID uint64, codec uint8, queried bool) {
	if c.first != c || c.req.Retry != nil {
		p.client.cfg.Budget.Earn()
	}
	c.reply.TypeID, c.reply.Codec, c.reply.Node = typeID, codec, p.name
	if route := c.first.req.route(); route != nil {
		route.Over(nil)
	}
	c.answered = c.first == c && !queried
	c.to.Complete(&c.reply, nil)
}

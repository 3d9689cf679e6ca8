package client

import (
	"time"

	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// unresolved is a call that may have run at a start of its server that has ended. If the server
// keeps records beyond its process, its next start is asked for the outcome.
type unresolved struct {
	call           *Call
	grant          transport.Grant // the session that it was sent in
	lastWordSought bool            // the last word on that session is being looked up
	durable        bool            // the server keeps records that its next start can be asked about
	kinds          string          // what the server said when it opened that session, repeated with the query
	asked          time.Duration   // node clock of the latest query; 0: none was sent yet
	askedOn        *Link           // the link of the latest query
	again          time.Duration   // time from the latest query to the next
}

// A query is repeated, because a bus may lose it and a server that is still starting does not
// answer. The pause between two queries doubles from askAfter up to askMax.
const (
	askAfter = 500 * time.Millisecond
	askMax   = 4 * time.Second
)

// keepUnresolved keeps a call whose server was restarted until the new start tells its outcome.
// look says that the last word of the earlier start is being looked up, which may tell it, too.
// p.mu is held.
func (p *peer) keepUnresolved(c *Call, grant transport.Grant, look bool) {
	c.unusual(trail.SessionGone, "", nil)
	c.unresolve()
	p.kept.add(len(c.req.Body))
	p.unresolved[c.seq] = &unresolved{call: c, grant: grant, lastWordSought: look, durable: p.durable, kinds: p.kinds, again: askAfter}
}

// queryUnresolved sends the server of the new session the queries that are due. If the server
// keeps no records, it ends the calls instead. p.mu is held.
func (p *peer) queryUnresolved(now time.Duration) {
	if len(p.unresolved) == 0 || p.current == nil {
		return
	}
	if !p.durable {
		p.failUnresolved("the node was restarted, and keeps no records")
		return
	}
	for seq, d := range p.unresolved {
		if d.lastWordSought {
			continue
		}
		if d.asked == 0 || now-d.asked >= d.again {
			flags := transport.FlagResend | transport.FlagRecover
			if d.call.req.Confirm {
				flags |= transport.FlagAcked
			}
			if d.call.req.Receipt {
				flags |= transport.FlagReceipt
			}
			r := &d.call.req
			_, err := p.current.Send(&transport.Envelope{Verb: transport.VerbRequest, Flags: flags, Codec: r.Codec, Seq: seq, Grant: d.grant,
				TypeID: p.client.typeOf(r), Target: r.Target, Key: r.key(), Behalf: r.behalf(), Number: r.number(), Message: d.kinds, Timeout: max(d.call.deadline-now, 1), Age: d.call.age(now), Body: r.Body, Packed: r.packed})
			if err != nil { // the link is full or closed
				p.arm(now + askAfter)
				return
			}
			if d.asked != 0 {
				d.again = min(2*d.again, askMax)
			}
			d.asked, d.askedOn = now, p.current
			d.call.unusual(trail.Inquired, p.current.Road(), nil)
		}
		p.arm(d.asked + d.again)
	}
}

// asked reports whether a reply of that number, which no call of the session has, may come on k.
// It may not if the number belongs to a query that was sent on another link. p.mu is held.
func (p *peer) asked(k *Link, seq uint64) bool {
	d := p.unresolved[seq]
	return d == nil || d.askedOn == k
}

// takeUnresolved removes the unresolved call of that number and returns it, or nil if there is
// none. p.mu is held.
func (p *peer) takeUnresolved(seq uint64) *Call {
	d := p.unresolved[seq]
	if d == nil {
		return nil
	}
	p.resolve(seq, d)
	return d.call
}

// resolve removes an unresolved call, which makes room for another request. p.mu is held.
func (p *peer) resolve(seq uint64, d *unresolved) {
	delete(p.unresolved, seq)
	p.kept.sub(len(d.call.req.Body))
	p.passRoom()
}

// failUnresolved ends the calls whose outcome can never be known. p.mu is held.
func (p *peer) failUnresolved(why string) {
	for seq, d := range p.unresolved {
		if !d.lastWordSought {
			p.resolve(seq, d)
			d.call.fail(rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "%s", why))
		}
	}
}

// expireUnresolved removes the unresolved calls whose deadlines have passed, and appends them to
// expired. p.mu is held.
func (p *peer) expireUnresolved(now time.Duration, expired []*Call) []*Call {
	for seq, d := range p.unresolved {
		if d.call.deadline <= now {
			p.resolve(seq, d)
			expired = append(expired, d.call)
			continue
		}
		p.arm(d.call.deadline)
	}
	return expired
}

package rpc

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// doubt is a call that may have run at a start of its server that is no more. If that
// server kept records beyond its process, its next start is asked what became of it.
type doubt struct {
	call    *Call
	grant   transport.Grant // of the session that it was sent in
	waits   bool            // the last word on that session is being looked for
	durable bool            // the server keeps records that its next start can be asked about
	kinds   string          // what the server said when it opened that
	asked   time.Duration   // node clock; 0: not yet
	askedOn *conn           // latest
	again   time.Duration   // how long after that it is asked again
}

// When a question is repeated: a bus may have lost it, and a server that is still
// starting does not answer.
const (
	askAfter = 500 * time.Millisecond // at first, then twice as long each time, up to
	askMax   = 4 * time.Second
)

// wonder keeps a call whose server was started anew until that says what became of it, or
// its last word, if that is looked for, does. p.mu is held.
func (p *peer) wonder(c *Call, grant transport.Grant, look bool) {
	c.on, c.also, c.handed = nil, nil, true
	p.kept.add(len(c.req.Body))
	p.doubts[c.seq] = &doubt{call: c, grant: grant, waits: look, durable: p.durable, kinds: p.kinds, again: askAfter}
}

// askDoubts asks the server of the new session, if it keeps records, what has not been
// asked lately. p.mu is held.
func (p *peer) askDoubts(now time.Duration) {
	if len(p.doubts) == 0 || p.current == nil {
		return
	}
	if !p.durable {
		p.dropDoubts("the node was started anew, and keeps no records")
		return
	}
	for seq, d := range p.doubts {
		if d.waits {
			continue
		}
		if d.asked == 0 || now-d.asked >= d.again {
			flags := transport.FlagResend | transport.FlagRecover
			if d.call.req.Acked {
				flags |= transport.FlagAcked
			}
			if d.call.req.Receipt {
				flags |= transport.FlagReceipt
			}
			r := &d.call.req
			_, err := p.current.link.Send(&transport.Envelope{Verb: transport.VerbRequest, Flags: flags, Codec: r.Codec, Seq: seq, Grant: d.grant,
				TypeID: r.TypeID, Target: r.Target, Key: r.key(), Message: d.kinds, Timeout: max(d.call.deadline-now, 1), Age: d.call.age(now), Body: r.Body})
			if err != nil { // no room, or the link is gone
				p.arm(now + askAfter)
				return
			}
			if d.asked != 0 {
				d.again = min(2*d.again, askMax)
			}
			d.asked, d.askedOn = now, p.current
		}
		p.arm(d.asked + d.again)
	}
}

// asked reports whether an answer of that number may come on k to what is no request of
// the session: to a question that was asked there, or, under 0, to a probe. p.mu is held.
func (p *peer) asked(k *conn, seq uint64) bool {
	d := p.doubts[seq]
	return d == nil || d.askedOn == k
}

// resolved takes the answer to a question, and reports whether it was one. p.mu is held.
func (p *peer) resolved(seq uint64) *Call {
	d := p.doubts[seq]
	if d == nil {
		return nil
	}
	p.dispel(seq, d)
	return d.call
}

// dispel takes a doubt out, which makes room for a request. p.mu is held.
func (p *peer) dispel(seq uint64, d *doubt) {
	delete(p.doubts, seq)
	p.kept.sub(len(d.call.req.Body))
	p.passRoom()
}

// dropDoubts ends what nobody will ever know. p.mu is held.
func (p *peer) dropDoubts(why string) {
	for seq, d := range p.doubts {
		if !d.waits {
			p.dispel(seq, d)
			d.call.fail(Errorf(OutcomeUnknown, Unknown, "%s", why))
		}
	}
}

// expireDoubts takes out what is past its deadline. p.mu is held.
func (p *peer) expireDoubts(now time.Duration, expired []*Call) []*Call {
	for seq, d := range p.doubts {
		if d.call.deadline <= now {
			p.dispel(seq, d)
			expired = append(expired, d.call)
			continue
		}
		p.arm(d.call.deadline)
	}
	return expired
}

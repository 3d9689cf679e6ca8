package rpc

import (
	"time"

	"github.com/tandem-go/tandem/transport"
)

// doubt is a call that may have run at a start of its server that is no more. If that
// server kept records beyond its process, its next start is asked what became of it.
type doubt struct {
	call  *Call
	grant transport.Grant // of the session that it was sent in
	asked time.Duration   // node clock
}

// askAfter is when a question is repeated: a bus may have lost it, and a server that is
// still starting does not answer.
const askAfter = 500 * time.Millisecond

// wonder keeps a call whose server was started anew until that says what became of it.
// p.mu is held.
func (p *peer) wonder(c *Call, grant transport.Grant) {
	c.on = nil
	p.doubts[c.seq] = &doubt{call: c, grant: grant}
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
		if d.asked == 0 || now-d.asked >= askAfter {
			d.asked = now
			flags := transport.FlagResend | transport.FlagRecover
			if d.call.req.Acked {
				flags |= transport.FlagAcked
			}
			if d.call.req.Receipt {
				flags |= transport.FlagReceipt
			}
			r := &d.call.req
			_, _ = p.current.link.Send(&transport.Envelope{Verb: transport.VerbRequest, Flags: flags, Codec: r.Codec, Seq: seq, Grant: d.grant,
				TypeID: r.TypeID, Target: r.Target, Key: r.Key, Timeout: max(d.call.deadline-now, 1), Body: r.Body}) // lost: it is asked again
		}
		p.arm(d.asked + askAfter)
	}
}

// resolved takes the answer to a question, and reports whether it was one. p.mu is held.
func (p *peer) resolved(seq uint64) *Call {
	d := p.doubts[seq]
	if d == nil {
		return nil
	}
	delete(p.doubts, seq)
	return d.call
}

// dropDoubts ends what nobody will ever know. p.mu is held.
func (p *peer) dropDoubts(why string) {
	for seq, d := range p.doubts {
		delete(p.doubts, seq)
		d.call.fail(Errorf(OutcomeUnknown, Unknown, "%s", why))
	}
}

// expireDoubts takes out what is past its deadline. p.mu is held.
func (p *peer) expireDoubts(now time.Duration, expired []*Call) []*Call {
	for seq, d := range p.doubts {
		if d.call.deadline <= now {
			delete(p.doubts, seq)
			expired = append(expired, d.call)
			continue
		}
		p.arm(d.call.deadline)
	}
	return expired
}

package server

import "github.com/tandem-go/tandem/transport"

// maxRun is how many one-way messages are handed to the session together at most.
const maxRun = 64

// run is a row of one-way messages of one session to one actor, with consecutive numbers from
// first on. The session takes a few locks for all of them together.
type run struct {
	session *session
	first   uint64
	tells   []*Inbound
}

// receiveTell adds a one-way message to the run, or ends that and begins another one.
func (c *Link) receiveTell(s *session, e *transport.Envelope) {
	r := &c.run
	if n := len(r.tells); n == maxRun || n > 0 && (e.Cut || s != r.session || e.Seq != r.first+uint64(n) || e.Target != r.tells[0].Target) {
		c.EndRun()
	}
	if len(r.tells) == 0 {
		r.session, r.first = s, e.Seq
	}
	in := c.freeInbounds.get(&c.server.inbounds)
	in.session, in.link = s, c
	in.fill(c, e)
	if r.tells = append(r.tells, in); e.Cut {
		c.EndRun()
	}
}

// Flush is called by the link's reader when there is nothing more to receive at the moment.
func (c *Link) Flush() {
	c.clock = 0
	c.EndRun()
}

// EndRun hands the run to its session.
func (c *Link) EndRun() {
	if r := &c.run; len(r.tells) > 0 {
		r.session.receiveTells(r.first, r.tells)
		clear(r.tells)
		r.tells = r.tells[:0]
	}
}

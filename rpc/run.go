package rpc

import "github.com/tandem-go/tandem/transport"

// maxRun is how many one-way messages are passed on together at most.
const maxRun = 64

// run is one-way messages of one session to one actor that came in a row, with
// numbers that go on from first. Passing them on costs a few locks, however many they are.
type run struct {
	session *session
	first   uint64
	told    []*Inbound
}

// told adds a one-way message to the run, or begins another one.
func (c *conn) told(s *session, e *transport.Envelope) {
	r := &c.run
	if n := len(r.told); n == maxRun || n > 0 && (e.Cut || s != r.session || e.Seq != r.first+uint64(n) || e.Target != r.told[0].Target) {
		c.endRun()
	}
	if len(r.told) == 0 {
		r.session, r.first = s, e.Seq
	}
	in := c.stock.get(&c.node.inbounds)
	in.session, in.road = s, c
	in.fill(c, e)
	if r.told = append(r.told, in); e.Cut {
		c.endRun()
	}
}

// Flush says that nothing more is there to receive for the moment. It is called by the
// link's reader.
func (c *conn) Flush() {
	c.clock = 0
	c.endRun()
}

// endRun passes the run on.
func (c *conn) endRun() {
	if r := &c.run; len(r.told) > 0 {
		r.session.tells(r.first, r.told)
		clear(r.told)
		r.told = r.told[:0]
	}
}

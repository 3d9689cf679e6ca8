package server

import (
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/transport"
)

// maxRun is from how many one-way messages on a run ends.
const maxRun = 64

// run is a sequence of one-way messages of one session to one actor, with consecutive numbers from
// first on. The session takes a few locks for all of them together.
type run struct {
	session *session
	first   uint64
	count   int // of the messages, of which tells may be rows
	tells   []*Inbound
}

// ReceiveRow handles count one-way messages that came in one frame, see transport.RowReceiver.
func (c *Link) ReceiveRow(e *transport.Envelope, count int) {
	s := c.sessionOf(e)
	if s == nil {
		c.server.counts.tellsDropped.Add(uint64(count))
		return
	}
	c.receiveTells(s, e, count)
}

// receiveTells adds a one-way message, or a row of count, to the run, or ends that and begins another
// one.
func (c *Link) receiveTells(s *session, e *transport.Envelope, count int) {
	r := &c.run
	if r.count > 0 && (e.Cut || s != r.session || e.Seq != r.first+uint64(r.count) || e.Target != r.tells[0].Target) {
		c.EndRun()
	}
	if r.count == 0 {
		r.session, r.first = s, e.Seq
	}
	in := c.freeInbounds.get(&c.server.inbounds)
	in.session, in.link = s, c
	in.fill(c, e)
	if count > 1 {
		in.row.left = count
		in.weight += (count - 1) * account.Record
	}
	r.tells = append(r.tells, in)
	if r.count += count; e.Cut || r.count >= maxRun {
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
	if r := &c.run; r.count > 0 {
		r.session.receiveTells(r.first, r.count, r.tells)
		clear(r.tells)
		r.tells, r.count = r.tells[:0], 0
	}
}

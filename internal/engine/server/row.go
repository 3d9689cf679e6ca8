package server

import (
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/transport"
)

// One-way messages that came in one frame are a single Inbound, a row, as long as nothing has to
// be decided for each of them: the frame has one header for all, so they have one target, type,
// codec and origin, and consecutive numbers. They share the memory of their bodies, and cost the
// reader about as much as one message. What does not concern all of them alike, such as
// a mailbox that has room for some, is done with single messages (Unpack).

// row is what an Inbound of several one-way messages has beside the fields of one. Whoever has the
// Inbound uses it: first the link's reader, then the run loop of the actor.
type row struct {
	left int // messages that were not taken by Next; 0: this is no row, or all of them were
	at   int // where in body the next one is
}

// Left returns for how many one-way messages in stands that were not taken by Next: it is 0 for
// every other message.
func (in *Inbound) Left() int { return in.row.left }

// Next returns the body of the next one-way message of a row; ok is false if there is none. It is
// valid until the Inbound is freed.
func (in *Inbound) Next() (body []byte, ok bool) {
	if in.row.left == 0 {
		return nil, false
	}
	body, rest, _ := transport.CutRow(in.body[in.row.at:]) // the link has counted them
	in.row.left--
	in.row.at = len(in.body) - len(rest)
	return body, true
}

// count returns for how many messages in stands.
func (in *Inbound) count() int { return max(in.row.left, 1) }

// Unpack returns tells with single messages in place of each row. Only the reader of their link may
// call it. The rows belong to nobody then.
func Unpack(tells []*Inbound) []*Inbound {
	if countTells(tells) == len(tells) {
		return tells
	}
	var all []*Inbound
	for _, in := range tells {
		if in.row.left == 0 {
			all = append(all, in)
			continue
		}
		for in.row.left > 0 {
			all = append(all, in.cutFirst())
		}
		in.session.server.inbounds.putTells([]*Inbound{in})
	}
	return all
}

// cutFirst takes the first message from a row, as one of its own, with its part of the weight.
func (in *Inbound) cutFirst() *Inbound {
	from := in.row.at
	body, _ := in.Next()
	one := in.link.freeInbounds.get(&in.session.server.inbounds)
	one.session, one.link, one.Target, one.TypeID, one.Codec, one.Schema, one.Meta = in.session, in.link, in.Target, in.TypeID, in.Codec, in.Schema, in.Meta
	one.Receipt, one.Confirm, one.cut = false, false, false
	one.body = wire.OwnBody(one.body, &transport.Envelope{Body: body})
	if one.weight = min(in.weight, account.Record+in.row.at-from); in.row.left == 0 {
		one.weight = in.weight
	}
	in.weight -= one.weight
	return one
}

// Split takes the first message from a row, as one of its own, with its part of the weight. Unlike
// Unpack it is for whoever has the row after the link's reader.
func (in *Inbound) Split() *Inbound {
	from := in.row.at
	body, _ := in.Next()
	one := &Inbound{session: in.session, link: in.link, Target: in.Target, TypeID: in.TypeID, Codec: in.Codec, Schema: in.Schema, Meta: in.Meta, body: wire.CopyBody(nil, body)}
	if one.weight = min(in.weight, account.Record+in.row.at-from); in.row.left == 0 {
		one.weight = in.weight
	}
	in.weight -= one.weight
	return one
}

// Copy returns a copy of a single one-way message, which counts as the message does. It returns nil if there
// is no room for it.
func (in *Inbound) Copy() *Inbound {
	weight := account.Record + len(in.body) + in.MetaSize()
	hold := in.session.share.Hold
	if weight > transport.LargeBody+account.Record {
		hold = in.session.share.HoldLarge
	}
	if !hold(weight) {
		return nil
	}
	return &Inbound{session: in.session, link: in.link, Target: in.Target, TypeID: in.TypeID, Codec: in.Codec, Schema: in.Schema, Meta: in.Meta, body: wire.CopyBody(nil, in.body), weight: weight}
}

// countTells returns for how many messages tells stand.
func countTells(tells []*Inbound) (n int) {
	for _, in := range tells {
		n += in.count()
	}
	return n
}

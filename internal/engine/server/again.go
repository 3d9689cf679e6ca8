package server

import (
	"strings"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Kept is a one-way message that was not handled, and whose origin is to be known when it is
// handled after all.
type Kept struct {
	Arrival
	Foreign bool // the client has not proved to be the node that it names
	Codec   uint8
	Body    []byte // the message gets a copy
	Meta    *wire.Meta
}

// Again returns such a message, as if it had just come from its origin. It counts in the share of
// its principal; the error is Overloaded, NotRun, if there is no room.
func (srv *Server) Again(k Kept) (*Inbound, *rpc.Error) {
	o := k.Origin
	share := srv.account.Share(o.Principal)
	defer share.Leave() // a share that holds something is not removed
	s := &session{server: srv, id: transport.Peer{Node: o.Node}, principal: o.Principal, origin: o, foreign: k.Foreign, own: o.Local, share: share}
	in := &Inbound{session: s, link: &Link{Link: wire.Link{Addr: k.Addr}}, Target: strings.Clone(k.Target), TypeID: k.TypeID, Codec: k.Codec, Meta: k.Meta, weight: account.Record + len(k.Body)}
	if k.Meta != nil {
		in.weight += metaSize(k.Meta)
	}
	hold := share.Hold
	if in.large() {
		hold = share.HoldLarge
	}
	if !hold(in.weight) {
		return nil, share.Full(in.From())
	}
	in.body = wire.OwnBody(nil, &transport.Envelope{Body: k.Body})
	return in, nil
}

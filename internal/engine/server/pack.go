package server

import "github.com/tandem-go/tandem/transport"

// pack returns the body of a reply in compressed form, if the Server compresses, a peer that waits for
// it inflates that, and it is worth while; else nil. No lock is held meanwhile. A reply that is sent
// again later is not compressed again, because only the reply itself is recorded.
func (in *Inbound) pack(typeID uint64, codec uint8, body []byte) *transport.Packed {
	c := in.session.server.cfg.Compression
	if c == nil || in.Seq == 0 {
		return nil
	}
	in.session.mu.Lock()
	packs := in.link != nil && in.link.Packs
	for m := in.more; m != nil; m = m.next {
		packs = packs || m.link.Packs
	}
	in.session.mu.Unlock()
	if !packs {
		return nil
	}
	return c.Pack(codec, typeID, body)
}

// Compact says that the message is compact, and which type it has. Whoever gets it first says so.
func (in *Inbound) Compact(typeID uint64) { in.Schema, in.TypeID = in.TypeID, typeID }

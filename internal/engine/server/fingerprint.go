package server

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/tandem-go/tandem/transport"
)

// fingerprint returns a keyed hash of what a request asks for. It shows when a client uses
// one number for two requests. It is the same on every link.
func (c *Link) fingerprint(e *transport.Envelope) uint64 {
	h := maphash.Bytes(c.server.seed, e.Body)
	return h ^ c.headHash(e)
}

// head is the part of a request that most requests on a link have in common, and its hash.
type head struct {
	target string
	typeID uint64
	codec  uint8
	known  bool
	hash   uint64
}

// headHash returns the hash of e's target, type and codec. It computes it only if they are not
// those of the latest request.
func (c *Link) headHash(e *transport.Envelope) uint64 {
	l := &c.lastHead
	if !l.known || l.target != e.Target || l.typeID != e.TypeID || l.codec != e.Codec {
		var id [9]byte
		binary.BigEndian.PutUint64(id[:], e.TypeID)
		id[8] = e.Codec
		seed := c.server.seed
		*l = head{c.names.intern(seed, e.Target), e.TypeID, e.Codec, true,
			maphash.String(seed, e.Target)*0x9e3779b97f4a7c15 ^ maphash.Bytes(seed, id[:])*0xc2b2ae3d27d4eb4f}
	}
	return l.hash
}

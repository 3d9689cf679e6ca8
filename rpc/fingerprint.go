package rpc

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/tandem-go/tandem/transport"
)

// fingerprint is a keyed hash of what a request asks for, so that a number used
// twice is found out.
func (n *Node) fingerprint(e *transport.Envelope) uint64 {
	h := maphash.Bytes(n.seed, e.Body)
	h ^= maphash.String(n.seed, e.Target) * 0x9e3779b97f4a7c15
	var id [9]byte
	binary.BigEndian.PutUint64(id[:], e.TypeID)
	id[8] = e.Codec
	return h ^ maphash.Bytes(n.seed, id[:])*0xc2b2ae3d27d4eb4f
}

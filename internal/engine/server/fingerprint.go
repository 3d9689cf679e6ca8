package server

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/tandem-go/tandem/transport"
)

// fingerprint returns a keyed hash of what a request asks for. It shows when a client uses
// one number for two requests.
func (srv *Server) fingerprint(e *transport.Envelope) uint64 {
	h := maphash.Bytes(srv.seed, e.Body)
	h ^= maphash.String(srv.seed, e.Target) * 0x9e3779b97f4a7c15
	var id [9]byte
	binary.BigEndian.PutUint64(id[:], e.TypeID)
	id[8] = e.Codec
	return h ^ maphash.Bytes(srv.seed, id[:])*0xc2b2ae3d27d4eb4f
}

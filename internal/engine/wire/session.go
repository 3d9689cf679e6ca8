package wire

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/tandem-go/tandem/transport"
)

// SessionID returns what stands for a session in the names of its requests. The grant does not follow from
// it. salt is empty, except for the zero grant: then it tells requests apart that have no session yet.
func SessionID(grant transport.Grant, salt string) uint64 {
	h := sha256.New()
	h.Write([]byte("tandem session\x00"))
	h.Write(grant[:])
	h.Write([]byte(salt))
	return max(binary.BigEndian.Uint64(h.Sum(nil)), 1)
}

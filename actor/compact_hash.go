package actor

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// namedSchema is a type's name on the wire, and its codec.Schema.
type namedSchema struct{ name, text string }

// schemaHash is the SHA-256 of the schemas of a message and its reply. Nodes that agree compare the
// whole of it; compact bodies then carry its first 64 bits in place of their type.
type schemaHash [sha256.Size]byte

// hashSchemas returns the hash of two schemas, of which the second may be none.
func hashSchemas(msg, reply namedSchema) schemaHash {
	text := []byte("tandem compact 1")
	for _, part := range []string{msg.name, msg.text, reply.name, reply.text} {
		text = strconv.AppendQuote(append(text, '\n'), part)
	}
	return sha256.Sum256(text)
}

// id returns what stands for the hash in an envelope; 0 if it cannot stand there.
func (h schemaHash) id() uint64 { return binary.BigEndian.Uint64(h[:8]) }

// equals reports whether another node means the same schemas.
func (h schemaHash) equals(theirs []byte) bool { return bytes.Equal(h[:], theirs) }

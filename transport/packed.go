package transport

import (
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/internal/bufpool"
)

// A body may travel compressed, if the peer's greeting says that it inflates the algorithm. It is
// compressed in blocks, each of them by itself, so that both sides need little memory at a time and
// the sender soon sees whether it pays. Only links know of this: whoever sends an envelope may add
// the compressed form of its body, and whoever receives it gets the body as it was.

// Algorithm is a way to compress bodies. The numbers belong to the wire format and never change.
type Algorithm uint8

// The algorithms. The zero value stands for a body that is not compressed.
const (
	S2   Algorithm = 1 // https://github.com/klauspost/compress/tree/master/s2#block-format
	Zstd Algorithm = 2 // RFC 8878, frames without a dictionary
)

// Algorithms is a set of them: the bit with an algorithm's number stands for it.
type Algorithms uint64

// AlgorithmsOf returns the set of those.
func AlgorithmsOf(all ...Algorithm) (s Algorithms) {
	for _, a := range all {
		s |= 1 << a
	}
	return s
}

// Has reports whether a is in the set.
func (s Algorithms) Has(a Algorithm) bool { return a > 0 && s>>a&1 != 0 }

// Compression compresses bodies and inflates them. Package transport/compress has one. Its methods
// may be called concurrently, and Inflate is called with what a peer has sent.
type Compression interface {
	// Pack returns body, of a message of that codec and type, in compressed form; nil if that is
	// not worth while. The body must not change any more if the result is to be sent.
	Pack(codec uint8, typeID uint64, body []byte) *Packed

	// Packs returns the algorithm of Pack, and Inflates those that Inflate knows.
	Packs() Algorithm
	Inflates() Algorithms

	// Inflate fills block with what packed was made of. It returns an error if packed is
	// malformed, or if what it was made of has another length. It takes no memory that grows
	// with what packed announces.
	Inflate(a Algorithm, block, packed []byte) error
}

// Packed is the compressed form of a body. It does not change.
type Packed struct {
	Algorithm Algorithm
	Blocks    []byte // see AppendBlock
}

// BlockSize is how many bytes of a body are compressed together. Only the last block is shorter.
const BlockSize = 256 << 10

// maxBlock is the largest size of a compressed block. What does not get smaller is not sent in
// compressed form.
const maxBlock = BlockSize + BlockSize/4

// AppendBlock appends a compressed block, of at most BlockSize bytes, to those of a body.
func AppendBlock(blocks, block []byte) []byte {
	n := len(block)
	return append(append(blocks, byte(n>>16), byte(n>>8), byte(n)), block...)
}

// Packer is a Link that sends bodies in compressed form, if an Envelope has one.
type Packer interface {
	// Packs reports whether the peer inflates what this system's Compression packs. The answer never
	// changes.
	Packs() bool
}

// Packs implements Packer for the link of the queue.
func (o *Outbox) Packs() bool { return o.lane != nil && o.inflates != 0 }

// packed returns the envelope that is sent in place of e: with the compressed form of its body, or
// e itself. o.mu is held, and nothing is compressed here.
func (o *Outbox) packed(e *Envelope) (*Envelope, error) {
	if o.lane == nil || !o.inflates.Has(e.Packed.Algorithm) {
		return e, nil
	}
	if n := headerSize + len(e.Body); n > o.lane.largest {
		return nil, fmt.Errorf("%w: %d bytes and more encoded, limit %d", ErrTooLarge, n, o.lane.largest)
	}
	p := *e
	p.Packing, p.Size, p.Body, p.Packed = e.Packed.Algorithm, uint64(len(e.Body)), e.Packed.Blocks, nil
	return &p, nil
}

// InflateWith makes the Assembly inflate bodies. It is called before anything else; without it, or
// with nil, an envelope with a compressed body ends the link.
func (a *Assembly) InflateWith(c Compression) { a.compression = c }

// inflate replaces the compressed body of e with the body itself, which belongs to the Receiver. If
// there is no room for it, e becomes Cut. An error wraps ErrProtocol.
func (a *Assembly) inflate(e *Envelope) error {
	algorithm, size, packed := e.Packing, e.Size, e.Body
	e.Packing, e.Size = 0, 0
	switch {
	case e.Cut:
		return nil
	case a.compression == nil || !a.compression.Inflates().Has(algorithm):
		return fmt.Errorf("%w: a body is compressed with algorithm %d, which was not offered", ErrProtocol, algorithm)
	case size == 0 || size > uint64(a.largest):
		return fmt.Errorf("%w: compressed body of %d bytes, limit %d", ErrProtocol, size, a.largest)
	}
	held := 0
	if size > LargeBody {
		if held = int(size) + len(packed); !a.hold(held) {
			e.Body, e.Owned, e.Cut = nil, false, true
			return nil
		}
	}
	body := bufpool.Get(int(size))[:size]
	err := unpack(a.compression, algorithm, body, packed)
	a.free(held) // from here on the Receiver counts it
	if err != nil {
		bufpool.Put(body)
		return fmt.Errorf("%w: a body of %d bytes, compressed to %d with algorithm %d: %w", ErrProtocol, size, len(packed), algorithm, err)
	}
	if e.Owned {
		bufpool.Put(packed)
	}
	e.Body, e.Owned = body, true
	return nil
}

var errBlocks = errors.New("cut block, or too many of them")

// unpack fills body with what the compressed blocks were made of.
func unpack(c Compression, a Algorithm, body, blocks []byte) error {
	for len(body) > 0 {
		if len(blocks) < 3 {
			return errBlocks
		}
		n := int(blocks[0])<<16 | int(blocks[1])<<8 | int(blocks[2])
		if blocks = blocks[3:]; n > len(blocks) || n > maxBlock {
			return errBlocks
		}
		size := min(len(body), BlockSize)
		if err := c.Inflate(a, body[:size:size], blocks[:n:n]); err != nil {
			return err
		}
		body, blocks = body[size:], blocks[n:]
	}
	if len(blocks) > 0 {
		return errBlocks
	}
	return nil
}

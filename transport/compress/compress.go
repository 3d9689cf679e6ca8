// Package compress makes the bodies of messages between nodes smaller:
//
//	actor.Config{Compression: compress.New(compress.Config{})}
//
// A body is sent in compressed form if it has a threshold's size or more, if the peer inflates the
// algorithm, which its greeting says, and if that saves a sixteenth at least. So nodes with and
// without compression, or with different algorithms, work together, and every node can change
// by itself. Both S2 and Zstandard are inflated, whichever this node compresses with. S2 costs little
// time; Zstandard makes bodies smaller, and costs a few times as much.
//
// Bodies are compressed by the goroutine that sends, and inflated by the reader of the link. Nothing
// is inflated before the peer was authenticated, and never beyond the size that was announced, which
// is checked against the limits of a message and of the memory before any is taken. The memory of a
// body that is outstanding in compressed form is needed beside that of the body itself.
//
// docs/performance.md has the bytes, the processor time and the throughput of calls with bodies of 1 KiB, 100 KiB and 10 MiB, of JSON
// and random, without compression and with both algorithms.
//
// Compression shows how well a body compresses by its size, also where the link is encrypted. Do not
// use it for messages that mix secrets with what an attacker may choose.
package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/tandem-go/tandem/internal/bufpool"
	"github.com/tandem-go/tandem/transport"
)

// DefaultThreshold is the default of Config.Threshold, in bytes.
const DefaultThreshold = 1 << 10

// Config says how a node compresses.
type Config struct {
	Algorithm transport.Algorithm // transport.S2 or transport.Zstd; default S2
	Threshold int                 // bytes of the smallest body that is compressed; default DefaultThreshold
	Raw       bool                // compress raw bytes, too, which often are compressed already or look random
}

// Compressor is the transport.Compression of one node or several. Its methods may be called
// concurrently.
type Compressor struct {
	cfg    Config
	encode func() *zstd.Encoder // made when they are first needed, because they take much memory
	decode func() *zstd.Decoder

	mu   sync.Mutex // guards what follows
	pays pays
}

var _ transport.Compression = (*Compressor)(nil)

// New returns a Compressor. It panics if the algorithm is unknown or the threshold negative.
func New(cfg Config) *Compressor {
	if cfg.Algorithm == 0 {
		cfg.Algorithm = transport.S2
	}
	if cfg.Threshold == 0 {
		cfg.Threshold = DefaultThreshold
	}
	if cfg.Algorithm > transport.Zstd || cfg.Threshold < 0 {
		panic(fmt.Sprintf("compress: Config of algorithm %d and threshold %d", cfg.Algorithm, cfg.Threshold))
	}
	return &Compressor{cfg: cfg, encode: sync.OnceValue(newEncoder), decode: sync.OnceValue(newDecoder)}
}

func newEncoder() *zstd.Encoder {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(transport.BlockSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // an option that this version of the library refuses
	}
	return w
}

func newDecoder() *zstd.Decoder {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(transport.BlockSize),
		zstd.WithDecoderMaxWindow(transport.BlockSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err)
	}
	return r
}

// Packs implements transport.Compression.
func (c *Compressor) Packs() transport.Algorithm { return c.cfg.Algorithm }

// Inflates implements transport.Compression.
func (c *Compressor) Inflates() transport.Algorithms {
	return transport.AlgorithmsOf(transport.S2, transport.Zstd)
}

// codecRaw is the number of raw bytes among the codecs of the wire.
const codecRaw = 3

// least is which part of a body compression has to save: one in so many bytes.
const least = 16

// Pack implements transport.Compression. It returns nil for a body below the threshold, for one that
// would not become smaller by a sixteenth, and without trying for some after several such ones of
// the same type.
func (c *Compressor) Pack(codec uint8, typeID uint64, body []byte) *transport.Packed {
	if len(body) < c.cfg.Threshold || len(body) == 0 || codec == codecRaw && !c.cfg.Raw {
		return nil
	}
	c.mu.Lock()
	try := c.pays.try(typeID)
	c.mu.Unlock()
	if !try {
		return nil
	}
	blocks := c.pack(body)
	c.mu.Lock()
	c.pays.tried(typeID, blocks != nil)
	c.mu.Unlock()
	if blocks == nil {
		return nil
	}
	return &transport.Packed{Algorithm: c.cfg.Algorithm, Blocks: blocks}
}

// pack compresses body block by block; nil as soon as that does not save enough.
func (c *Compressor) pack(body []byte) (blocks []byte) {
	room := bufpool.Get(s2.MaxEncodedLen(min(len(body), transport.BlockSize)))
	defer func() { bufpool.Put(room) }()
	for done := 0; done < len(body); {
		block := body[done:min(len(body), done+transport.BlockSize)]
		if c.cfg.Algorithm == transport.Zstd {
			room = c.encode().EncodeAll(block, room[:0])
		} else {
			room = s2.Encode(room[:cap(room)], block)
		}
		if done += len(block); (len(blocks)+3+len(room))*least > done*(least-1) {
			return nil
		}
		if blocks == nil { // the other blocks are likely to become as small as the first
			blocks = slices.Grow(blocks, (3+len(room))*((len(body)+len(block)-1)/len(block)))
		}
		blocks = transport.AppendBlock(blocks, room)
	}
	return blocks
}

var errLength = errors.New("compress: a block of another length than announced")

// Inflate implements transport.Compression.
func (c *Compressor) Inflate(a transport.Algorithm, block, packed []byte) error {
	switch a {
	case transport.S2:
		if n, size := binary.Uvarint(packed); size <= 0 || n != uint64(len(block)) { // so Decode does not take memory of its own
			return errLength
		}
		_, err := s2.Decode(block, packed)
		return err
	case transport.Zstd:
		b, err := c.decode().DecodeAll(packed, block[:0:len(block)])
		if err != nil {
			return err
		}
		if len(b) != len(block) || &b[0] != &block[0] {
			return errLength
		}
		return nil
	}
	return fmt.Errorf("compress: unknown algorithm %d", a)
}

package actor

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// A stream is made of requests. The message that opens it goes to the actor, whose node
// answers with the address of a hidden actor that serves the stream. The client requests
// batches of items from the hidden actor, and sends batches to it, by number and a few at a
// time: these requests are the credit. Because of the numbers they may be retried even if it is
// not known whether they ran.
const (
	streamDepth = 2        // requests for batches, and requests with batches, that may be outstanding
	streamItems = 1024     // items of a batch at most
	streamBytes = 64 << 10 // bytes of a batch at most, unless it is one larger item

	streamBeat  = 20 * time.Second // time between two signs of life of a stream's client
	streamBeats = 3                // beats of silence after which the client is considered dead
	streamWait  = 30 * time.Second // how long the answer to a sign of life may take
)

// streamPatience bounds the requests of streams without a deadline: a stream in which no batch
// moves for that long is cut, although both ends are alive.
const streamPatience = 30 * 24 * time.Hour

// streamRetry retries for about as long as streamWait.
var streamRetry = rpc.Retry{Attempts: 24}

// The messages of a stream.
type (
	streamOpened struct { // the answer to the message that opens a stream
		Actor string // the address of the hidden actor

		// The types of the items: those to the actor, those from it. 0: the type of the message has said it.
		In, Out uint64 `msgpack:",omitempty"`
	}
	streamNext struct { // asks for batch N, which is kept until N+streamDepth is asked for
		Returns[streamBatch]
		N uint64
	}
	streamPush struct { // brings batch N of the other direction
		Returns[streamTaken]
		N     uint64
		Items []byte
		Last  bool // no batch comes after it

		vals []any `msgpack:"-"` // see chunk
		held int   `msgpack:"-"` // see chunk
	}
	streamSign struct { // a sign that the client is alive, or has stopped
		Returns[streamTaken]
		Stop bool
	}
	streamBatch struct {
		Items   []byte
		Done    bool     // no batch comes after it
		Code    rpc.Code // this and what follows: the error that ends the stream; 0 for none
		Verdict rpc.Verdict
		Message string
		User    string

		vals []any      `msgpack:"-"` // see chunk
		held int        `msgpack:"-"` // see chunk
		err  *rpc.Error `msgpack:"-"` // takes the place of Code on the same node
	}
	streamTaken struct {
		Over bool // no more items are wanted
	}
)

func (streamOpened) WireName() string { return "tandem.stream.opened" }
func (streamNext) WireName() string   { return "tandem.stream.next" }
func (streamPush) WireName() string   { return "tandem.stream.push" }
func (streamSign) WireName() string   { return "tandem.stream.sign" }
func (streamBatch) WireName() string  { return "tandem.stream.batch" }
func (streamTaken) WireName() string  { return "tandem.stream.taken" }

// end makes b the last batch.
func (b *streamBatch) end(err *rpc.Error) {
	if b.Done, b.err = true, err; err != nil {
		b.Code, b.Verdict, b.Message, b.User = err.Code, err.Verdict, err.Message, err.User
	}
}

// failure is the error that the last batch ends the stream with: io.EOF for the regular end.
func (b *streamBatch) failure(node string) error {
	switch {
	case b.err != nil:
		return b.err
	case b.Code != 0:
		return &rpc.Error{Code: b.Code, Verdict: b.Verdict, Message: b.Message, User: b.User, Node: node}
	}
	return io.EOF
}

// chunk is a list of items: encoded, each behind its length, or as values within a node.
type chunk struct {
	bytes []byte
	vals  []any
	n     int // items added; 0 for a chunk that came from another node
	held  int // bytes counted in the share of the stream's principal
}

// fits reports whether an item of size bytes may be added.
func (c *chunk) fits(size int) bool {
	return c.n == 0 || c.n < streamItems && len(c.bytes)+size <= streamBytes
}

// add adds an item: its encoding, or the value v if that is nil.
func (c *chunk) add(encoded []byte, v any) {
	if c.n++; encoded == nil {
		c.vals = append(c.vals, v)
		return
	}
	c.bytes = append(binary.AppendUvarint(c.bytes, uint64(len(encoded))), encoded...)
}

func (c *chunk) empty() bool { return len(c.bytes) == 0 && len(c.vals) == 0 }

// pop removes the next item from c and returns it.
func pop[T any](c *chunk, cd codec.Codec) (v T, err error) {
	if len(c.vals) > 0 {
		v, _ = c.vals[0].(T)
		c.vals[0] = nil
		c.vals = c.vals[1:]
		return v, nil
	}
	size, n := binary.Uvarint(c.bytes)
	if n <= 0 || size > uint64(len(c.bytes)-n) {
		return v, rpc.Errorf(rpc.Undecodable, rpc.HasRun, "a batch of a stream is malformed")
	}
	body := c.bytes[n : n+int(size)]
	c.bytes = c.bytes[n+int(size):]
	if err := cd.Decode(body, &v); err != nil {
		return v, rpc.Errorf(rpc.Undecodable, rpc.HasRun, "an item of a stream: %w", err)
	}
	return v, nil
}

const maxSpare = 64 << 10 // bytes of the largest item whose memory is kept for the next one

// encoder encodes the items of one direction of a stream. With a nil codec it leaves them as
// they are.
type encoder struct {
	codec codec.Codec
	spare []byte
}

// encode returns an item's encoding, which is valid until the next call, or nil.
func (e *encoder) encode(v any) ([]byte, *rpc.Error) {
	if e.codec == nil {
		return nil, nil
	}
	b, err := e.codec.Append(e.spare[:0], v)
	if err != nil {
		return nil, rpc.Errorf(rpc.Undecodable, rpc.HasRun, "encoding an item of a stream: %w", err)
	}
	if b == nil {
		b = []byte{}
	}
	if cap(b) <= maxSpare {
		e.spare = b
	}
	return b, nil
}

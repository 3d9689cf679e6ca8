package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ID names a request for good: it is the request with the number Seq of the session
// Grant. If Seq is 0, the ID names a request under a key that its caller chose, and
// Grant is a hash of the key, or of the outbox whose messages have numbers.
type ID struct {
	Grant [16]byte
	Seq   uint64
}

// String returns the ID as text that can be a database's key: 48 hex digits.
func (id ID) String() string { return fmt.Sprintf("%x%016x", id.Grant, id.Seq) }

// Op says which step a Change records.
type Op uint8

// The steps in the life of sessions, requests and jobs. The numbers belong to the storage
// format and never change.
const (
	Opened    Op = 1 // of a session: Grant was given to Owner
	Begun     Op = 2 // of a request: its handler is about to be called
	Done      Op = 3 // of a request: it has its Outcome
	Freed     Op = 4 // of a request: nobody needs its record any more
	Closed    Op = 5 // of a session: nobody needs its records any more
	Submitted Op = 6 // of a job: it was accepted; Outcome is the job itself
	Numbered  Op = 7 // of an outbox: the handler of its message with the number Fingerprint is about to be called
	lastOp       = Numbered
)

var opNames = [...]string{"", "opened", "begun", "done", "freed", "closed", "submitted", "numbered"}

// String returns the op's name in lower case.
func (o Op) String() string {
	if o == 0 || o > lastOp {
		return fmt.Sprintf("op(%d)", uint8(o))
	}
	return opNames[o]
}

// Change is one step that has to outlive the process.
type Change struct {
	Op          Op
	ID          ID        // for Opened and Closed only its Grant is set
	Time        time.Time // of the step, to the nanosecond; the zone is not kept
	Owner       string    // for Opened: who may ask for the session's records
	Fingerprint uint64    // for Begun: stands for the request's content; for Numbered, and for Done and Freed of the same message: its number
	Outcome     []byte    // for Done: the outcome; for Submitted: the job; this package does not interpret it
}

// changeSize is how many bytes a change has without its Owner and Outcome.
const changeSize = 1 + 16 + 8 + 8 + 8 + 4

// Size is how many bytes Append appends for c.
func (c Change) Size() int { return changeSize + len(c.Owner) + len(c.Outcome) }

// ErrBadChange is wrapped by the error for bytes that do not encode a Change.
var ErrBadChange = errors.New("ledger: bad change")

// Append appends the encoding of c, which stores keep, to dst:
//
//	u8 op, 16 bytes grant, u64 seq, u64 nanoseconds since 1970, u64 fingerprint,
//	u32 length, and that many bytes of owner (for Opened) or outcome (for Done and Submitted)
func (c Change) Append(dst []byte) []byte {
	dst = append(append(dst, byte(c.Op)), c.ID.Grant[:]...)
	dst = binary.BigEndian.AppendUint64(dst, c.ID.Seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Time.UnixNano()))
	dst = binary.BigEndian.AppendUint64(dst, c.Fingerprint)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.Owner)+len(c.Outcome)))
	return append(append(dst, c.Owner...), c.Outcome...)
}

// ParseChange decodes the first change in b, and returns it and the bytes behind it. The
// change does not refer to b. The error wraps ErrBadChange.
func ParseChange(b []byte) (c Change, rest []byte, err error) {
	if len(b) < changeSize {
		return c, b, fmt.Errorf("%w: %d bytes", ErrBadChange, len(b))
	}
	c.Op = Op(b[0])
	copy(c.ID.Grant[:], b[1:])
	c.ID.Seq = binary.BigEndian.Uint64(b[17:])
	c.Time = time.Unix(0, int64(binary.BigEndian.Uint64(b[25:])))
	c.Fingerprint = binary.BigEndian.Uint64(b[33:])
	n := binary.BigEndian.Uint32(b[41:])
	b = b[changeSize:]
	switch {
	case c.Op == 0 || c.Op > lastOp:
		return c, b, fmt.Errorf("%w: %v", ErrBadChange, c.Op)
	case uint64(n) > uint64(len(b)):
		return c, b, fmt.Errorf("%w: %d bytes announced, %d left", ErrBadChange, n, len(b))
	case c.Op == Opened:
		c.Owner = string(b[:n])
	case c.Op == Done || c.Op == Submitted:
		c.Outcome = append([]byte(nil), b[:n]...)
	case n != 0:
		return c, b, fmt.Errorf("%w: %v with %d bytes", ErrBadChange, c.Op, n)
	}
	return c, b[n:], nil
}

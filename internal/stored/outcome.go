package stored

import (
	"encoding/binary"
	"fmt"

	"github.com/tandem-go/tandem/state"
)

// FormatVersion is the first byte of what this package puts into the body of a [state.Outcome].
const FormatVersion = 1

// What is in the body of an outcome.
const (
	isOutcome = 1 // what a request led to
	isMark    = 2 // the ack mark of a caller; it is in the counter
)

// Sizes in bytes.
const (
	markSize    = 1 + 1
	outcomeSize = 1 + 1 + 8 + 1 + 2 + 1 + 8 + 4 + 4 + 4
)

// Outcome is what a request led to: a reply, or an error. This package does not interpret it.
type Outcome struct {
	Verdict uint8  // of an error: whether the request ran
	Code    uint16 // of an error; 0 for a reply
	User    string // name of the application's own error
	Message string // text of an error
	Codec   uint8  // of the body of a reply
	Type    uint64 // id of its type
	Body    []byte
}

// size is how many bytes appendOutcome appends.
func (o *Outcome) size() int { return outcomeSize + len(o.User) + len(o.Message) + len(o.Body) }

// appendOutcome appends the encoding of an outcome, under the fingerprint of its request, to dst.
// Numbers are big-endian; a text is a u32 length and that many bytes:
//
//	u8 version, u8 1, u64 fingerprint, u8 verdict, u16 code, u8 codec, u64 type,
//	text user, text message, text body
//
// An ack mark is a u8 version and a u8 2.
func appendOutcome(dst []byte, print uint64, o *Outcome) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, FormatVersion, isOutcome), print)
	dst = binary.BigEndian.AppendUint16(append(dst, o.Verdict), o.Code)
	dst = binary.BigEndian.AppendUint64(append(dst, o.Codec), o.Type)
	dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(o.User))), o.User...)
	dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(o.Message))), o.Message...)
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(o.Body))), o.Body...)
}

// Parse decodes what was stored as the outcome of a request, and returns the fingerprint of the
// request, too. The body shares memory with b. The error wraps [state.ErrFormat].
func Parse(b []byte) (o Outcome, print uint64, err error) {
	kind, err := kindOf(b)
	if err != nil {
		return o, 0, err
	}
	if kind != isOutcome || len(b) < outcomeSize {
		return o, 0, badFormat(b, "it is not the outcome of a request")
	}
	print = binary.BigEndian.Uint64(b[2:])
	o.Verdict, o.Code = b[10], binary.BigEndian.Uint16(b[11:])
	o.Codec, o.Type = b[13], binary.BigEndian.Uint64(b[14:])
	rest, ok := b[22:], true
	next := func() (t []byte) {
		if len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.BigEndian.Uint32(rest)) {
			ok = false
			return nil
		}
		end := 4 + int(binary.BigEndian.Uint32(rest))
		t, rest = rest[4:end:end], rest[end:]
		return t
	}
	o.User, o.Message, o.Body = string(next()), string(next()), next()
	if !ok || len(rest) > 0 {
		return Outcome{}, 0, badFormat(b, "it ends too early, or too late")
	}
	if len(o.Body) == 0 {
		o.Body = nil
	}
	return o, print, nil
}

// kindOf returns isOutcome or isMark.
func kindOf(b []byte) (byte, error) {
	switch {
	case len(b) < markSize:
		return 0, badFormat(b, "it is too short")
	case b[0] != FormatVersion:
		return 0, badFormat(b, "this program knows version %d", FormatVersion)
	case b[1] != isOutcome && b[1] != isMark || b[1] == isMark && len(b) != markSize:
		return 0, badFormat(b, "neither an outcome nor a mark")
	}
	return b[1], nil
}

func badFormat(b []byte, format string, args ...any) error {
	version := -1
	if len(b) > 0 {
		version = int(b[0])
	}
	return fmt.Errorf("%w: an outcome: %w", state.ErrFormat, &state.FormatError{Version: version, Data: b, Why: fmt.Sprintf(format, args...)})
}

// Package wire has what both the client half and the server half of a node read from envelopes or
// write into them: the metadata of a message, the error in a reply, and the last word of a node
// that leaves. It holds no state.
package wire

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tandem-go/tandem/internal/bufpool"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// FarOff is the longest timeout that counts; longer ones are cut to it. It can be added to a node's
// clock without overflow.
const FarOff time.Duration = math.MaxInt64 / 2

// Meta is the metadata of a message.
type Meta struct {
	Sender  string // the sending actor's address, or empty
	Trace   transport.Trace
	Headers []transport.Header
	Class   transport.Class // that its sender has given it
	Waiting []uint64        // for a request: numbers of the waits that end with it; empty if the sender does not wait
}

// OwnBody returns e's body in memory that the caller owns: in that of into, if it is large enough.
func OwnBody(into []byte, e *transport.Envelope) []byte {
	if e.Owned {
		return e.Body
	}
	return CopyBody(into, e.Body)
}

// CopyBody returns a copy of a body, in the memory of into if it is large enough.
func CopyBody(into, body []byte) []byte {
	if len(body) > max(cap(into), smallBody) {
		into = bufpool.Get(len(body))
	}
	return append(into[:0], body...)
}

// smallBody is the capacity up to which the memory of a body stays with the struct that holds it.
const smallBody = bufpool.Min

// FreeReceived ends the use of a body that has come, which nobody else may refer to any more. It
// returns what of its memory the struct that held it is to keep for its next one, as an empty slice;
// nil for nothing.
func FreeReceived(b []byte) []byte {
	if cap(b) <= smallBody {
		return b[:0]
	}
	bufpool.Put(b)
	return nil
}

// FreeSent is FreeReceived for a body that was handed to links. They may still refer to a large one.
func FreeSent(b []byte) []byte {
	if len(b) > transport.LargeBody {
		return nil
	}
	return FreeReceived(b)
}

// ErrorOf returns the error that a reply from a node carries, nil for none.
func ErrorOf(e *transport.Envelope, node string) *rpc.Error {
	if e.Code == 0 {
		return nil
	}
	err := &rpc.Error{Code: rpc.Code(e.Code), Message: strings.Clone(Truncate(e.Message)), User: strings.Clone(e.UserCode), Node: node, RetryAfter: e.RetryAfter, Elsewhere: strings.Clone(e.Elsewhere)}
	switch {
	case e.Flags&transport.FlagNotRun != 0:
		err.Verdict = rpc.NotRun
	case e.Flags&transport.FlagRan != 0:
		err.Verdict = rpc.HasRun
	}
	return err
}

// MaxText is how many bytes of an error's text are kept and sent to other nodes.
const MaxText = 1 << 10

// Truncate returns text, cut to MaxText bytes if it is longer.
func Truncate(text string) string {
	if len(text) <= MaxText {
		return text
	}
	const more = "…"
	end := MaxText - len(more)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.Clone(text[:end]) + more
}

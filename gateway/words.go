package gateway

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/tandem-go/tandem/rpc"
)

// The names of headers that gateways have in common, in requests and in answers.
const (
	HeaderKey      = "Idempotency-Key" // request: its key
	HeaderTimeout  = "Request-Timeout" // request: how long it may take, in seconds
	HeaderTrace    = "Traceparent"     // request: its W3C trace context
	HeaderRan      = "Tandem-Ran"      // answer: see Ran
	HeaderCode     = "Tandem-Code"     // answer: of an error, see CodeName
	HeaderReplayed = "Tandem-Replayed" // answer: "true" if it is the recorded one of an earlier attempt
)

// MaxKey is how many bytes a key may have.
const MaxKey = 255

// Ran is a verdict as gateways write it: yes, no or unknown.
func Ran(v rpc.Verdict) string {
	switch v {
	case rpc.HasRun:
		return "yes"
	case rpc.NotRun:
		return "no"
	}
	return "unknown"
}

// CodeName is a code as gateways write it: its name, with "-" between the words.
func CodeName(c rpc.Code) string { return strings.ReplaceAll(c.String(), " ", "-") }

// ErrorOf returns err as an *rpc.Error: itself, or one of code Internal whose verdict is unknown.
func ErrorOf(err error) *rpc.Error {
	var e *rpc.Error
	if errors.As(err, &e) {
		return e
	}
	return rpc.Errorf(rpc.Internal, rpc.Unknown, "%w", err)
}

// ParseTrace reads the header traceparent of W3C Trace Context (version 00, §3.2). A malformed one is none, as the
// standard wants.
func ParseTrace(text string) (t rpc.Trace) {
	if len(text) != 55 || text[:3] != "00-" || text[35] != '-' || text[52] != '-' || strings.ToLower(text) != text {
		return rpc.Trace{}
	}
	raw, err := hex.DecodeString(text[3:35] + text[36:52] + text[53:])
	if err != nil || copy(t[:], raw) != len(t) || [16]byte(raw[:16]) == [16]byte{} || [8]byte(raw[16:24]) == [8]byte{} {
		return rpc.Trace{}
	}
	return t
}

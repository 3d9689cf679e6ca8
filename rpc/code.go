package rpc

import (
	"fmt"
	"slices"
	"strings"
)

// Code says what went wrong. The set is closed: applications define errors of their own
// with [NewError], and these arrive with the code Failed.
//
// A Code is itself an error, so that errors.Is(err, rpc.Overloaded) works. A code does not
// say whether the request ran; [Ran] does.
type Code uint16

// The codes. Their numbers are part of the wire format and never change.
const (
	Failed         Code = 1  // the handler returned an error
	Panicked       Code = 2  // the handler panicked
	NotFound       Code = 3  // no such actor, node or service
	Unhandled      Code = 4  // the actor has no handler for this message type
	Undecodable    Code = 5  // the body could not be encoded or decoded
	WrongReply     Code = 6  // the reply is of another type than the caller expects
	TooLarge       Code = 7  // over a size limit
	Overloaded     Code = 8  // a queue, a table or a share of the memory is full
	Unavailable    Code = 9  // the node cannot be reached, or it or the actor is stopping
	Denied         Code = 10 // the principal may not do this
	Canceled       Code = 11 // the caller cancelled
	Expired        Code = 12 // the deadline passed
	Stale          Code = 13 // it is a copy of a request that its client has given up or has an answer to
	IDReused       Code = 14 // another request has the same number or key; the verdict is about that other request
	SessionLost    Code = 15 // the server does not know the session, or no longer
	OutcomeUnknown Code = 16 // it may have run, and nobody can tell
	ReplyDropped   Code = 17 // it ran, but its reply was too large to send or to keep, or its node left before the reply was sent
	Invalid        Code = 18 // the call was made in a way that makes no sense
	Internal       Code = 19 // a bug in Tandem
	Leaving        Code = 20 // the node shuts down and accepts nothing new; the verdict is always NotRun
	Cycle          Code = 21 // the actor waits for the actor that makes the request; the verdict is always NotRun
	Moved          Code = 22 // the virtual actor is on another node, see Error.Elsewhere; the verdict is always NotRun
	lastCode            = Moved
)

var codeNames = [...]string{"none", "failed", "panicked", "not found", "unhandled", "undecodable", "wrong reply", "too large", "overloaded",
	"unavailable", "denied", "canceled", "expired", "stale", "id reused", "session lost", "outcome unknown", "reply dropped", "invalid", "internal", "leaving", "cycle", "moved"}

// String returns the code's name.
func (c Code) String() string {
	if c > lastCode {
		return fmt.Sprintf("code(%d)", uint16(c))
	}
	return codeNames[c]
}

// ParseCode returns the code of that name, as String gives it or with "-" in place of spaces.
func ParseCode(name string) (Code, bool) {
	i := slices.Index(codeNames[1:], strings.ReplaceAll(name, "-", " "))
	return Code(i + 1), i >= 0
}

// Error makes a Code an error, for errors.Is.
func (c Code) Error() string { return "rpc: " + c.String() }

// Verdict is the answer to "did it run?".
type Verdict uint8

// The three answers.
const (
	Unknown Verdict = 0 // it may have run, may be running, or may still run
	NotRun  Verdict = 1 // it provably did not run and never will
	HasRun  Verdict = 2 // the handler ran, at least in part
)

var verdictNames = [...]string{"unknown", "not run", "ran"}

// String returns "unknown", "not run" or "ran".
func (v Verdict) String() string { return verdictNames[min(int(v), len(verdictNames)-1)] }

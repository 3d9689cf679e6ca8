package rpc

import "fmt"

// Code says what went wrong. The set is closed: applications define their own
// error codes with [NewError], and those arrive under Failed.
//
// A Code is itself an error, so that errors.Is(err, rpc.Overloaded) works.
// A code does not say whether the request ran: ask [Ran].
type Code uint16

// The codes. Numbers are wire format and never change.
const (
	Failed         Code = 1  // the handler returned an error
	Panicked       Code = 2  // the handler panicked
	NotFound       Code = 3  // no such actor, node or service
	Unhandled      Code = 4  // the actor has no handler for this message type
	Undecodable    Code = 5  // the body could not be encoded or decoded
	WrongReply     Code = 6  // the reply is of another type than the caller expects
	TooLarge       Code = 7  // over a size limit
	Overloaded     Code = 8  // a queue, a table or a budget is full
	Unavailable    Code = 9  // the node cannot be reached, or it or the actor is stopping
	Denied         Code = 10 // the principal may not do this
	Canceled       Code = 11 // the caller gave up
	Expired        Code = 12 // the deadline passed
	Stale          Code = 13 // a copy of a request that its client had given up
	IDReused       Code = 14 // the number, or the key, of another request; the verdict is about that one
	SessionLost    Code = 15 // the server does not know the session (any more)
	OutcomeUnknown Code = 16 // it may have run, and nobody can tell any more
	ReplyDropped   Code = 17 // it ran, and its reply was too large to send or to keep, or did not come before its node left
	Invalid        Code = 18 // the call makes no sense as it was made
	Internal       Code = 19 // a bug in Tandem
	Leaving        Code = 20 // the node shuts down and takes nothing new; always NotRun
	Cycle          Code = 21 // the actor waits for whoever makes the request; always NotRun
	lastCode            = Cycle
)

var codeNames = [...]string{"none", "failed", "panicked", "not found", "unhandled", "undecodable", "wrong reply", "too large", "overloaded",
	"unavailable", "denied", "canceled", "expired", "stale", "id reused", "session lost", "outcome unknown", "reply dropped", "invalid", "internal", "leaving", "cycle"}

// String returns the code's name.
func (c Code) String() string {
	if c > lastCode {
		return fmt.Sprintf("code(%d)", uint16(c))
	}
	return codeNames[c]
}

// Error makes a Code usable as a target of errors.Is.
func (c Code) Error() string { return "rpc: " + c.String() }

// Verdict is the answer to "did it run?".
type Verdict uint8

// The three answers.
const (
	Unknown Verdict = 0 // it may have run, may be running, or may run yet
	NotRun  Verdict = 1 // it provably did not run and never will
	HasRun  Verdict = 2 // the handler ran, at least in part
)

var verdictNames = [...]string{"unknown", "not run", "ran"}

// String returns "unknown", "not run" or "ran".
func (v Verdict) String() string { return verdictNames[min(int(v), len(verdictNames)-1)] }

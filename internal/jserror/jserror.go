// Package jserror says what an error of JetStream proves. All packages that keep something in
// JetStream use it, so there is one table of these errors:
//
//	var attempts jserror.Attempts
//	for {
//		ack, err := js.PublishMsg(ctx, m) // under one message id
//		switch f := attempts.Add(err); {
//		case f.Proof == jserror.Done: ... // it is stored
//		case f.Again:                ... // pause, and publish it again, under the same id
//		case f.Proof == jserror.NotDone: ... // it is not stored, and never will be
//		default:                     ... // unknown
//		}
//	}
//
// The table was made for nats-server 2.15 and nats.go 1.55. An error that is not in it
// proves nothing.
package jserror

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Proof is what an answer proves about a change, that is, a publish or a delete.
type Proof uint8

// The proofs.
const (
	Unknown Proof = iota // it may have been made, or may be made yet
	NotDone              // it was not made, and this attempt never will make it
	Done                 // it was made
)

// String returns the proof's name.
func (p Proof) String() string { return [...]string{"unknown", "not done", "done"}[min(p, Done)] }

// Cause is the kind of an error, for what the caller is told.
type Cause uint8

// The causes.
const (
	Other    Cause = iota // of no kind that matters
	Away                  // NATS, JetStream or the stream's leader is not available now
	Busy                  // the server is overloaded
	Full                  // the stream is full
	TooLarge              // the message is larger than the stream or the server accepts
	Missing               // there is no such message
	Gone                  // there is no such stream or consumer
	Conflict              // an expectation in the message's headers does not hold
	Refused               // the server refuses it, however often it is asked
)

// Finding is what an error proves.
type Finding struct {
	Proof Proof
	Again bool // the same request, under the same id, may get another answer
	Cause Cause
}

// codes are the error codes of the API and what they prove of a publish or a delete.
// An answer that a server gives before it proposes a change to the others is NotDone; an
// answer that it may give afterwards is Unknown.
var codes = map[jetstream.ErrorCode]Finding{
	10158: {Unknown, true, Busy},      // the id is being stored by an earlier publish, which may still fail
	10071: {NotDone, false, Conflict}, // wrong last sequence
	10164: {NotDone, true, Busy},      // another publish of the subject is in flight, or was: its answer comes a moment before that is forgotten
	10070: {NotDone, false, Conflict}, // wrong last message id
	10060: {NotDone, false, Conflict}, // another stream was expected
	10063: {NotDone, false, Conflict}, // another sequence was expected
	10163: {NotDone, true, Busy},      // an expectation cannot be judged while another publish of the subject is in flight
	10167: {NotDone, true, Busy},      // too many requests wait at the stream
	10054: {NotDone, false, TooLarge}, // beyond the stream's largest message
	10097: {NotDone, false, TooLarge}, // beyond 64 KiB of headers
	10023: {NotDone, false, Full},     // the server's storage or the stream's backlog is used up; asked before it proposes
	10002: {NotDone, false, Full},     // the account's
	10047: {NotDone, false, Full},     // the same, of a file store
	10028: {NotDone, false, Full},     // the same, of memory
	10109: {NotDone, false, Refused},  // the stream is sealed
	10166: {NotDone, false, Refused},  // messages with a life of their own are not allowed
	10165: {NotDone, false, Refused},  // such a life that is none
	10193: {NotDone, false, Refused},  // an expectation of a subject without one of its sequence
	10003: {NotDone, false, Refused},  // bad request
	10025: {NotDone, false, Refused},  // bad JSON
	10185: {NotDone, false, Refused},  // the server is too old for it
	10037: {NotDone, false, Missing},  // no message found
	10043: {NotDone, false, Missing},  // no such sequence, of a delete
	10059: {NotDone, false, Gone},     // no such stream
	10014: {NotDone, false, Gone},     // no such consumer
	10009: {Unknown, true, Away},      // a server that does not lead: what leads may have done it all the same, for
	10008: {Unknown, true, Away},      // each server of a cluster gets a request to the API, and the first answer is
	10007: {Unknown, true, Away},      // taken: of one that has just started, say, and knows no leader of the stream
	10118: {Unknown, true, Away},      // the stream is offline, at that server
	10194: {Unknown, true, Away},      // the same, with a reason
	10076: {Unknown, true, Away},      // JetStream is not enabled, or not yet, at that server
	10039: {NotDone, false, Refused},  // nor for this account
	10035: {NotDone, false, Refused},  // no such account
	10057: {Unknown, true, Other},     // a delete failed; see reasons
	10077: {Unknown, true, Other},     // the store failed; see reasons
}

// reasons are texts of two codes: for a failed store, why every replica refuses the message,
// and for a failed delete, that there was nothing to delete. JetStream uses the same code for
// faults after which the change may have been made, so only the text tells them apart.
var reasons = map[jetstream.ErrorCode]map[string]Finding{
	10077: {
		"maximum messages exceeded":             {NotDone, false, Full},
		"maximum bytes exceeded":                {NotDone, false, Full},
		"maximum messages per subject exceeded": {NotDone, false, Full},
		"message too large":                     {NotDone, false, TooLarge},
	},
	10057: {
		"no message found": {NotDone, false, Missing},
		"deleted message":  {NotDone, false, Missing},
		"stream store EOF": {NotDone, false, Missing},
	},
}

// clients are errors of nats.go. Those that it returns before it sends are NotDone.
var clients = []struct {
	err error
	Finding
}{
	{nats.ErrMaxPayload, Finding{NotDone, false, TooLarge}},
	{jetstream.ErrMsgNotFound, Finding{NotDone, false, Missing}},
	{nats.ErrNoResponders, Finding{NotDone, true, Away}},
	{jetstream.ErrNoStreamResponse, Finding{NotDone, true, Away}}, // nobody listens on the subject: no stream, or no leader
	{nats.ErrReconnectBufExceeded, Finding{NotDone, true, Away}},  // not connected, and nothing is kept for later
	{nats.ErrConnectionDraining, Finding{NotDone, false, Refused}},
	{nats.ErrBadSubject, Finding{NotDone, false, Refused}},
	{nats.ErrInvalidMsg, Finding{NotDone, false, Refused}},
	{nats.ErrHeadersNotSupported, Finding{NotDone, false, Refused}},
	{nats.ErrConnectionClosed, Finding{Unknown, false, Away}}, // before it was sent, or after
	{nats.ErrDisconnected, Finding{Unknown, true, Away}},
	{nats.ErrTimeout, Finding{Unknown, true, Away}},
	{context.DeadlineExceeded, Finding{Unknown, true, Away}},
	{context.Canceled, Finding{Unknown, false, Other}},
	{jetstream.ErrInvalidJSAck, Finding{Unknown, true, Other}}, // somebody else answered
}

// Of says what the answer to one request proves. It may be called concurrently.
func Of(err error) Finding {
	if err == nil {
		return Finding{Proof: Done}
	}
	var said *jetstream.APIError
	if errors.As(err, &said) {
		if f, ok := reasons[said.ErrorCode][said.Description]; ok {
			return f
		}
		return codes[said.ErrorCode]
	}
	for _, c := range clients {
		if errors.Is(err, c.err) {
			return c.Finding
		}
	}
	return Finding{Again: true}
}

// Attempts combines what the answers to several attempts at one change prove. The change must
// be safe to make more than once. Attempts belongs to one goroutine.
type Attempts struct{ unknown bool }

// Add adds the answer to one more attempt. If this attempt was not made, but an earlier one
// may have been, the proof is Unknown.
func (a *Attempts) Add(err error) Finding {
	f := Of(err)
	if f.Proof == NotDone && a.unknown {
		f.Proof = Unknown
	}
	a.unknown = a.unknown || f.Proof == Unknown
	return f
}

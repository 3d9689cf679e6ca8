/*
Package deadletter says which dead letters a node keeps with their messages, what users see of
them, and when one may be sent again. A dead letter is a one-way message that reached nobody.

Users of package actor need [Limits], for Config.DeadLetters, [Filter], for the verbs of a System,
and [Kept], which these return:

	for _, l := range sys.KeptLetters(deadletter.Filter{Actor: "billing"}) {
		err := sys.ResendLetter(ctx, l.ID, actor.Ref{})
		...
	}

A [Store] makes the decisions. It is for package actor, and has no lock and no clock.
*/
package deadletter

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Letter is a one-way message that reached nobody. A message whose sender got an error is none, as
// one that was sent with rpc.Acked.
type Letter struct {
	ID     string // under which it is kept with its message, see Kept; empty: it is not kept
	Time   time.Time
	To     string // address
	From   string // sender's address, or the node it came from; empty if unknown
	Type   string // Go type or wire name of the message
	Reason error  // an *rpc.Error
	Lost   uint64 // how many dead letters right before this one the subscriber has lost because it fell behind
}

// Limits says how many dead letters a system keeps with their messages. The oldest ones go first;
// the system's Stats count them. The letters of one principal of another node take at most a
// quarter of each.
type Limits struct {
	Letters int // default DefaultLetters; negative: none is kept
	Bytes   int // of all that are kept, see Kept.Size; default DefaultBytes; negative: none is kept
}

// Defaults and limits.
const (
	DefaultLetters = 1024
	DefaultBytes   = 4 << 20
	DefaultPage    = 100   // how many letters a list has if the filter says nothing
	MaxPage        = 1_000 // how many it has at most
)

// Kept is a dead letter with its message, which is kept until it is sent again, discarded, or
// pushed out by later ones. Its ID is unique in the node, also across restarts of it. The message
// must not be changed.
type Kept struct {
	Letter
	Size    int // bytes that count for it: 512, its texts and its message. Of a Go value it is an estimate
	State   State
	SentTo  string    // the address at which it may have arrived when it was sent again; empty if there is none
	Until   time.Time // if SentTo is set: until when it can be sent again there
	Message any       // the message of this node's own program and actors, as the actor would have got it; nil if it came from another node
	Encoded *Encoded
}

// Encoded is a message of another node as it came, perhaps of a type that this node does not know.
type Encoded struct {
	TypeID uint64
	Codec  uint8 // its id, as codec.IDMsgpack
	Body   []byte
}

// State says what became of a kept letter so far.
type State string

// The states of a kept letter.
const (
	Undelivered State = "undelivered" // it reached nobody
	Sending     State = "sending"     // somebody is sending it again
	Unclear     State = "unclear"     // nobody can tell whether it has arrived at SentTo
)

// String describes the letter, without its message, so that this does not get into a log.
func (k Kept) String() string {
	return fmt.Sprintf("dead letter %s of %v, %s, to %s from %q: %s, %d bytes, because of %v", k.ID, k.Time, k.State, k.To, k.From, k.Type, k.Size, k.Reason)
}

// LogValue implements slog.LogValuer. It leaves the message out, as String does.
func (k Kept) LogValue() slog.Value { return slog.StringValue(k.String()) }

// The errors that are about a letter that is to be sent again. Each is the cause of an *rpc.Error
// whose verdict is Unknown, because another attempt may have been accepted.
var (
	// ErrGone: no letter has this id. There never was one, or it has arrived meanwhile, or it was
	// discarded or pushed out.
	ErrGone = errors.New("deadletter: no such letter is kept")
	// ErrBusy: somebody else is sending it.
	ErrBusy = errors.New("deadletter: the letter is being sent")
	// ErrUnclear: it may have arrived at another address, or at an earlier start of the node, or
	// so long ago that its receiver would not recognise it. It would run twice.
	ErrUnclear = errors.New("deadletter: the letter may have arrived")
)

// Filter chooses among the kept letters. Its zero value lets all of them through, and each field
// that is set lets fewer through.
type Filter struct {
	ID    string    // this one only
	Actor string    // address of the receiver, as in Letter.To; the verbs of a System also take the name of an actor of its node
	Type  string    // as in Letter.Type
	Code  rpc.Code  // of Letter.Reason
	Since time.Time // not before
	Until time.Time // before

	NewestFirst bool   // the order; default oldest first
	After       string // only those that follow the letter of this ID in that order, whether it is still there or not
	Limit       int    // how many at most; 0 is DefaultPage for a list, and all for what is discarded
}

// matches reports whether a filter lets a letter through, whatever its ID and After are.
func (f Filter) matches(l *Letter) bool {
	return (f.Actor == "" || f.Actor == l.To) && (f.Type == "" || f.Type == l.Type) && (f.Code == 0 || f.Code == rpc.CodeOf(l.Reason)) &&
		(f.Since.IsZero() || !l.Time.Before(f.Since)) && (f.Until.IsZero() || l.Time.Before(f.Until))
}

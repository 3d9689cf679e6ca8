package state

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Limits of a record. A store may have further ones.
const (
	MaxOutcomes = 1 << 16  // outcomes
	MaxMessages = 1 << 16  // messages to be sent
	MaxHeaders  = 64       // headers of one message
	MaxText     = 1 << 10  // bytes of an outcome's caller, and of a message's target
	MaxHeader   = 8 << 10  // bytes of a header's key or value
	MaxRecord   = 64 << 20 // bytes of an encoded record
)

// Record is what one commit stores of an actor.
type Record struct {
	Token       uint64 // the fencing token of the holder that commits
	ID          ID     // of this commit; see Store.Commit
	TypeVersion uint32 // version of the type of the state; this package does not interpret it
	State       []byte // the state, encoded by its owner
	Outcomes    []Outcome
	Outbox      []Message
}

// Outcome is what a request led to, kept for the case that it is made again.
type Outcome struct {
	Caller  string    // who asked; for a key that the caller chose, a name of that key
	Counter uint64    // the caller's number of the request
	Expires time.Time // when it may be forgotten, for a key, to the millisecond; zero if acks decide
	Body    []byte    // the outcome; this package does not interpret it
}

// Verb is how a message of the outbox is sent.
type Verb uint8

// The verbs. Their numbers belong to the storage format and never change.
const (
	Tell    Verb = 1
	Push    Verb = 2
	Publish Verb = 3
	Submit  Verb = 4
	Remind  Verb = 5
	Forget  Verb = 6

	lastVerb = Forget
)

var verbNames = [...]string{"", "tell", "push", "publish", "submit", "remind", "forget"}

// String returns the verb in lower case.
func (v Verb) String() string {
	if v == 0 || v > lastVerb {
		return fmt.Sprintf("verb(%d)", uint8(v))
	}
	return verbNames[v]
}

// Header is a header of a message.
type Header struct{ Key, Value string }

// Message is an entry of the outbox: a message that leaves after its commit.
type Message struct {
	Index   uint32 // its place among the messages of the commit that added it
	Since   uint64 // Seq of that commit; 0 in the commit that adds it
	Verb    Verb
	To      string // address of an actor, or name of a topic or of a reminder
	Headers []Header
	Body    []byte
}

// Stored is what a store keeps under a key: a record, or the mark that it was deleted.
type Stored struct {
	Key     Key
	Before  Revision // the commit that it replaced; the Token is not stored
	Deleted bool     // only Token and ID of the record are set then
	Fresh   bool     // the ID was drawn by Next, so no earlier call has made this commit; not stored
	Record
}

// Next returns what a store keeps for a Commit, if it is allowed: the error wraps ErrInvalid if
// the key or the record is beyond the limits, and ErrFenced if the token is lower than that of
// after. The ID is drawn if it is zero. Next is for stores.
func Next(key Key, rec Record, after Revision) (Stored, error) {
	return next(Stored{Key: key, Before: after, Record: rec})
}

// NextDeleted is Next for a Delete.
func NextDeleted(key Key, token uint64, after Revision) (Stored, error) {
	return next(Stored{Key: key, Before: after, Deleted: true, Record: Record{Token: token}})
}

func next(s Stored) (Stored, error) {
	after := s.Before
	s.Before.Token = 0
	if s.ID == (ID{}) {
		s.ID, s.Fresh = NewID(), true
	}
	switch err := s.valid(); {
	case err != nil:
		return s, s.Err(ErrInvalid, Revision{}, err)
	case s.Token < after.Token:
		return s, s.Err(ErrFenced, after, fmt.Errorf("the token is %d", s.Token))
	}
	return s, nil
}

// Err returns the error of the Commit or Delete of s.
func (s *Stored) Err(kind error, found Revision, cause error) *Error {
	op := "commit"
	if s.Deleted {
		op = "delete"
	}
	return &Error{Op: op, Key: s.Key, Kind: kind, ID: s.ID, Found: found, Err: cause}
}

// Conflict returns the error of the Commit or Delete of s after which found is the last commit:
// ErrFenced or ErrConflict.
func (s *Stored) Conflict(found Revision) *Error {
	if found.Token > s.Token {
		return s.Err(ErrFenced, found, fmt.Errorf("the token is %d", s.Token))
	}
	return s.Err(ErrConflict, found, nil)
}

// Revision returns the revision of s if the store has given it the number seq.
func (s *Stored) Revision(seq uint64) Revision { return Revision{Seq: seq, Token: s.Token, ID: s.ID} }

// valid checks the limits.
func (s *Stored) valid() error {
	if err := s.Key.Valid(); err != nil {
		return err
	}
	if len(s.Outcomes) > MaxOutcomes || len(s.Outbox) > MaxMessages {
		return fmt.Errorf("%d outcomes and %d messages: want at most %d and %d", len(s.Outcomes), len(s.Outbox), MaxOutcomes, MaxMessages)
	}
	for i := range s.Outcomes {
		if err := s.Outcomes[i].Valid(); err != nil {
			return fmt.Errorf("outcome %d: %w", i, err)
		}
	}
	for i := range s.Outbox {
		if err := s.Outbox[i].Valid(); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	if n := s.Size(); n > MaxRecord {
		return fmt.Errorf("%d bytes: want at most %d", n, MaxRecord)
	}
	return nil
}

// Valid returns nil, or what is beyond the limits of this package.
func (o *Outcome) Valid() error {
	if len(o.Caller) > MaxText {
		return fmt.Errorf("a caller of %d bytes: want at most %d", len(o.Caller), MaxText)
	}
	if ms := o.Expires.UnixMilli(); !o.Expires.IsZero() && (ms <= 0 || ms > math.MaxInt64/int64(time.Millisecond)) {
		return fmt.Errorf("expires at %v: want a time from 1970 to 2262", o.Expires)
	}
	return nil
}

// Valid returns nil, or what is beyond the limits of this package.
func (m *Message) Valid() error {
	if m.Verb == 0 || m.Verb > lastVerb || len(m.To) > MaxText || len(m.Headers) > MaxHeaders {
		return fmt.Errorf("%v to %d bytes with %d headers: want a verb, and at most %d bytes and %d headers", m.Verb, len(m.To), len(m.Headers), MaxText, MaxHeaders)
	}
	for _, h := range m.Headers {
		if len(h.Key) > MaxHeader || len(h.Value) > MaxHeader {
			return fmt.Errorf("a header of %d bytes with a value of %d: want at most %d each", len(h.Key), len(h.Value), MaxHeader)
		}
	}
	return nil
}

// Clone returns a copy that shares no memory with r.
func (r Record) Clone() Record {
	r.State, r.Outcomes, r.Outbox = slices.Clone(r.State), slices.Clone(r.Outcomes), slices.Clone(r.Outbox)
	for i := range r.Outcomes {
		r.Outcomes[i].Body = slices.Clone(r.Outcomes[i].Body)
	}
	for i := range r.Outbox {
		m := &r.Outbox[i]
		m.Headers, m.Body = slices.Clone(m.Headers), slices.Clone(m.Body)
	}
	return r
}

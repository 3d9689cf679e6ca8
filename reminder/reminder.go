package reminder

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// Limits. What is beyond one of them is refused with ErrInvalid. A store may have further ones.
const (
	MaxName    = 255       // bytes of an actor's kind, of its id, and of a reminder's name
	MaxType    = 1 << 10   // bytes of a message's type
	MaxHeaders = 64        // headers of a message
	MaxHeader  = 8 << 10   // bytes of a header's key or value
	MaxSize    = 512 << 10 // bytes of a reminder as it is stored, with its message and MaxChanges changes
)

// Actor names a virtual actor: its kind and its id, each of 1 to MaxName bytes of any value.
type Actor struct{ Kind, ID string }

// String returns the actor as its address shows it: kind/id.
func (a Actor) String() string { return a.Kind + "/" + a.ID }

// Valid returns nil, or an error that wraps ErrInvalid.
func (a Actor) Valid() error {
	if !named(a.Kind) || !named(a.ID) {
		return fmt.Errorf("%w: the kind %.300q and the id %.300q must have 1 to %d bytes each", ErrInvalid, a.Kind, a.ID, MaxName)
	}
	return nil
}

func named(s string) bool { return s != "" && len(s) <= MaxName }

// Header is a header of a message.
type Header struct{ Key, Value string }

// Message is what a reminder sends. This package does not interpret it.
type Message struct {
	Type    string // the name of the type on the wire
	Codec   uint8  // id of the body's codec
	Headers []Header
	Body    []byte
}

// Reminder is a message that an actor is to get at certain times.
type Reminder struct {
	Actor   Actor
	Name    string // of 1 to MaxName bytes; an actor has one reminder of a name
	When    When
	Message Message
}

// Valid returns nil, or an error that wraps ErrInvalid.
func (r *Reminder) Valid() error {
	if err := r.Actor.Valid(); err != nil {
		return err
	}
	m := &r.Message
	switch {
	case !named(r.Name):
		return fmt.Errorf("%w: the name %.300q must have 1 to %d bytes", ErrInvalid, r.Name, MaxName)
	case m.Type == "" || len(m.Type) > MaxType:
		return fmt.Errorf("%w: a type of %d bytes: want 1 to %d", ErrInvalid, len(m.Type), MaxType)
	case len(m.Headers) > MaxHeaders:
		return fmt.Errorf("%w: %d headers: want at most %d", ErrInvalid, len(m.Headers), MaxHeaders)
	}
	for _, h := range m.Headers {
		if len(h.Key) > MaxHeader || len(h.Value) > MaxHeader {
			return fmt.Errorf("%w: a header of %d bytes with a value of %d: want at most %d each", ErrInvalid, len(h.Key), len(h.Value), MaxHeader)
		}
	}
	return r.When.Valid()
}

// Clone returns a copy that shares no memory with r.
func (r Reminder) Clone() Reminder {
	r.Message.Headers, r.Message.Body = slices.Clone(r.Message.Headers), slices.Clone(r.Message.Body)
	return r
}

// ID is the random name of one Set or Forget.
type ID [16]byte

// NewID returns a new ID.
func NewID() (id ID) {
	rand.Read(id[:])
	return id
}

// String returns the ID in hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%x", id[:]) }

// Key names one firing for good, however often it is handed out. Keys are compared with ==.
type Key struct {
	Actor      Actor
	Name       string
	Generation ID     // of the reminder: the ID of its Set
	Number     uint64 // of the firing, from 1
}

// String returns 64 hexadecimal digits, which no other Key has.
func (k Key) String() string {
	var b []byte
	for _, s := range [...]string{k.Actor.Kind, k.Actor.ID, k.Name} {
		b = text(b, s)
	}
	b = binary.BigEndian.AppendUint64(append(b, k.Generation[:]...), k.Number)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

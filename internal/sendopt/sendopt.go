// Package sendopt has the inside of rpc.Option: what an option of a send changes, and the
// settings that several of them amount to. An option is a small value, and to apply one
// allocates nothing.
package sendopt

import (
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// Settings are those of one send. Their zero value is the default. R is rpc.Retry.
type Settings[R any] struct {
	Acked      bool
	Idempotent bool
	Keyed      bool // Key was given, even if it is empty
	Key        string
	Road       bool          // it takes a road also within the node
	Behalf     string        // the principal that it is sent for; empty: the node's own
	Affinity   string        // empty: none
	Hedge      time.Duration // 0: no second copy
	LinkWait   time.Duration // 0: no bound
	KeepFor    time.Duration // 0: the system's
	Retry      *R            // nil: the system's
	Codec      codec.Codec   // nil: the system's
	Headers    []transport.Header
	Class      transport.Class // 0: the sender gives it none
	Once       transport.Once  // the request's name at whatever node it is tried; zero: it has none
	Wants      *Report         // not nil: the caller wants to learn how its request went
	Report     *Report         // not nil if the interceptors have let the message pass: learns how its request to another node went
}

// Report says how a request to another node went. It is filled in before the request ends.
type Report struct {
	Attempts int  // that have ended
	Replayed bool // the outcome is a recorded one

	Trail *Trail // not nil: it is filled in, too. The caller sets it
}

// IsAcked reports whether the settings, which may be nil, ask for an acked one-way message.
func (s *Settings[R]) IsAcked() bool { return s != nil && s.Acked }

// ByRoad reports whether a request with the settings, which may be nil, takes a road also to an actor of its own
// node, because it must come there as it would from elsewhere.
func (s *Settings[R]) ByRoad() bool { return s != nil && (s.Keyed || s.Road || s.Behalf != "") }

// IsKeyed reports whether the settings, which may be nil, have a key.
func (s *Settings[R]) IsKeyed() bool { return s != nil && s.Keyed }

// Clone returns a copy that may be kept; nil for nil.
func (s *Settings[R]) Clone() *Settings[R] {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}

// Which names a setting.
type Which uint8

// The settings.
const (
	_ Which = iota // of the zero Option, which changes nothing
	Acked
	Retry
	Idempotent
	Hedge
	Key
	Affinity
	LinkWait
	Codec
	Header
	KeepFor
	Behalf
	Reported
	Road
	Class
)

// Change is the new value of a setting, in the field for its type.
type Change[R any] struct {
	Which Which
	Time  time.Duration
	Text  string // of a header: its key
	Value string // of a header
	Retry *R
	Codec codec.Codec
	To    *Report
	Class transport.Class
}

// Option is a Change that can only be applied.
type Option[R any] struct{ change Change[R] }

// New returns the option of a change.
func New[R any](c Change[R]) Option[R] { return Option[R]{c} }

// Apply makes the change in s.
func (o *Option[R]) Apply(s *Settings[R]) {
	switch c := &o.change; c.Which {
	case Acked:
		s.Acked = true
	case Retry:
		s.Retry = c.Retry
	case Idempotent:
		s.Idempotent = true
	case Hedge:
		s.Hedge = c.Time
	case Key:
		s.Key, s.Keyed = c.Text, true
	case Behalf:
		s.Behalf = c.Text
	case Road:
		s.Road = true
	case Reported:
		s.Wants = c.To
	case Affinity:
		s.Affinity = c.Text
	case LinkWait:
		s.LinkWait = c.Time
	case KeepFor:
		s.KeepFor = c.Time
	case Class:
		s.Class = c.Class
	case Codec:
		s.Codec = c.Codec
	case Header:
		s.Headers = append(s.Headers, transport.Header{Key: c.Text, Value: c.Value})
	}
}

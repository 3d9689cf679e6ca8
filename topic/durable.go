package topic

import (
	"fmt"
	"time"
)

// DefaultAttempts is the default of Attempts.
const DefaultAttempts = 10

// Named gives a subscription to a durable topic a name, under which the store keeps its
// position: how far the messages were handled. A later subscription of that name, pattern and type of
// messages goes on there. Several subscriptions may have one name at a time, on any nodes: each message
// goes to one of them, and in order all the same, because no message is delivered before the one
// before it is done. The name has the form of the name of a Group.
func Named(name string) Option {
	return func(s *Settings) {
		s.Name = name
		if name == "" {
			s.Name = "." // invalid: an empty Name means none
		}
	}
}

// FromStart has a subscription to a durable topic begin with the oldest message that is kept.
// Otherwise it begins with what is published from now on. For a name that has a position, where to
// begin is not asked.
func FromStart() Option { return func(s *Settings) { s.From = From{Start: true} } }

// FromTime is FromStart for the messages that were stored at t or later.
func FromTime(t time.Time) Option {
	return func(s *Settings) { s.From, s.noTime = From{Time: t}, t.IsZero() }
}

// Attempts is how often a message of a durable topic is handed to a subscriber whose handler returns
// an error or panics, before it becomes a dead letter. Default DefaultAttempts.
func Attempts(n int) Option {
	return func(s *Settings) {
		if s.Attempts = n; n < 1 {
			s.Attempts = -1
		}
	}
}

// durableFlaw says what is wrong with the settings of a subscription to a durable topic.
func (s *Settings) durableFlaw() error {
	switch {
	case s.noTime:
		return fmt.Errorf("%w: FromTime(0)", ErrOption)
	case s.Attempts < 0:
		return fmt.Errorf("%w: Attempts below 1", ErrOption)
	case s.Name == "":
		return nil
	}
	return ValidGroup(s.Name)
}

// IsDurable reports whether an option is set that only durable topics have.
func (s *Settings) IsDurable() bool {
	return s.Name != "" || s.From != From{} || s.Attempts != 0
}

// Bounds of Backoff.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
)

// Backoff is how long a message waits after attempt n at it has failed: 100 ms, and twice as
// long each time, up to 10 s.
func Backoff(n int) time.Duration {
	d := firstBackoff
	for ; n > 1 && d < lastBackoff; n-- {
		d *= 2
	}
	return min(d, lastBackoff)
}

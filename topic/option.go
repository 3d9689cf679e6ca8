package topic

import "fmt"

// Full says what becomes of a message that finds the mailbox of a subscriber full. A subscriber
// never makes a publisher wait.
type Full uint8

// What a full mailbox does.
const (
	DropNewest  Full = iota // the message is a dead letter: the default
	DropOldest              // the message gets in, and the one that has waited longest is handed back
	Unsubscribe             // the subscription ends, and the message is a dead letter
)

// String returns the policy's name.
func (f Full) String() string {
	switch f {
	case DropNewest:
		return "drop-newest"
	case DropOldest:
		return "drop-oldest"
	case Unsubscribe:
		return "unsubscribe"
	}
	return fmt.Sprintf("full(%d)", uint8(f))
}

// Settings are what the options of a subscription say.
type Settings struct {
	Group string // see Group
	Full  Full   // see WhenFull

	Name     string // see Named
	From     From   // see FromStart and FromTime
	Attempts int    // see Attempts; 0: the default
	noTime   bool   // FromTime got no time
}

// Option changes one subscription.
type Option func(*Settings)

// Group makes the subscriber a member of a group. Of all members of a group, on all nodes, whose
// patterns match, one gets each message. The name has no dots, and otherwise the form of a topic's name.
func Group(name string) Option {
	return func(s *Settings) {
		s.Group = name
		if name == "" {
			s.Group = "." // invalid: an empty Group means none
		}
	}
}

// WhenFull says what becomes of a message that finds the subscriber's mailbox full, whatever the
// mailbox's own policy is.
func WhenFull(f Full) Option { return func(s *Settings) { s.Full = f } }

// Settle applies options. The error wraps ErrOption.
func Settle(opts ...Option) (Settings, error) {
	var s Settings
	for _, o := range opts {
		o(&s)
	}
	if s.Full > Unsubscribe {
		return s, fmt.Errorf("%w: WhenFull(%d)", ErrOption, uint8(s.Full))
	}
	if err := s.durableFlaw(); err != nil || s.Group == "" {
		return s, err
	}
	return s, ValidGroup(s.Group)
}

// ValidGroup returns nil if s can be the name of a group, else an error that wraps ErrOption.
func ValidGroup(s string) error {
	why := flaw(s, false)
	for i := range len(s) {
		if s[i] == '.' {
			why = "it has a dot"
		}
	}
	if why != "" {
		return fmt.Errorf("%w: group %.300q: %s", ErrOption, s, why)
	}
	return nil
}

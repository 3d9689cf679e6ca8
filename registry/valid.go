package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a record.
const (
	MaxName   = 128       // bytes of a node's name or epoch, of a version, a zone, and a text of a Proof
	MaxWeight = 1_000_000 // of a node
	MaxWho    = 512       // bytes of a principal
	MaxRecord = 64 << 10  // bytes of an encoded record
	MaxLast   = 256 << 10 // bytes of a last word, see Registry.Deregister
	MaxTopic  = 255       // bytes of a pattern, and of the name of a group
	MaxTopics = 32 << 10  // of all entries of Topics, by TopicSize
	MaxKind   = 255       // bytes of the name of a kind
	MaxKinds  = 8 << 10   // of all entries of Kinds, by KindSize
)

// Valid returns nil if n can be registered, else an error that wraps ErrInvalid. Name and
// Epoch must have 1 to MaxName bytes of letters, digits, '-' and '_', so that they can be a
// token of a NATS subject and a key of a bucket. Version, Zone and the texts of Proof may
// have up to MaxName bytes of text, Principal up to MaxWho, and Weight may be 0 to
// MaxWeight. Patterns and groups in Topics have up to MaxTopic bytes of text, and all together
// have a TopicSize of at most MaxTopics. Kinds have 1 to MaxKind bytes of text and versions up to
// MaxName, and all together have a KindSize of at most MaxKinds.
func (n Node) Valid() error {
	if err := valid("node name", n.Name); err != nil {
		return err
	}
	if err := valid("epoch", n.Epoch); err != nil {
		return err
	}
	if err := text("version", n.Version); err != nil {
		return err
	}
	if err := text("zone", n.Zone); err != nil {
		return err
	}
	if err := textUpTo(MaxWho, "principal", n.Principal); err != nil {
		return err
	}
	if n.Weight < 0 || n.Weight > MaxWeight {
		return fmt.Errorf("%w: weight %d: want 0 to %d", ErrInvalid, n.Weight, MaxWeight)
	}
	if err := validTopics(n.Topics); err != nil {
		return err
	}
	if err := validKinds(n.Kinds); err != nil {
		return err
	}
	if n.Proof == nil {
		return nil
	}
	if n.Proof.PID < 1 {
		return fmt.Errorf("%w: proof of process %d", ErrInvalid, n.Proof.PID)
	}
	if err := text("boot", n.Proof.Boot); err != nil {
		return err
	}
	return text("namespace", n.Proof.Namespace)
}

// TopicSize is how much of MaxTopics a pattern with its groups takes up. It is at least the bytes
// that they have in JSON.
func TopicSize(pattern string, groups ...string) int {
	size := inJSON(pattern) + len(`"":[],`)
	for _, g := range groups {
		size += inJSON(g) + len(`"",`)
	}
	return size
}

// KindSize is how much of MaxKinds a kind with its version takes up. It is at least the bytes that
// they have in JSON.
func KindSize(kind, version string) int { return inJSON(kind) + inJSON(version) + len(`"":"",`) }

// inJSON is the most bytes that a text can have in JSON, without quotes.
func inJSON(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == '*':
		default:
			n += len(`\u0000`) - 1
		}
	}
	return n
}

func validTopics(topics map[string][]string) error {
	size := 0
	for pattern, groups := range topics {
		if pattern == "" || len(groups) == 0 {
			return fmt.Errorf("%w: topics %q of %d groups", ErrInvalid, pattern, len(groups))
		}
		for _, s := range append([]string{pattern}, groups...) {
			if err := textUpTo(MaxTopic, "topics", s); err != nil {
				return err
			}
		}
		size += TopicSize(pattern, groups...)
	}
	if size > MaxTopics {
		return fmt.Errorf("%w: topics of size %d: want at most %d", ErrInvalid, size, MaxTopics)
	}
	return nil
}

func validKinds(kinds map[string]string) error {
	size := 0
	for kind, version := range kinds {
		if kind == "" {
			return fmt.Errorf("%w: a kind without a name", ErrInvalid)
		}
		if err := textUpTo(MaxKind, "kind", kind); err != nil {
			return err
		}
		if err := text("version of a kind", version); err != nil {
			return err
		}
		size += KindSize(kind, version)
	}
	if size > MaxKinds {
		return fmt.Errorf("%w: kinds of size %d: want at most %d", ErrInvalid, size, MaxKinds)
	}
	return nil
}

// text checks a value that is shown to people and compared as a whole.
func text(what, s string) error { return textUpTo(MaxName, what, s) }

func textUpTo(most int, what, s string) error {
	if len(s) > most {
		return fmt.Errorf("%w: %s of %d bytes: want at most %d", ErrInvalid, what, len(s), most)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%w: %s %q is not plain text", ErrInvalid, what, s)
	}
	return nil
}

func valid(what, s string) error {
	if s == "" || len(s) > MaxName {
		return fmt.Errorf("%w: %s %q: want 1 to %d bytes", ErrInvalid, what, s, MaxName)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return fmt.Errorf("%w: %s %q: byte %q is none of letters, digits, '-' and '_'", ErrInvalid, what, s, c)
		}
	}
	return nil
}

// Equal reports whether n and o are the same record. An empty map and none are alike.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.Epoch == o.Epoch &&
		n.Version == o.Version && n.Zone == o.Zone && n.Weight == o.Weight && n.Principal == o.Principal &&
		(n.Proof == nil) == (o.Proof == nil) && (n.Proof == nil || *n.Proof == *o.Proof) &&
		maps.Equal(n.Addrs, o.Addrs) && maps.Equal(n.Kinds, o.Kinds) &&
		maps.EqualFunc(n.Services, o.Services, slices.Equal) &&
		maps.EqualFunc(n.Topics, o.Topics, slices.Equal)
}

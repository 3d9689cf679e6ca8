package registry

import (
	"fmt"
	"maps"
	"slices"
)

// MaxName is the most bytes of a node's name or epoch.
const MaxName = 128

// Valid returns nil if n can be registered: its name and its epoch are 1 to
// MaxName bytes of letters, digits, '-' and '_', and so a single token of a NATS
// subject and a key of a bucket.
func (n Node) Valid() error {
	if err := valid("node name", n.Name); err != nil {
		return err
	}
	return valid("epoch", n.Epoch)
}

func valid(what, s string) error {
	if s == "" || len(s) > MaxName {
		return fmt.Errorf("registry: %s %q: want 1 to %d bytes", what, s, MaxName)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return fmt.Errorf("registry: %s %q: byte %q is none of letters, digits, '-' and '_'", what, s, c)
		}
	}
	return nil
}

// Equal reports whether n and o are the same record. An empty map and none are alike.
func (n Node) Equal(o Node) bool {
	return n.Name == o.Name && n.Epoch == o.Epoch &&
		maps.Equal(n.Addrs, o.Addrs) &&
		maps.EqualFunc(n.Services, o.Services, slices.Equal)
}

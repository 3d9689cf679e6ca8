package server

import (
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// Different principals, actors and keys have different names, whatever bytes are in them.
func TestNamesDoNotCollide(t *testing.T) {
	type parts struct{ a, b, c string }
	all := []parts{{"a", "b", "c"}, {"a\x00b", "c", ""}, {"a", "b\x00c", ""}, {"a", "", "b\x00c"}, {"", "a\x00b", "c"}, {"a\x00", "b", "c"}, {"a", "\x00b", "c"}, {"a", "b\x00", "c"}, {"a", "b", "\x00c"}}
	keys, owners := make(map[[16]byte]parts), make(map[string]parts)
	for _, p := range all {
		id := keyID(p.a, p.b, p.c)
		if other, taken := keys[id]; taken {
			t.Errorf("%q and %q are one key", p, other)
		}
		keys[id] = p
	}
	for _, p := range []parts{{"a", "n", "e"}, {"a\x00n", "e", "e"}, {"a\x00n\x00e", "n", "e"}, {"a", "n-e", "e"}, {"n\x00e\x00a", "n", "e"}, {"\x00a", "n", "e"}} {
		name := ownerName(transport.Peer{Node: p.b, Epoch: p.c}, p.a)
		if other, taken := owners[name]; taken {
			t.Errorf("%q and %q are one owner", p, other)
		}
		owners[name] = p
	}
}

//go:build !race

package sim

import (
	"strings"
	"testing"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// siegeMutations remove a protection, or make the books wrong. The judge must find every one of
// them.
var siegeMutations = []struct {
	name  string
	cheat siegeCheat
	found string // in what is reported
}{
	{"whoever says that it is a node is it", siegeCheat{config: func(c *actor.Config) {
		c.Principals = func(_ string, p transport.Peer) string { return rpc.NodePrincipal(p.Node) }
	}}, "which says that it is"},

	{"all principals are one", siegeCheat{config: func(c *actor.Config) {
		c.Principals = func(string, transport.Peer) string { return rpc.NodePrincipal("ann") }
		c.Principal = rpc.NodePrincipal("ann")
	}}, "has run 2 times"},

	{"everybody may everything", siegeCheat{config: func(c *actor.Config) { c.Access = access.Rules{} }}, "vault has served"},

	{"everybody may take from a closed queue", siegeCheat{config: func(c *actor.Config) {
		c.Access.List = []access.Rule{{Effect: access.Allow, Actors: []string{"line"}}, c.Access.List[0], c.Access.List[1], c.Access.List[2]}
	}}, "a queue that is closed to it"},

	{"replies go to others as well", siegeCheat{tamper: func(w *siege) func(*earLink, *transport.Envelope) (uint64, error) {
		return func(l *earLink, e *transport.Envelope) (uint64, error) {
			if e.Verb == transport.VerbReply && !isHonest(rpc.PrincipalOf(l.Road(), l.Peer())) {
				if other := w.known.answer(); other.Verb != 0 {
					_, _ = l.Link.Send(&other)
				}
			}
			return l.Link.Send(e)
		}
	}}, "with what belongs to"},

	{"a copy gets a number of its own", siegeCheat{tamper: func(*siege) func(*earLink, *transport.Envelope) (uint64, error) {
		return func(l *earLink, e *transport.Envelope) (uint64, error) {
			if e.Verb == transport.VerbRequest && e.Key == "" {
				copied := *e
				copied.Seq += 100
				_, _ = l.Link.Send(&copied)
			}
			return l.Link.Send(e)
		}
	}}, "has run 2 times"},

	{"no request is ever acked", siegeCheat{tamper: func(*siege) func(*earLink, *transport.Envelope) (uint64, error) {
		return func(l *earLink, e *transport.Envelope) (uint64, error) {
			if e.Verb == transport.VerbAck {
				return 0, nil
			}
			kept := *e
			kept.Mark = transport.Mark{}
			if e.Verb == transport.VerbOpened {
				kept.Mark = e.Mark
			}
			return l.Link.Send(&kept)
		}
	}}, "at rest"},

	{"answers are crossed", siegeCheat{books: "answers are crossed"}, "got the answer"},
	{"each runs twice", siegeCheat{books: "each runs twice"}, "has run 2 times"},
	{"the number of a run is another one's", siegeCheat{books: "the number of a run is another one's"}, "got the answer"},
}

// answer returns a reply with a result that was overheard.
func (k *knowledge) answer() transport.Envelope {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.seen {
		if e.Verb == transport.VerbReply && e.Code == 0 && e.TypeID == typeOf("Deal") {
			return e
		}
	}
	return transport.Envelope{}
}

// TestHostileMutations shows that the judge of TestHostilePeers can fail, and that a seed that
// has failed fails again.
func TestHostileMutations(t *testing.T) {
	const patience, again = 60, 2 // seeds; runs of the one that has failed
	for _, m := range oneIn(*planted, siegeMutations) {
		t.Run(m.name, func(t *testing.T) {
			finds := func(seed uint64) string {
				for _, wrong := range besiege(t, seed, m.cheat).wrong {
					if strings.Contains(wrong, m.found) {
						return wrong
					}
				}
				return ""
			}
			for s := range uint64(patience) {
				wrong := finds(s + 1)
				if wrong == "" {
					continue
				}
				replayed := 0
				for range again {
					if finds(s+1) != "" {
						replayed++
					}
				}
				t.Logf("found by seed %d, and again in %d of %d runs: %s", s+1, replayed, again, wrong)
				if replayed == 0 {
					t.Errorf("seed %d does not fail again", s+1)
				}
				return
			}
			t.Errorf("not found by %d seeds", patience)
		})
	}
}

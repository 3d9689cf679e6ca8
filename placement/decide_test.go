package placement

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	self := Self{Node: "n", Epoch: "n2", Attempt: "mine", Certain: true}
	doubt := self
	doubt.Certain = false
	mine, other := Held{Claim{"n", "n2", "mine"}, 7}, Held{Claim{"m", "m1", "x"}, 7}
	for _, c := range []struct {
		name  string
		self  Self
		found Held
		sight Sight
		want  Step
	}{
		{"nobody holds it", self, Held{}, Unseen, Create},
		{"this attempt's", self, mine, Unseen, Serve},
		{"another attempt's", self, Held{Claim{"n", "n2", "other"}, 7}, Alive, Replace},
		{"an earlier start's", self, Held{Claim{"n", "n1", "x"}, 7}, Unseen, Replace},
		{"an earlier start's, in a fixed list", self, Held{Claim{"n", "n1", "x"}, 7}, Alive, Replace},
		{"a live node's", self, other, Alive, Moved},
		{"a dead epoch's", self, other, Gone, Replace},
		{"an unknown epoch's", self, other, Unseen, Confirm},
		{"the attempt's ID, of another node", self, Held{Claim{"m", "m1", "mine"}, 7}, Unseen, Confirm},
		{"nobody holds it, and the lease is in doubt", doubt, Held{}, Unseen, Refuse},
		{"this attempt's, and the lease is in doubt", doubt, mine, Alive, Refuse},
		{"a dead epoch's, and the lease is in doubt", doubt, other, Gone, Refuse},
	} {
		if got := Decide(c.self, c.found, c.sight); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestLook(t *testing.T) {
	c := Claim{"m", "m1", "x"}
	for _, r := range []struct {
		epoch        string
		there, fresh bool
		want         Sight
	}{
		{"m1", true, false, Alive}, {"m1", true, true, Alive},
		{"", true, false, Alive}, {"", true, true, Alive}, // a fixed list
		{"m2", true, false, Unseen}, {"m2", true, true, Gone},
		{"", false, false, Unseen}, {"", false, true, Gone},
	} {
		if got := Look(c, r.epoch, r.there, r.fresh); got != r.want {
			t.Errorf("%+v: %v", r, got)
		}
	}
}

func TestAfter(t *testing.T) {
	for err, want := range map[error]Next{
		nil: Hold, ErrConflict: ReadAgain, ErrUnknown: ReadAgain, ErrUnavailable: Later,
		ErrLost: Fail, ErrInvalid: Fail, ErrFormat: Fail, errors.New("other"): ReadAgain,
	} {
		if err != nil {
			err = &Error{Op: "create", Kind: err, Err: errors.New("why")}
		}
		if got := After(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func TestSettle(t *testing.T) {
	c, other := Claim{"n", "e", "i"}, Claim{"n", "e", "j"}
	for _, r := range []struct {
		before Token
		found  Held
		want   Fate
	}{
		{0, Held{}, Open}, {0, Held{c, 4}, Made}, {3, Held{c, 4}, Made},
		{3, Held{other, 3}, Open}, {3, Held{other, 2}, Open}, {3, Held{}, Open},
		{3, Held{other, 4}, Refused}, {0, Held{other, 1}, Refused},
		{3, Held{Token: 5}, Refused}, {5, Held{Token: 5}, Open}, // a mark
	} {
		if got := Settle(c, r.before, r.found); got != r.want {
			t.Errorf("after %d, found %+v: %v", r.before, r.found, got)
		}
	}
}

func TestStrings(t *testing.T) {
	got := fmt.Sprint(Unseen, Gone, Sight(9), Refuse, Replace, Step(9), Hold, Fail, Next(9), Open, Refused, Fate(9), Key{"k", "i"})
	if want := "unseen gone ? refuse replace ? hold fail ? open refused ? k/i"; got != want {
		t.Errorf("got %q", got)
	}
}

// nodeModel is one node: its own lease as it knows it, and an activation under way.
type nodeModel struct {
	self    Self
	start   int    // which start of the node this is
	serving Token  // of the activation that serves; 0: none
	doing   string // "", "read", "look", "write"
	found   Held
	sight   Sight
}

// clusterModel has several nodes, one key, the claims and the registry. The model of the promise:
// every step of each node happens at once, in any order with those of others; leases end at any
// time, but a node knows before (that is what Certain promises).
type clusterModel struct {
	nodes    []*nodeModel
	registry map[string]string // node → epoch
	cached   map[string]string // what all nodes have in their caches: the registry as it was at some time
	held     Held
	last     Token
	flight   []func() // writes whose sender has not waited for them
	ids      int
}

func (m *clusterModel) attempt(n *nodeModel) {
	m.ids++
	n.self.Attempt = fmt.Sprint("a", m.ids)
}

// write makes a claim if the key's claim is the one under before.
func (m *clusterModel) write(c Claim, before Token) error {
	switch {
	case m.held.Claim == c:
		return nil
	case m.held.Token != before:
		return &Error{Op: "write", Kind: ErrConflict}
	}
	m.last++
	m.held = Held{c, m.last}
	return nil
}

// step has a node do its next step.
func (m *clusterModel) step(t *rapid.T, n *nodeModel) {
	switch n.doing {
	case "":
		if n.serving != 0 || !n.self.Certain {
			return
		}
		m.attempt(n)
		n.doing = "read"
	case "read":
		n.found, n.sight = m.held, Unseen
		n.doing = "decide"
	case "look":
		fresh, from := rapid.Bool().Draw(t, "from where it is kept"), m.cached
		if fresh {
			from = m.registry
		}
		epoch, there := from[n.found.Node]
		n.sight = Look(n.found.Claim, epoch, there, fresh)
		n.doing = "decide"
	case "decide":
		switch Decide(n.self, n.found, n.sight) {
		case Serve:
			n.serving, n.doing = n.found.Token, ""
		case Confirm:
			n.doing = "look"
		case Create, Replace:
			n.doing = "write"
		default:
			n.doing = ""
		}
	case "write":
		c, before := Claim{n.self.Node, n.self.Epoch, n.self.Attempt}, n.found.Token
		var err error
		switch rapid.SampledFrom([]string{"made", "made", "answer lost", "late", "lost"}).Draw(t, "the write is") {
		case "made":
			err = m.write(c, before)
		case "answer lost":
			_ = m.write(c, before)
			err = ErrUnknown
		case "late":
			m.flight = append(m.flight, func() { _ = m.write(c, before) })
			err = ErrUnknown
		case "lost":
			err = ErrUnavailable
		}
		switch After(err) {
		case Hold:
			n.doing = ""
			if n.self.Certain { // else it refuses; the claim stays
				n.serving = m.held.Token
			}
		case ReadAgain:
			n.doing = "read"
		default:
			n.doing = ""
		}
	}
}

// doubt is a node that is not certain of its lease any more: it stops serving, and what it was
// doing is of no use.
func (n *nodeModel) doubt() {
	n.self.Certain, n.serving = false, 0
}

// At most one node serves a key, and tokens of activations grow, whatever the order of the steps.
func TestOneServes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &clusterModel{registry: map[string]string{}}
		nodes := rapid.IntRange(2, 3).Draw(t, "nodes")
		for i := range nodes {
			n := &nodeModel{self: Self{Node: fmt.Sprint("n", i)}}
			m.nodes = append(m.nodes, n)
		}
		highest := Token(0)
		for range rapid.SampledFrom([]int{100, 1000, 4000}).Draw(t, "steps") {
			n := m.nodes[rapid.IntRange(0, nodes-1).Draw(t, "node")]
			was := n.serving
			switch rapid.SampledFrom(append(slices.Repeat([]string{"step"}, 40), "lease", "release", "late", "doubt", "expire", "restart", "cache")).Draw(t, "do") {
			case "step":
				m.step(t, n)
			case "lease": // it renews, or registers again, as the same epoch
				if e, there := m.registry[n.self.Node]; n.start > 0 && (!there || e == n.self.Epoch) {
					m.registry[n.self.Node], n.self.Certain = n.self.Epoch, true
				}
			case "release":
				if n.serving != 0 && m.held.Token == n.serving {
					m.held = Held{}
				}
				n.serving = 0
			case "late":
				if len(m.flight) > 0 {
					m.flight[0]()
					m.flight = m.flight[1:]
				}
			case "doubt":
				n.doubt()
			case "cache":
				m.cached = maps.Clone(m.registry)
			case "expire": // not before the node is in doubt
				if !n.self.Certain {
					delete(m.registry, n.self.Node)
				}
			case "restart": // the earlier start is dead, or its lease has ended
				n.doubt()
				n.start++
				n.doing, n.self.Epoch = "", fmt.Sprint(n.self.Node, "-", n.start)
				m.registry[n.self.Node], n.self.Certain = n.self.Epoch, true
			}
			if n.serving != was && n.serving != 0 {
				if n.serving <= highest {
					t.Fatalf("an activation under %d, after one under %d", n.serving, highest)
				}
				highest = n.serving
			}
			serve := 0
			for _, n := range m.nodes {
				if n.serving != 0 {
					serve++
				}
				if n.serving != 0 && !n.self.Certain {
					t.Fatalf("%s serves, and is not certain of its lease", n.self.Node)
				}
			}
			if serve > 1 {
				t.Fatalf("%d nodes serve", serve)
			}
		}
	})
}

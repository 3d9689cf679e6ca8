package placement

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func hosts(n int) []Host {
	var all []Host
	for i := range n {
		all = append(all, Host{Node: fmt.Sprint("node-", i)})
	}
	return all
}

func actorKey(i int) Key { return Key{"bank.account", fmt.Sprint("a", i)} }

// Which nodes may be chosen, and which are left out.
func TestChooseRules(t *testing.T) {
	all := []Host{{Node: "a", Version: "1"}, {Node: "b", Version: "2"}, {Node: "c", Version: "2", Draining: true}, {Node: "b", Version: "1"}}
	for _, c := range []struct {
		name, version string
		all           []Host
		without, want []string
	}{
		{"no hosts", "", nil, nil, nil},
		{"any version", "", all, nil, []string{"a", "b"}},
		{"one version", "2", all, nil, []string{"b"}},
		{"the first entry of a node that fits", "1", all, nil, []string{"a", "b"}},
		{"a version that nobody has", "3", all, nil, nil},
		{"all draining", "", all[2:3], nil, nil},
		{"one left out", "", all, []string{"a"}, []string{"b"}},
		{"all left out", "", all, []string{"a", "b"}, nil},
		{"one left out, with weights", "", []Host{{Node: "a", Weight: 5}, {Node: "b"}}, []string{"a"}, []string{"b"}},
		{"all left out, with weights", "", []Host{{Node: "a", Weight: 5}, {Node: "b"}}, []string{"b", "a"}, nil},
	} {
		h, got := NewHosts(c.version, c.all), map[string]bool{}
		for i := range 200 {
			node, ok := h.Choose(actorKey(i), c.without...)
			if ok != (len(c.want) > 0) || ok && !slices.Contains(c.want, node) {
				t.Fatalf("%s: %q, %v", c.name, node, ok)
			}
			got[node] = true
		}
		if len(c.want) > 0 && len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Shares are in proportion to the weights, within four standard deviations.
func TestChooseShares(t *testing.T) {
	const keys = 40_000
	for _, weights := range [][]int{{1, 1, 1}, {0, 1}, {1, 2, 3}, {1, 100}, {5, 5, 5, 5, 5, 5, 5}} {
		var all []Host
		sum := 0
		for i, w := range weights {
			all = append(all, Host{Node: fmt.Sprint("node-", i), Weight: w})
			sum += max(w, 1)
		}
		h, got := NewHosts("", all), map[string]int{}
		for i := range keys {
			node, _ := h.Choose(actorKey(i))
			got[node]++
		}
		for i, w := range weights {
			p := float64(max(w, 1)) / float64(sum)
			if off := math.Abs(float64(got[all[i].Node]) - p*keys); off > 4*math.Sqrt(keys*p*(1-p)) {
				t.Errorf("weights %v: node %d has %d of %d", weights, i, got[all[i].Node], keys)
			}
		}
	}
}

// A node that joins takes over 1/n of the keys, and no other key moves; a node that goes gives up
// its own. The order of the hosts does not matter.
func TestChooseIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "nodes")
		all := hosts(n + 1)
		weighted := rapid.Bool().Draw(t, "weighted")
		for i := range all {
			if weighted {
				all[i].Weight = rapid.IntRange(1, 4).Draw(t, "weight")
			}
		}
		before, after := NewHosts("", all[:n]), NewHosts("", rapid.Permutation(all).Draw(t, "order"))
		moved, share := 0, float64(max(all[n].Weight, 1))
		sum := 0.0
		for _, h := range all {
			sum += float64(max(h.Weight, 1))
		}
		const keys = 2000
		for i := range keys {
			old, _ := before.Choose(actorKey(i))
			now, _ := after.Choose(actorKey(i))
			left, _ := after.Choose(actorKey(i), all[n].Node)
			if now != old && now != all[n].Node || left != old {
				t.Fatalf("key %d moved from %s to %s; without the new node it is at %s", i, old, now, left)
			}
			if now != old {
				moved++
			}
		}
		p := share / sum
		if off := math.Abs(float64(moved) - p*keys); off > 6*math.Sqrt(keys*p*(1-p)) {
			t.Fatalf("%d of %d keys moved, the share is %v", moved, keys, p)
		}
	})
}

// The choice is the same in every process, and in later versions: these were computed once.
func TestChooseGolden(t *testing.T) {
	equal, weighted := NewHosts("", hosts(5)), NewHosts("", append(hosts(4), Host{Node: "node-4", Weight: 3}))
	got := ""
	for i := range 12 {
		a, _ := equal.Choose(actorKey(i))
		b, _ := weighted.Choose(actorKey(i))
		got += a[5:] + b[5:] + " "
	}
	if want := "11 44 00 22 00 00 04 22 00 24 00 00 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{3, 200, 1000} {
		for _, weight := range []int{1, 2} {
			b.Run(fmt.Sprintf("nodes=%d/heaviest=%d", n, weight), func(b *testing.B) {
				all := hosts(n)
				all[0].Weight = weight
				h, key := NewHosts("", all), actorKey(7)
				b.ReportAllocs()
				for b.Loop() {
					h.Choose(key)
				}
			})
		}
	}
}

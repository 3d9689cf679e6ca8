package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// versions returns a Picker of n instances of each version, on nodes v1-0, v1-1, v2-0, ...
func versions(policy Policy, n int, names ...string) *Picker {
	p := New(policy)
	var all []Instance
	for _, v := range names {
		for i := range n {
			all = append(all, Instance{Node: fmt.Sprint(v, "-", i), Actor: "x", Version: v, Zone: fmt.Sprint("z", i)})
		}
	}
	p.Set(0, all)
	return p
}

// weights makes a plan of versions by weight: "v1:95 v2:5".
func weights(text string) *Plan {
	var shares []Share
	for part := range strings.FieldsSeq(text) {
		var w int
		name, weight, _ := strings.Cut(part, ":")
		fmt.Sscan(weight, &w)
		shares = append(shares, Share{Name: name, Weight: w, Match: func(v string) bool { return v == name }})
	}
	return NewPlan(nil, nil, shares...)
}

// take chooses an instance and ends the request at once.
func take(t *testing.T, p *Picker, r Request) *Candidate {
	t.Helper()
	ticket, ok := p.Pick(0, r)
	if !ok {
		t.Fatal("no instance")
	}
	p.End(ticket, time.Millisecond, Given, 0)
	return ticket.To
}

// hits counts n choices by version.
func hits(t *testing.T, p *Picker, plan *Plan, r *rand.Rand, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		got[take(t, p, Request{Plan: plan, Random: r.Uint64()}).Version]++
	}
	return got
}

// Each version gets its share, whatever the policy and however many instances it has: within four
// standard deviations of 20,000 draws, which are seeded.
func TestShares(t *testing.T) {
	const n = 20_000
	for _, policy := range []Policy{LeastLoaded(), RoundRobin(), Random(), Weighted(), ByKey(func(any) string { return "" })} {
		p := versions(policy, 3, "v1", "v2", "v3", "v4")
		r := rand.New(rand.NewPCG(1, 2))
		got := hits(t, p, weights("v1:90 v2:5 v3:5 v4:0"), r, n)
		for v, share := range map[string]float64{"v1": .9, "v2": .05, "v3": .05, "v4": 0} {
			if d := math.Abs(float64(got[v]) - n*share); d > 4*math.Sqrt(n*share*(1-share)) {
				t.Errorf("%v: %s got %d of %d, want %.0f", policy, v, got[v], n, n*share)
			}
		}
	}
}

// Within a version the service's policy chooses.
func TestPolicyWithinShare(t *testing.T) {
	p := versions(RoundRobin(), 4, "v1", "v2")
	r := rand.New(rand.NewPCG(3, 4))
	plan, got := weights("v1:1 v2:3"), map[string]int{}
	for range 4000 {
		got[take(t, p, Request{Plan: plan, Random: r.Uint64()}).Node]++
	}
	for _, v := range []string{"v1", "v2"} {
		for i := range 4 {
			if d := got[fmt.Sprint(v, "-", i)] - got[v+"-0"]; d < -1 || d > 1 {
				t.Errorf("not in turn: %v", got)
			}
		}
	}
}

// Weighted keeps its credits for each part, and when instances come and go.
func TestCreditsOfShares(t *testing.T) {
	p := New(Weighted())
	all := []Instance{{Node: "a", Weight: 1, Version: "v1"}, {Node: "b", Weight: 3, Version: "v1"}, {Node: "c", Weight: 5, Version: "v2"}}
	p.Set(0, all)
	plan, got := weights("v1:1"), map[string]int{}
	for i := range 400 {
		got[take(t, p, Request{Plan: plan}).Node]++
		p.Pick(0, Request{}) // among all of them
		if i%3 == 0 {
			p.Set(0, all)
		}
	}
	if got["a"] != 100 || got["b"] != 300 {
		t.Errorf("%v", got)
	}
}

// A key stays with one version. When the weight of one version rises from 5% to 10%, 5% of the
// keys move, all of them there.
func TestKeysOfShares(t *testing.T) {
	const n = 20_000
	p := versions(LeastLoaded(), 2, "v1", "v2", "v3")
	where := func(plan *Plan) (at []string) {
		for i := range n {
			at = append(at, take(t, p, Request{Plan: plan, Key: fmt.Sprint("key-", i), Random: rand.Uint64()}).Version)
		}
		return at
	}
	five, again, ten := where(weights("v1:95 v2:5")), where(weights("v2:5 v1:95")), where(weights("v1:90 v2:10"))
	moved, canary := 0, 0
	for i := range n {
		if five[i] != again[i] {
			t.Fatalf("key %d was at %s, then at %s", i, five[i], again[i])
		}
		if five[i] == "v2" {
			canary++
		}
		if five[i] != ten[i] {
			if moved++; ten[i] != "v2" {
				t.Fatalf("key %d moved from %s to %s", i, five[i], ten[i])
			}
		}
	}
	if canary < 850 || canary > 1150 || moved < 850 || moved > 1150 {
		t.Errorf("of %d keys %d were at v2, and %d moved; want 5%% of each", n, canary, moved)
	}
	three, more := where(weights("v1:60 v2:35 v3:5")), where(weights("v1:60 v2:35 v3:11"))
	for i := range n {
		if three[i] != more[i] && more[i] != "v3" {
			t.Fatalf("key %d moved from %s to %s, and only v3 got more", i, three[i], more[i])
		}
	}
}

// The share of a version without a usable instance goes to the others, in proportion. A probe
// brings it back. A version of weight 0 gets nothing, even if no other one is usable.
func TestShareWithoutInstance(t *testing.T) {
	p := versions(LeastLoaded(), 1, "v1", "v2", "v3", "v4", "v5")
	plan, r := weights("v1:60 v2:30 v3:10 v4:0"), rand.New(rand.NewPCG(5, 6))
	dead := p.All()[0]
	ticket, _ := p.Pick(0, Request{Plan: plan, Tried: p.All()[1:]})
	if ticket.To != dead {
		t.Fatalf("%s", ticket.To.Node)
	}
	p.End(ticket, 0, Missed, 0)
	if got := hits(t, p, plan, r, 8000); got["v1"] != 0 || got["v2"] < 5800 || got["v2"] > 6200 || got["v4"]+got["v5"] != 0 {
		t.Errorf("v1 is ejected: %v", got)
	}
	if !p.Untried(plan, p.All()[1:2]) || p.Untried(plan, p.All()[:3]) || !p.Untried(nil, p.All()[:3]) {
		t.Error("which ones are left to try")
	}
	if ticket, ok := p.Pick(0, Request{Plan: plan, Tried: p.All()[1:]}); !ok || ticket.To != dead {
		t.Errorf("the only one that was not tried is ejected: %v", ok)
	}
	if ticket, ok := p.Pick(0, Request{Plan: plan, Tried: p.All()[:3]}); ok {
		t.Errorf("%s has no weight", ticket.To.Node)
	}
	if ticket, ok := p.Pick(0, Request{Plan: weights("v2:1"), Tried: p.All()[1:2]}); ok {
		t.Errorf("%s is ejected and not in the plan", ticket.To.Node)
	}
	ticket, _ = p.Pick(time.Minute, Request{Plan: weights("v2:1"), Random: 7})
	if ticket.To == dead || ticket.Probe {
		t.Error("a probe left the plan")
	}
	ticket, _ = p.Pick(time.Minute, Request{Plan: plan, Random: 7})
	if ticket.To != dead || !ticket.Probe {
		t.Error("no probe after a minute")
	}
	p.End(ticket, time.Minute, Answered, 0)
	if got := hits(t, p, plan, r, 1000); got["v1"] < 540 || got["v1"] > 660 {
		t.Errorf("v1 is back: %v", got)
	}
}

// The instances of the preferred zone get everything as long as one of them is usable.
func TestPreferred(t *testing.T) {
	p := versions(LeastLoaded(), 2, "v1", "v2", "v3") // in z0 and z1
	plan := NewPlan(func(i Instance) bool { return i.Version != "v3" }, func(i Instance) bool { return i.Zone == "z1" })
	if n := len(p.Among(plan)); n != 4 {
		t.Errorf("%d are in the plan", n)
	}
	var tried []*Candidate
	for _, want := range []string{"z1", "z1", "z0", "z0"} {
		c := take(t, p, Request{Plan: plan, Random: rand.Uint64(), Tried: tried})
		if c.Zone != want || c.Version == "v3" {
			t.Errorf("%s after %d were tried", c.Node, len(tried))
		}
		tried = append(tried, c)
	}
	if _, ok := p.Pick(0, Request{Plan: plan, Tried: tried}); ok {
		t.Error("there is another one")
	}
	for range 20 {
		if c := take(t, p, Request{Plan: plan, Key: "k", Random: rand.Uint64()}); c.Zone != "z1" {
			t.Errorf("a key went to %s", c.Node)
		}
	}
}

// A plan follows the instances.
func TestPlanFollows(t *testing.T) {
	p := versions(LeastLoaded(), 1, "v1")
	plan := weights("v2:1")
	if _, ok := p.Pick(0, Request{Plan: plan}); ok || len(p.Among(plan)) != 0 {
		t.Error("v1 is not v2")
	}
	p.Set(0, []Instance{{Node: "v1-0", Epoch: "2", Actor: "x", Version: "v2"}})
	if c := take(t, p, Request{Plan: plan}); c.Version != "v2" {
		t.Errorf("%v", c.Version)
	}
	p.Set(0, nil)
	if _, ok := p.Pick(0, Request{Plan: plan}); ok {
		t.Error("it has gone")
	}
}

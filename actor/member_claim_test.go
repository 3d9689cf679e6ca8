package actor

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// A contest decides whether a start may take the name of a node that the registry still
// lists.
func TestContest(t *testing.T) {
	proof := func(boot, ns string) *registry.Proof {
		return &registry.Proof{Boot: boot, Namespace: ns, PID: 7, Started: 70}
	}
	own := proof("b", "n")
	dead := seen{process: registry.Process{Seen: true}}
	alive := seen{process: registry.Process{Seen: true, Exists: true, Started: 70}}
	usurped := seen{usurped: true}
	taken := func(epoch string, renewed int64, p *registry.Proof) *registry.TakenError {
		return &registry.TakenError{Holder: registry.Node{Name: "n", Epoch: epoch, Proof: p}, Renewed: time.Unix(renewed, 0)}
	}
	const lease = 15 * time.Second
	type meeting struct {
		taken *registry.TakenError
		lease time.Duration
		seen  seen
		want  move
	}
	for what, meetings := range map[string][]meeting{
		"dead":                            {{taken("e", 1, own), lease, dead, takeOver}},
		"dead, where claims have no end":  {{taken("e", 1, own), 0, dead, takeOver}},
		"dead after a while":              {{taken("e", 1, own), lease, alive, await}, {taken("e", 1, own), lease, dead, takeOver}},
		"silent":                          {{taken("e", 1, own), lease, alive, await}, {taken("e", 1, own), lease, alive, await}},
		"it renews":                       {{taken("e", 1, own), lease, alive, await}, {taken("e", 2, own), lease, alive, yield}},
		"no lease to wait for":            {{taken("e", 1, own), 0, alive, yield}},
		"another one was quicker":         {{taken("e", 1, own), lease, alive, await}, {taken("f", 2, own), lease, alive, await}, {taken("f", 3, own), lease, alive, yield}},
		"its address is another's":        {{taken("e", 1, proof("b", "m")), lease, usurped, takeOver}},
		"so it is, on another machine":    {{taken("e", 1, proof("c", "m")), lease, usurped, await}},
		"so it is, and nothing is proved": {{taken("e", 1, nil), lease, usurped, await}},
		"so it is, on no machine":         {{taken("e", 1, proof("", "m")), lease, usurped, await}},
	} {
		c := contest{own: own}
		for i, m := range meetings {
			first := c.met(m.taken)
			if want := i == 0 || m.taken.Holder.Epoch != meetings[i-1].taken.Holder.Epoch; first != want {
				t.Errorf("%s, meeting %d: first: %v", what, i, first)
			}
			if got := c.next(m.taken, m.lease, m.seen); got != m.want {
				t.Errorf("%s, meeting %d: got %v, want %v", what, i, got, m.want)
			}
		}
	}
	c := contest{} // the operating system says nothing about this process
	t1 := taken("e", 1, own)
	c.met(t1)
	if got := c.next(t1, lease, seen{process: dead.process, usurped: true}); got != await {
		t.Errorf("without a proof of our own: %v", got)
	}
}

func TestGlobal(t *testing.T) {
	for addr, want := range map[string]bool{
		"10.0.0.2:7420": true, "[fd00::2]:7420": true, "till.shop:7420": true,
		"127.0.0.1:7420": false, "[::1]:7420": false, "0.0.0.0:7420": false, "[::]:7420": false, ":7420": false, "localhost:7420": false, "": false, "a": false,
	} {
		if got := global(addr); got != want {
			t.Errorf("%q: %v", addr, got)
		}
	}
}

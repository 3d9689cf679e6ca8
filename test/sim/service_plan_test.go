// What a term is made of, as its seed draws it.

package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/draw"
)

// termPlan is what a term is made of.
type termPlan struct {
	Hosts, Customers, Callers int // callers of the service, on each customer
	Roads                     []string
	Delay                     time.Duration
	Pace                      time.Duration
	Policy                    balance.Policy
	Steps                     []step
}

// step is something that happens to the service.
type step struct {
	What    string           // restart, join, leave, sick
	Host    int              // of those that there are
	Ailment string           // of an illness; of a restart, "cut": no answer comes through any more, for a while before it leaves
	Hosts   int              // how many are ill at once
	For     time.Duration    // an illness lasts, or a node is away
	Setup   [3]time.Duration // before the actor of its own, before the instance, and behind it
	Beside  *step            // that begins while this one lasts
	After   time.Duration    // it has begun; or a restart has, and the node leaves
	Known   bool             // the registry learns of a death at once
	Word    bool             // links learn of it
}

// ailments are the ways in which an instance may fail.
var ailments = []string{"slow", "hung", "refusing", "silent", "cut", "cut on one road", "killed"}

func (w *term) rng(what string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

func newTermPlan(r *rand.Rand) termPlan {
	p := termPlan{
		Hosts: 2 + r.IntN(4), Customers: 1 + r.IntN(2), Callers: draw.Pick(r, 1, 2, 3, 8),
		Roads: draw.Pick(r, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct"}, []string{"bus"}),
		Delay: draw.Pick(r, 0, time.Millisecond, 10*time.Millisecond), Pace: draw.Pick(r, 20*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond),
		Policy: draw.Pick(r, balance.LeastLoaded(), balance.LeastLoaded(), balance.LeastLoaded(), balance.RoundRobin(), balance.Random(), balance.Weighted()),
	}
	for range 3 + r.IntN(3) {
		s := newStep(r, p, draw.Pick(r, "restart", "restart", "join", "sick", "sick"))
		if s.What == "sick" && s.Hosts == 1 && draw.Chance(r, 0.2) {
			beside := newStep(r, p, draw.Pick(r, "restart", "join"))
			s.Beside, s.After = &beside, draw.Span(r, 0, s.For)
		}
		if p.Steps = append(p.Steps, s); s.What == "join" {
			s.What = "leave"
			p.Steps = append(p.Steps, s)
		}
	}
	return p
}

func newStep(r *rand.Rand, p termPlan, what string) step {
	s := step{What: what, Host: r.IntN(p.Hosts), Hosts: 1, Known: draw.Chance(r, 0.3), Word: draw.Chance(r, 0.5)}
	for i := range s.Setup {
		s.Setup[i] = draw.Pick(r, 0, 50*time.Millisecond, draw.Span(r, 0, 2*time.Second))
	}
	switch what {
	case "restart":
		if draw.Chance(r, 0.3) {
			s.Ailment, s.After = "cut", draw.Span(r, 0, 500*time.Millisecond)
		}
		s.For = draw.Pick(r, 0, draw.Span(r, 0, time.Second), draw.Span(r, 0, 5*time.Second))
	case "sick":
		s.For, s.Ailment = draw.Pick(r, draw.Span(r, 100*time.Millisecond, 3*time.Second), draw.Span(r, 3*time.Second, 12*time.Second)), draw.Pick(r, ailments...)
		if s.Ailment == "hung" && draw.Chance(r, 0.3) { // for longer than callers wait
			s.For += patienceOfAll
		}
		if draw.Chance(r, 0.25) { // more of them than may be left out
			s.Ailment = draw.Pick(r, "refusing", "silent", "cut")
			s.Hosts = p.Hosts - r.IntN(2)
		}
	}
	return s
}

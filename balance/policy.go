package balance

import (
	"math"

	"github.com/tandem-go/tandem/internal/rendezvous"
)

// Policy says how an instance is chosen among those that are not ejected. The zero
// value is LeastLoaded.
type Policy struct {
	kind kind
	key  func(message any) string
}

type kind uint8

const (
	leastLoaded kind = iota
	roundRobin
	random
	weighted
	byKey
)

// LeastLoaded is the default: the power of two choices. Of two random instances it takes
// the one where a request is expected to end first, by the requests that are outstanding
// there and by how long they take. If neither is idle, up to 8 more are compared, so among
// 8 instances or fewer it finds the best. Equal instances get requests in turn.
func LeastLoaded() Policy { return Policy{kind: leastLoaded} }

// RoundRobin takes the instances in turn.
func RoundRobin() Policy { return Policy{kind: roundRobin} }

// Random takes a random instance, each with the same probability.
func Random() Policy { return Policy{kind: random} }

// Weighted gives each instance a share of the requests that is proportional to its weight,
// evenly spread over time.
func Weighted() Policy { return Policy{kind: weighted} }

// ByKey sends requests with one key to one instance, as long as it is there and not
// ejected, in proportion to the weights (rendezvous hashing: when an instance comes or
// goes, only its keys move). key gets each message, and may be called concurrently; a
// message for which it returns "" goes to the least loaded instance.
func ByKey(key func(message any) string) Policy {
	return Policy{kind: byKey, key: key}
}

// Keyed reports whether KeyOf looks at the message.
func (p Policy) Keyed() bool { return p.key != nil }

// KeyOf returns the key of a message for ByKey, and "" for other policies.
func (p Policy) KeyOf(message any) string {
	if p.key == nil {
		return ""
	}
	return p.key(message)
}

// String returns the policy's name.
func (p Policy) String() string {
	return [...]string{"least loaded", "round robin", "random", "weighted", "by key", "?"}[min(p.kind, byKey+1)]
}

// choose chooses among the eligible instances of a group; nil if there is none.
func (p *Picker) choose(g *group, r *Request) *Candidate {
	switch {
	case r.Key != "":
		return p.byKey(g, r)
	case p.policy.kind == roundRobin:
		return p.roundRobin(g, r)
	case p.policy.kind == random:
		return p.random(g, r)
	case p.policy.kind == weighted:
		return p.weighted(g, r)
	}
	return p.leastLoaded(g, r)
}

const few = 8 // instances that LeastLoaded compares

// leastLoaded implements LeastLoaded.
func (p *Picker) leastLoaded(g *group, r *Request) *Candidate {
	n := len(g.members)
	best, cost := -1, math.Inf(1)
	look := func(i int) {
		if c := g.members[i]; p.eligible(c, r) {
			if at := p.cost(c, r.now); at < cost {
				best, cost = i, at
			}
		}
	}
	if n > few {
		first := int(r.Random % uint64(n))
		second := int(r.Random >> 32 % uint64(n-1))
		if second >= first {
			second++
		}
		look(first)
		look(second)
		if cost <= p.least {
			return g.members[best]
		}
	}
	if n == 0 {
		return nil
	}
	i := int(g.turn % uint64(n)) // after the one that was chosen last, so that equal ones take turns
	for looked := 0; looked < n && (looked < few || best < 0) && cost > p.least; looked++ {
		look(i)
		if i++; i == n {
			i = 0
		}
	}
	if best < 0 {
		return nil
	}
	g.turn = uint64(best + 1)
	return g.members[best]
}

// roundRobin implements RoundRobin.
func (p *Picker) roundRobin(g *group, r *Request) *Candidate {
	for range g.members {
		g.turn++
		if c := g.members[g.turn%uint64(len(g.members))]; p.eligible(c, r) {
			return c
		}
	}
	return nil
}

// random implements Random.
func (p *Picker) random(g *group, r *Request) *Candidate {
	n := 0
	for _, c := range g.members {
		if p.eligible(c, r) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	at := int(r.Random % uint64(n))
	for _, c := range g.members {
		if !p.eligible(c, r) {
			continue
		}
		if at--; at < 0 {
			return c
		}
	}
	return nil
}

// weighted implements Weighted (smooth weighted round robin): each choice adds its weight
// to the credit of every instance, and takes the sum of the weights from the chosen one,
// which has the most credit.
func (p *Picker) weighted(g *group, r *Request) (best *Candidate) {
	sum, at := 0, 0
	for i, c := range g.members {
		if !p.eligible(c, r) {
			continue
		}
		sum += c.Weight
		if g.credits[i] += c.Weight; best == nil || g.credits[i] > g.credits[at] {
			best, at = c, i
		}
	}
	if best != nil {
		g.credits[at] -= sum
	}
	return best
}

// byKey implements ByKey: the key goes to the instance with the largest score.
func (p *Picker) byKey(g *group, r *Request) (best *Candidate) {
	key, most := rendezvous.Hash(r.Key), math.Inf(-1)
	for _, c := range g.members {
		if !p.eligible(c, r) && !(c.state == probation && !c.probing && !r.tried(c)) {
			continue
		}
		if score := score(key, c.hash, c.Weight); score > most {
			best, most = c, score
		}
	}
	return best
}

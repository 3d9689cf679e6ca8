package balance

import "math"

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

// LeastLoaded is the default: the power of two choices. Of two instances drawn at random
// the one is taken where a request is expected to be through first, by the requests under
// way there and by how long they take. If neither is idle, up to 8 more are looked at,
// so that of 8 instances or fewer it is the best of all. Equals get requests in turn.
func LeastLoaded() Policy { return Policy{kind: leastLoaded} }

// RoundRobin takes the instances in turn.
func RoundRobin() Policy { return Policy{kind: roundRobin} }

// Random draws an instance, each as likely as any other.
func Random() Policy { return Policy{kind: random} }

// Weighted gives each instance as large a part of the requests as it has of the sum of
// all weights, evenly spread.
func Weighted() Policy { return Policy{kind: weighted} }

// ByKey sends what has one key to one instance, as long as that is there and not ejected,
// in proportion to the weights of instances (rendezvous hashing: when an instance comes or
// goes, only keys of its own move). key gets each message, and may be called concurrently;
// a message for which it returns "" goes to the least loaded instance.
func ByKey(key func(message any) string) Policy {
	return Policy{kind: byKey, key: key}
}

// Keyed reports whether KeyOf needs the message.
func (p Policy) Keyed() bool { return p.key != nil }

// KeyOf returns a message's key under ByKey, else "".
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

// choose chooses among those that are eligible; nil: there is none.
func (p *Picker) choose(r *Request) *Candidate {
	switch {
	case r.Key != "":
		return p.byKey(r)
	case p.policy.kind == roundRobin:
		return p.roundRobin(r)
	case p.policy.kind == random:
		return p.random(r)
	case p.policy.kind == weighted:
		return p.weighted(r)
	}
	return p.leastLoaded(r)
}

const few = 8 // instances that LeastLoaded looks at, all of them if there are no more

// leastLoaded implements LeastLoaded.
func (p *Picker) leastLoaded(r *Request) *Candidate {
	n := len(p.all)
	best, cost := -1, math.Inf(1)
	look := func(i int) {
		if c := p.all[i]; p.eligible(c, r) {
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
			return p.all[best]
		}
	}
	if n == 0 {
		return nil
	}
	i := int(p.turn % uint64(n)) // behind the one that was chosen last, so that equals take turns
	for looked := 0; looked < n && (looked < few || best < 0) && cost > p.least; looked++ {
		look(i)
		if i++; i == n {
			i = 0
		}
	}
	if best < 0 {
		return nil
	}
	p.turn = uint64(best + 1)
	return p.all[best]
}

// roundRobin implements RoundRobin.
func (p *Picker) roundRobin(r *Request) *Candidate {
	for range p.all {
		p.turn++
		if c := p.all[p.turn%uint64(len(p.all))]; p.eligible(c, r) {
			return c
		}
	}
	return nil
}

// random implements Random.
func (p *Picker) random(r *Request) *Candidate {
	n := 0
	for _, c := range p.all {
		if p.eligible(c, r) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	at := int(r.Random % uint64(n))
	for _, c := range p.all {
		if !p.eligible(c, r) {
			continue
		}
		if at--; at < 0 {
			return c
		}
	}
	return nil
}

// weighted implements Weighted: each choice credits all with their weight and costs the
// chosen one, who has the most credit, the sum of them.
func (p *Picker) weighted(r *Request) (best *Candidate) {
	sum := 0
	for _, c := range p.all {
		if !p.eligible(c, r) {
			continue
		}
		sum += c.Weight
		if c.credit += c.Weight; best == nil || c.credit > best.credit {
			best = c
		}
	}
	if best != nil {
		best.credit -= sum
	}
	return best
}

// byKey chooses by rendezvous hashing: the instance whose hash together with the key's
// is the largest, weights considered (Schindelhauer and Schomaker, SPAA '05).
func (p *Picker) byKey(r *Request) (best *Candidate) {
	key, most := hash(r.Key), math.Inf(-1)
	for _, c := range p.all {
		if !p.eligible(c, r) && !(c.state == probation && !c.probing && !r.tried(c)) {
			continue
		}
		u := (float64(mix(key^c.hash)>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := -float64(c.Weight) / math.Log(u); score > most {
			best, most = c, score
		}
	}
	return best
}

// hash is FNV-1a, which is the same in every process.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads what differs in a few bits over all of them (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

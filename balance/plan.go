package balance

import (
	"math"
	"slices"

	"github.com/tandem-go/tandem/internal/rendezvous"
)

// Share is a part of a service's instances, such as those of one version, and how many of the
// requests it gets.
type Share struct {
	Name   string                    // decides which keys go there: see Plan
	Weight int                       // relative to that of the other shares; less than 1 means none
	Match  func(version string) bool // which instances belong to it; nil: all. One may belong to several
}

// Plan says among which instances of a Picker a request may choose. It belongs to one Picker, and
// is no safer for concurrent use than that.
//
// Each request first gets a share, by the weights of the shares, and then an instance of that
// share by the Picker's policy. If no instance of the share is usable, because all are ejected or
// were tried, another share gets the request, in proportion to the weights of the others. Requests with one key get
// one share for as long as the weights stay the same (weighted rendezvous hashing: if the weight of one
// share is changed, keys move only from or to that share).
type Plan struct {
	prefer func(Instance) bool
	match  func(Instance) bool
	shares []share
	all    []*Candidate // that any share has, as of the Picker's version
	seen   uint64       // that version
}

type share struct {
	Share
	hash      uint64
	preferred group // those of all that are preferred; empty without a preference
	all       group
}

// group is some instances of a Picker, and where the policies stand that take turns among them.
type group struct {
	members []*Candidate
	credits []int // for Weighted, of each member
	turn    uint64
}

// NewPlan returns a plan of the instances that match, nil for all of them. As long as one of the
// instances that prefer names is usable, only these get requests; nil: none is preferred. Without
// shares the instances are one.
func NewPlan(match, prefer func(Instance) bool, shares ...Share) *Plan {
	p := &Plan{match: match, prefer: prefer, seen: math.MaxUint64}
	if len(shares) == 0 {
		shares = []Share{{Weight: 1}}
	}
	for _, s := range shares {
		if s.Weight > 0 {
			p.shares = append(p.shares, share{Share: s, hash: rendezvous.Mix(rendezvous.Hash("share " + s.Name))})
		}
	}
	return p
}

// Among returns the instances of a Picker that are in the plan. The slice must not be changed.
func (p *Picker) Among(plan *Plan) []*Candidate {
	if plan == nil {
		return p.whole.members
	}
	plan.update(p)
	return plan.all
}

// update finds the instances of the plan among those that the Picker has now.
func (l *Plan) update(p *Picker) {
	if l.seen == p.version {
		return
	}
	l.seen, l.all = p.version, nil
	for i := range l.shares {
		s := &l.shares[i]
		var all, preferred []*Candidate
		for _, c := range p.whole.members {
			if l.match != nil && !l.match(c.Instance) || s.Match != nil && !s.Match(c.Version) {
				continue
			}
			all = append(all, c)
			if l.prefer != nil && l.prefer(c.Instance) {
				preferred = append(preferred, c)
			}
			if !slices.Contains(l.all, c) {
				l.all = append(l.all, c)
			}
		}
		s.all.set(all)
		s.preferred.set(preferred)
	}
}

// has reports whether c is in the plan. It is called for ejected instances only.
func (l *Plan) has(c *Candidate) bool { return l == nil || slices.Contains(l.all, c) }

// set changes the members, and keeps the credit of those that stay.
func (g *group) set(members []*Candidate) {
	credits := make([]int, len(members))
	for i, c := range members {
		if j := slices.Index(g.members, c); j >= 0 {
			credits[i] = g.credits[j]
		}
	}
	g.members, g.credits = members, credits
}

// maxShares is how many shares of a plan are looked at for one request.
const maxShares = 64

// planned chooses an instance by a plan; nil if none of it is eligible.
func (p *Picker) planned(r *Request) *Candidate {
	seed := r.Random
	if r.Key != "" {
		seed = rendezvous.Hash(r.Key)
	}
	var looked uint64
	for range min(len(r.Plan.shares), maxShares) {
		best := r.Plan.draw(seed, looked)
		looked |= 1 << best
		s := &r.Plan.shares[best]
		if c := p.choose(&s.preferred, r); c != nil {
			return c
		}
		if c := p.choose(&s.all, r); c != nil {
			return c
		}
	}
	return nil
}

// draw returns the share that a seed gets among the first ones that were not looked at. Each gets
// a part of all seeds that is proportional to its weight.
func (l *Plan) draw(seed, looked uint64) (best int) {
	if len(l.shares) == 1 {
		return 0
	}
	most := math.Inf(-1)
	for i := range min(len(l.shares), maxShares) {
		if looked&(1<<i) != 0 {
			continue
		}
		if score := score(seed, l.shares[i].hash, l.shares[i].Weight); score > most {
			best, most = i, score
		}
	}
	return best
}

// score is how much a key wants what has that hash and weight: the one with the largest score gets
// it (weighted rendezvous hashing: Schindelhauer and Schomaker, SPAA '05).
func score(key, hash uint64, weight int) float64 {
	u := (float64(rendezvous.Mix(key^hash)>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -float64(weight) / math.Log(u)
}

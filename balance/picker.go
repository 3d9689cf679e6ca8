package balance

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/rendezvous"
)

// Instance is one actor that serves requests for a service.
type Instance struct {
	Node, Epoch, Actor string // which one: the same actor of a later start of its node is another instance
	Weight             int    // its share of the requests, relative to others; less than 1 means 1
	Version, Zone      string
	Signs              Signs // nil: nothing is known
	Data               any   // for the caller's own use
}

// Signs is what is known about an instance without asking it. The methods must not block.
type Signs interface {
	Load() int            // requests known to wait there, no matter who sent them; 0 if that is not known
	Linked() bool         // there is a link to its node now
	Heard() time.Duration // when its node last showed a sign of life, on the Picker's clock; the largest value for what cannot fall silent
}

// Candidate is an Instance with what a Picker knows about it. Others may read only its
// Instance.
type Candidate struct {
	Instance
	hash uint64 // of its name, for ByKey

	out     int           // outstanding requests
	held    int           // streams and the like, see Hold
	since   time.Duration // when it last answered or, if that is later, when it got its first request after being idle
	service float64       // nanoseconds that it takes for a request, smoothed; 0: not known
	sampled time.Duration // when service was last updated
	pinged  time.Duration // when a ping of it was last asked for; 0: not since its last answer

	state      state
	why        Why
	failing    bool // it would be ejected if the limit were not reached
	ejectedAt  time.Duration
	readmitted time.Duration // when its last ejection ended
	until      time.Duration // the end of its pause
	tries      int           // pauses so far, each twice as long as the one before
	probing    bool          // the one request of its probation is outstanding
	trial      int           // probations so far
}

// state says whether a Candidate is ejected.
type state uint8

const (
	in        state = iota
	ejected         // until its node shows a sign of life
	probation       // it gets one request
)

// Why says why an instance was ejected.
type Why uint8

// The reasons.
const (
	Unreachable Why = iota + 1 // a request did not reach it, or the actor was not there
	Silent                     // neither an answer nor any other sign of life came
	Refusing                   // it refused a request
)

// String returns the reason in lower case.
func (w Why) String() string {
	return [...]string{"?", "unreachable", "silent", "refusing", "?"}[min(w, Refusing+1)]
}

// Times of ejection and of silence, and what counts as slow.
const (
	minPause    = 250 * time.Millisecond // after an ejection; then twice as long each time,
	maxPause    = 10 * time.Second       // up to this
	forgive     = 30 * time.Second       // after this time without an ejection, the next one is short again
	pingAfter   = 100 * time.Millisecond // a ping is asked for after so long without an answer, and
	pingFactor  = 4                      // after so many times the usual time,
	pingAgain   = time.Second            // and again after this
	silentAfter = time.Second            // an unanswered ping ejects after this
	watchEvery  = 25 * time.Millisecond  // how often silence is looked for
	slowFactor  = 2.5                    // times the usual time is slow
	maxFactor   = 16                     // no instance counts as slower than this: it may have had other work
	halfLife    = 10 * time.Second       // of the knowledge that an instance was slow
	smoothing   = 4                      // requests that a smoothed value stands for
)

// Picker chooses instances, and records what it learns about each. It is not safe for
// concurrent use. Times are those of a monotonic clock of the caller's.
type Picker struct {
	policy  Policy
	whole   group        // all instances, sorted by node, actor and epoch
	version uint64       // counts the calls of Set
	out     []*Candidate // those that are ejected or in probation, in the order of their ejection
	least   float64       // cost of the instance with the largest weight when it is idle: none is cheaper
	usual   float64       // nanoseconds that a request usually takes: the (lower) median of all instances
	ends    int           // answers since usual was computed
	watched time.Duration // when watch last looked
	sorted  []float64     // scratch for that

	asks    []*Candidate
	changes []Change
}

// Change says that an instance was ejected or readmitted.
type Change struct {
	Candidate *Candidate
	Ejected   bool
	Why       Why // it was ejected
}

// New returns a Picker without instances.
func New(policy Policy) *Picker { return &Picker{policy: policy} }

// Set says which instances there are. What is known about those that were there before
// is kept.
func (p *Picker) Set(now time.Duration, instances []Instance) {
	type id struct{ node, epoch, actor string }
	known := make(map[id]*Candidate, len(p.whole.members))
	for _, c := range p.whole.members {
		known[id{c.Node, c.Epoch, c.Actor}] = c
	}
	all := make([]*Candidate, 0, len(instances))
	p.least = math.Inf(1)
	for _, i := range instances {
		i.Weight = max(i.Weight, 1)
		c := known[id{i.Node, i.Epoch, i.Actor}]
		if c == nil {
			c = &Candidate{hash: rendezvous.Mix(rendezvous.Hash(i.Actor + "@" + i.Node)), since: now}
		}
		c.Instance = i
		p.least = min(p.least, 1/float64(i.Weight))
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Candidate) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Actor, b.Actor), cmp.Compare(a.Epoch, b.Epoch))
	})
	p.whole.set(all)
	p.version++
	p.out = slices.DeleteFunc(p.out, func(c *Candidate) bool { return !slices.Contains(all, c) })
	for len(p.out) > p.limit() {
		longest := p.out[0]
		p.readmit(longest, now)
		longest.failing = true
	}
	p.median()
}

// Len returns the number of instances.
func (p *Picker) Len() int { return len(p.whole.members) }

// All returns the instances. The slice must not be changed.
func (p *Picker) All() []*Candidate { return p.whole.members }

// limit returns how many may be ejected at once.
func (p *Picker) limit() int { return len(p.whole.members) / 2 }

// Request is what an instance is chosen for.
type Request struct {
	Key    string       // requests with the same key go to the same instance; "": as the policy says
	Random uint64       // uniformly distributed
	Tried  []*Candidate // these are not chosen
	Plan   *Plan        // among which instances; nil: all

	now time.Duration
}

func (r *Request) tried(c *Candidate) bool {
	for _, t := range r.Tried {
		if t == c {
			return true
		}
	}
	return false
}

// Ticket is an outstanding request at an instance. It is given to End once.
type Ticket struct {
	To    *Candidate
	Begun time.Duration
	Probe bool // it decides whether To is readmitted
	trial int  // which probation's
	first bool // it had to wait for a link, so its time says little
}

// Start makes round robin begin at a random instance, so that not all systems begin at the
// same one.
func (p *Picker) Start(random uint64) { p.whole.turn = random >> 1 }

// Pick chooses an instance. The request counts as outstanding there until End. Pick chooses
// an ejected instance only if all others were tried. It returns false if there is no
// instance that was not tried.
func (p *Picker) Pick(now time.Duration, r Request) (Ticket, bool) {
	r.now = now
	if r.Plan != nil {
		r.Plan.update(p)
	}
	p.watch(now, r.Random)
	c := p.probe(now, &r)
	switch {
	case c != nil:
	case r.Plan != nil:
		c = p.planned(&r)
	default:
		c = p.choose(&p.whole, &r)
	}
	for i := 0; c == nil && i < len(p.out); i++ {
		if !r.tried(p.out[i]) && r.Plan.has(p.out[i]) {
			c = p.out[i]
		}
	}
	if c == nil {
		return Ticket{}, false
	}
	t := Ticket{To: c, Begun: now, Probe: c.state == probation && !c.probing, trial: c.trial, first: c.Signs != nil && !c.Signs.Linked()}
	c.probing = c.probing || t.Probe
	if c.out == 0 {
		c.since = now
	}
	c.out++
	return t, true
}

// Untried reports whether an instance of the plan, nil for all, is left that is neither ejected nor
// was tried.
func (p *Picker) Untried(plan *Plan, tried []*Candidate) bool {
	r := Request{Tried: tried}
	return slices.ContainsFunc(p.Among(plan), func(c *Candidate) bool { return p.eligible(c, &r) })
}

// eligible reports whether c can be chosen as usual.
func (p *Picker) eligible(c *Candidate, r *Request) bool {
	return c.state == in && (len(r.Tried) == 0 || !r.tried(c))
}

// probe checks the ejected instances, and returns the one that gets this request as its
// probe: the first that may serve again. A request with a key is never a probe.
func (p *Picker) probe(now time.Duration, r *Request) *Candidate {
	for _, c := range p.out {
		if c.state == ejected && now >= c.until {
			if c.mayServe() {
				c.state, c.probing = probation, false
				c.trial++
			} else {
				p.asks = append(p.asks, c)
				c.pause(now, r.Random)
			}
		}
		if c.state == probation && !c.probing && r.Key == "" && !r.tried(c) && r.Plan.has(c) {
			return c
		}
	}
	return nil
}

// mayServe reports whether c may serve again.
func (c *Candidate) mayServe() bool {
	return c.why == Refusing || c.Signs == nil || c.Signs.Linked() && c.Signs.Heard() > c.ejectedAt
}

// relent treats an instance that fails, and was not ejected because of the limit, like any
// other once it may serve again. It gets no probes, so only this can show that it serves.
func (p *Picker) relent(c *Candidate, now time.Duration, random uint64) {
	if c.mayServe() {
		c.failing, c.readmitted = false, now
		return
	}
	p.asks = append(p.asks, c)
	c.pause(now, random)
}

// pause makes c wait: twice as long as the last time, with jitter.
func (c *Candidate) pause(now time.Duration, random uint64) {
	d := min(minPause<<min(c.tries, 10), maxPause)
	c.tries++
	c.until = now + d/2 + time.Duration(random>>40)*(d/2)>>24
}

// load returns how much c has to do.
func (c *Candidate) load() int {
	n := c.out
	if c.Signs != nil {
		n = max(n, c.Signs.Load())
	}
	return n + c.held
}

// cost returns how long a request at c would take, in multiples of the usual time.
func (p *Picker) cost(c *Candidate, now time.Duration) float64 {
	factor := p.slowness(c, now)
	if c.out > 0 {
		factor = max(factor, p.stalled(c, now))
	}
	if c.failing {
		factor = maxFactor
	}
	return float64(c.load()+1) * factor / float64(c.Weight)
}

// slowness returns by which factor c is slower than usual; 1 if that is little or not
// known.
func (p *Picker) slowness(c *Candidate, now time.Duration) float64 {
	if c.service <= slowFactor*p.usual || p.usual == 0 {
		return 1
	}
	fade := math.Exp2(-float64(now-c.sampled) / float64(halfLife))
	if f := 1 + (min(c.service/p.usual, maxFactor)-1)*fade; f > slowFactor {
		return f
	}
	return 1
}

// stalled is slowness by the time for which c has not answered.
func (p *Picker) stalled(c *Candidate, now time.Duration) float64 {
	quiet := float64(now - c.since)
	if p.usual > 0 && quiet > slowFactor*p.usual {
		return min(quiet/p.usual, maxFactor)
	}
	return 1
}

// watch asks for pings of the instances that have not answered for too long, and ejects
// those that are silent. It also ends the pauses of instances that fail and are not ejected.
func (p *Picker) watch(now time.Duration, random uint64) {
	if now-p.watched < watchEvery {
		return
	}
	p.watched = now
	for _, c := range p.whole.members {
		if c.failing && c.state == in && now >= c.until {
			p.relent(c, now, random)
		}
		if c.out > 0 && c.Signs != nil && c.state == in {
			p.check(c, now, random)
		}
	}
}

// check is watch for one instance.
func (p *Picker) check(c *Candidate, now time.Duration, random uint64) {
	quiet := now - c.since
	if quiet < pingAfter || float64(quiet) < pingFactor*p.usual {
		return
	}
	switch heard := c.Signs.Heard(); {
	case c.pinged != 0 && heard < c.pinged && now-c.pinged >= silentAfter:
		p.eject(c, now, random, Silent)
	case c.pinged == 0 || heard >= c.pinged && now-c.pinged >= pingAgain:
		c.pinged = now
		p.asks = append(p.asks, c)
	}
}

// Asks returns the instances that the caller should ping, so that their Signs are known. It
// is nil for most requests.
func (p *Picker) Asks() []*Candidate {
	if len(p.asks) == 0 {
		return nil
	}
	asks := slices.Clone(p.asks)
	clear(p.asks)
	p.asks = p.asks[:0]
	return asks
}

// Changes returns what has changed since its last call. It is nil for most requests.
func (p *Picker) Changes() []Change {
	changes := p.changes
	p.changes = nil
	return changes
}

// Outstanding returns how many requests and held things are at an instance, see Picker.Hold.
func (c *Candidate) Outstanding() int { return c.out + c.held }

// Hold counts something other than a request, such as a stream, as load of an instance,
// until Release.
func (p *Picker) Hold(c *Candidate)    { c.held++ }
func (p *Picker) Release(c *Candidate) { c.held-- }

package balance

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Instance is one actor that serves requests for a service.
type Instance struct {
	Node, Epoch, Actor string // which one: the same actor of a later start of its node is another instance
	Weight             int    // how much it can take, beside others; less than 1 means 1
	Version, Zone      string
	Signs              Signs // nil: none are seen
	Data               any   // its user's own
}

// Signs is what can be seen of an instance without asking it. The methods must not block.
type Signs interface {
	Load() int            // requests known to wait there, whoever sent them; 0 if that is not known
	Linked() bool         // there is a way to it now
	Heard() time.Duration // when that last showed life, on the Picker's clock; the largest for what cannot fall silent
}

// Candidate is an Instance as a Picker sees it. Only its Instance is for others to read.
type Candidate struct {
	Instance
	hash   uint64 // of its name, for ByKey
	credit int    // for Weighted

	out     int           // requests under way
	held    int           // other things that occupy it
	since   time.Duration // when an answer came last, or, if later, when it got something to do
	service float64       // nanoseconds that a request takes it, smoothed; 0: not known
	sampled time.Duration // when that was last taken in
	doubted time.Duration // when it was last asked whether it lives; 0: since it answered last, never

	state   state
	why     Why
	failing bool          // it would be ejected, but for the limit
	outAt   time.Duration // when it was ejected
	backAt  time.Duration // when it was taken back
	until   time.Duration // when it is looked at again
	tries   int           // pauses so far, each twice the one before
	probing bool          // the one request of its probation is under way
	trial   int           // probations so far
}

// state is where a Candidate is between ejections.
type state uint8

const (
	in        state = iota
	ejected         // until there is reason to hope
	probation       // it gets one request
)

// Why says why an instance was ejected.
type Why uint8

// The reasons.
const (
	Unreachable Why = iota + 1 // a request did not get there, or found nobody
	Silent                     // neither an answer nor a sign of life came
	Refusing                   // it refused what it got
)

// String returns the reason in lower case.
func (w Why) String() string {
	return [...]string{"?", "unreachable", "silent", "refusing", "?"}[min(w, Refusing+1)]
}

// Times of ejection, of silence, and of what counts as slow.
const (
	minPause    = 250 * time.Millisecond // after an ejection; then twice as long each time,
	maxPause    = 10 * time.Second       // up to this
	forgive     = 30 * time.Second       // back for so long, and its next ejection is like the first
	doubtAfter  = 100 * time.Millisecond // without an answer, at least, and
	doubtFactor = 4                      // times as long as usual, until it is asked whether it lives,
	doubtAgain  = time.Second            // and how often
	silentAfter = time.Second            // without an answer to that either
	watchEvery  = 25 * time.Millisecond  // is looked for that
	slowFactor  = 2.5                    // times as long as usual is slow
	maxFactor   = 16                     // no instance is taken for slower: it may have had other work
	halfLife    = 10 * time.Second       // of the memory that one was slow
	smoothing   = 4                      // requests that a smoothed value stands for
)

// Picker chooses instances, and keeps what it learns of each. It is not for concurrent
// use. Times are on a clock of its user's that never goes back.
type Picker struct {
	policy  Policy
	all     []*Candidate // sorted by node, actor and epoch
	out     []*Candidate // of them, those ejected or in probation, in the order of their ejection
	turn    uint64
	least   float64       // cost of the heaviest instance when it is idle: no other one is better
	usual   float64       // nanoseconds that a request takes an instance: the median of all, the lower of two
	ends    int           // answers since that was taken
	watched time.Duration // when watch last looked
	sorted  []float64     // for taking it

	asks    []*Candidate
	changes []Change
}

// Change says that an instance was ejected, or taken back.
type Change struct {
	Candidate *Candidate
	Ejected   bool
	Why       Why // it was ejected
}

// New returns a Picker without instances.
func New(policy Policy) *Picker { return &Picker{policy: policy} }

// Set says which instances there are. What is known of those that were there before is
// kept.
func (p *Picker) Set(now time.Duration, instances []Instance) {
	type id struct{ node, epoch, actor string }
	known := make(map[id]*Candidate, len(p.all))
	for _, c := range p.all {
		known[id{c.Node, c.Epoch, c.Actor}] = c
	}
	p.all = make([]*Candidate, 0, len(instances))
	p.least = math.Inf(1)
	for _, i := range instances {
		i.Weight = max(i.Weight, 1)
		c := known[id{i.Node, i.Epoch, i.Actor}]
		if c == nil {
			c = &Candidate{hash: mix(hash(i.Actor + "@" + i.Node)), since: now}
		}
		c.Instance = i
		p.least = min(p.least, 1/float64(i.Weight))
		p.all = append(p.all, c)
	}
	slices.SortFunc(p.all, func(a, b *Candidate) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Actor, b.Actor), cmp.Compare(a.Epoch, b.Epoch))
	})
	p.out = slices.DeleteFunc(p.out, func(c *Candidate) bool { return !slices.Contains(p.all, c) })
	for len(p.out) > p.limit() {
		longest := p.out[0]
		p.takeBack(longest, now)
		longest.failing = true
	}
	p.median()
}

// Len is how many instances there are.
func (p *Picker) Len() int { return len(p.all) }

// All yields the instances there are.
func (p *Picker) All() []*Candidate { return p.all }

// limit is how many may be ejected at once.
func (p *Picker) limit() int { return len(p.all) / 2 }

// Request is what an instance is chosen for.
type Request struct {
	Key    string       // what has the same goes to the same instance; "": whichever the policy says
	Random uint64       // evenly drawn
	Tried  []*Candidate // are not chosen

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

// Ticket is a request that is under way at an instance. It is given to End once.
type Ticket struct {
	To    *Candidate
	Begun time.Duration
	Probe bool // it decides whether To is taken back
	trial int  // which probation's
	first bool // it had to wait for a way there, so its time says little
}

// Start has those that are taken in turn begin at some other one than the first, so that
// many systems do not all begin there.
func (p *Picker) Start(random uint64) { p.turn = random >> 1 }

// Pick chooses an instance, where the request counts as under way until End. Among
// those that are ejected it chooses only if all others were tried. False: there is none,
// or all were tried.
func (p *Picker) Pick(now time.Duration, r Request) (Ticket, bool) {
	r.now = now
	p.watch(now, r.Random)
	c := p.probe(now, &r)
	if c == nil {
		c = p.choose(&r)
	}
	for i := 0; c == nil && i < len(p.out); i++ {
		if !r.tried(p.out[i]) {
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

// Untried reports whether an instance is left that is neither ejected nor was tried.
func (p *Picker) Untried(tried []*Candidate) bool {
	r := Request{Tried: tried}
	return slices.ContainsFunc(p.all, func(c *Candidate) bool { return p.eligible(c, &r) })
}

// eligible reports whether c can be chosen as usual.
func (p *Picker) eligible(c *Candidate, r *Request) bool {
	return c.state == in && (len(r.Tried) == 0 || !r.tried(c))
}

// probe looks after those that are ejected, and returns one that is to get this request:
// the first for which there is hope, if it has no key that belongs elsewhere.
func (p *Picker) probe(now time.Duration, r *Request) *Candidate {
	for _, c := range p.out {
		if c.state == ejected && now >= c.until {
			if c.hope() {
				c.state, c.probing = probation, false
				c.trial++
			} else {
				p.asks = append(p.asks, c)
				c.pause(now, r.Random)
			}
		}
		if c.state == probation && !c.probing && r.Key == "" && !r.tried(c) {
			return c
		}
	}
	return nil
}

// hope reports whether c may be well again.
func (c *Candidate) hope() bool {
	return c.why == Refusing || c.Signs == nil || c.Signs.Linked() && c.Signs.Heard() > c.outAt
}

// relent has an instance that fails, and was not ejected for the limit, be chosen as any
// other one once there is hope: those that are well leave it nothing else to show it by.
func (p *Picker) relent(c *Candidate, now time.Duration, random uint64) {
	if c.hope() {
		c.failing, c.backAt = false, now
		return
	}
	p.asks = append(p.asks, c)
	c.pause(now, random)
}

// pause has c wait: twice as long as the last time, and not quite as long as all others.
func (c *Candidate) pause(now time.Duration, random uint64) {
	d := min(minPause<<min(c.tries, 10), maxPause)
	c.tries++
	c.until = now + d/2 + time.Duration(random>>40)*(d/2)>>24
}

// load is how much c has to do.
func (c *Candidate) load() int {
	n := c.out
	if c.Signs != nil {
		n = max(n, c.Signs.Load())
	}
	return n + c.held
}

// cost is when a request would be through at c, in the time that one usually takes.
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

// slowness is how much more time c takes than is usual; 1 if that is not much, or not
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

// stalled is slowness by what has not come from c until now.
func (p *Picker) stalled(c *Candidate, now time.Duration) float64 {
	quiet := float64(now - c.since)
	if p.usual > 0 && quiet > slowFactor*p.usual {
		return min(quiet/p.usual, maxFactor)
	}
	return 1
}

// watch asks whether the instances live from which nothing has come for too long, and
// ejects those that do not. It also ends the time in which one that fails is avoided.
func (p *Picker) watch(now time.Duration, random uint64) {
	if now-p.watched < watchEvery {
		return
	}
	p.watched = now
	for _, c := range p.all {
		if c.failing && c.state == in && now >= c.until {
			p.relent(c, now, random)
		}
		if c.out > 0 && c.Signs != nil && c.state == in {
			p.doubt(c, now, random)
		}
	}
}

// doubt is watch for one instance.
func (p *Picker) doubt(c *Candidate, now time.Duration, random uint64) {
	quiet := now - c.since
	if quiet < doubtAfter || float64(quiet) < doubtFactor*p.usual {
		return
	}
	switch heard := c.Signs.Heard(); {
	case c.doubted != 0 && heard < c.doubted && now-c.doubted >= silentAfter:
		p.eject(c, now, random, Silent)
	case c.doubted == 0 || heard >= c.doubted && now-c.doubted >= doubtAgain:
		c.doubted = now
		p.asks = append(p.asks, c)
	}
}

// Asks returns the instances of which is to be found out whether there is a way to them
// and they live, so that Signs can tell. It is nil for most requests.
func (p *Picker) Asks() []*Candidate {
	if len(p.asks) == 0 {
		return nil
	}
	asks := slices.Clone(p.asks)
	clear(p.asks)
	p.asks = p.asks[:0]
	return asks
}

// Changes returns what has changed since it was called last. It is nil for most requests.
func (p *Picker) Changes() []Change {
	changes := p.changes
	p.changes = nil
	return changes
}

// UnderWay is how many requests, and other things that occupy it, are at an instance.
func (c *Candidate) UnderWay() int { return c.out + c.held }

// Hold counts something beside requests that occupies an instance, until Release.
func (p *Picker) Hold(c *Candidate)    { c.held++ }
func (p *Picker) Release(c *Candidate) { c.held-- }

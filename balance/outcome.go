package balance

import (
	"slices"
	"time"
)

// Outcome is what a request says of the instance where it was.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota // its handler ran and answered, if only with an error
	Sent                    // it was handed over, and no answer is expected
	Given                   // its caller gave it up, or it ended for reasons that are not the instance's
	Missed                  // it did not get there, or found nobody
	Refused                 // the instance refused it, because it has too much to do
)

// End takes in what became of a request. random is evenly drawn.
func (p *Picker) End(t Ticket, now time.Duration, o Outcome, random uint64) {
	c := t.To
	c.out--
	took := float64(now - max(t.Begun, c.since))                   // since the one before it was through
	probe := t.Probe && t.trial == c.trial && c.state == probation // else it was decided otherwise meanwhile
	if probe {
		c.probing = false
	}
	switch o {
	case Answered:
		if (c.state == in || probe) && !t.first { // else it has waited for the instance to come back
			p.sample(c, now, took)
		}
		c.since, c.doubted, c.failing = now, 0, false
		if probe || c.state != in && c.why != Refusing {
			p.takeBack(c, now)
		}
	case Sent:
		if probe {
			p.takeBack(c, now)
		}
	case Given:
		if c.state == in && took > c.service && took > slowFactor*p.usual { // it would have taken as long at least
			p.sample(c, now, took)
		}
		if probe {
			c.pause(now, random)
			c.state = ejected
		}
	case Missed:
		p.failed(c, probe, now, random, Unreachable)
	case Refused:
		c.since = now // a refusal is an answer
		c.doubted = 0
		p.failed(c, probe, now, random, Refusing)
	}
	if c.out == 0 {
		c.doubted = 0
	}
}

// failed ejects an instance, or lets it wait longer if it was the probe that failed.
func (p *Picker) failed(c *Candidate, probe bool, now time.Duration, random uint64, why Why) {
	if c.state == in {
		p.eject(c, now, random, why)
	} else if probe {
		c.state, c.why, c.outAt = ejected, why, now
		c.pause(now, random)
	}
}

// eject leaves an instance out, unless as many are as may be.
func (p *Picker) eject(c *Candidate, now time.Duration, random uint64, why Why) {
	full := len(p.out) >= p.limit() || !slices.Contains(p.all, c)
	if full && c.failing && now < c.until {
		return // it is avoided as it is
	}
	if now-c.backAt > forgive {
		c.tries = 0
	}
	c.why, c.outAt = why, now
	c.pause(now, random)
	if full {
		c.failing, c.backAt = true, now
		return
	}
	c.state, c.probing = ejected, false
	c.service = 0 // it may be another one when it comes back
	p.out = append(p.out, c)
	p.changes = append(p.changes, Change{c, true, why})
}

// takeBack ends the ejection of an instance.
func (p *Picker) takeBack(c *Candidate, now time.Duration) {
	if i := slices.Index(p.out, c); i >= 0 {
		p.out = slices.Delete(p.out, i, i+1)
		c.state, c.backAt = in, now
		p.changes = append(p.changes, Change{c, false, c.why})
	}
}

// sample takes in how long a request has taken.
func (p *Picker) sample(c *Candidate, now time.Duration, took float64) {
	took = max(took, 1)
	if p.usual > 0 {
		took = min(took, smoothing*maxFactor*p.usual)
	}
	if c.service == 0 || c.service > slowFactor*p.usual && p.slowness(c, now) == 1 { // not known, or no more
		c.service = took
	} else {
		c.service += (took - c.service) / smoothing
	}
	c.sampled = now
	if p.ends++; p.ends >= len(p.sorted) {
		p.median()
	}
}

// median takes the usual time of a request anew.
func (p *Picker) median() {
	p.ends, p.sorted = 0, p.sorted[:0]
	for _, c := range p.all {
		if c.service > 0 {
			p.sorted = append(p.sorted, c.service)
		}
	}
	if n := len(p.sorted); n > 0 {
		slices.Sort(p.sorted)
		p.usual = p.sorted[(n-1)/2]
	}
}

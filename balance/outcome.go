package balance

import (
	"slices"
	"time"
)

// Outcome says how a request ended, as far as it concerns its instance.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota // its handler ran and answered, perhaps with an error
	Sent                    // it was sent, and no answer is expected
	Given                   // its caller cancelled it, or it ended for a reason that is not the instance's
	Missed                  // it did not reach the instance, or the actor was not there
	Refused                 // the instance refused it, because it is overloaded
)

// End records how a request ended. random is uniformly distributed.
func (p *Picker) End(t Ticket, now time.Duration, o Outcome, random uint64) {
	c := t.To
	c.out--
	took := float64(now - max(t.Begun, c.since))                   // since the previous request ended
	probe := t.Probe && t.trial == c.trial && c.state == probation // else the probation has ended meanwhile
	if probe {
		c.probing = false
	}
	switch o {
	case Answered:
		if (c.state == in || probe) && !t.first { // else the time includes waiting for a link
			p.sample(c, now, took)
		}
		c.since, c.pinged, c.failing = now, 0, false
		if probe || c.state != in && c.why != Refusing {
			p.readmit(c, now)
		}
	case Sent:
		if probe {
			p.readmit(c, now)
		}
	case Given:
		if c.state == in && took > c.service && took > slowFactor*p.usual { // it would have taken at least as long
			p.sample(c, now, took)
		}
		if probe {
			c.pause(now, random)
			c.state = ejected
		}
	case Missed:
		p.failed(c, probe, now, random, Unreachable)
	case Refused:
		c.since = now // a refusal is a sign of life
		c.pinged = 0
		p.failed(c, probe, now, random, Refusing)
	}
	if c.out == 0 {
		c.pinged = 0
	}
}

// failed ejects an instance; if its probe failed, it makes it wait longer.
func (p *Picker) failed(c *Candidate, probe bool, now time.Duration, random uint64, why Why) {
	if c.state == in {
		p.eject(c, now, random, why)
	} else if probe {
		c.state, c.why, c.ejectedAt = ejected, why, now
		c.pause(now, random)
	}
}

// eject ejects an instance, unless the limit is reached.
func (p *Picker) eject(c *Candidate, now time.Duration, random uint64, why Why) {
	full := len(p.out) >= p.limit() || !slices.Contains(p.whole.members, c)
	if full && c.failing && now < c.until {
		return // it gets few requests already
	}
	if now-c.readmitted > forgive {
		c.tries = 0
	}
	c.why, c.ejectedAt = why, now
	c.pause(now, random)
	if full {
		c.failing, c.readmitted = true, now
		return
	}
	c.state, c.probing = ejected, false
	c.service = 0 // it may be quicker or slower when it comes back
	p.out = append(p.out, c)
	p.changes = append(p.changes, Change{c, true, why})
}

// readmit ends the ejection of an instance.
func (p *Picker) readmit(c *Candidate, now time.Duration) {
	if i := slices.Index(p.out, c); i >= 0 {
		p.out = slices.Delete(p.out, i, i+1)
		c.state, c.readmitted = in, now
		p.changes = append(p.changes, Change{c, false, c.why})
	}
}

// sample records how long a request has taken.
func (p *Picker) sample(c *Candidate, now time.Duration, took float64) {
	took = max(took, 1)
	if p.usual > 0 {
		took = min(took, smoothing*maxFactor*p.usual)
	}
	if c.service == 0 || c.service > slowFactor*p.usual && p.slowness(c, now) == 1 { // not known, or too old
		c.service = took
	} else {
		c.service += (took - c.service) / smoothing
	}
	c.sampled = now
	if p.ends++; p.ends >= len(p.sorted) {
		p.median()
	}
}

// median computes the usual time of a request again.
func (p *Picker) median() {
	p.ends, p.sorted = 0, p.sorted[:0]
	for _, c := range p.whole.members {
		if c.service > 0 {
			p.sorted = append(p.sorted, c.service)
		}
	}
	if n := len(p.sorted); n > 0 {
		slices.Sort(p.sorted)
		p.usual = p.sorted[(n-1)/2]
	}
}

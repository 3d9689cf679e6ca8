package admission

import (
	"time"

	"golang.org/x/time/rate"
)

// limiters are those of one limit: one for each key that is in use, up to MaxKeys, and one for all
// others.
type limiters struct {
	all    map[key]*limiter
	newest limiter  // the head of the ring of all limiters: behind it is the one that was used last
	others *limiter // for keys for which there is no room; without Per for everything
}

// key is what a limit tells apart; what it does not tell apart is empty.
type key struct{ principal, service, actor, message string }

func newLimiters(c *compiled) *limiters {
	s := &limiters{all: map[key]*limiter{}, others: newLimiter(c, key{})}
	s.newest.before, s.newest.after = &s.newest, &s.newest
	return s
}

func newLimiter(c *compiled, k key) *limiter {
	l := &limiter{of: c, key: k}
	if c.Rate > 0 {
		l.bucket = rate.NewLimiter(rate.Limit(c.Rate), c.Burst)
	}
	if c.Adaptive != nil {
		l.adaptive = newGradient(*c.Adaptive)
	}
	return l
}

// find returns the limiter for m. It makes one if there is room. The limiter goes by what c says, also if
// it was made under rules before.
func (c *compiled) find(now time.Time, m *Message, service string) *limiter {
	l := c.findAny(now, m, service)
	if l.of != c {
		l.follow(now, c)
	}
	return l
}

func (c *compiled) findAny(now time.Time, m *Message, service string) *limiter {
	if c.Per == PerNode {
		return c.others
	}
	k := key{service: service}
	if c.Per&PerPrincipal != 0 {
		k.principal = m.Principal
	}
	if c.Per&PerActor != 0 {
		k.actor = m.Actor
	}
	if c.Per&PerMessage != 0 {
		k.message = m.Type
	}
	if l := c.all[k]; l != nil {
		c.use(l)
		return l
	}
	for range shrinks {
		if len(c.all) < c.MaxKeys || !c.makeRoom(now) {
			break
		}
	}
	if len(c.all) >= c.MaxKeys {
		return c.others
	}
	l := newLimiter(c, k)
	l.before, l.after = l, l
	c.all[k] = l
	c.use(l)
	return l
}

// use makes l the one that was used last.
func (s *limiters) use(l *limiter) {
	l.before.after, l.after.before = l.after, l.before
	l.before, l.after = &s.newest, s.newest.after
	l.before.after, l.after.before = l, l
}

// shrinks is how many limiters one message removes at most, after MaxKeys was lowered.
const shrinks = 4

// looks is how many limiters are looked at for one that is not in use.
const looks = 4

// makeRoom removes a limiter that is not in use, and reports whether it has found one. It looks at
// those that were used longest ago. One with requests under way is looked at again only after
// all others, so that long requests do not hide what lies behind.
func (s *limiters) makeRoom(now time.Time) bool {
	for range looks {
		l := s.newest.before
		switch {
		case l.idle(now):
			l.before.after, l.after.before = l.after, l.before
			delete(s.all, l.key)
			return true
		case l.underWay == 0: // those that were used later have no more tokens
			return false
		}
		s.use(l)
	}
	return false
}

// idle reports whether l is as good as a new limiter.
func (l *limiter) idle(now time.Time) bool {
	return l.underWay == 0 && (l.bucket == nil || l.bucket.TokensAt(now) >= float64(l.of.Burst)-nearly)
}

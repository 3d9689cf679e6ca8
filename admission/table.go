package admission

import (
	"math"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/tandem-go/tandem/mailbox"
)

// Table is the compiled form of Rules, with the state of all limiters. It is not safe for concurrent
// use: its caller serialises the calls. Times that are given to it must not go back by much.
type Table struct {
	limits []*compiled
	found  []*limiter // of the message that is decided on
}

// Message is what a limit looks at.
type Message struct {
	Principal   string
	Kind, Actor string
	Services    []string // of which the actor is an instance
	Type        string   // wire name; empty if the node does not know it
	Class       mailbox.Class

	// OneWay says that the message does not count among the requests under way, and Count for how many
	// such messages it stands; 0 for one. They are admitted or refused together; if they are more than
	// Burst allows at once, they are refused, and have to be asked about one by one.
	OneWay bool
	Count  int
}

// Refusal says why a message is not admitted.
type Refusal struct {
	Limit      string        // its name
	Concurrent bool          // too many requests are under way; else they come too fast
	RetryAfter time.Duration // when another attempt may be admitted: exact for a rate; more than 0
}

// Permit is what an admitted request holds until End. The zero Permit holds nothing.
type Permit struct {
	began time.Time
	held  []*limiter
	few   [4]*limiter // the memory of held, if it is enough
}

// Empty reports whether the permit holds nothing, so that End need not be called.
func (p *Permit) Empty() bool { return len(p.held) == 0 }

// limiter is the state of a limit for one key.
type limiter struct {
	of       *compiled
	key      key
	bucket   *rate.Limiter // nil: no limit on the rate
	adaptive *gradient     // nil: the limit is of.Concurrent
	underWay int
	took     time.Duration // how long requests take: a moving average; 0: none has ended

	before, after *limiter // in the order of their last use
}

// Admit decides on a message that comes at now. If it is admitted, Admit returns nil and fills in p, which
// must be empty: End has to be called when the request has ended, unless p is Empty. If it is refused, no limit has counted it.
func (t *Table) Admit(now time.Time, m *Message, p *Permit) *Refusal {
	t.found = t.found[:0]
	var worst *Refusal
	for _, c := range t.limits {
		service, ok := c.match(m)
		if !ok {
			continue
		}
		l := c.find(now, m, service)
		t.found = append(t.found, l)
		if r := l.refuses(now, m); r != nil && (worst == nil || r.RetryAfter > worst.RetryAfter) {
			worst = r
		}
	}
	if worst != nil {
		return worst
	}
	p.began, p.held = now, p.few[:0]
	for _, l := range t.found {
		if l.bucket != nil {
			l.bucket.ReserveN(now, max(m.Count, 1))
		}
		if l.counts(m) {
			l.underWay++
			p.held = append(p.held, l)
		}
	}
	return nil
}

// End gives back what a request holds that has ended at now, after it has run or not. p is empty
// afterwards. Of a request that did not run, nothing is learned.
func (t *Table) End(now time.Time, p *Permit, ran bool) {
	for _, l := range p.held {
		if ran {
			l.ended(now, now.Sub(p.began))
		}
		l.underWay--
	}
	*p = Permit{}
}

// UnderWay returns how many requests count for the limit of that name, with all its limiters together,
// and how many may be under way at the one of them that allows least; 0: any number.
func (t *Table) UnderWay(name string) (n, most int) {
	for _, c := range t.limits {
		if c.Name != name {
			continue
		}
		n, most = c.others.underWay, c.most(c.others)
		for l := c.newest.after; l != &c.newest; l = l.after {
			n += l.underWay
			most = min(most, c.most(l))
		}
	}
	return n, most
}

// match reports whether the limit is on m. service is that which it tells apart, if it does.
func (c *compiled) match(m *Message) (service string, ok bool) {
	if !c.principals.Match(m.Principal) || !c.kinds.Match(m.Kind) || !c.actors.Match(m.Actor) || !c.messages.Match(m.Type) || !c.services.MatchOne(m.Services) {
		return "", false
	}
	if c.Per&PerService == 0 {
		return "", true
	}
	i := slices.IndexFunc(m.Services, c.services.Match)
	if i < 0 {
		return "", false
	}
	return m.Services[i], true
}

// counts reports whether m counts among the requests under way at l.
func (l *limiter) counts(m *Message) bool {
	return !m.OneWay && (l.adaptive != nil || l.of.Concurrent > 0)
}

// limit is how many requests may be under way; 0: any number.
func (l *limiter) limit() int {
	if l.adaptive != nil {
		return l.adaptive.Limit()
	}
	return l.of.Concurrent
}

// refuses returns why l does not admit m at now, or nil if it does.
func (l *limiter) refuses(now time.Time, m *Message) *Refusal {
	if l.bucket != nil {
		want := float64(max(m.Count, 1) + kept(l.of.Burst, m.Class))
		if short := want - l.bucket.TokensAt(now); short > nearly {
			wait := time.Duration(math.Ceil(short / l.of.Rate * float64(time.Second)))
			return &Refusal{Limit: l.of.Name, RetryAfter: max(wait, 1)}
		}
	}
	if most := l.limit(); l.counts(m) && l.underWay >= most-kept(most, m.Class) {
		return &Refusal{Limit: l.of.Name, Concurrent: true, RetryAfter: l.turnover()}
	}
	return nil
}

// nearly is how much of a message may be missing, because fractions are not exact.
const nearly = 1e-6

// kept returns how much of n is out of reach for messages of a class, because it is for higher ones.
func kept(n int, c mailbox.Class) int {
	switch {
	case c >= mailbox.High:
		return 0
	case c == mailbox.Normal:
		return n / 10
	}
	return n / 5
}

// The bounds of what is guessed as the time until a request under way ends.
const (
	leastTurnover = time.Millisecond
	mostTurnover  = time.Second
)

// turnover guesses when the next of the requests under way will end.
func (l *limiter) turnover() time.Duration {
	return min(max(l.took/time.Duration(max(l.underWay, 1)), leastTurnover), mostTurnover)
}

// ended notes that a request has ended that has taken so long, and is still counted.
func (l *limiter) ended(now time.Time, took time.Duration) {
	if l.took == 0 {
		l.took = took
	}
	l.took += (took - l.took) / 8
	if l.adaptive != nil {
		l.adaptive.Sample(now, took, l.underWay)
	}
}

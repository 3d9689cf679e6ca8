package admission

import (
	"reflect"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// Change puts the rules of another Table in place of those of t. next must be fresh from New, and is not used
// afterwards. It takes time for each limit, but not for each limiter.
//
// A limit that keeps its name and its Per keeps its limiters: the requests that are under way still count, and
// what is left of its rate is not given anew. If it allows fewer requests than are under way, none is admitted
// until enough of them have ended. A limit without a name is recognised if it is the same, or else by its
// position. What is admitted under a limit that is gone gives it back as before. Requests that have come while
// a limit had neither Concurrent nor Adaptive are not counted later.
func (t *Table) Change(next *Table) {
	old, heir := slices.Clone(t.limits), make([]bool, len(next.limits))
	for _, same := range []func(was, is *compiled) bool{
		func(was, is *compiled) bool { return !was.unnamed && !is.unnamed && was.Name == is.Name },
		func(was, is *compiled) bool { return was.unnamed && is.unnamed && was.equal(is) },
		func(was, is *compiled) bool { return was.unnamed && is.unnamed && was.Name == is.Name },
	} {
		for n, is := range next.limits {
			i := slices.IndexFunc(old, func(was *compiled) bool { return was != nil && was.Per == is.Per && same(was, is) })
			if i >= 0 && !heir[n] {
				is.limiters, heir[n], old[i] = old[i].limiters, true, nil
			}
		}
	}
	t.limits, t.found = next.limits, nil
}

// equal reports whether two limits without names say the same.
func (c *compiled) equal(o *compiled) bool {
	a, b := c.Limit, o.Limit
	a.Name, b.Name = "", ""
	return reflect.DeepEqual(a, b)
}

// follow makes l, which was made under rules before, go by what c says.
func (l *limiter) follow(now time.Time, c *compiled) {
	l.of = c
	switch {
	case c.Rate == 0:
		l.bucket = nil
	case l.bucket == nil:
		l.bucket = rate.NewLimiter(rate.Limit(c.Rate), c.Burst)
	default:
		l.bucket.SetLimitAt(now, rate.Limit(c.Rate))
		l.bucket.SetBurstAt(now, c.Burst)
	}
	switch {
	case c.Adaptive == nil:
		l.adaptive = nil
	case l.adaptive == nil:
		l.adaptive = newGradient(*c.Adaptive)
	default:
		l.adaptive.Gradient = c.Adaptive.withDefaults()
		l.adaptive.limit = l.adaptive.within(l.adaptive.limit)
	}
}

// most is how many requests l may have under way by what c says; 0: any number.
func (c *compiled) most(l *limiter) int {
	if c.Adaptive != nil && l.adaptive != nil {
		return int(c.Adaptive.withDefaults().within(l.adaptive.limit))
	}
	return c.Concurrent
}

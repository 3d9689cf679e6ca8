package breaker_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/rpc"
)

func (c *caller) set(t testing.TB, cfg breaker.Config) {
	t.Helper()
	if err := c.b.Set(cfg); err != nil {
		t.Fatal(err)
	}
}

// open reports whether a request is refused by its circuit.
func (c *caller) open(to string, err error) bool {
	return errors.Is(c.ask(to, "m", err), breaker.ErrOpen)
}

// What a circuit has counted counts under the new thresholds.
func TestSetThresholds(t *testing.T) {
	c := newCaller(t, breaker.Config{InRow: 5})
	for range 2 {
		c.ask("a", "m", away)
	}
	c.set(t, breaker.Config{InRow: 3})
	c.ask("a", "m", away)
	want(t, "after the third in a row", c.open("a", nil), true)
	c.set(t, breaker.Config{InRow: 100, Share: 1})
	want(t, "an open circuit stays open", c.open("a", nil), true)
	for range 50 {
		c.ask("b", "m", away)
		c.ask("b", "m", nil)
	}
	want(t, "half of them", c.open("b", nil), false)
	c.set(t, breaker.Config{InRow: 100, Share: 0.4})
	c.ask("b", "m", away)
	want(t, "half of them, of which less is allowed", c.open("b", nil), true)
}

// A circuit with a new Window, Pause or Trials has its counts still, in a row and as a share.
func TestSetTimingKeepsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 3})
		c.ask("a", "m", away)
		c.ask("a", "m", away)
		c.set(t, breaker.Config{InRow: 3, Pause: time.Minute, Window: time.Second})
		want(t, "the third in a row", c.open("a", away), false)
		want(t, "behind it", c.open("a", nil), true)
		want(t, "the event", strings.Count(c.events(), "circuit changed"), 1)
		time.Sleep(time.Minute - time.Millisecond)
		want(t, "before the new pause is over", c.open("a", nil), true)
		time.Sleep(2 * time.Millisecond)
		want(t, "after it", c.open("a", nil), false)

		c.set(t, breaker.Config{InRow: 1e6, Share: 0.5})
		for range 3000 {
			c.ask("b", "m", nil)
			c.ask("b", "m", away)
			c.ask("b", "m", nil)
		}
		c.set(t, breaker.Config{InRow: 1e6, Share: 0.34, Window: time.Minute})
		want(t, "a third", c.open("b", nil), false)
		for range 20 {
			c.ask("b", "m", away)
		}
		want(t, "more than a third", c.open("b", nil), true)
	})
}

// A circuit that is open ends its pause as it began, and then goes by the new one.
func TestSetWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, breaker.Config{InRow: 1, Pause: time.Second, Trials: 1})
		c.ask("a", "m", away)
		c.set(t, breaker.Config{InRow: 1, Pause: time.Hour, Trials: 2})
		want(t, "still open", c.open("a", nil), true)
		time.Sleep(time.Second + time.Millisecond)
		want(t, "on trial", c.open("a", nil), false)
		want(t, "one success closes it, as it began", strings.Contains(c.events(), "closed, was half-open"), true)
		c.ask("a", "m", away)
		time.Sleep(time.Minute)
		want(t, "open for the new pause", c.open("a", nil), true)
	})
}

func TestSetTargets(t *testing.T) {
	c := newCaller(t, breaker.Config{InRow: 1, Targets: []string{"a"}})
	c.ask("a", "m", away)
	c.ask("b", "m", away)
	want(t, "a", c.open("a", nil), true)
	want(t, "b", c.open("b", nil), false)
	c.set(t, breaker.Config{InRow: 1, Targets: []string{"b"}})
	want(t, "a, which has none any more", c.open("a", nil), false)
	c.ask("b", "m", away)
	want(t, "b", c.open("b", nil), true)
	if err := c.b.Set(breaker.Config{InRow: -1, Share: 2}); err == nil {
		t.Error("a config that is wrong")
	}
	want(t, "what is in force", c.b.Config().Targets[0], "b")
	want(t, "with defaults", c.b.Config().Trials, 3)
}

// With a lower MaxCircuits those go that were used longest ago.
func TestSetMaxCircuits(t *testing.T) {
	c := newCaller(t, breaker.Config{InRow: 1})
	for _, to := range []string{"a", "b", "c", "d"} {
		c.ask(to, "m", failed(rpc.Overloaded, rpc.NotRun))
	}
	c.set(t, breaker.Config{InRow: 1, MaxCircuits: 2})
	c.ask("e", "m", nil)
	want(t, "the latest", c.open("d", nil), true)
	want(t, "an older one", c.open("c", nil), false)
}

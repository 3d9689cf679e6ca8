package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// What is known of a lease of 15 s, after some answers.
func TestTenure(t *testing.T) {
	const s = time.Second
	away, gone := errors.New("away"), fmt.Errorf("x: %w", registry.ErrLost)
	taken := error(&registry.TakenError{})
	for _, c := range []struct {
		name string
		now  time.Duration
		want standing
		do   func(tenure) tenure
	}{
		{"never claimed", 0, leaseLost, func(t tenure) tenure { return t }},
		{"claimed", 16 * s, leaseConfirmed, func(t tenure) tenure { return t.after(2*s, nil) }},
		{"it has run out", 17 * s, leaseLate, func(t tenure) tenure { return t.after(2*s, nil) }},
		{"renewed", 21 * s, leaseConfirmed, func(t tenure) tenure { return t.after(2*s, nil).after(7*s, nil) }},
		{"an answer to an earlier request comes later", 21 * s, leaseConfirmed, func(t tenure) tenure { return t.after(7*s, nil).after(2*s, nil) }},
		{"the registry was away, and it has not run out", 16 * s, leaseConfirmed, func(t tenure) tenure { return t.after(2*s, nil).after(7*s, away) }},
		{"the registry was away, and it has run out", 17 * s, leaseLate, func(t tenure) tenure { return t.after(2*s, nil).after(7*s, away) }},
		{"renewed after it had run out", 40 * s, leaseConfirmed, func(t tenure) tenure { return t.after(2*s, nil).after(30*s, nil) }},
		{"lost", 8 * s, leaseLost, func(t tenure) tenure { return t.after(2*s, nil).after(7*s, gone) }},
		{"taken", 8 * s, leaseLost, func(t tenure) tenure { return t.after(2*s, nil).after(7*s, taken) }},
		{"lost, and claimed again", 20 * s, leaseConfirmed, func(t tenure) tenure { return t.after(2*s, nil).after(7*s, gone).after(8*s, nil) }},
		{"given up", 3 * s, leaseLost, func(t tenure) tenure { return t.after(2*s, nil).end() }},
		{"given up, and an answer comes", 3 * s, leaseLost, func(t tenure) tenure { return t.after(2*s, nil).end().after(2*s, nil) }},
		{"given up, and lost", 3 * s, leaseLost, func(t tenure) tenure { return t.end().after(2*s, gone).after(2*s, nil) }},
	} {
		if got := c.do(tenure{lease: 15 * s}).at(c.now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := (tenure{}).after(0, nil).at(1000 * time.Hour); got != leaseConfirmed {
		t.Errorf("without a lease: %d", got)
	}
}

// Whatever the answers are: when the lease is certain, the registry, which counts it from a moment
// between the request and its answer, still has it.
func TestTenureIsNeverTooLong(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const lease = 15 * time.Second
		known, kept, now := tenure{lease: lease}, time.Duration(0), time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(rt, "requests") {
			sent := now + time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(rt, "pause"))
			made := sent + time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(rt, "on the way"))
			now = made + time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(rt, "on the way back"))
			var err error
			switch rapid.IntRange(0, 3).Draw(rt, "answer") {
			case 0: // it is made, and nobody hears of it
				kept, err = made+lease, context.DeadlineExceeded
			case 1: // it never arrives
				err = context.DeadlineExceeded
			case 2:
				kept, err = 0, registry.ErrLost
			default:
				kept = made + lease
			}
			known = known.after(sent, err)
			for _, at := range []time.Duration{now, now + lease/2, now + lease} {
				if known.at(at) == leaseConfirmed && at >= kept {
					rt.Fatalf("certain at %v, and the registry had it until %v", at, kept)
				}
			}
		}
	})
}

// leased is a registry with a lease, whose renewals take a time, or fail.
type leased struct {
	registry.Registry
	takes time.Duration
	mu    sync.Mutex // guards err
	err   error
}

// answers sets the answer to the renewals that begin from now on.
func (l *leased) answers(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *leased) Lease() time.Duration { return 15 * time.Second }

func (l *leased) Renew(context.Context, string, string) error {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	time.Sleep(l.takes)
	return err
}

// A node knows until when its lease is certain: while renewals are slow, while they fail, when its
// name is lost and claimed again, and when it leaves.
func TestLeaseUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := &leased{Registry: static.New(), takes: 3 * time.Second}
		sys, err := NewSystem(Config{Name: "n", Registry: reg, Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("bus", false)}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		m := sys.members
		claimed := m.now()
		until := func(want time.Duration) {
			t.Helper()
			if got := time.Duration(m.leaseUntil.Load()); got != want || m.certain() != (m.now() < want) {
				t.Errorf("at %v: until %v, want %v; certain: %v", m.now(), got, want, m.certain())
			}
		}
		wait := func(d time.Duration) {
			time.Sleep(claimed + d - m.now())
			synctest.Wait()
		}
		s := time.Second
		until(claimed + 15*s)
		wait(7 * s)
		until(claimed + 15*s) // the renewal of second 5 is under way
		wait(8 * s)
		until(claimed + 20*s) // it counts from when it was sent
		reg.answers(registry.ErrUnavailable)
		wait(19 * s)
		until(claimed + 20*s)
		wait(20 * s)
		until(claimed + 20*s)
		if m.certain() {
			t.Error("certain after the lease has run out")
		}
		reg.answers(registry.ErrLost) // the name is claimed again, at second 28
		wait(28 * s)
		until(claimed + 28*s + 15*s)
		reg.answers(nil)
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if m.certain() {
			t.Error("certain after it has left")
		}
	})
}

// Without a registry, and where claims have no lease, a node is always certain.
func TestAlwaysCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, reg := range []registry.Registry{nil, static.New()} {
			cfg := Config{Name: "n", Registry: reg, Logger: slog.New(slog.DiscardHandler)}
			if reg != nil {
				cfg.Transports = []transport.Transport{memnet.New(memnet.Config{}).Transport("bus", false)}
			}
			sys, err := NewSystem(cfg)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(24 * time.Hour) // thousands of leases of other registries
			if !sys.members.certain() {
				t.Errorf("not certain with %T", reg)
			}
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

package breaker

import (
	"errors"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Set replaces the Config, also while requests are under way. The circuits keep their states. InRow and Share count
// from the next failure on. Window, Pause and Trials are part of a circuit: one that is closed takes them on with its next
// request, with what it has counted (of more than 1,000 requests the shares); requests under way then do
// not count. One that is open or half open ends as it began, and takes them on when it is closed again.
// If cfg is wrong, the error names everything, and the Config before stays in force.
func (b *Breaker) Set(cfg Config) error {
	p, err := newPlan(cfg)
	if err != nil {
		return err
	}
	b.plan.Store(p)
	return nil
}

// Validate returns everything that is wrong with cfg, joined.
func (c Config) Validate() error {
	_, err := newPlan(c)
	return err
}

// Config returns the Config in force, with the defaults in place of zero values.
func (b *Breaker) Config() Config { return b.plan.Load().Config }

// timing is what a circuit cannot change.
type timing struct {
	window, pause time.Duration
	trials        int
}

func (p *plan) timing() timing { return timing{p.Window, p.Pause, p.Trials} }

// mostReplayed is how many outcomes a circuit tells its successor at most.
const mostReplayed = 1000

// errCounted stands for a failure that was counted before.
var errCounted = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "breaker: %w", errors.New("it was counted before"))

// successor returns a closed circuit by a new plan, with the counts of c, which is closed and of which nothing
// is heard any more.
func (c *circuit) successor(p *plan) *circuit {
	n, next := c.two.Counts(), c.of.newCircuit(c.key, p)
	c.mu.Lock()
	c.quiet = true
	c.mu.Unlock()
	good, bad, row := uint64(n.TotalSuccesses), uint64(n.TotalFailures), uint64(n.ConsecutiveFailures)
	if all := good + bad; all > mostReplayed {
		good, bad = good*mostReplayed/all, bad*mostReplayed/all
	}
	row = min(row, bad)
	next.quiet = true // nobody else has it yet
	next.replay(bad-row, errCounted)
	next.replay(good, nil)
	next.replay(row, errCounted)
	next.mu.Lock()
	next.quiet, next.changes = false, c.takeChanges()
	next.mu.Unlock()
	return next
}

// replay counts n requests with the same outcome.
func (c *circuit) replay(n uint64, outcome error) {
	for range n {
		if done, err := c.two.Allow(); err == nil {
			done(outcome)
		}
	}
}

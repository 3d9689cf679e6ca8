//go:build unix

package procs

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// inquiry is what the referee of the suites of a service's life knows of one call.
type inquiry struct {
	asked, told time.Time
	to          who
	verdict     rpc.Verdict
	code        rpc.Code // 0: a reply
	reply       uint64
	ran         int
}

func (c *inquiry) took() time.Duration { return c.told.Sub(c.asked) }

// ledger is all calls, in the order in which they were made.
type ledger struct {
	calls map[uint64]*inquiry
	order []*inquiry
	done  int
}

func newLedger() *ledger { return &ledger{calls: map[uint64]*inquiry{}} }

func (l *ledger) take(r record) {
	c := l.calls[r.op]
	if c == nil {
		c = &inquiry{}
		l.calls[r.op] = c
	}
	switch at := time.Unix(0, r.at); r.sort {
	case asked:
		c.asked, c.to = at, r.who
		l.order = append(l.order, c)
	case told:
		c.told, c.verdict, c.code, c.reply = at, r.verdict, r.code, r.aux
		l.done++
	case ran:
		c.ran++
	}
}

// sum is what became of some calls.
type sum struct {
	calls, errors         int
	notRun, hasRun, maybe int
	slow                  int // replies that came later than the limit
	worst                 time.Duration
	open                  int // calls that have not ended
	wrong                 []string
}

// of sums up the calls that which accepts. A reply that took longer than limit is slow.
func (l *ledger) of(limit time.Duration, which func(*inquiry) bool) (s sum) {
	for op, c := range l.calls {
		if c.asked.IsZero() || !which(c) {
			continue
		}
		s.calls++
		bad := func(what string) { s.wrong = append(s.wrong, fmt.Sprintf("op %x %s", op, what)) }
		if c.ran > 1 {
			bad(fmt.Sprintf("ran %d times", c.ran))
		}
		if c.told.IsZero() {
			s.open++
			continue
		}
		s.worst = max(s.worst, c.took())
		if c.code == 0 {
			if c.ran == 0 {
				bad("was answered and never ran")
			}
			if c.reply != op {
				bad("got another call's reply")
			}
			if c.took() > limit {
				s.slow++
			}
			continue
		}
		s.errors++
		switch c.verdict {
		case rpc.NotRun:
			s.notRun++
			if c.ran > 0 {
				bad("ran, and its caller was told that it did not")
			}
		case rpc.HasRun:
			s.hasRun++
			if c.ran == 0 {
				bad("never ran, and its caller was told that it did")
			}
		default:
			s.maybe++
		}
	}
	return s
}

func (s sum) String() string {
	return fmt.Sprintf("%d calls, %d errors (%d NotRun, %d Ran, %d Unknown), %d slow, worst %v, %d open, %d wrong",
		s.calls, s.errors, s.notRun, s.hasRun, s.maybe, s.slow, short(s.worst), s.open, len(s.wrong))
}

package placement

import (
	"iter"
	"time"
)

// SettleTime is how long the hosts have to stay the same before a node gives up what another one should have.
const SettleTime = 5 * time.Second

// Pace decides when a node gives up actors that the hosts have chosen another node for: not before the
// hosts have been the same for a while, and then so many per second. It is not for concurrent use.
type Pace struct {
	rate float64   // per second
	calm time.Time // from when on the hosts count as settled
	next time.Time // when the next one is due
}

// paceBatch is what falls due in so long a time, and is given up together.
const paceBatch = 50 * time.Millisecond

// NewPace returns a Pace of so many actors per second, which is above 0.
func NewPace(rate float64) *Pace { return &Pace{rate: rate} }

// Changed says that the hosts are not the ones that they were.
func (p *Pace) Changed(now time.Time) { p.calm = now.Add(SettleTime) }

// Settled returns how long it is until the hosts count as settled; 0: they do.
func (p *Pace) Settled(now time.Time) time.Duration { return max(0, p.calm.Sub(now)) }

// Take returns how many of so many actors may be given up now, and when to ask for the others.
func (p *Pace) Take(now time.Time, of int) (n int, pause time.Duration) {
	if pause = p.Settled(now); pause > 0 {
		return 0, pause
	}
	step := time.Duration(float64(time.Second) / p.rate)
	if p.next.Before(now) {
		p.next = now
	}
	for due := now.Add(paceBatch); n < of && (p.next.Before(due) || p.next.Equal(now)); n++ {
		p.next = p.next.Add(max(step, 1))
	}
	if n < of {
		pause = p.next.Sub(now)
	}
	return n, pause
}

// Move is an actor that a node has, and the node that should have it.
type Move struct {
	Key Key
	To  string
}

// Misplaced yields those of the keys, which node has, that h chooses another node for.
func (h *Hosts) Misplaced(node string, keys iter.Seq[Key]) iter.Seq[Move] {
	return func(yield func(Move) bool) {
		for key := range keys {
			if to, ok := h.Choose(key); ok && to != node && !yield(Move{key, to}) {
				return
			}
		}
	}
}

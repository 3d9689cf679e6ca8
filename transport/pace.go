package transport

import "time"

// pace decides how many bytes of large messages may be under way, that is, sent and not
// acknowledged: enough to keep the road busy, and not many more, since small messages
// queue behind them. On a fast road that is little, across an ocean much. It follows
// BBR (Cardwell et al., ACM Queue 14.5, 2016): twice what the road delivers in the
// shortest time from a chunk to its answer. It has no lock and no clock.
type pace struct {
	window int

	shortest time.Duration // from a chunk to its answer, since nothing was under way; 0: unknown
	taken    bool          // a sample is being taken
	since    time.Time     // its beginning
	until    uint64        // it ends when so many bytes have been delivered
	before   uint64        // delivered at its beginning

	delivered uint64 // bytes acknowledged in all
}

// Bounds of the window. The lower is what the receiver may leave unanswered, and as much
// again to keep the road busy meanwhile.
const (
	minWindow = 2 * answerEvery
	maxWindow = 8 << 20
)

func newPace() pace { return pace{window: minWindow} }

// sent notes that a chunk was sent and flight bytes are under way with it; first says
// that nothing else is.
func (p *pace) sent(now time.Time, flight int, first bool) {
	if first {
		p.shortest = 0
	}
	if first || !p.taken {
		p.taken, p.since, p.until, p.before = true, now, p.delivered+uint64(flight), p.delivered
	}
}

// acked notes that the receiver has n bytes more.
func (p *pace) acked(now time.Time, n int) {
	p.delivered += uint64(n)
	if !p.taken || p.delivered < p.until {
		return
	}
	p.taken = false
	took := max(now.Sub(p.since), time.Microsecond)
	if p.shortest == 0 || took < p.shortest {
		p.shortest = took
	}
	inShortest := float64(p.delivered-p.before) * float64(p.shortest) / float64(took)
	p.window = min(max(int(2*inShortest), minWindow), 2*p.window, maxWindow)
}

// lost notes that what is under way is sent again: how long that takes says nothing.
func (p *pace) lost() { p.taken = false }

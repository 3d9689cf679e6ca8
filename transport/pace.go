package transport

import "time"

// pace decides how many bytes of large messages may be in flight, that is, sent and not
// acknowledged: enough to keep the road busy, and not many more, because small messages
// queue behind them. That is little on a fast road and much across an ocean. It follows BBR
// (Cardwell et al., ACM Queue 14.5, 2016): twice the bytes that the road delivers in the
// shortest round-trip time. It has no lock and no clock.
type pace struct {
	window int

	shortest time.Duration // shortest round-trip time since nothing was in flight; 0: unknown
	taken    bool          // a sample is being taken
	since    time.Time     // its beginning
	until    uint64        // it ends when so many bytes have been delivered
	before   uint64        // delivered at its beginning

	delivered uint64 // bytes acknowledged in all
}

// Bounds of the window. The lower one is twice what the receiver may leave unanswered, so
// that the road stays busy meanwhile.
const (
	minWindow = 2 * answerEvery
	maxWindow = 8 << 20
)

func newPace() pace { return pace{window: minWindow} }

// sent records that a chunk was sent, with which flight bytes are in flight; first says that
// nothing else is.
func (p *pace) sent(now time.Time, flight int, first bool) {
	if first {
		p.shortest = 0
	}
	if first || !p.taken {
		p.taken, p.since, p.until, p.before = true, now, p.delivered+uint64(flight), p.delivered
	}
}

// acked records that the receiver has n more bytes.
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

// lost records that what is in flight is sent again: its round-trip time says nothing.
func (p *pace) lost() { p.taken = false }

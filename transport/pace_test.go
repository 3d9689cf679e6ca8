package transport

import (
	"testing"
	"time"
)

// road simulates a sender that always has chunks, on a road of so many bytes per second
// with a round trip of rtt: it returns the bytes that came in the given time and the
// longest queue, in time, that a small message would have met.
func road(rate float64, rtt, during time.Duration) (bytes int, queue time.Duration) {
	type flying struct {
		at time.Duration
		n  int
	}
	var (
		p       = newPace()
		epoch   = time.Unix(1_700_000_000, 0)
		now     time.Duration // of the sender
		busy    time.Duration // until then the bottleneck is
		answers []flying
		flight  int
	)
	for now < during {
		for flight < p.window {
			flight += chunkSize
			p.sent(epoch.Add(now), flight, flight == chunkSize)
			busy = max(busy, now) + time.Duration(float64(chunkSize)/rate*float64(time.Second))
			answers = append(answers, flying{busy + rtt, chunkSize})
			if now > during/2 {
				queue = max(queue, busy-now)
			}
		}
		now = answers[0].at
		flight -= answers[0].n
		bytes += answers[0].n
		p.acked(epoch.Add(now), answers[0].n)
		answers = answers[1:]
	}
	return bytes, queue
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		name  string
		rate  float64
		rtt   time.Duration
		least float64       // of the rate that must be used
		queue time.Duration // that may stand before a small message
	}{
		{"loopback", 1e9, 30 * time.Microsecond, 0.9, 200 * time.Microsecond},
		{"data centre", 1.25e9, 200 * time.Microsecond, 0.9, 700 * time.Microsecond},
		{"country", 125e6, 10 * time.Millisecond, 0.9, 25 * time.Millisecond},
		{"ocean", 12.5e6, 100 * time.Millisecond, 0.85, 250 * time.Millisecond},
		{"slow", 125e3, 50 * time.Millisecond, 0.9, 800 * time.Millisecond}, // the least window
	} {
		bytes, queue := road(c.rate, c.rtt, 10*time.Second)
		if used := float64(bytes) / c.rate / 10; used < c.least || queue > c.queue {
			t.Errorf("%s: used %.0f %%, queue of %v; want %.0f %%, at most %v", c.name, 100*used, queue, 100*c.least, c.queue)
		} else {
			t.Logf("%s: used %.0f %%, queue of %v", c.name, 100*used, queue)
		}
	}
}

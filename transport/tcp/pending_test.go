package tcp

import (
	"net/netip"
	"testing"
	"time"
)

// step is one new connection, at a time in tenths of a second.
type step struct {
	at   int
	from string
	why  limit
	out  int // which newcomer made room, counted from 1; 0: none
}

func TestPendingConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		max, perAddr int
		steps        []step
	}{
		"as many as one address may have, and one more": {8, 2, []step{
			{0, "1.1.1.1", admitted, 0}, {1, "1.1.1.1", admitted, 0}, {2, "1.1.1.1", maxPendingPerIP, 0}, {2, "2.2.2.2", admitted, 0}}},
		"its oldest makes room when it has had its time": {8, 2, []step{
			{0, "1.1.1.1", admitted, 0}, {1, "1.1.1.1", admitted, 0}, {9, "1.1.1.1", maxPendingPerIP, 0}, {10, "1.1.1.1", admitted, 1}, {10, "1.1.1.1", maxPendingPerIP, 0}, {11, "1.1.1.1", admitted, 2}}},
		"as many as there may be, each from elsewhere, and one more": {2, 2, []step{
			{0, "1.1.1.1", admitted, 0}, {1, "2.2.2.2", admitted, 0}, {2, "3.3.3.3", maxPending, 0}}},
		"the oldest of all makes room when it has had its time": {2, 2, []step{
			{0, "1.1.1.1", admitted, 0}, {1, "2.2.2.2", admitted, 0}, {10, "3.3.3.3", admitted, 1}, {10, "4.4.4.4", maxPending, 0}}},
		"who has many makes room for who has none, at once": {4, 3, []step{
			{0, "9.9.9.9", admitted, 0}, {1, "1.1.1.1", admitted, 0}, {1, "1.1.1.1", admitted, 0}, {1, "1.1.1.1", admitted, 0},
			{2, "2.2.2.2", admitted, 2}, {2, "3.3.3.3", admitted, 3}, {2, "4.4.4.4", maxPending, 0}}},
		"who has one more than the newcomer keeps it": {3, 2, []step{
			{0, "1.1.1.1", admitted, 0}, {0, "1.1.1.1", admitted, 0}, {0, "2.2.2.2", admitted, 0}, {1, "2.2.2.2", maxPending, 0}}},
		"a network of IPv6 is one address": {8, 2, []step{
			{0, "2001:db8::1", admitted, 0}, {0, "2001:db8::ffff:2", admitted, 0}, {0, "2001:db8::3", maxPendingPerIP, 0}, {0, "2001:db8:0:1::1", admitted, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newPending(Config{MaxPending: tt.max, MaxPendingPerIP: tt.perAddr, HandshakeTimeout: 5 * time.Second})
			start := time.Now()
			came := make([]*pendingConn, len(tt.steps))
			for i, s := range tt.steps {
				in, out, why := b.enter(nil, netip.MustParseAddr(s.from), start.Add(time.Duration(s.at)*100*time.Millisecond+time.Duration(i)))
				came[i] = in
				var want *pendingConn
				if s.out > 0 {
					want = came[s.out-1]
				}
				if why != s.why || out != want || (in != nil) != (why == admitted) {
					t.Fatalf("newcomer %d: %v, %+v makes room; want %v, %+v", i+1, why, out, s.why, want)
				}
				if out != nil && b.leave(out) {
					t.Fatalf("newcomer %d: who made room was still in", i+1)
				}
			}
			for _, g := range came {
				if g != nil {
					b.leave(g)
				}
			}
			if len(b.conns)+len(b.of) > 0 {
				t.Errorf("all left, and there are %d conns of %d addresses", len(b.conns), len(b.of))
			}
		})
	}
}

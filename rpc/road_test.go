package rpc

import (
	"math"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	var (
		bus, direct         = candidate{ready: true}, candidate{ready: true, direct: true}
		busSoon, directSoon = candidate{}, candidate{direct: true}
	)
	for _, row := range []struct {
		name  string
		await bool
		links []candidate
		want  int
	}{
		{"no link", false, nil, -1},
		{"none ready", false, []candidate{busSoon, directSoon}, -1},
		{"a bus", false, []candidate{bus}, 0},
		{"a bus, while a direct one is awaited", true, []candidate{bus}, -1},
		{"direct, while a direct one is awaited", true, []candidate{bus, direct}, 1},
		{"direct before bus", false, []candidate{bus, direct}, 1},
		{"direct before a later bus", false, []candidate{direct, bus}, 0},
		{"the bus until the direct one is ready", false, []candidate{bus, directSoon}, 0},
		{"the later of two direct", false, []candidate{direct, direct, bus}, 1},
		{"the later of two buses", false, []candidate{bus, bus, directSoon}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := choose(row.links, row.await); got != row.want {
				t.Errorf("chose %d, want %d", got, row.want)
			}
		})
	}
}

func TestRoadPolicy(t *testing.T) {
	for _, row := range []struct {
		policy      RoadPolicy
		name        string
		direct, bus bool
	}{
		{DirectFirst, "direct first", true, true},
		{BusOnly, "bus only", false, true},
		{DirectOnly, "direct only", true, false},
		{Adaptive, "adaptive", true, true},
	} {
		if !row.policy.Valid() || row.policy.String() != row.name {
			t.Errorf("policy %d: valid %v, named %q", row.policy, row.policy.Valid(), row.policy)
		}
		if row.policy.takes(true) != row.direct || row.policy.takes(false) != row.bus {
			t.Errorf("%v: takes direct %v, bus %v", row.policy, row.policy.takes(true), row.policy.takes(false))
		}
	}
	if RoadPolicy(4).Valid() || RoadPolicy(200).String() != "?" {
		t.Error("a policy that does not exist is valid, or has a name")
	}
}

func TestBackoff(t *testing.T) {
	almost := math.Nextafter(1, 0)
	for _, row := range []struct {
		n    int
		high time.Duration
	}{
		{-1, 0}, {0, 0}, {1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {3, 400 * time.Millisecond},
		{4, 800 * time.Millisecond}, {5, 1600 * time.Millisecond}, {6, 2 * time.Second}, {64, 2 * time.Second}, {math.MaxInt, 2 * time.Second},
	} {
		if got := backoff(row.n, 0); got != 0 {
			t.Errorf("backoff(%d, 0) = %v, want 0: full jitter", row.n, got)
		}
		if got := backoff(row.n, almost); got > row.high || got < row.high-time.Microsecond {
			t.Errorf("backoff(%d, 1) = %v, want %v", row.n, got, row.high)
		}
	}
}

func TestTraffic(t *testing.T) {
	for _, row := range []struct {
		name   string
		sent   []int // in each beat
		served int   // the last beat in which we were asked; 0 for none
		earned bool
		idle   bool // after the last beat
	}{
		{"little", []int{1, 199, 5}, 0, false, false},
		{"much in one beat", []int{0, 0, 200}, 0, true, false},
		{"much, but long ago", []int{500, 0, 0}, 0, false, false},
		{"nothing for long", make([]int, idleAfter), 0, false, true},
		{"nothing for not quite as long", make([]int, idleAfter-1), 0, false, false},
		{"nothing but being asked", make([]int, idleAfter), 3, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var tr traffic
			var earned, idle bool
			for i, n := range row.sent {
				tr.sent += n
				earned, idle = tr.beat(i+1 == row.served)
			}
			if earned != row.earned || idle != row.idle {
				t.Errorf("earned %v, idle %v", earned, idle)
			}
		})
	}
}

func TestGaps(t *testing.T) {
	const beat = 2 * time.Second
	g := gaps{}
	for _, row := range []struct {
		at   time.Duration
		want bool
	}{
		{2 * time.Second, true}, {4 * time.Second, true}, {9 * time.Second, true}, // a late look is no gap
		{15 * time.Second, false}, {17 * time.Second, false}, {20 * time.Second, false}, {21 * time.Second, true},
		{100 * time.Second, false}, {105 * time.Second, false}, {111 * time.Second, false}, {113 * time.Second, false}, {117 * time.Second, true},
	} {
		if got := g.drained(row.at, beat); got != row.want {
			t.Errorf("at %v: leases may end: %v, want %v", row.at, got, row.want)
		}
	}
}

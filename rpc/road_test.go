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
	} {
		if !row.policy.Valid() || row.policy.String() != row.name {
			t.Errorf("policy %d: valid %v, named %q", row.policy, row.policy.Valid(), row.policy)
		}
		if row.policy.takes(true) != row.direct || row.policy.takes(false) != row.bus {
			t.Errorf("%v: takes direct %v, bus %v", row.policy, row.policy.takes(true), row.policy.takes(false))
		}
	}
	if RoadPolicy(3).Valid() || RoadPolicy(200).String() != "?" {
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

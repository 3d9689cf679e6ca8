package client

import (
	"testing"

	"github.com/tandem-go/tandem/rpc"
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
		policy      rpc.RoadPolicy
		name        string
		direct, bus bool
	}{
		{rpc.DirectFirst, "direct first", true, true},
		{rpc.BusOnly, "bus only", false, true},
		{rpc.DirectOnly, "direct only", true, false},
		{rpc.Adaptive, "adaptive", true, true},
	} {
		if !row.policy.Valid() || row.policy.String() != row.name {
			t.Errorf("policy %d: valid %v, named %q", row.policy, row.policy.Valid(), row.policy)
		}
		if allows(row.policy, true) != row.direct || allows(row.policy, false) != row.bus {
			t.Errorf("%v: takes direct %v, bus %v", row.policy, allows(row.policy, true), allows(row.policy, false))
		}
	}
	if rpc.RoadPolicy(4).Valid() || rpc.RoadPolicy(200).String() != "?" {
		t.Error("a policy that does not exist is valid, or has a name")
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

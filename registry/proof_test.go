package registry

import "testing"

func TestDead(t *testing.T) {
	own := &Proof{Boot: "b", Namespace: "n", PID: 9, Started: 90}
	holder := func(change func(*Proof)) *Proof {
		p := &Proof{Boot: "b", Namespace: "n", PID: 7, Started: 70}
		if change != nil {
			change(p)
		}
		return p
	}
	gone := Process{Seen: true}
	running := func(started uint64) Process { return Process{Seen: true, Exists: true, Started: started} }
	for _, c := range []struct {
		what   string
		holder *Proof
		own    *Proof
		seen   Process
		want   bool
	}{
		{"its process is gone", holder(nil), own, gone, true},
		{"its number belongs to another process", holder(nil), own, running(71), true},
		{"it runs", holder(nil), own, running(70), false},
		{"it is this process", own, own, running(90), false},
		{"it is an earlier process of this number", holder(func(p *Proof) { p.PID = 9 }), own, running(90), true},
		{"nothing can be seen", holder(nil), own, Process{}, false},
		{"its start cannot be seen", holder(nil), own, running(0), false},
		{"its start was not known", holder(func(p *Proof) { p.Started = 0 }), own, running(71), false},
		{"its start was not known, and it is gone", holder(func(p *Proof) { p.Started = 0 }), own, gone, true},
		{"another boot, or machine", holder(func(p *Proof) { p.Boot = "c" }), own, gone, false},
		{"another namespace", holder(func(p *Proof) { p.Namespace = "m" }), own, gone, false},
		{"no boot on either side", holder(func(p *Proof) { p.Boot = "" }), &Proof{Namespace: "n"}, gone, false},
		{"no namespace on either side", holder(func(p *Proof) { p.Namespace = "" }), &Proof{Boot: "b"}, gone, false},
		{"it has no proof", nil, own, gone, false},
		{"we have none", holder(nil), nil, gone, false},
	} {
		if got := c.holder.Dead(c.own, c.seen); got != c.want {
			t.Errorf("%s: dead: %v", c.what, got)
		}
	}
}

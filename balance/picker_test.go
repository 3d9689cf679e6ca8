package balance

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An instance that refuses a request is ejected at once. After a pause it gets one request, and
// each time it refuses that, too, the pause doubles. When it has answered one, it is
// readmitted.
func TestRefusing(t *testing.T) {
	b := with(t, LeastLoaded(), 4)
	b.where(8)
	b.end(b.only(1), Refused)
	b.changed("a1 refusing")
	if had := b.where(30); had[1] != 0 {
		t.Errorf("had %v", had)
	}
	var pauses []time.Duration
	for range 8 {
		began := b.now
		var probe Ticket
		for i := -1; i != 1; probe, i = b.pick() {
			if i >= 0 {
				b.end(probe, Answered)
			}
			b.now += time.Millisecond
		}
		pauses = append(pauses, b.now-began)
		if !probe.Probe {
			t.Error("it is no probe")
		}
		if had := b.where(30); had[1] != 0 {
			t.Errorf("beside the probe: %v", had)
		}
		b.end(probe, Refused)
	}
	for i, p := range pauses {
		most := min(minPause<<i, maxPause)
		if p < most/2 || p > most+2*time.Millisecond {
			t.Errorf("pause %d: %v, want %v to %v", i, p, most/2, most)
		}
	}
	b.changed()
	b.now += maxPause
	b.end(b.only(1), Answered)
	b.changed("a1 back")
	if had := b.where(40); !slices.Equal(had, []int{10, 10, 10, 10}) {
		t.Errorf("had %v", had)
	}
	b.end(b.only(1), Refused)
	b.changed("a1 refusing")
	b.now += minPause
	if _, i := b.pick(); i == 1 {
		t.Error("its pause is as short as the first, though it was back for a moment only")
	}
}

// An instance that cannot be reached is asked for after each pause. When there is a link to it
// again, it gets a probe.
func TestUnreachable(t *testing.T) {
	b := with(t, LeastLoaded(), 4)
	b.seen[2].linked, b.seen[2].heard = false, 0
	b.end(b.only(2), Missed)
	b.changed("a2 unreachable")
	b.asked()
	for range 4 {
		b.now += maxPause
		if had := b.where(10); had[2] != 0 {
			t.Errorf("had %v", had)
		}
		b.asked("a2")
	}
	b.seen[2].linked, b.seen[2].heard = true, b.now
	b.now += maxPause
	probe := b.only(2)
	if had := b.where(10); had[2] != 0 || !probe.Probe {
		t.Errorf("beside the probe: %v", had)
	}
	b.end(probe, Answered)
	b.changed("a2 back")
}

// An instance from which nothing has come for long is asked whether it lives. If it does not
// answer, it is ejected. If it answers, its handler is slow.
func TestSilentOrSlow(t *testing.T) {
	for _, silent := range []bool{true, false} {
		b := with(t, LeastLoaded(), 4)
		for range 20 {
			t, _ := b.pick()
			b.now += 10 * time.Millisecond
			b.end(t, Answered)
		}
		for _, s := range b.seen {
			s.heard = b.now
		}
		b.asked()
		stuck := b.only(3)
		asked := 0
		for range 1000 {
			b.now += 10 * time.Millisecond
			if had := b.where(3); had[3] != 0 {
				t.Fatalf("had %v while it hangs", had)
			}
			if len(b.Asks()) > 0 {
				asked++
				if !silent {
					b.seen[3].heard = b.now
				}
			}
		}
		if silent {
			b.changed("a3 silent")
			b.end(stuck, Answered) // it was only stopped for a while
			b.changed("a3 back")
			continue
		}
		b.changed()
		if asked < 5 || asked > 11 {
			t.Errorf("asked %d times in 10 s", asked)
		}
		b.end(stuck, Answered)
		if had := b.where(30); had[3] != 0 {
			t.Errorf("it was slow, and had %v", had)
		}
		b.now += time.Minute
		if had := b.where(40); had[3] != 10 {
			t.Errorf("it was slow long ago, and had %v", had)
		}
	}
}

// Only half of the instances may be ejected. An instance that fails and is not ejected for this
// reason is called again when it works, although the others could do all the work.
func TestFailingIsForgiven(t *testing.T) {
	for _, how := range []Outcome{Refused, Missed} {
		b := with(t, LeastLoaded(), 3)
		b.end(b.only(0), how)
		b.end(b.only(1), how)
		if had := b.where(10); had[1] != 0 {
			t.Errorf("%v: a1 had %d requests right after it had failed", how, had[1])
		}
		if how == Missed { // as long as there is no link to them
			b.seen[0].linked, b.seen[1].linked = false, false
			for range 600 {
				b.now += 100 * time.Millisecond
				if had := b.where(1); had[2] != 1 {
					t.Fatalf("%v: %v requests, and there is a way to a2 alone", how, had)
				}
			}
			if !slices.ContainsFunc(b.Asks(), func(c *Candidate) bool { return c.Data == 1 }) {
				t.Error("nobody has looked for a way to a1")
			}
			b.seen[0].linked, b.seen[1].linked = true, true
		}
		well, had := b.now, 0
		for had == 0 && b.now < well+maxPause+time.Second {
			b.now += 100 * time.Millisecond
			had += b.where(1)[1]
		}
		if had == 0 {
			t.Errorf("%v: a1 is well, and has had no request for %v", how, b.now-well)
		}
	}
}

// At most half of the instances are ejected, rounded down. The others go on.
func TestHalfAtMost(t *testing.T) {
	for n := 1; n <= 9; n++ {
		b := with(t, LeastLoaded(), n)
		for range 20 * n {
			ticket, _ := b.pick()
			b.end(ticket, Refused)
		}
		ejected := 0
		for _, c := range b.Changes() {
			if c.Ejected {
				ejected++
			}
		}
		if want := n / 2; ejected != want || len(b.out) != want {
			t.Errorf("%d of %d ejected, want %d", ejected, n, want)
		}
		if _, i := b.pick(); i < 0 {
			t.Errorf("of %d none is left", n)
		}
	}
	b := with(t, LeastLoaded(), 4)
	b.end(b.only(0), Refused)
	b.end(b.only(1), Refused)
	b.changed("a0 refusing", "a1 refusing")
	b.set(3) // now two of three are ejected
	b.changed("a0 back")
	if had := b.where(10); had[0] != 0 || had[2] != 10 {
		t.Errorf("had %v; a0 fails, and is in because as many as may be are out", had)
	}
	b.end(b.only(2), Refused)
	b.changed()
}

// Pick never chooses an instance that was tried, and an ejected one only if no other is left.
func TestTried(t *testing.T) {
	b := with(t, LeastLoaded(), 3)
	b.end(b.only(1), Missed)
	var tried []*Candidate
	for want := 2; want >= 0; want-- {
		if got := b.Untried(nil, tried); got != (want > 0) {
			t.Errorf("untried: %v with %d left", got, want)
		}
		ticket, i := b.pick(tried...)
		if slices.Contains(tried, ticket.To) || (i == 1) != (want == 0) {
			t.Errorf("a%d with %d left", i, want)
		}
		tried = append(tried, ticket.To)
	}
	if _, i := b.pick(tried...); i != -1 {
		t.Errorf("a%d, and all were tried", i)
	}
	if _, ok := New(Policy{}).Pick(0, Request{}); ok {
		t.Error("there is none")
	}
}

// An instance of a later epoch is a new one: nothing of its predecessor counts.
func TestSetKeepsWhatIsKnown(t *testing.T) {
	b := with(t, RoundRobin(), 4)
	b.end(b.only(1), Missed)
	stuck := b.only(2)
	b.set(4)
	if had := b.where(30); had[1] != 0 || stuck.To.Outstanding() != 1 {
		t.Errorf("had %v, %d under way", had, stuck.To.Outstanding())
	}
	var all []Instance
	for _, c := range b.All() {
		all = append(all, c.Instance)
		all[len(all)-1].Epoch = "2"
	}
	b.Set(b.now, all)
	if had := b.where(40); had[1] != 10 {
		t.Errorf("started anew: %v", had)
	}
	b.end(stuck, Missed)
	b.changed("a1 unreachable")
}

// Whatever happens: at most half of the instances are ejected, there is an instance for each
// request, each ejected instance is in the list of those, and an instance's load is the number
// of its requests that have not ended.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(r, "instances")
		policy := rapid.SampledFrom([]Policy{{}, RoundRobin(), Random(), Weighted()}).Draw(r, "policy")
		b := with(t, policy, n)
		var out []Ticket
		for range rapid.IntRange(1, 200).Draw(r, "steps") {
			b.now += time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(r, "time"))
			switch rapid.IntRange(0, 9).Draw(r, "step") {
			case 0, 1, 2, 3:
				ticket, i := b.pick()
				if i < 0 {
					r.Fatal("no instance")
				}
				out = append(out, ticket)
			case 4, 5, 6, 7:
				if len(out) > 0 {
					i := rapid.IntRange(0, len(out)-1).Draw(r, "which")
					b.end(out[i], Outcome(rapid.IntRange(0, int(Refused)).Draw(r, "outcome")))
					out = slices.Delete(out, i, i+1)
				}
			case 8:
				s := rapid.SampledFrom(b.seen).Draw(r, "sign")
				s.linked, s.heard = rapid.Bool().Draw(r, "linked"), b.now-time.Duration(rapid.IntRange(0, 1).Draw(r, "heard"))*time.Minute
			case 9:
				b.set(rapid.IntRange(1, n).Draw(r, "now"))
			}
			b.Asks()
			if len(b.out) > b.Len()/2 {
				r.Fatalf("%d of %d ejected", len(b.out), b.Len())
			}
			under := map[*Candidate]int{}
			for _, t := range out {
				under[t.To]++
			}
			for _, c := range b.All() {
				if c.Outstanding() != under[c] {
					r.Fatalf("%s: %d under way, want %d", c.Node, c.Outstanding(), under[c])
				}
				if (c.state == in) == slices.Contains(b.out, c) {
					r.Fatalf("%s is in state %d", c.Node, c.state)
				}
			}
		}
	})
}

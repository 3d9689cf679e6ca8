package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// signs is what a test has seen.
type signs struct {
	load   int
	linked bool
	heard  time.Duration
}

func (s *signs) Load() int            { return s.load }
func (s *signs) Linked() bool         { return s.linked }
func (s *signs) Heard() time.Duration { return s.heard }

// bench is a Picker under test and its clock.
type bench struct {
	*Picker
	t    testing.TB
	now  time.Duration
	seen []*signs
}

// with returns one with n instances, a0 and so on, that are linked and always heard.
func with(t testing.TB, policy Policy, n int) *bench {
	b := &bench{Picker: New(policy), t: t, now: time.Second}
	for range n {
		b.seen = append(b.seen, &signs{linked: true, heard: math.MaxInt64})
	}
	b.set(n)
	return b
}

// set says that there are the first n.
func (b *bench) set(n int) {
	var all []Instance
	for i := range n {
		all = append(all, Instance{Node: fmt.Sprintf("a%d", i), Epoch: "1", Actor: "x", Data: i, Signs: b.seen[i]})
	}
	b.Set(b.now, all)
}

// pick chooses, and returns the number of the chosen one too, -1 for none.
func (b *bench) pick(tried ...*Candidate) (Ticket, int) {
	t, ok := b.Pick(b.now, Request{Random: rand.Uint64(), Tried: tried})
	if !ok {
		return t, -1
	}
	return t, t.To.Data.(int)
}

func (b *bench) end(t Ticket, o Outcome) { b.End(t, b.now, o, rand.Uint64()) }

// only makes requests until one is at the given instance, and answers the others.
func (b *bench) only(at int) Ticket {
	b.t.Helper()
	for range 1000 {
		t, i := b.pick()
		if i == at {
			return t
		}
		b.end(t, Answered)
	}
	b.t.Fatalf("a%d gets nothing", at)
	return Ticket{}
}

// where answers n requests at once and returns how many each instance had.
func (b *bench) where(n int) []int {
	had := make([]int, len(b.seen))
	for range n {
		t, i := b.pick()
		if i < 0 {
			b.t.Fatal("no instance")
		}
		had[i]++
		b.end(t, Answered)
	}
	return had
}

// changed checks what has changed since it was called last: +1 is that a1 was ejected for a
// reason, -1 that it was taken back.
func (b *bench) changed(want ...string) {
	b.t.Helper()
	var got []string
	for _, c := range b.Changes() {
		word := "back"
		if c.Ejected {
			word = c.Why.String()
		}
		got = append(got, fmt.Sprint(c.Candidate.Node, " ", word))
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("changes: %q, want %q", got, want)
	}
}

// asked checks of which it wants to know whether they live.
func (b *bench) asked(want ...string) {
	b.t.Helper()
	var got []string
	for _, c := range b.Asks() {
		got = append(got, c.Node)
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("asks for %q, want %q", got, want)
	}
}

// An instance that refuses is left out at once, gets one request after a pause, which
// doubles while that is refused too, and is back when one was answered.
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

// One that is out of reach is asked for after each pause, and gets its probe when there is
// a way to it again.
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

// One from which nothing comes for long is asked whether it lives. If it does not say so it
// is left out; if it does, its handler is slow.
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
			b.end(stuck, Answered) // it was only stopped
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

// An instance that fails, and is in because as many as may be are out, is called again when
// it is well, though those that are well could do all the work.
func TestFailingIsForgiven(t *testing.T) {
	for _, how := range []Outcome{Refused, Missed} {
		b := with(t, LeastLoaded(), 3)
		b.end(b.only(0), how)
		b.end(b.only(1), how)
		if had := b.where(10); had[1] != 0 {
			t.Errorf("%v: a1 had %d requests right after it had failed", how, had[1])
		}
		if how == Missed { // for as long as no way leads there
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

// Half of the instances at most are left out, rounded down; the others go on.
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
	b.set(3) // now they are two of three
	b.changed("a0 back")
	if had := b.where(10); had[0] != 0 || had[2] != 10 {
		t.Errorf("had %v; a0 fails, and is in because as many as may be are out", had)
	}
	b.end(b.only(2), Refused)
	b.changed()
}

// Pick chooses what was tried not again, and what is ejected only if nothing else is left.
func TestTried(t *testing.T) {
	b := with(t, LeastLoaded(), 3)
	b.end(b.only(1), Missed)
	var tried []*Candidate
	for want := 2; want >= 0; want-- {
		if got := b.Untried(tried); got != (want > 0) {
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

// An instance of a later epoch is another one, and nothing is held against it.
func TestSetKeepsWhatIsKnown(t *testing.T) {
	b := with(t, RoundRobin(), 4)
	b.end(b.only(1), Missed)
	stuck := b.only(2)
	b.set(4)
	if had := b.where(30); had[1] != 0 || stuck.To.UnderWay() != 1 {
		t.Errorf("had %v, %d under way", had, stuck.To.UnderWay())
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

func TestPolicies(t *testing.T) {
	weights := func(b *bench, w ...int) *bench {
		var all []Instance
		for i, c := range b.All() {
			all = append(all, c.Instance)
			all[i].Weight = w[i]
		}
		b.Set(b.now, all)
		return b
	}
	if had := with(t, RoundRobin(), 3).where(30); !slices.Equal(had, []int{10, 10, 10}) {
		t.Errorf("round robin: %v", had)
	}
	if had := weights(with(t, Weighted(), 3), 1, 2, 3).where(60); !slices.Equal(had, []int{10, 20, 30}) {
		t.Errorf("weighted: %v", had)
	}
	if had := weights(with(t, Weighted(), 2), 0, -1).where(60); !slices.Equal(had, []int{30, 30}) {
		t.Errorf("weights that are none: %v", had)
	}
	for i, n := range with(t, Random(), 4).where(4000) {
		if n < 800 || n > 1200 {
			t.Errorf("random: %d of 4000 at a%d", n, i)
		}
	}
	if had := with(t, LeastLoaded(), 20).where(4000); slices.Min(had) < 100 || slices.Max(had) > 300 {
		t.Errorf("least loaded, of many that are idle: %v", had)
	}
	b := weights(with(t, LeastLoaded(), 2), 1, 3)
	had := []int{0, 0}
	for range 40 {
		_, i := b.pick()
		had[i]++
	}
	if had[0] != 10 {
		t.Errorf("least loaded, weighted: %v", had)
	}
	b = with(t, LeastLoaded(), 3)
	b.seen[0].load = 5
	if had := b.where(30); had[0] != 0 {
		t.Errorf("5 wait at the first: %v", had)
	}
	b.Hold(b.All()[1])
	if had := b.where(30); had[1] != 0 {
		t.Errorf("the second is occupied: %v", had)
	}
	b.Release(b.All()[1])
	if had := b.where(30); had[1] != 15 {
		t.Errorf("the second is free again: %v", had)
	}
}

// Of many instances one that is idle is found as long as a few of those looked at are.
func TestIdleIsFound(t *testing.T) {
	for _, n := range []int{2, 5, few, 30} {
		b := with(t, LeastLoaded(), n)
		for i := range n { // each finds one that has nothing to do
			ticket, _ := b.pick()
			if ticket.To.UnderWay() != 1 && (n <= few || i < n/2) {
				t.Errorf("request %d of %d waits behind another one", i, n)
			}
		}
	}
}

// When an instance goes only its keys move, and all to somewhere else; weights count.
func TestByKey(t *testing.T) {
	policy := ByKey(func(m any) string { return m.(string) })
	if !policy.Keyed() || policy.KeyOf("x") != "x" || LeastLoaded().KeyOf("x") != "" {
		t.Error("keys")
	}
	b := with(t, policy, 5)
	home := func(key string, tried ...*Candidate) int {
		ticket, ok := b.Pick(b.now, Request{Key: key, Random: rand.Uint64(), Tried: tried})
		if !ok {
			t.Fatal("no instance")
		}
		b.end(ticket, Answered)
		return ticket.To.Data.(int)
	}
	homes, counts := map[string]int{}, make([]int, 5)
	for i := range 5000 {
		key := fmt.Sprint("key", i)
		homes[key] = home(key)
		counts[homes[key]]++
	}
	for i, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("%d of 5000 keys at a%d", n, i)
		}
	}
	b.end(b.only(3), Refused)
	moved := make([]int, 5)
	for key, was := range homes {
		if is := home(key); was != 3 && is != was || is == 3 {
			t.Fatalf("%s was at a%d, is at a%d, and a3 was ejected", key, was, is)
		} else if was == 3 {
			moved[is]++
		}
	}
	if slices.Min(slices.Delete(moved, 3, 4)) < 150 {
		t.Errorf("what moved went to %v", moved)
	}
	b.now += maxPause
	for key, was := range homes { // its probe is one of its own
		if is := home(key); is != was {
			t.Fatalf("%s was at a%d, is at a%d", key, was, is)
		}
	}
	b.changed("a3 refusing", "a3 back")
}

// Whatever happens: as many as may be are ejected at most, there is an instance for each
// request, each is in one list or the other, and what is under way is what was not ended.
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
				if c.UnderWay() != under[c] {
					r.Fatalf("%s: %d under way, want %d", c.Node, c.UnderWay(), under[c])
				}
				if (c.state == in) == slices.Contains(b.out, c) {
					r.Fatalf("%s is in state %d", c.Node, c.state)
				}
			}
		}
	})
}

func TestNames(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{"least loaded": Policy{}, "by key": ByKey(nil), "unreachable": Unreachable, "silent": Silent, "refusing": Refusing, "?": Why(9)} {
		if got.String() != want {
			t.Errorf("%q, want %q", got.String(), want)
		}
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, n := range []int{4, 100} {
		for _, policy := range []Policy{LeastLoaded(), RoundRobin(), Random(), Weighted()} {
			b := with(t, policy, n)
			var tried [4]*Candidate
			if got := testing.AllocsPerRun(1000, func() {
				ticket, _ := b.Pick(b.now, Request{Random: rand.Uint64(), Tried: tried[:1]})
				b.End(ticket, b.now, Answered, 1)
			}); got > 0 {
				t.Errorf("%v of %d allocates %v times", policy, n, got)
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{4, 16, 256} {
		for _, policy := range []Policy{LeastLoaded(), RoundRobin(), Random(), Weighted()} {
			b.Run(fmt.Sprintf("%v/%d", policy, n), func(b *testing.B) {
				p := with(b, policy, n)
				for b.Loop() {
					ticket, _ := p.Pick(p.now, Request{Random: rand.Uint64()})
					p.now += 100
					p.End(ticket, p.now, Answered, 1)
				}
			})
		}
	}
}

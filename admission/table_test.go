package admission

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/mailbox"
)

// desk is a Table with a clock, whose verdicts are lines of text.
type desk struct {
	*Table
	now  time.Time
	open []*Permit
}

func newDesk(t testing.TB, limits ...Limit) *desk {
	t.Helper()
	table, err := New(Rules{Groups: map[string][]string{"staff": {"tls:ann", "nats:team-*"}}, List: limits})
	if err != nil {
		t.Fatal(err)
	}
	return &desk{Table: table, now: time.Unix(1000, 0)}
}

// admit decides on m, and keeps its permit.
func (d *desk) admit(m Message) string {
	p := new(Permit)
	switch r := d.Admit(d.now, &m, p); {
	case r == nil:
		d.open = append(d.open, p)
		return "ok"
	case r.Concurrent:
		return "busy: " + r.Limit
	default:
		return fmt.Sprintf("fast: %s, %v", r.Limit, r.RetryAfter)
	}
}

// end ends the request that was admitted first.
func (d *desk) end() {
	d.End(d.now, d.open[0], true)
	d.open = d.open[1:]
}

// tally admits m n times and returns how many got in.
func (d *desk) tally(m Message, n int) (in int) {
	for range n {
		if d.admit(m) == "ok" {
			in++
		}
	}
	return in
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestRate(t *testing.T) {
	d := newDesk(t, Limit{Name: "all", Rate: 10, Burst: 2})
	want(t, "at once", d.tally(Message{}, 5), 2)
	want(t, "the third", d.admit(Message{}), "fast: all, 100ms")
	d.now = d.now.Add(60 * time.Millisecond)
	want(t, "later", d.admit(Message{}), "fast: all, 40ms")
	d.now = d.now.Add(40 * time.Millisecond)
	want(t, "at that time", d.admit(Message{}), "ok")
	want(t, "and again", d.admit(Message{}), "fast: all, 100ms")
	d.now = d.now.Add(time.Hour)
	want(t, "after a pause", d.tally(Message{}, 5), 2)
}

// RetryAfter is exact at awkward rates, too: not one nanosecond earlier.
func TestRetryAfterIsExact(t *testing.T) {
	for _, r := range []float64{0.3, 3, 7, 999, 12345.678, 1e6} {
		d := newDesk(t, Limit{Rate: r, Burst: 1})
		d.admit(Message{})
		for range 100 {
			refused := d.Admit(d.now, &Message{}, new(Permit))
			early := time.Duration(float64(refused.RetryAfter) * 0.999)
			if d.Admit(d.now.Add(early-time.Microsecond), &Message{}, new(Permit)) == nil {
				t.Fatalf("rate %v: admitted earlier than after %v", r, refused.RetryAfter)
			}
			d.now = d.now.Add(refused.RetryAfter)
			if got := d.admit(Message{}); got != "ok" {
				t.Fatalf("rate %v: %s", r, got)
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	d := newDesk(t, Limit{Name: "two", Concurrent: 2})
	want(t, "at once", d.tally(Message{}, 5), 2)
	want(t, "one-way messages do not count", d.admit(Message{OneWay: true}), "ok")
	d.end()
	want(t, "when one has ended", d.tally(Message{}, 5), 1)
	for range 3 {
		d.end()
	}
	n, most := d.UnderWay("two")
	want(t, "in the end", fmt.Sprint(n, most), "0 2")
}

// Several one-way messages are admitted together, within what is for their class, or not at all.
func TestCount(t *testing.T) {
	d := newDesk(t, Limit{Name: "all", Rate: 1, Burst: 50})
	want(t, "into the part of others", d.admit(Message{OneWay: true, Count: 46}), "fast: all, 1s")
	want(t, "more than ever fit", d.admit(Message{OneWay: true, Count: 60}), "fast: all, 15s")
	want(t, "all that there is", d.admit(Message{OneWay: true, Count: 45}), "ok")
	want(t, "one more", d.admit(Message{OneWay: true}), "fast: all, 1s")
	want(t, "a high one", d.admit(Message{OneWay: true, Class: mailbox.High, Count: 5}), "ok")
}

// All limits that match must admit, and what is refused by one is counted by none.
func TestAllMustAdmit(t *testing.T) {
	d := newDesk(t, Limit{Name: "rate", Rate: 10, Burst: 5}, Limit{Name: "busy", Concurrent: 1}, Limit{Name: "slow", Rate: 1, Burst: 9})
	want(t, "the first", d.admit(Message{}), "ok")
	for range 100 {
		want(t, "while it runs", d.admit(Message{}), "busy: busy")
	}
	for range 4 { // there are tokens for all of them
		d.end()
		want(t, "after it", d.admit(Message{}), "ok")
	}
	d.end()
	want(t, "now too fast", d.admit(Message{}), "fast: rate, 100ms")
	n, _ := d.UnderWay("busy")
	want(t, "no place was taken", n, 0)
}

// The longest wait of all limits is what a caller is told.
func TestLongestWait(t *testing.T) {
	d := newDesk(t, Limit{Name: "a", Rate: 10, Burst: 1}, Limit{Name: "b", Rate: 1, Burst: 1}, Limit{Name: "c", Rate: 5, Burst: 1})
	d.admit(Message{})
	want(t, "refused", d.admit(Message{}), "fast: b, 1s")
}

func TestMatch(t *testing.T) {
	for _, row := range []struct {
		limit Limit
		m     Message
		want  bool
	}{
		{Limit{}, Message{}, true},
		{Limit{Principals: []string{"@staff"}}, Message{Principal: "tls:ann"}, true},
		{Limit{Principals: []string{"@staff"}}, Message{Principal: "nats:team-7"}, true},
		{Limit{Principals: []string{"@staff"}}, Message{Principal: "tls:bob"}, false},
		{Limit{Kinds: []string{"shop.*"}}, Message{Kind: "shop.cart"}, true},
		{Limit{Kinds: []string{"shop.*"}}, Message{Kind: "shopping"}, false},
		{Limit{Actors: []string{"a"}, Messages: []string{"m"}}, Message{Actor: "a", Type: "m"}, true},
		{Limit{Actors: []string{"a"}, Messages: []string{"m"}}, Message{Actor: "a", Type: "n"}, false},
		{Limit{Services: []string{"s"}}, Message{Services: []string{"r", "s"}}, true},
		{Limit{Services: []string{"s"}}, Message{}, false},
		{Limit{Per: PerService}, Message{}, false},
		{Limit{Per: PerService}, Message{Services: []string{"r"}}, true},
	} {
		row.limit.Rate, row.limit.Burst = 1, 1
		d := newDesk(t, row.limit)
		if got := d.tally(row.m, 2) == 1; got != row.want {
			t.Errorf("%+v, %+v: matches: %v", row.limit, row.m, got)
		}
	}
}

// What a limit tells apart has limiters of its own.
func TestPer(t *testing.T) {
	all := []Message{}
	for i := range 16 {
		bit := func(n int) string { return fmt.Sprint(i >> n & 1) }
		all = append(all, Message{Principal: bit(0), Actor: bit(1), Type: bit(2), Services: []string{bit(3)}})
	}
	for _, row := range []struct {
		per  Per
		want int
	}{{PerNode, 1}, {PerPrincipal, 2}, {PerActor, 2}, {PerMessage, 2}, {PerService, 2}, {PerActor | PerMessage, 4}, {allPer, 16}} {
		d, in := newDesk(t, Limit{Per: row.per, Rate: 1, Burst: 1}), 0
		for _, m := range append(all, all...) {
			in += d.tally(m, 1)
		}
		want(t, fmt.Sprintf("per %#x", uint8(row.per)), in, row.want)
	}
}

// Low classes are refused first, high ones last; small limits have nothing apart.
func TestClasses(t *testing.T) {
	for _, row := range []struct {
		n                   int
		low, normal, higher int
	}{{1, 1, 1, 1}, {4, 4, 4, 4}, {5, 4, 5, 5}, {10, 8, 9, 10}, {100, 80, 90, 100}} {
		for class, most := range map[mailbox.Class]int{mailbox.Low: row.low, mailbox.Normal: row.normal, mailbox.High: row.higher, mailbox.Urgent: row.higher} {
			d := newDesk(t, Limit{Concurrent: row.n})
			want(t, fmt.Sprintf("%d under way, %v", row.n, class), d.tally(Message{Class: class}, 200), most)
			d = newDesk(t, Limit{Rate: 1, Burst: row.n})
			want(t, fmt.Sprintf("burst %d, %v", row.n, class), d.tally(Message{Class: class}, 200), most)
		}
	}
	d := newDesk(t, Limit{Concurrent: 10})
	got := []string{}
	for _, class := range []mailbox.Class{mailbox.Low, mailbox.Normal, mailbox.Low, mailbox.High} {
		got = append(got, fmt.Sprintf("%v %d", class, d.tally(Message{Class: class}, 200)))
	}
	want(t, "one after another", strings.Join(got, " "), "low 8 normal 1 low 0 high 1")
}

// At ten times the rate, high messages all get in as long as there are few enough, and of the others
// as many as are left.
func TestClassesUnderOverload(t *testing.T) {
	d, in := newDesk(t, Limit{Rate: 1000, Burst: 100}), map[mailbox.Class]int{}
	for i := range 100_000 { // in 10 s
		d.now = d.now.Add(100 * time.Microsecond)
		class := mailbox.Low
		switch {
		case i%20 == 0: // 500 a second
			class = mailbox.High
		case i%2 == 0: // 4500 a second
			class = mailbox.Normal
		}
		in[class] += d.tally(Message{Class: class}, 1)
	}
	if in[mailbox.High] != 5000 || in[mailbox.Normal] < 4950 || in[mailbox.Normal] > 5150 || in[mailbox.Low] > 50 {
		t.Errorf("admitted in 10 s: %v", in)
	}
}

// However many principals come, the memory is bounded, and those for whom there is no room are
// limited together.
func TestManyKeys(t *testing.T) {
	d := newDesk(t, Limit{Per: PerPrincipal, Rate: 10, Burst: 10, MaxKeys: 100})
	for i := range 50 {
		d.admit(Message{Principal: fmt.Sprint("guest ", i)})
	}
	in := 0
	for i := range 100_000 { // in 1 s
		d.now = d.now.Add(10 * time.Microsecond)
		in += d.tally(Message{Principal: fmt.Sprint("hostile ", i)}, 1)
	}
	if n := len(d.limits[0].all); n > 100 {
		t.Errorf("%d limiters", n)
	}
	// 50 had room at once; a limiter with 9 of 10 tokens is full after 100 ms, so up to 100 make room ten times a second; and all others share one
	if in > 50+100*11+20 {
		t.Errorf("%d messages of 100,000 principals got in", in)
	}
	d.now = d.now.Add(time.Second)
	want(t, "a guest comes back when it is over", d.tally(Message{Principal: "guest 1"}, 20), 9)
}

// A limiter with a request under way is never forgotten, and does not keep others from being.
func TestBusyKeysStay(t *testing.T) {
	d := newDesk(t, Limit{Name: "l", Per: PerActor, Concurrent: 1, MaxKeys: 8})
	for i := range 6 {
		d.admit(Message{Actor: fmt.Sprint("busy ", i)})
	}
	for i := range 100 {
		want(t, "another", d.admit(Message{Actor: fmt.Sprint("other ", i)}), "ok")
		d.End(d.now, d.open[6], true)
		d.open = d.open[:6]
	}
	for i := range 6 {
		want(t, "still busy", d.admit(Message{Actor: fmt.Sprint("busy ", i)}), "busy: l")
	}
	for len(d.open) > 0 {
		d.end()
	}
	n, _ := d.UnderWay("l")
	want(t, "in the end", n, 0)
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Rules{List: []Limit{
		{}, {Name: "x", Rate: -1}, {Name: "x", Concurrent: -1}, {Name: "b", Burst: 1, Concurrent: 1}, {Name: "p", Rate: 1, Per: 1},
		{Name: "g", Rate: 1, Principals: []string{"@nobody", ""}}, {Name: "e", Rate: 1, Actors: []string{""}},
		{Name: "both", Concurrent: 1, Adaptive: &Gradient{}}, {Name: "order", Adaptive: &Gradient{Min: 5, Max: 3}}, {Name: "tolerance", Adaptive: &Gradient{Tolerance: 0.5}},
	}})
	for _, text := range []string{"limit 1: it limits nothing", "x: Rate is -1", "x: another limit has this name", "x: Concurrent is -1", "b: Burst is 1, Rate 0", "p: Per is",
		"g: no group nobody", "g: Principals: an empty name", "e: Actors: an empty name", "both: Concurrent together", "order: Adaptive: want Min 5", "tolerance: Adaptive: want a Tolerance"} {
		if err == nil || !strings.Contains(err.Error(), "admission: "+text) {
			t.Errorf("nothing says %q: %v", text, err)
		}
	}
}

// A message costs nothing but time.
func TestAdmitAllocates(t *testing.T) {
	d := newDesk(t, Limit{Per: PerPrincipal, Rate: 1e9, Burst: 1e6}, Limit{Concurrent: 100}, Limit{Adaptive: &Gradient{}})
	p, m := new(Permit), Message{Principal: "tls:ann"}
	if n := testing.AllocsPerRun(1000, func() {
		d.now = d.now.Add(time.Millisecond)
		if d.Admit(d.now, &m, p) != nil {
			t.Fatal("refused")
		}
		d.End(d.now, p, true)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	for _, full := range []bool{false, true} {
		b.Run(fmt.Sprint("refused=", full), func(b *testing.B) {
			d := newDesk(b, Limit{Per: PerPrincipal, Rate: 1e9, Burst: 1e9}, Limit{Concurrent: 100}, Limit{Services: []string{"no"}, Rate: 1})
			if full {
				d.tally(Message{}, 100)
			}
			m := Message{Principal: "tls:ann", Actor: "cart", Kind: "shop.cart"}
			for b.Loop() {
				p := new(Permit)
				if d.Admit(d.now, &m, p) == nil {
					d.End(d.now, p, true)
				}
			}
		})
	}
}

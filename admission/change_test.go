package admission

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/mailbox"
)

// change puts other limits in force.
func (d *desk) change(t testing.TB, limits ...Limit) {
	t.Helper()
	next, err := New(Rules{List: limits})
	if err != nil {
		t.Fatal(err)
	}
	d.Change(next)
}

// A limit that does not change keeps its counts, whatever happens to others.
func TestChangeOfAnother(t *testing.T) {
	same := Limit{Name: "same", Concurrent: 2, Rate: 1, Burst: 3}
	d := newDesk(t, Limit{Name: "gone", Rate: 1000}, same, Limit{Concurrent: 7})
	want(t, "before", d.tally(Message{}, 2), 2)
	d.change(t, Limit{Concurrent: 7}, same, Limit{Name: "new", Rate: 1000})
	want(t, "behind the change", d.admit(Message{}), "busy: same")
	n, most := d.UnderWay("same")
	want(t, "under way", fmt.Sprint(n, most), "2 2")
	n, _ = d.UnderWay("limit 1")
	want(t, "under way at one that has no name, and moved", n, 2)
	d.end()
	want(t, "the last token", d.admit(Message{}), "ok")
	d.end()
	want(t, "no token is given anew", d.admit(Message{}), "fast: same, 1s")
	d.end()
	n, _ = d.UnderWay("same")
	want(t, "in the end", n, 0)
}

// A lower limit takes effect as those end that are under way; a higher one at once.
func TestChangeOfConcurrent(t *testing.T) {
	d := newDesk(t, Limit{Name: "l", Concurrent: 8})
	want(t, "at first", d.tally(Message{Class: mailbox.High}, 20), 8)
	d.change(t, Limit{Name: "l", Concurrent: 3})
	n, most := d.UnderWay("l")
	want(t, "before any message", fmt.Sprint(n, most), "8 3")
	for range 5 {
		want(t, "while too many are under way", d.admit(Message{}), "busy: l")
		d.end()
	}
	want(t, "with as many as are allowed", d.admit(Message{}), "busy: l")
	d.end()
	want(t, "below", d.tally(Message{}, 5), 1)
	d.change(t, Limit{Name: "l", Concurrent: 5})
	want(t, "higher", d.tally(Message{}, 5), 2)
	d.change(t) // none
	want(t, "without limits", d.tally(Message{}, 50), 50)
	for len(d.open) > 0 {
		d.end()
	}
}

// A rate changes at once, and what was used of it stays used.
func TestChangeOfRate(t *testing.T) {
	d := newDesk(t, Limit{Name: "l", Rate: 10, Burst: 4, Per: PerPrincipal})
	want(t, "the burst", d.tally(Message{Principal: "a"}, 9), 4)
	d.change(t, Limit{Name: "l", Rate: 2, Burst: 4, Per: PerPrincipal})
	want(t, "nothing is left", d.admit(Message{Principal: "a"}), "fast: l, 500ms")
	want(t, "of another", d.tally(Message{Principal: "b"}, 9), 4)
	d.now = d.now.Add(500 * time.Millisecond)
	want(t, "at the new rate", d.tally(Message{Principal: "a"}, 9), 1)
	d.change(t, Limit{Name: "l", Rate: 2, Burst: 9, Per: PerPrincipal})
	want(t, "a burst is not given", d.admit(Message{Principal: "a"}), "fast: l, 500ms")
	d.change(t, Limit{Name: "l", Rate: 2, Burst: 4}) // of another Per: limiters of its own
	want(t, "another Per", d.tally(Message{Principal: "a"}, 9), 4)
	d.change(t, Limit{Name: "l", Concurrent: 1})
	want(t, "no rate any more", d.tally(Message{Principal: "a"}, 9), 1)
}

// A limit that finds out by itself keeps what it has found out, within the new bounds.
func TestChangeOfAdaptive(t *testing.T) {
	d := newDesk(t, Limit{Name: "l", Adaptive: &Gradient{Initial: 50}})
	d.admit(Message{})
	d.change(t, Limit{Name: "l", Adaptive: &Gradient{Max: 30}})
	n, most := d.UnderWay("l")
	want(t, "lower", fmt.Sprint(n, most), "1 30")
	want(t, "admitted", d.tally(Message{Class: mailbox.High}, 99), 29)
	d.change(t, Limit{Name: "l", Concurrent: 30})
	want(t, "fixed", d.admit(Message{}), "busy: l")
	d.change(t, Limit{Name: "l", Adaptive: &Gradient{Initial: 40}})
	want(t, "begun anew", d.tally(Message{Class: mailbox.High}, 99), 10)
}

// With a lower MaxKeys the limiters become fewer as messages come, a few with each.
func TestChangeOfMaxKeys(t *testing.T) {
	d := newDesk(t, Limit{Name: "l", Per: PerPrincipal, Concurrent: 1, MaxKeys: 100})
	for i := range 100 {
		d.admit(Message{Principal: fmt.Sprint(i)})
		d.end()
	}
	d.change(t, Limit{Name: "l", Per: PerPrincipal, Concurrent: 1, MaxKeys: 10})
	want(t, "at first", len(d.limits[0].all), 100)
	for i := range 40 {
		want(t, "another", d.admit(Message{Principal: fmt.Sprint("other", i)}), "ok")
		d.end()
	}
	want(t, "in the end", len(d.limits[0].all), 10)
}

package trail_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
)

func head(n int) *trail.Head {
	return &trail.Head{ID: rpc.RequestID{Session: 1, Seq: uint64(n)}, Side: trail.Client, Target: fmt.Sprint("x", n)}
}

// A Trail does what a plain list of requests does of which each class keeps its latest ones.
func TestTrailAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "requests")
		tr := trail.New(limit)
		rooms := map[trail.Class]int{trail.Unusual: max(limit/2, 4), trail.Marked: max(limit/4, 4), trail.Routine: max(limit-limit/2-limit/4, 4)}
		type kept struct {
			n     int
			ref   trail.Ref
			class trail.Class
			steps []time.Duration
		}
		order := map[trail.Class][]*kept{} // the places of each class in the order in which they were taken; nil: given up
		var all []*kept
		place := func(k *kept, class trail.Class) {
			k.class = class
			order[class] = append(order[class], k)
			if o := order[class]; len(o) > rooms[class] {
				order[class] = o[1:]
			}
		}
		holds := func(k *kept) bool {
			for _, o := range order[k.class] {
				if o == k {
					return true
				}
			}
			return false
		}
		for i := range rapid.IntRange(1, 300).Draw(t, "actions") {
			switch rapid.IntRange(0, 3).Draw(t, "action") {
			case 0:
				k := &kept{n: len(all) + 1}
				class := trail.Class(rapid.IntRange(0, 2).Draw(t, "class"))
				k.ref = tr.Keep(head(k.n), class)
				all = append(all, k)
				place(k, class)
			case 1, 2:
				if len(all) == 0 {
					continue
				}
				k := all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				at := time.Duration(i + 1)
				if ok := tr.Add(k.ref, trail.Step{At: at}); ok != holds(k) {
					t.Fatalf("adding to %d: %v", k.n, ok)
				} else if ok {
					k.steps = append(k.steps, at)
				}
			case 3:
				if len(all) == 0 {
					continue
				}
				k := all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				to := trail.Class(rapid.IntRange(0, 2).Draw(t, "to"))
				held := holds(k)
				ref := tr.Raise(k.ref, to)
				if ref.IsZero() == held {
					t.Fatalf("raising %d, which is kept: %v", k.n, held)
				}
				if k.ref = ref; held && to > k.class {
					for i, o := range order[k.class] {
						if o == k {
							order[k.class][i] = nil
						}
					}
					place(k, to)
				}
			}
		}
		want := map[uint64]*kept{}
		for _, k := range all {
			if holds(k) {
				want[uint64(k.n)] = k
			}
		}
		got := tr.Page(0, len(all)+1, func(*trail.Record) bool { return true })
		last := uint64(1 << 62)
		for i := range got {
			r := &got[i]
			k := want[r.ID.Seq]
			if k == nil || r.Class != k.class || r.Number >= last {
				t.Fatalf("%+v, want %+v", r.Head, k)
			}
			last = r.Number
			delete(want, r.ID.Seq)
			if r.Len()+r.Dropped != len(k.steps) {
				t.Fatalf("%d steps and %d that were dropped, want %d", r.Len(), r.Dropped, len(k.steps))
			}
			for i := range r.Len() {
				w := k.steps[i]
				if i >= trail.FirstSteps {
					w = k.steps[len(k.steps)-r.Len()+i]
				}
				if r.At(i).At != w {
					t.Fatalf("step %d of %d is of %d, want %d", i, len(k.steps), r.At(i).At, w)
				}
			}
		}
		if len(want) > 0 {
			t.Fatalf("%d requests are missing", len(want))
		}
	})
}

// What is usual does not replace what is unusual, however much there is of it.
func TestUnusualRequestsStay(t *testing.T) {
	tr := trail.New(0)
	for n := range trail.Default / 2 {
		tr.Keep(head(n), trail.Unusual)
	}
	for n := range 100_000 {
		tr.Keep(head(n), trail.Routine)
		tr.Keep(head(n), trail.Marked)
	}
	unusual := tr.Page(0, 10_000, func(r *trail.Record) bool { return r.Class == trail.Unusual })
	if len(unusual) != trail.Default/2 {
		t.Errorf("%d unusual requests, want %d", len(unusual), trail.Default/2)
	}
	if all := tr.Page(0, 10_000, func(*trail.Record) bool { return true }); len(all) != trail.Default {
		t.Errorf("%d requests, want %d", len(all), trail.Default)
	}
}

// Requests are found by each of their names, and listed in pages.
func TestFindAndPage(t *testing.T) {
	tr := trail.New(100)
	h := head(7)
	h.Trace, h.Key, h.Job = [16]byte{1}, trail.TextOf("order-17"), trail.Sum("job")
	tr.Name(tr.Keep(h, trail.Marked), trail.Sum("other"))
	tr.Keep(head(8), trail.Unusual)
	for name, row := range map[string]struct {
		q    trail.Query
		want int
	}{
		"id": {trail.Query{ID: h.ID}, 1}, "trace": {trail.Query{Trace: h.Trace}, 1}, "key": {trail.Query{Key: "order-17"}, 1},
		"job": {trail.Query{Job: trail.Sum("other")}, 1}, "the earlier job": {trail.Query{Job: trail.Sum("job")}, 0}, "nothing": {trail.Query{}, 0}, "another key": {trail.Query{Key: "order-1"}, 0},
	} {
		if got := tr.Find(row.q, 10); len(got) != row.want {
			t.Errorf("%s: %d, want %d", name, len(got), row.want)
		}
	}
	for n := range 40 {
		tr.Keep(head(100+n), trail.Unusual)
	}
	var seqs []uint64
	for before := uint64(0); ; {
		page := tr.Page(before, 7, func(r *trail.Record) bool { return r.ID.Seq >= 100 })
		for i := range page {
			seqs = append(seqs, page[i].ID.Seq)
			before = page[i].Number
		}
		if len(page) < 7 {
			break
		}
	}
	for i, seq := range seqs {
		if seq != uint64(139-i) {
			t.Errorf("%v", seqs)
			break
		}
	}
	if len(seqs) != 40 {
		t.Errorf("%d requests in pages, want 40", len(seqs))
	}
}

// A text of a caller's own is kept up to a length, and recognised at any.
func TestText(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: "k", 39: strings.Repeat("k", 39), 40: strings.Repeat("k", 40), 41: strings.Repeat("k", 40) + "…"} {
		text := trail.TextOf(strings.Repeat("k", n))
		if text.String() != want {
			t.Errorf("%d bytes: %q", n, text.String())
		}
		if longer := trail.TextOf(strings.Repeat("k", n+1)); longer == text {
			t.Errorf("%d bytes look like %d", n, n+1)
		}
	}
}

// A nil Trail keeps nothing.
func TestNilTrail(t *testing.T) {
	tr := trail.New(-1)
	ref := tr.Keep(head(1), trail.Unusual)
	tr.Rename(ref, rpc.RequestID{})
	tr.Name(ref, 1)
	if !ref.IsZero() || tr.Add(ref, trail.Step{}) || !tr.Raise(ref, trail.Unusual).IsZero() || len(tr.Find(trail.Query{ID: head(1).ID}, 1)) > 0 {
		t.Error("it keeps something")
	}
}

// A full Trail allocates nothing, and its methods may be called concurrently.
func TestTrailConcurrently(t *testing.T) {
	tr := trail.New(16)
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() {
			for n := range 2000 {
				ref := tr.Keep(head(n*4+i), trail.Class(n%2))
				tr.Add(ref, trail.Step{At: 1})
				ref = tr.Raise(ref, trail.Unusual)
				tr.Add(ref, trail.Step{At: 2})
				if n%100 == 0 {
					for _, r := range tr.Page(0, 20, func(*trail.Record) bool { return true }) {
						if want := fmt.Sprint("x", r.ID.Seq); r.Target != want {
							t.Errorf("%s, want %s", r.Target, want)
						}
					}
				}
			}
		})
	}
	g.Wait()
	h := head(1)
	if n := testing.AllocsPerRun(100, func() {
		ref := tr.Raise(tr.Keep(h, trail.Routine), trail.Unusual)
		tr.Add(ref, trail.Step{At: 1})
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

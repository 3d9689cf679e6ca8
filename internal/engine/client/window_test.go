package client

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/transport"
)

// windowModel is a window written for obviousness.
type windowModel struct {
	next        uint64
	outstanding map[uint64]*Call
}

// covers reports whether a mark acks seq.
func covers(m transport.Mark, seq uint64) bool {
	return seq < m.Below && !slices.Contains(m.Except, seq)
}

// checkWindow compares a window with its model, and with every mark that it would send. No mark
// reaches beyond the numbers in use, so a number that is acked rightly once may stay acked, and
// the marks that were sent need not be kept.
func checkWindow(t interface{ Fatalf(string, ...any) }, w *window, m *windowModel) {
	if w.count != len(m.outstanding) {
		t.Fatalf("count %d, want %d", w.count, len(m.outstanding))
	}
	seqs := slices.Sorted(maps.Keys(m.outstanding))
	var got []uint64
	for c := range w.all() {
		got = append(got, c.seq)
	}
	if !slices.Equal(got, seqs) {
		t.Fatalf("all yields %v, want %v", got, seqs)
	}
	if len(w.far) > len(seqs) || len(w.ring) > span {
		t.Fatalf("%d stragglers and a ring of %d for %d outstanding", len(w.far), len(w.ring), len(seqs))
	}
	inline := w.inline(nil)
	if inline.Below > w.next || len(inline.Except) > transport.MaxInlineExcept {
		t.Fatalf("inline mark %v, next is %d", inline, w.next)
	}
	full := w.full()
	if full.Below != m.next {
		t.Fatalf("full mark below %d, want %d", full.Below, m.next)
	}
	if slices.Sort(full.Except); !slices.Equal(full.Except, seqs) {
		t.Fatalf("full mark excepts %v, want %v", full.Except, seqs)
	}
	for _, s := range inline.Except {
		if m.outstanding[s] == nil {
			t.Fatalf("inline mark %v excepts %d, which is not outstanding", inline, s)
		}
	}
	for _, s := range seqs {
		if covers(inline, s) {
			t.Fatalf("inline mark %v covers %d, which is outstanding", inline, s)
		}
	}
}

func TestWindowAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := newWindow(1), &windowModel{next: 1, outstanding: map[uint64]*Call{}}
		slow := rapid.IntRange(0, 12).Draw(t, "slow")
		var keep []uint64 // the slow ones, taken last
		for range slow {
			c := new(Call)
			keep = append(keep, w.add(c))
			m.outstanding[c.seq], m.next = c, m.next+1
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "n") {
					c := new(Call)
					if seq := w.add(c); seq != m.next || c.seq != seq {
						t.Fatalf("numbered %d, want %d", seq, m.next)
					}
					m.outstanding[c.seq], m.next = c, m.next+1
				}
			},
			"take": func(t *rapid.T) {
				n := rapid.IntRange(1, 300).Draw(t, "n")
				for _, s := range slices.Sorted(maps.Keys(m.outstanding)) {
					if n == 0 {
						break
					}
					if slices.Contains(keep, s) {
						continue
					}
					if got := w.take(s); got != m.outstanding[s] {
						t.Fatalf("take %d: another call", s)
					}
					if w.take(s) != nil || w.get(s) != nil {
						t.Fatalf("%d is still there after take", s)
					}
					delete(m.outstanding, s)
					n--
				}
			},
			"take any": func(t *rapid.T) {
				s := rapid.Uint64Range(0, m.next+70).Draw(t, "seq")
				if got := w.get(s); got != m.outstanding[s] {
					t.Fatalf("get %d: %v, want %v", s, got, m.outstanding[s])
				}
				if got := w.take(s); got != m.outstanding[s] {
					t.Fatalf("take %d: %v, want %v", s, got, m.outstanding[s])
				}
				delete(m.outstanding, s)
			},
			"": func(t *rapid.T) { checkWindow(t, w, m) },
		})
	})
}

// answer adds n requests one by one, each of which is answered before the next.
func answer(w *window, m *windowModel, n int) {
	for range n {
		w.take(w.add(new(Call)))
		m.next++
	}
}

// stick adds n requests that stay outstanding.
func stick(w *window, m *windowModel, n int) {
	for range n {
		c := new(Call)
		w.add(c)
		m.outstanding[c.seq], m.next = c, m.next+1
	}
}

func TestWindowStragglers(t *testing.T) {
	for _, row := range []struct {
		name       string
		slow, fast int
		wantInline bool // an exact mark rides on requests
	}{
		{"none slow", 0, 100_000, true},
		{"one slow beside many quick", 1, 100_000, true},
		{"as many as a request carries", transport.MaxInlineExcept, 10_000, true},
		{"one more than that", transport.MaxInlineExcept + 1, 10_000, false},
		{"4,095 slow beside quick ones", 4095, 10_000, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, m := newWindow(1), &windowModel{next: 1, outstanding: map[uint64]*Call{}}
			stick(w, m, row.slow)
			answer(w, m, row.fast)
			checkWindow(t, w, m)
			if k := w.inline(nil); row.wantInline && k.Below+span < w.next {
				t.Errorf("the inline mark ends at %d, far behind %d", k.Below, w.next)
			} else if !row.wantInline && k.Below != 0 {
				t.Errorf("inline mark %v cannot name all stragglers", k)
			}
			for s := range m.outstanding {
				w.take(s)
				delete(m.outstanding, s)
			}
			checkWindow(t, w, m)
			if len(w.far) != 0 {
				t.Errorf("%d stragglers remain", len(w.far))
			}
		})
	}
}

// A full ack says everything that all marks together have left out.
func TestWindowUnsaid(t *testing.T) {
	w, m := newWindow(1), &windowModel{next: 1, outstanding: map[uint64]*Call{}}
	stick(w, m, 1)
	answer(w, m, 3)
	if w.unacked != 3 {
		t.Errorf("unsaid %d after three answers", w.unacked)
	}
	if w.inline(nil); w.unacked != 3 {
		t.Errorf("unsaid %d after a mark that did not cover the ring", w.unacked)
	}
	if w.full(); w.unacked != 0 {
		t.Errorf("unsaid %d after a full mark", w.unacked)
	}
	w.take(1)
	if w.inline(nil); w.unacked != 0 {
		t.Errorf("unsaid %d after a mark that covered everything", w.unacked)
	}
}

// Drain returns all outstanding requests in order, stragglers included, so that they get new
// numbers.
func TestWindowDrain(t *testing.T) {
	for _, n := range []int{0, 1, span, span + 1, 3 * span} {
		old, all := newWindow(1), []*Call{}
		for range n {
			c := new(Call)
			old.add(c)
			all = append(all, c)
		}
		anew := newWindow(old.next)
		for i, c := range old.drain() {
			if c != all[i] {
				t.Fatalf("of %d, number %d is another one", n, i)
			}
			anew.add(c)
		}
		if old.count != 0 || anew.count != n {
			t.Errorf("of %d, %d are still there and %d have gone over", n, old.count, anew.count)
		}
	}
}

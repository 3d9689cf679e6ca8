package dedup

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model does what a Table does, as plainly as possible. It keeps every mark that
// has come, and every number that was given up.
type model struct {
	window  int
	marks   []modelMark
	given   map[uint64]bool
	records map[uint64]*modelRecord
}

type modelMark struct {
	below  uint64
	except map[uint64]bool
}

type modelRecord struct {
	fingerprint uint64
	state       State
	value       int
}

func (m *model) acked(seq uint64) bool {
	return seq == 0 || seq >= MaxBelow || m.given[seq] || slices.ContainsFunc(m.marks, func(k modelMark) bool {
		return seq < k.below && !k.except[seq]
	})
}

func (m *model) admit(seq, fingerprint uint64, value int) (Decision, int) {
	r := m.records[seq]
	switch {
	case m.acked(seq):
		return Stale, 0
	case r != nil && r.fingerprint != fingerprint:
		return Reused, 0
	case r != nil && r.state == Finished:
		return Replay, r.value
	case r != nil:
		return Attached, r.value
	case len(m.records) >= m.window:
		return Full, 0
	}
	m.records[seq] = &modelRecord{fingerprint, Queued, value}
	return Run, value
}

func (m *model) start(seq uint64) bool {
	r := m.records[seq]
	if r == nil || r.state != Queued {
		return false
	}
	r.state = Running
	return true
}

func (m *model) putBack(seq uint64) bool {
	r := m.records[seq]
	if r == nil || r.state != Running || m.acked(seq) {
		return false
	}
	r.state = Queued
	return true
}

func (m *model) finish(seq uint64) bool {
	r := m.records[seq]
	switch {
	case r == nil || r.state == Finished:
		return false
	case m.acked(seq):
		delete(m.records, seq)
		return false
	}
	r.state = Finished
	return true
}

func (m *model) lookup(seq uint64) (State, *int) {
	r := m.records[seq]
	switch {
	case r == nil && m.acked(seq):
		return Acked, nil
	case r == nil:
		return Unseen, nil
	case m.acked(seq):
		return Orphaned, &r.value
	}
	return r.state, &r.value
}

func (m *model) giveUp(seq uint64) (State, *int, error) {
	state, value := m.lookup(seq)
	if state == Acked || state == Orphaned {
		return state, value, nil
	}
	var floor uint64
	for _, k := range m.marks {
		floor = max(floor, k.below)
	}
	alone := 0
	for g := range m.given {
		if g >= floor {
			alone++
		}
	}
	if seq >= floor && alone >= 4*m.window {
		return state, value, ErrTooManyGivenUp
	}
	m.given[seq] = true
	m.sweep()
	return state, value, nil
}

func (m *model) ack(k Mark) (freed []int, err error) {
	if k.Below > MaxBelow || len(k.Except) > m.window {
		return nil, ErrBadMark
	}
	mark := modelMark{k.Below, map[uint64]bool{}}
	for _, seq := range k.Except {
		mark.except[seq] = true
	}
	m.marks = append(m.marks, mark)
	return m.sweep(), nil
}

// sweep removes the records of requests that are acked and do not run.
func (m *model) sweep() (freed []int) {
	for seq, r := range m.records {
		if r.state != Running && m.acked(seq) {
			freed = append(freed, r.value)
			delete(m.records, seq)
		}
	}
	return freed
}

// pair is a table and its model, side by side.
type pair struct {
	t       fataler
	table   *Table[int]
	model   *model
	next    int             // the next value to store
	ran     map[uint64]bool // numbers for which Admit returned Run
	started map[uint64]bool
	seen    map[uint64]bool // numbers with which a method was called
}

type fataler interface{ Fatalf(string, ...any) }

func newPair(t fataler, window int) *pair {
	return &pair{
		t: t, table: New[int](window),
		model: &model{window: window, given: map[uint64]bool{}, records: map[uint64]*modelRecord{}},
		ran:   map[uint64]bool{}, started: map[uint64]bool{}, seen: map[uint64]bool{},
	}
}

// same compares what a call for seq returned with what it should return. It formats
// nothing unless they differ, because a fuzzer calls it very often.
func same[T comparable](p *pair, call string, seq uint64, got, want T) {
	if got != want {
		p.t.Fatalf("%s(%d) = %v, want %v", call, seq, got, want)
	}
}

// answer is a state with a copy of the value.
type answer struct {
	state    State
	value    int
	hasValue bool
	err      error
}

func answerOf(state State, v *int, err error) answer {
	if v == nil {
		return answer{state: state, err: err}
	}
	return answer{state, *v, true, err}
}

func (p *pair) admit(seq, fingerprint uint64) {
	p.seen[seq] = true
	p.next++
	decision, v := p.table.Admit(seq, fingerprint)
	if decision == Run {
		if *v != 0 {
			p.t.Fatalf("a new record of %d holds %d", seq, *v)
		}
		if p.ran[seq] {
			p.t.Fatalf("%d runs twice", seq)
		}
		p.ran[seq] = true
		*v = p.next
	}
	want, wantValue := p.model.admit(seq, fingerprint, p.next)
	same(p, "Admit", seq, decision, want)
	if (v == nil) != (want >= Stale) || v != nil && *v != wantValue {
		p.t.Fatalf("Admit(%d): %v with value %v, want %d", seq, decision, v, wantValue)
	}
}

func (p *pair) start(seq uint64) {
	got := p.table.Start(seq)
	if got && p.started[seq] {
		p.t.Fatalf("%d starts twice", seq)
	}
	p.started[seq] = p.started[seq] || got
	same(p, "Start", seq, got, p.model.start(seq))
}

func (p *pair) putBack(seq uint64) {
	got := p.table.PutBack(seq)
	if got {
		p.started[seq] = false
	}
	same(p, "PutBack", seq, got, p.model.putBack(seq))
}

func (p *pair) finish(seq uint64) {
	v, ok := p.table.Finish(seq)
	same(p, "Finish", seq, ok, p.model.finish(seq))
	if ok != (v != nil) || ok && *v != p.model.records[seq].value {
		p.t.Fatalf("Finish(%d) = %v, %v", seq, v, ok)
	}
}

func (p *pair) giveUp(seq uint64) {
	p.seen[seq] = true
	got := answerOf(p.table.GiveUp(seq))
	same(p, "GiveUp", seq, got, answerOf(p.model.giveUp(seq)))
}

func (p *pair) ack(m Mark) {
	before := slices.Clone(m.Except)
	var freed []int
	err := p.table.Ack(m, func(v int) { freed = append(freed, v) })
	wantFreed, wantErr := p.model.ack(m)
	slices.Sort(freed)
	slices.Sort(wantFreed)
	if !slices.Equal(freed, wantFreed) {
		p.t.Fatalf("Ack(%+v) frees %v, want %v", m, freed, wantFreed)
	}
	if !errors.Is(err, wantErr) || !slices.Equal(before, m.Except) {
		p.t.Fatalf("Ack(%+v): %v, want %v", m, err, wantErr)
	}
}

// check compares everything that can be seen of the table and of the model.
func (p *pair) check() {
	same(p, "Outstanding", 0, p.table.Outstanding(), len(p.model.records))
	n := 0
	for seq, v := range p.table.All() {
		n++
		if r := p.model.records[seq]; r == nil || r.value != v {
			p.t.Fatalf("All: %d with %d, want %+v", seq, v, r)
		}
	}
	same(p, "All", 0, n, len(p.model.records))
	for seq := range p.seen {
		state, v := p.table.Lookup(seq)
		wantState, wantValue := p.model.lookup(seq)
		same(p, "Lookup", seq, answerOf(state, v, nil), answerOf(wantState, wantValue, nil))
	}
	// The memory is bounded, whatever has come.
	w, a := p.model.window, &p.table.acked
	if len(a.except) > w || len(a.alone) > 4*w || len(p.table.records.ring) > 2*w || len(p.table.records.side) > w {
		p.t.Fatalf("window %d: %d exceptions, %d alone, ring of %d, %d beside it",
			w, len(a.except), len(a.alone), len(p.table.records.ring), len(p.table.records.side))
	}
	if !slices.IsSorted(a.except) || !slices.IsSorted(a.alone) {
		p.t.Fatalf("out of order: %v, %v", a.except, a.alone)
	}
}

// seqOf maps a byte to a sequence number: mostly to small ones, which repeat often, and to
// a few that no honest client sends.
func seqOf(b byte) uint64 {
	switch {
	case b < 200:
		return uint64(b % 50)
	case b < 240:
		return 1<<40 + uint64(b)*64
	}
	return [...]uint64{1 << 32, MaxBelow - 1, MaxBelow, MaxBelow + 1, math.MaxUint64, math.MaxInt64}[b%6]
}

// run carries out the operations that data encodes, until its end.
func (p *pair) run(data []byte) {
	next := func() (b byte) {
		if len(data) > 0 {
			b, data = data[0], data[1:]
		}
		return b
	}
	for n := 1; len(data) > 0; n++ {
		op, seq := next(), seqOf(next())
		switch op % 8 {
		case 0, 1:
			p.admit(seq, uint64(op/64)/3) // one in four has the other fingerprint
		case 2, 3:
			p.start(seq)
		case 4:
			p.finish(seq)
		case 5:
			p.giveUp(seq)
		default:
			m := Mark{Below: seq}
			for range op / 8 % 8 {
				m.Except = append(m.Except, seqOf(next()))
			}
			p.ack(m)
		}
		if n%8 == 0 {
			p.check()
		}
	}
	p.check()
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t, rapid.IntRange(1, 9).Draw(t, "window"))
		p.run(rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "operations"))
	})
}

// TestClientAgainstModel acts as a correct client: it numbers its requests in order
// and gives some of them up, while the network repeats, delays and reorders its
// copies and marks.
func TestClientAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t, rapid.SampledFrom([]int{4, 16, 64}).Draw(t, "window"))
		var issued uint64            // the last number
		var sent []uint64            // copies in flight; each may arrive many times
		var marks []Mark             // marks in flight, likewise
		outstanding := []uint64(nil) // not acked by the client
		pick := func(from []uint64) uint64 {
			return from[rapid.IntRange(0, len(from)-1).Draw(t, "which")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"issue": func(t *rapid.T) {
				if len(outstanding) < p.model.window {
					issued++
					sent, outstanding = append(sent, issued), append(outstanding, issued)
					if rapid.Bool().Draw(t, "at once") {
						p.admit(issued, issued)
					}
				}
			},
			"arrive": func(t *rapid.T) {
				if len(sent) > 0 {
					seq := pick(sent)
					p.admit(seq, seq)
				}
			},
			"start": func(t *rapid.T) {
				if len(sent) > 0 {
					p.start(pick(sent))
				}
			},
			"finish": func(t *rapid.T) {
				if len(sent) > 0 {
					p.finish(pick(sent))
				}
			},
			"put back": func(t *rapid.T) {
				if len(sent) > 0 {
					p.putBack(pick(sent))
				}
			},
			"give up": func(t *rapid.T) {
				if len(outstanding) > 0 {
					p.giveUp(pick(outstanding))
				}
			},
			"done": func(t *rapid.T) {
				if len(outstanding) > 0 {
					i := rapid.IntRange(0, len(outstanding)-1).Draw(t, "which")
					outstanding = slices.Delete(outstanding, i, i+1)
					marks = append(marks, Mark{issued + 1, slices.Clone(outstanding)})
				}
			},
			"ack": func(t *rapid.T) {
				if len(marks) > 0 {
					p.ack(marks[rapid.IntRange(0, len(marks)-1).Draw(t, "mark")])
				}
			},
			"": func(*rapid.T) {
				for seq := range issued {
					p.seen[seq+1] = true
				}
				p.check()
			},
		})
	})
}

func FuzzTable(f *testing.F) {
	f.Add(byte(4), []byte{0, 1, 2, 1, 4, 1, 0, 1, 6, 2, 0, 1})
	f.Add(byte(2), []byte{0, 1, 0, 33, 0, 17, 14, 40, 17, 4, 17, 5, 48, 6, 50})
	f.Add(byte(8), []byte{0, 250, 0, 210, 5, 211, 6, 242, 7, 245, 62, 49, 1, 2, 3, 4, 5, 6, 7})
	f.Fuzz(func(t *testing.T, window byte, data []byte) {
		if len(data) > 300 {
			return
		}
		newPair(t, 1+int(window%16)).run(data)
	})
}

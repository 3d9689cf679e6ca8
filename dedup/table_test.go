package dedup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// play runs a transcript: each line is a call and what it returns. The value of
// a record is "v" and its number.
func play(t *testing.T, table *Table[string], transcript string) {
	t.Helper()
	for line := range strings.Lines(transcript) {
		call, want, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			continue
		}
		if got := playLine(t, table, call); got != want {
			t.Fatalf("%s = %s, want %s", call, got, want)
		}
	}
}

func playLine(t *testing.T, table *Table[string], call string) string {
	t.Helper()
	value := func(v *string) string {
		if v == nil {
			return ""
		}
		return " " + *v
	}
	var verb, except string
	var seq uint64
	if _, err := fmt.Sscan(call, &verb, &seq); err != nil {
		t.Fatalf("%q: %v", call, err)
	}
	switch verb {
	case "admit", "other": // other: with another fingerprint
		decision, v := table.Admit(seq, uint64(verb[0]))
		if decision == Run {
			*v = fmt.Sprint("v", seq)
		}
		return decision.String() + value(v)
	case "start":
		return fmt.Sprint(table.Start(seq))
	case "finish":
		v, ok := table.Finish(seq)
		return fmt.Sprint(ok) + value(v)
	case "giveup":
		state, v, err := table.GiveUp(seq)
		if err != nil {
			return err.Error()
		}
		return state.String() + value(v)
	case "lookup":
		state, v := table.Lookup(seq)
		return state.String() + value(v)
	case "ack": // ack BELOW EXCEPT,EXCEPT
		m := Mark{Below: seq}
		if n, _ := fmt.Sscan(call, &verb, &seq, &except); n == 3 {
			for s := range strings.SplitSeq(except, ",") {
				var e uint64
				fmt.Sscan(s, &e)
				m.Except = append(m.Except, e)
			}
		}
		freed := []string{"freed"}
		if err := table.Ack(m, func(v string) { freed = append(freed, v) }); err != nil {
			return "error"
		}
		slices.Sort(freed[1:])
		return strings.Join(freed, " ")
	}
	t.Fatalf("what is %q?", call)
	return ""
}

func TestTranscripts(t *testing.T) {
	for name, transcript := range map[string]string{
		"new: record it, queue it": `
			lookup 1 = unseen
			admit 1 = run v1
			lookup 1 = queued v1`,
		"queued or running: attach": `
			admit 1 = run v1
			admit 1 = attached v1
			start 1 = true
			admit 1 = attached v1
			start 1 = false`,
		"finished: replay": `
			admit 1 = run v1
			start 1 = true
			finish 1 = true v1
			admit 1 = replay v1
			finish 1 = false
			start 1 = false
			admit 1 = replay v1`,
		"a refusal is an outcome, too": `
			admit 1 = run v1
			finish 1 = true v1
			start 1 = false
			admit 1 = replay v1`,
		"acked: stale": `
			admit 1 = run v1
			start 1 = true
			finish 1 = true v1
			ack 2 = freed v1
			admit 1 = stale
			other 1 = stale
			ack 2 = freed
			lookup 1 = acked`,
		"another fingerprint: reused": `
			admit 1 = run v1
			other 1 = reused
			start 1 = true
			other 1 = reused
			finish 1 = true v1
			other 1 = reused
			admit 1 = replay v1`,
		"full: nothing recorded": `
			admit 1 = run v1
			admit 2 = run v2
			admit 3 = run v3
			admit 4 = run v4
			admit 5 = full
			lookup 5 = unseen
			admit 4 = attached v4
			ack 2 = freed v1
			admit 5 = run v5`,
		"no numbers of requests": `
			admit 0 = stale
			admit 4611686018427387904 = stale
			admit 18446744073709551615 = stale
			start 0 = false
			finish 0 = false
			giveup 0 = acked
			admit 4611686018427387903 = run v4611686018427387903
			ack 4611686018427387904 = freed v4611686018427387903`,
		"an ack takes a queued request out": `
			admit 1 = run v1
			ack 2 = freed v1
			start 1 = false
			finish 1 = false`,
		"an acked running request keeps its place until it is done": `
			admit 1 = run v1
			admit 2 = run v2
			admit 3 = run v3
			admit 4 = run v4
			start 1 = true
			ack 2 = freed
			admit 1 = stale
			lookup 1 = orphaned v1
			admit 5 = full
			finish 1 = false
			lookup 1 = acked
			admit 5 = run v5`,
		"giving up an unseen one leaves a tombstone": `
			giveup 7 = unseen
			admit 7 = stale
			giveup 7 = acked
			admit 6 = run v6
			ack 8 6 = freed
			admit 7 = stale
			admit 6 = attached v6`,
		"giving up a queued one": `
			admit 1 = run v1
			giveup 1 = queued v1
			start 1 = false
			admit 1 = stale
			finish 1 = false`,
		"giving up a running one": `
			admit 1 = run v1
			start 1 = true
			giveup 1 = running v1
			admit 1 = stale
			giveup 1 = orphaned v1
			finish 1 = false
			giveup 1 = acked
			admit 1 = stale`,
		"giving up a finished one": `
			admit 1 = run v1
			finish 1 = true v1
			giveup 1 = finished v1
			admit 1 = stale`,
		"giving up an exception": `
			ack 9 3,5 = freed
			giveup 3 = unseen
			admit 3 = stale
			admit 5 = run v5`,
		"an older mark takes nothing back": `
			admit 1 = run v1
			ack 9 1,4 = freed
			ack 3 1,2 = freed
			admit 2 = stale
			admit 4 = run v4
			ack 5 4 = freed v1
			admit 1 = stale
			admit 4 = attached v4`,
		"a later mark cannot except what was acked": `
			ack 5 = freed
			ack 9 3,7 = freed
			admit 3 = stale
			admit 7 = run v7`,
		"exceptions in any order, repeated, out of range": `
			ack 9 7,0,3,7,99,9,3 = error
			ack 9 7,3,7,9 = freed
			admit 7 = run v7
			admit 3 = run v3
			admit 9 = run v9
			admit 8 = stale
			ack 9 7,7 = freed v3
			giveup 7 = queued v7
			admit 7 = stale`,
		"giving up an exception that was listed twice": `
			ack 9 7,7 = freed
			giveup 7 = unseen
			admit 7 = stale`,
		"bad marks change nothing": `
			admit 1 = run v1
			ack 4611686018427387905 = error
			ack 18446744073709551615 = error
			ack 2 3,4,5,6,7 = error
			admit 1 = attached v1
			ack 0 = freed
			admit 1 = attached v1`,
	} {
		t.Run(name, func(t *testing.T) { play(t, New[string](4), transcript) })
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	table := New[int](4)
	for seq := uint64(100); seq > 84; seq-- {
		if _, _, err := table.GiveUp(seq); err != nil {
			t.Fatal(err)
		}
	}
	table.Admit(1, 0)
	if state, v, err := table.GiveUp(1); state != Queued || v == nil || !errors.Is(err, ErrTooManyGivenUp) {
		t.Fatalf("one too many: %v, %v, %v", state, v, err)
	}
	if !table.Start(1) {
		t.Fatal("a give-up that failed had an effect")
	}
	table.Ack(Mark{Below: 101}, nil) // the floor covers them all
	if _, _, err := table.GiveUp(200); err != nil {
		t.Fatal(err)
	}
}

// quick takes one request through its whole life.
func quick(t testing.TB, table *Table[int], seq uint64, m Mark) {
	if v, _ := table.Admit(seq, seq); v != Run {
		t.Fatalf("Admit(%d) = %v", seq, v)
	}
	if !table.Start(seq) {
		t.Fatalf("Start(%d)", seq)
	}
	if _, ok := table.Finish(seq); !ok {
		t.Fatalf("Finish(%d)", seq)
	}
	if err := table.Ack(m, nil); err != nil {
		t.Fatal(err)
	}
}

func TestOneSlowBesideAMillionQuick(t *testing.T) {
	table := New[int](0)
	table.Admit(1, 1)
	table.Start(1)
	except := []uint64{1}
	for seq := uint64(2); seq < 1_000_000; seq++ {
		quick(t, table, seq, Mark{seq + 1, except})
	}
	if n := len(table.records.ring); n != firstRing || table.Outstanding() != 1 {
		t.Errorf("ring of %d, %d outstanding", n, table.Outstanding())
	}
	if v, _ := table.Admit(1, 1); v != Attached {
		t.Errorf("the slow one: %v", v)
	}
	if _, ok := table.Finish(1); !ok {
		t.Error("the slow one lost its slot")
	}
}

func TestManyStragglersBesideOneQuickLane(t *testing.T) {
	table := New[int](0)
	const stragglers = DefaultWindow - 1
	var except []uint64
	for seq := uint64(1); seq <= stragglers; seq++ {
		table.Admit(seq, seq)
		table.Start(seq)
		except = append(except, seq)
	}
	for seq := uint64(stragglers + 1); seq < 20_000; seq++ {
		quick(t, table, seq, Mark{seq + 1, except})
	}
	for _, seq := range except {
		if v, _ := table.Admit(seq, seq); v != Attached {
			t.Fatalf("straggler %d: %v", seq, v)
		}
	}
}

func TestHostileJumps(t *testing.T) {
	table := New[int](0)
	allocs := testing.AllocsPerRun(10, func() { New[int](0).Admit(1<<40, 0) })
	if allocs > 3 {
		t.Errorf("a jump allocates %v times", allocs)
	}
	for i := range uint64(DefaultWindow) { // all in one slot
		if v, _ := table.Admit((i+1)<<40, 0); v != Run {
			t.Fatalf("Admit: %v", v)
		}
	}
	if v, _ := table.Admit(1, 0); v != Full {
		t.Fatalf("Admit beyond the window: %v", v)
	}
	freed := 0
	for i := range uint64(DefaultWindow) { // each would take minutes if its cost depended on the numbers it spans
		if err := table.Ack(Mark{Below: (i+1)<<40 + 1}, func(int) { freed++ }); err != nil {
			t.Fatal(err)
		}
	}
	if freed != DefaultWindow || table.Outstanding() != 0 {
		t.Errorf("freed %d, %d outstanding", freed, table.Outstanding())
	}
	if err := table.Ack(Mark{Below: math.MaxUint64}, nil); !errors.Is(err, ErrBadMark) {
		t.Error(err)
	}
}

func TestRemovedRecordsKeepNothingAlive(t *testing.T) {
	table := New[*int](4)
	for seq := uint64(1); seq < 100; seq++ {
		_, v := table.Admit(seq, 0)
		*v = new(int)
		table.Ack(Mark{Below: seq + 1}, nil)
	}
	for _, r := range table.records.ring {
		if r.value != nil {
			t.Fatal("an empty slot holds a value")
		}
	}
}

func TestAllStops(t *testing.T) {
	table := New[int](64)
	for seq := uint64(1); seq <= 64; seq++ {
		table.Admit(seq*64, 0)
	}
	for range table.All() {
		break
	}
	n := 0
	for range table.All() {
		if n++; n == 10 {
			break
		}
	}
	if n != 10 {
		t.Fatal(n)
	}
}

func TestNames(t *testing.T) {
	if s := fmt.Sprint(Unseen, Acked, Orphaned, State(99), Run, Full, Decision(99)); s != "unseen acked orphaned invalid run full invalid" {
		t.Error(s)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	table, seq := New[int](0), uint64(0)
	round := func() {
		seq++
		quick(t, table, seq, Mark{Below: seq + 1})
	}
	round()
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

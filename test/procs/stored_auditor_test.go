//go:build unix

package procs

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// TestAuditor plants one violation at a time among records that are sound.
func TestAuditor(t *testing.T) {
	const id = 5
	a := life{payerOf(0), 1}
	op := func(n uint32, v verb) uint64 { return visitID(a, 1, n, v, id) }
	x, y, bad, look := op(1, paying), op(3, promising), op(5, failing), op(6, reading)
	rings, badRings := op(2, paying), op(10, failing)
	begun := func(op uint64) record { return record{sort: asked, op: op} }
	has := func(op, gave, got uint64) [2]record {
		return [2]record{{sort: spent, op: op, aux: gave}, {sort: arrived, op: op, aux: got}}
	}
	answer := func(op, height uint64) record {
		return record{sort: told, op: op, verdict: rpc.HasRun, aux: height}
	}
	rang := func(op, times uint64) record { return record{sort: rung, op: op, aux: times} }
	says := func(what sort, n uint64) record { return record{sort: what, op: id, aux: n} }
	failed := func(op uint64, v rpc.Verdict, c rpc.Code) record {
		return record{sort: told, op: op, verdict: v, code: c}
	}
	type rs = []any // a record, or several, or what happens to a host
	old, heir := life{hostOf(0), 1}, life{hostOf(1), 1}
	answered := func(op, height uint64, by life, fence uint64) [2]record {
		r := answer(op, height)
		r.who, r.life = by.who, by.n
		return [2]record{{sort: under, op: op, aux: fence}, r}
	}
	commit := func(seq uint64, by life, fence uint64) record {
		return record{sort: wrote, who: by.who, life: by.n, op: commitOf(id, seq), aux: fence}
	}
	sees := func(fence uint64) record { return record{sort: looked, who: old.who, life: old.n, op: id, aux: fence} }
	type blown func(g *auditor, at int64)
	stops := blown(func(g *auditor, at int64) { g.struck(old, at, true) })
	wakes := blown(func(g *auditor, at int64) { g.woke(old, at) })
	for _, c := range []struct {
		name    string
		records rs
		want    storedCount
	}{
		{"an answer", rs{begun(x), answer(x, 2), has(x, 1, 1)}, storedCount{}},
		{"two answers", rs{begun(x), answer(x, 2), begun(y), answer(y, 4), has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"two at once", rs{begun(x), begun(y), answer(y, 4), answer(x, 2), has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"a look", rs{begun(x), answer(x, 2), begun(look), answer(look, 3), has(x, 1, 1)}, storedCount{}},
		{"a handler that fails", rs{begun(bad), failed(bad, rpc.HasRun, rpc.Failed)}, storedCount{}},
		{"not run", rs{begun(x), failed(x, rpc.NotRun, rpc.Unavailable)}, storedCount{}},
		{"a reminder", rs{begun(rings), answer(rings, 2), has(rings, 1, 1), rang(rings, 1)}, storedCount{}},
		{"a reminder of a handler that fails", rs{begun(badRings), failed(badRings, rpc.HasRun, rpc.Failed)}, storedCount{}},
		{"reminders that come again and again", rs{says(ticked, 3), says(tolled, 2), says(ticked, 4), says(tolled, 3)}, storedCount{}},
		{"one that was forgotten", rs{says(ticked, 3), says(tolled, 2), says(ticked, 0), says(strayed, 1)}, storedCount{}},

		{"nobody knows, and it ran", rs{begun(x), failed(x, rpc.Unknown, rpc.OutcomeUnknown), has(x, 1, 1)}, storedCount{unknown: 1}},
		{"nobody knows, and it did not run", rs{begun(x), failed(x, rpc.Unknown, rpc.Expired)}, storedCount{unknown: 1}},
		{"it does not end", rs{begun(x), has(x, 1, 1)}, storedCount{lost: 1}},
		{"an effect twice", rs{begun(x), answer(x, 2), has(x, 2, 1)}, storedCount{twice: 1}},
		{"a credit twice", rs{begun(x), answer(x, 2), has(x, 1, 2)}, storedCount{twice: 1}},
		{"an answer without its effect", rs{begun(x), answer(x, 2), has(x, 0, 0)}, storedCount{missing: 1}},
		{"a credit that is lost", rs{begun(x), answer(x, 2), has(x, 1, 0)}, storedCount{missing: 1}},
		{"a credit without its effect", rs{begun(x), answer(x, 2), has(x, 0, 1)}, storedCount{missing: 1}},
		{"not run, and it did", rs{begun(x), failed(x, rpc.NotRun, rpc.Unavailable), has(x, 1, 1)}, storedCount{wrong: 1}},
		{"not run, and its credit arrived", rs{begun(x), failed(x, rpc.NotRun, rpc.Unavailable), has(x, 0, 1)}, storedCount{wrong: 1}},
		{"a handler that fails, with an effect", rs{begun(bad), failed(bad, rpc.HasRun, rpc.Failed), has(bad, 1, 0)}, storedCount{wrong: 1}},
		{"a handler that fails, with a credit", rs{begun(bad), failed(bad, rpc.HasRun, rpc.Failed), has(bad, 0, 1)}, storedCount{wrong: 1}},
		{"a handler that fails, and answers", rs{begun(bad), answer(bad, 2)}, storedCount{wrong: 1}},
		{"a handler that does not fail, and does", rs{begun(x), failed(x, rpc.HasRun, rpc.Failed)}, storedCount{wrong: 1}},
		{"an answer that was held back", rs{begun(x), failed(x, rpc.HasRun, rpc.Unavailable)}, storedCount{wrong: 1}},
		{"nobody asked", rs{has(x, 1, 1)}, storedCount{wrong: 1}},
		{"it ends twice", rs{begun(x), answer(x, 2), answer(x, 2), has(x, 1, 1)}, storedCount{wrong: 1}},
		{"one place for two", rs{begun(x), begun(y), answer(x, 2), answer(y, 2), has(x, 1, 1), has(y, 1, 1)}, storedCount{lower: 1}},
		{"a later one before", rs{begun(x), answer(x, 4), begun(y), answer(y, 2), has(x, 1, 1), has(y, 1, 1)}, storedCount{lower: 1}},
		{"a look at the past", rs{begun(x), answer(x, 4), begun(look), answer(look, 3), has(x, 1, 1)}, storedCount{lower: 1}},
		{"a look at what is lost", rs{begun(look), answer(look, 3), begun(x), answer(x, 2), has(x, 1, 1)}, storedCount{lower: 1}},
		{"out of order", rs{record{sort: upset, op: id, aux: 1}}, storedCount{upset: 1}},
		{"a reminder that does not come", rs{begun(rings), answer(rings, 2), has(rings, 1, 1)}, storedCount{missed: 1}},
		{"a reminder that comes twice", rs{begun(rings), answer(rings, 2), has(rings, 1, 1), rang(rings, 2)}, storedCount{doubled: 1}},
		{"a reminder of who has set none", rs{begun(x), answer(x, 2), has(x, 1, 1), rang(x, 1)}, storedCount{wrong: 1}},
		{"a reminder of a handler that fails, and comes", rs{begun(badRings), failed(badRings, rpc.HasRun, rpc.Failed), rang(badRings, 1)}, storedCount{wrong: 1}},
		{"a reminder of what did not run", rs{begun(rings), failed(rings, rpc.NotRun, rpc.Unavailable), rang(rings, 1)}, storedCount{wrong: 1}},
		{"one that ceases", rs{says(ticked, 3), says(tolled, 2)}, storedCount{missed: 1}},
		{"one that never comes", rs{says(ticked, 1)}, storedCount{missed: 1}},
		{"one that misses a firing", rs{says(skipped, 1)}, storedCount{missed: 1}},
		{"one that fires twice", rs{says(tolledTwice, 1)}, storedCount{doubled: 1}},
		{"one of a handler that has failed", rs{says(dropped, 1)}, storedCount{dropped: 1}},
		{"money that was made", rs{record{sort: held, op: id, aux: capital + 1}}, storedCount{total: 1}},

		{"one that was stopped, and has lost its account", rs{begun(x), answered(x, 2, old, 7), begun(y), stops, answered(y, 4, heir, 9), wakes, has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"one that was stopped, and gets it back", rs{begun(x), answered(x, 2, heir, 9), begun(y), wakes, answered(y, 4, old, 11), has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"one that was stopped, and answers on", rs{begun(look), begun(x), stops, answered(x, 2, heir, 9), wakes, answered(look, 1, old, 7), has(x, 1, 1)}, storedCount{lower: 1}},
		{"a host that looks at what has moved", rs{begun(x), answered(x, 2, heir, 9), wakes, sees(9), has(x, 1, 1)}, storedCount{}},
		{"a host that looks before anybody has answered", rs{sees(7), begun(x), answered(x, 2, heir, 9), has(x, 1, 1)}, storedCount{}},
		{"one that was stopped, and answers itself", rs{begun(x), stops, answered(x, 2, heir, 9), wakes, sees(7), has(x, 1, 1)}, storedCount{lower: 1}},
		{"commits in order", rs{commit(1, old, 7), commit(2, old, 7), commit(4, heir, 9)}, storedCount{}},
		{"commits that are heard of late", rs{commit(2, heir, 9), commit(1, old, 7)}, storedCount{}},
		{"one that was stopped, and commits on", rs{commit(1, old, 7), stops, commit(2, heir, 9), wakes, commit(3, old, 7)}, storedCount{lower: 1}},
	} {
		g, now := newAuditor(), int64(0)
		take := func(r record) {
			now++
			r.at = now
			g.take(parseRecord(r.append(nil)))
		}
		for id := range accounts {
			take(record{sort: held, op: uint64(id), aux: capital})
		}
		for _, r := range c.records {
			switch r := r.(type) {
			case record:
				take(r)
			case [2]record:
				take(r[0])
				take(r[1])
			case blown:
				now++
				r(g, now)
			}
		}
		for range enoughAudits {
			now += int64(strayFor)
			take(record{sort: audited})
		}
		settled := g.settled()
		g.decide()
		got := g.count
		got.requests, got.answers, got.failed, got.notRun, got.reads, got.once, got.ticks, got.strays = 0, 0, 0, 0, 0, 0, 0, 0
		if got != c.want || (c.want == storedCount{}) != (len(g.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, g.wrong)
		}
		missed := got.missed - int(g.rings[skipped][id]) // what was skipped is not waited for
		if late := got.lost+got.missing+got.total+missed > 0; settled == late {
			t.Errorf("%s: settled is %v", c.name, settled)
		}
	}
}

// TestAuditorWaits checks what the referee waits for.
func TestAuditorWaits(t *testing.T) {
	g := newAuditor()
	if g.settled() || g.serves(1) {
		t.Error("settled without an audit, or serves without an answer")
	}
	for i := range payers {
		op := visitID(life{payerOf(i), 1}, 1, 1, reading, 3)
		g.take(record{sort: asked, op: op, at: 1})
		g.take(record{sort: told, op: op, at: 2, verdict: rpc.HasRun, aux: 1})
		if all := i == len(payers)-1; g.serves(1) != all {
			t.Errorf("after an answer to payer %d: %v", i, !all)
		}
	}
	if g.markNow(); g.serves(1) {
		t.Error("old answers count")
	}
}

// TestNextAnswer checks from when to when the time of a succession is measured.
func TestNextAnswer(t *testing.T) {
	first, second := life{hostOf(0), 1}, life{hostOf(1), 1}
	answers := []*visit{{ended: 1, token: 2, by: second}, {ended: 2, token: 4, by: first}, {ended: 3, token: 2, by: second}, {ended: 6, token: 6, by: first}, {ended: 7, token: 4, by: second}, {ended: 9, token: 8, by: second}}
	for _, c := range []struct {
		blow
		want time.Duration
	}{{blow{at: 4, of: first}, 5}, {blow{at: 7, of: first}, 2}, {blow{at: 4, of: second}, 0}, {blow{at: 1, of: second}, 1}, {blow{at: 0, of: first}, 0}, {blow{at: 9, of: second}, 0}} {
		if d := nextAnswer(answers, c.blow); d != c.want {
			t.Errorf("%+v: %v, want %v", c.blow, d, c.want)
		}
	}
}

//go:build unix

package procs

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// cheats breaks the rules of all patterns on purpose: each must be noticed. A slow machine
// gets more time, for there must be something to notice.
func cheats(t *testing.T) {
	for n := 3; ; n *= 2 {
		s := newStage(t.TempDir(), *seed, dishonest)
		if err := s.play(n, s.killHost, time.Second); err != nil {
			t.Fatal(err)
		}
		c := s.arbiter.count
		t.Logf("%+v", c)
		var unnoticed []string
		for what, caught := range map[string]int{"items that vanish": c.lost, "second acks and runs": c.twice, "verdicts that are lies": c.wrong, "cuts that are hushed up": c.silent, "producers that go on": c.leaked} {
			if caught == 0 {
				unnoticed = append(unnoticed, what)
			}
		}
		if len(unnoticed) == 0 {
			return
		}
		if n > 6 {
			t.Fatalf("nobody noticed %q", unnoticed)
		}
	}
}

// TestArbiter plants one violation at a time among records that are sound.
func TestArbiter(t *testing.T) {
	const (
		x = 1<<48 | uint64(constantUser)<<40 | 2<<32 | 3 // what goes wrong
		y = 1<<48 | uint64(mortalUser)<<40 | 2<<32 | 3   // the same, of a user who is killed
	)
	second := int64(time.Second)
	// The moment is that of the record's place: a second for each.
	begin := func(s sort, w who, op uint64) record { return record{sort: s, who: w, life: 1, op: op, aux: 1} }
	end := func(s sort, w who, op, aux uint64) record {
		return record{sort: s, who: w, life: 1, op: op, aux: aux, verdict: rpc.HasRun}
	}
	fail := func(s sort, w who, op uint64, v rpc.Verdict, aux uint64) record {
		return record{sort: s, who: w, life: 1, op: op, aux: aux, verdict: v, code: rpc.Unavailable}
	}
	out := func(op, attempt uint64) record {
		return record{sort: handed, who: inNATS, life: 1, op: op, aux: attempt}
	}
	inMemory := func(r record) record { r.who = inNode; return r }
	untypedOne := func(r record) record { r.code = untyped; return r }
	expired := func(r record) record { r.code = rpc.Expired; return r }
	const (
		hostDies = -1
		userDies = -2
		longPast = -3 // two minutes pass
		elected  = -4 // NATS elects a leader
	)
	event := func(what int64) record { return record{sort: 0, at: what} }
	push, in := begin(pushing, inNATS, x), end(pushed, inNATS, x, 0)
	ack, done := begin(acking, inNATS, x), end(acked, inNATS, x, 1)
	open := record{sort: opening, who: constantUser, life: 1, op: x}
	short := begin(opening, constantUser, x)
	makes, made := begin(producing, serverA, x), end(produced, serverA, x, 0)
	submit, taken := begin(submitting, constantUser, x), end(submitted, constantUser, x, 0)
	works, result := begin(worked, serverA, x), end(finished, constantUser, x, x)
	for _, c := range []struct {
		name    string
		records []record
		want    count // of violations
	}{
		{name: "an item", records: []record{push, in, out(x, 1), ack, done}},
		{name: "an item, the second time", records: []record{push, in, out(x, 1), out(x, 2), ack, done}},
		{name: "an item, the first time once more", records: []record{push, in, out(x, 1), event(elected), out(x, 1), ack, done}},
		{name: "an item, beside its ack", records: []record{push, in, out(x, 1), event(elected), ack, done, out(x, 1)}},
		{name: "an ack in doubt", records: []record{push, in, out(x, 1), ack, fail(acked, inNATS, x, rpc.Unknown, 1)}},
		{name: "an ack that never ended", records: []record{push, in, out(x, 1), ack}},
		{name: "a push in doubt, lost", records: []record{push, fail(pushed, inNATS, x, rpc.Unknown, 0)}},
		{name: "a push in doubt", records: []record{push, fail(pushed, inNATS, x, rpc.Unknown, 0), out(x, 1), ack, done}},
		{name: "a push that did not run", records: []record{push, fail(pushed, inNATS, x, rpc.NotRun, 0)}},
		{name: "gone with the memory", records: []record{inMemory(push), inMemory(in), event(hostDies)}},
		{name: "a push of one who was killed", records: []record{begin(pushing, inNATS, y), event(userDies)}},
		{name: "a whole stream", records: []record{short, makes, made, end(closed, constantUser, x, wasWhole)}},
		{name: "a stream that was left", records: []record{open, makes, end(closed, constantUser, x, wasLeft), made}},
		{name: "a stream that was cut", records: []record{open, makes, event(hostDies), fail(closed, constantUser, x, rpc.HasRun, wasWhole)}},
		{name: "a job", records: []record{submit, taken, works, result, end(redeemed, constantUser, x, x)}},
		{name: "a job in doubt", records: []record{submit, taken, works, event(hostDies), fail(finished, constantUser, x, rpc.Unknown, 0)}},

		{name: "never acked", records: []record{push, in, out(x, 1)}, want: count{lost: 1}},
		{name: "never handed out", records: []record{push, in}, want: count{lost: 1}},
		{name: "not in memory, and gone with the host", records: []record{push, in, event(hostDies)}, want: count{lost: 1}},
		{name: "in memory, and the host died before", records: []record{event(hostDies), inMemory(push), inMemory(in)}, want: count{lost: 1}},
		{name: "an ack that did not run", records: []record{push, in, out(x, 1), ack, fail(acked, inNATS, x, rpc.NotRun, 1)}, want: count{lost: 1}},
		{name: "acked by two", records: []record{push, in, out(x, 1), out(x, 2), ack, done, ack, done}, want: count{twice: 1}},
		{name: "handed out after its ack", records: []record{push, in, out(x, 1), ack, done, out(x, 2)}, want: count{twice: 1}},
		{name: "an attempt that does not rise", records: []record{push, in, out(x, 1), out(x, 1), ack, done}, want: count{wrong: 1}},
		{name: "an attempt that does not rise, after an election", records: []record{event(elected), push, in, out(x, 1), out(x, 1), ack, done}, want: count{wrong: 1}},
		{name: "an attempt that does not rise, in memory", records: []record{inMemory(push), inMemory(in), inMemory(out(x, 1)), event(elected), inMemory(out(x, 1)), inMemory(ack), inMemory(done)}, want: count{wrong: 1}},
		{name: "acked by two, after an election", records: []record{push, in, out(x, 1), event(elected), out(x, 1), ack, done, ack, done}, want: count{twice: 1}},
		{name: "the push did not run, it said", records: []record{push, fail(pushed, inNATS, x, rpc.NotRun, 0), out(x, 1), ack, done}, want: count{wrong: 1}},
		{name: "nobody pushed it", records: []record{out(x, 1), ack, done}, want: count{wrong: 1, lost: 1}},
		{name: "a push that never ended", records: []record{push}, want: count{lost: 1}},
		{name: "a push that ended late", records: []record{push, event(longPast), fail(pushed, inNATS, x, rpc.Unknown, 0)}, want: count{late: 1}},
		{name: "a pull that never ended", records: []record{begin(pulling, inNATS, x)}, want: count{lost: 1}},
		{name: "an error without a type", records: []record{begin(pulling, inNATS, x), untypedOne(fail(pulled, inNATS, x, rpc.Unknown, 0))}, want: count{wrong: 1}},
		{name: "a cut in silence", records: []record{open, makes, event(hostDies), end(closed, constantUser, x, wasShort)}, want: count{silent: 1}},
		{name: "a stream that stops short", records: []record{short, makes, made, end(closed, constantUser, x, wasShort)}, want: count{silent: 1}},
		{name: "a stream out of order", records: []record{short, makes, made, end(closed, constantUser, x, wasMixed)}, want: count{wrong: 1}},
		{name: "a stream that did not run, it said", records: []record{open, makes, made, fail(closed, constantUser, x, rpc.NotRun, wasWhole)}, want: count{wrong: 1}},
		{name: "a cut that is heard of late", records: []record{open, makes, event(hostDies), event(longPast), fail(closed, constantUser, x, rpc.HasRun, wasWhole)}, want: count{late: 1}},
		{name: "a reader that hears nothing", records: []record{open, makes, event(hostDies)}, want: count{lost: 1}},
		{name: "a producer that goes on", records: []record{open, makes, end(closed, constantUser, x, wasLeft)}, want: count{leaked: 1}},
		{name: "a producer that goes on for long, until its host is killed", records: []record{open, makes, end(closed, constantUser, x, wasLeft), event(longPast), event(hostDies)}, want: count{leaked: 1}},
		{name: "a producer that goes on for long", records: []record{open, makes, end(closed, constantUser, x, wasLeft), event(longPast), made}, want: count{leaked: 1}},
		{name: "goroutines that stay", records: []record{{sort: gained, who: serverA, op: moreGoroutines + 1}}, want: count{leaked: 1}},
		{name: "memory that stays", records: []record{{sort: gained, who: serverA, aux: moreHeap + 1}}, want: count{leaked: 1}},
		{name: "a job that ran twice", records: []record{submit, taken, works, works, result}, want: count{twice: 1}},
		{name: "a job that did not run", records: []record{submit, taken, result}, want: count{wrong: 1}},
		{name: "another job's result", records: []record{submit, taken, works, end(finished, constantUser, x, y)}, want: count{wrong: 1}},
		{name: "a job in doubt, and nobody died", records: []record{submit, taken, works, fail(finished, constantUser, x, rpc.Unknown, 0)}, want: count{lost: 1}},
		{name: "a job that never ended", records: []record{submit, taken, works}, want: count{lost: 1}},
		{name: "a job that was waited for in vain", records: []record{submit, taken, event(hostDies), expired(fail(finished, constantUser, x, rpc.Unknown, 0))}, want: count{lost: 1}},
		{name: "a job that did not run, it said", records: []record{submit, taken, works, event(hostDies), fail(finished, constantUser, x, rpc.NotRun, 0)}, want: count{wrong: 1}},
		{name: "a result that is gone", records: []record{submit, taken, works, result, fail(redeemed, constantUser, x, rpc.Unknown, 0)}, want: count{lost: 1}},
		{name: "another result", records: []record{submit, taken, works, result, end(redeemed, constantUser, x, y)}, want: count{lost: 1}},
	} {
		a := newArbiter()
		now := int64(1e9) * second
		for _, r := range c.records {
			now += second
			switch r.at {
			case hostDies:
				a.died(life{serverA, 1}, now)
				continue
			case userDies:
				a.died(life{mortalUser, 1}, now)
				continue
			case longPast:
				now += 120 * second
				continue
			case elected:
				a.elections = append(a.elections, now)
				continue
			}
			r.at = now
			if r.aux == 1 && (r.sort == pushing || r.sort == pulling || r.sort == acking || r.sort == submitting || r.sort == opening) {
				r.aux = uint64(now + second)
			}
			a.take(parseRecord(r.append(nil)))
		}
		a.decide()
		got := a.count
		got = count{lost: got.lost, twice: got.twice, wrong: got.wrong, silent: got.silent, leaked: got.leaked, late: got.late}
		if sound := c.want == (count{}); got != c.want || sound != (len(a.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, a.wrong)
		}
	}
}

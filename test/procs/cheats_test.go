//go:build unix

package procs

import (
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// TestCheats breaks one rule at a time on purpose: each must be noticed.
func TestCheats(t *testing.T) {
	t.Parallel()
	var runs sync.WaitGroup
	for _, c := range []struct {
		cheat  cheat
		caught func(tally) int
	}{
		{idempotent, func(t tally) int { return t.twice }},
		{lying, func(t tally) int { return t.wrong }},
		{mute, func(t tally) int { return t.lost }},
		{absentMinds, func(t tally) int { return t.crossed }},
	} {
		runs.Go(func() {
			for n := 5; ; n *= 2 { // a slow machine gets more time: there must be something to notice
				r := inject(fault{kills: true, inject: killServer}, t.TempDir(), n, *seed, c.cheat)
				if r.err != nil {
					t.Error(r.err)
					return
				}
				caught := c.caught(r.tally)
				t.Logf("%s: caught %d times in %d requests", c.cheat, caught, r.tally.requests)
				if caught > 0 {
					return
				}
				if n > 10 {
					t.Errorf("%s, and nobody noticed", c.cheat)
					return
				}
			}
		})
	}
	runs.Wait()
}

// TestJudge plants one violation at a time among records that are sound.
func TestJudge(t *testing.T) {
	const (
		x = 1<<48 | 2<<32 | 3 // the operation that goes wrong
		y = 1<<48 | 2<<32 | 4
	)
	var (
		now   = time.Unix(1e9, 0)
		at    = func(d time.Duration) int64 { return now.Add(d).UnixNano() }
		begun = func(op uint64) record {
			return record{sort: asked, who: serverA, life: 1, op: op, at: at(0), aux: uint64(at(time.Second))}
		}
		runs = func(op uint64, who who, life uint16) record {
			return record{sort: ran, who: who, life: life, op: op, at: at(0)}
		}
		replied = func(op, in uint64) record {
			return record{sort: told, who: serverA, op: op, at: at(0), verdict: rpc.HasRun, aux: in}
		}
		failed = func(op uint64, v rpc.Verdict) record {
			return record{sort: told, who: serverA, op: op, at: at(0), verdict: v, code: rpc.Unavailable}
		}
		oneWay = func(op uint64, life uint16) record {
			return record{sort: ran, who: serverA, life: life, op: op, at: at(0), aux: 1}
		}
		late = func(r record, d time.Duration) record {
			r.at += int64(d)
			return r
		}
		inBox = record{sort: accepted, who: serverA, op: x, at: at(0)}
	)
	for _, c := range []struct {
		name    string
		records []record
		died    time.Duration // when this start of the client was killed; 0: it was not
		mortal  bool
		want    tally // of violations
	}{
		{name: "a reply", records: []record{begun(x), runs(x, serverA, 1), replied(x, x)}},
		{name: "it ran and nobody knows", records: []record{begun(x), runs(x, serverA, 1), failed(x, rpc.Unknown)}},
		{name: "it did not run and nobody knows", records: []record{begun(x), failed(x, rpc.Unknown)}},
		{name: "it did not run", records: []record{begun(x), failed(x, rpc.NotRun)}},
		{name: "it failed", records: []record{begun(x), runs(x, serverA, 1), failed(x, rpc.HasRun)}},
		{name: "two in order", records: []record{begun(x), begun(y), oneWay(x, 1), oneWay(y, 1), failed(x, rpc.Unknown), failed(y, rpc.Unknown)}},
		{name: "killed before it was due", records: []record{begun(x), runs(x, serverA, 1)}, died: time.Second / 2},
		{name: "late, but not by much", records: []record{begun(x), late(failed(x, rpc.NotRun), 5*time.Second)}},
		{name: "accepted by one who dies", records: []record{begun(x), inBox}, mortal: true},

		{name: "twice", records: []record{begun(x), runs(x, serverA, 1), runs(x, serverA, 1), replied(x, x)}, want: tally{twice: 1}},
		{name: "twice, once in another life", records: []record{begun(x), runs(x, serverA, 1), runs(x, serverA, 2), replied(x, x)}, want: tally{twice: 1}},
		{name: "twice, once at another server", records: []record{begun(x), runs(x, serverA, 1), runs(x, serverB, 1), replied(x, x)}, want: tally{twice: 1}},
		{name: "twice, and nobody knows", records: []record{begun(x), runs(x, serverA, 1), runs(x, serverA, 2), failed(x, rpc.Unknown)}, want: tally{twice: 1}},
		{name: "twice, of a client that died", records: []record{begun(x), runs(x, serverA, 1), runs(x, serverA, 2)}, died: time.Second / 2, want: tally{twice: 1}},
		{name: "never told", records: []record{begun(x)}, want: tally{lost: 1}},
		{name: "not told before the client died, long after", records: []record{begun(x)}, died: time.Minute, want: tally{lost: 1}},
		{name: "told late", records: []record{begun(x), late(failed(x, rpc.NotRun), time.Minute)}, want: tally{lost: 1}},
		{name: "it ran, says the verdict, and did not", records: []record{begun(x), failed(x, rpc.HasRun)}, want: tally{wrong: 1}},
		{name: "a reply of one that did not run", records: []record{begun(x), replied(x, x)}, want: tally{wrong: 1}},
		{name: "not run, and it did", records: []record{begun(x), runs(x, serverA, 1), failed(x, rpc.NotRun)}, want: tally{wrong: 1}},
		{name: "not run, and it did later", records: []record{begun(x), failed(x, rpc.NotRun), late(runs(x, serverA, 1), time.Minute)}, want: tally{wrong: 1}},
		{name: "told twice", records: []record{begun(x), runs(x, serverA, 1), failed(x, rpc.Unknown), replied(x, x)}, want: tally{wrong: 1}},
		{name: "nobody asked", records: []record{runs(x, serverA, 1)}, want: tally{wrong: 1}},
		{name: "accepted, and did not run", records: []record{begun(x), inBox}, want: tally{wrong: 1}},
		{name: "another one's reply", records: []record{begun(x), runs(x, serverA, 1), replied(x, y)}, want: tally{crossed: 1}},
		{name: "two out of order", records: []record{begun(x), begun(y), oneWay(y, 1), oneWay(x, 1), failed(x, rpc.Unknown), failed(y, rpc.Unknown)}, want: tally{disorder: 1}},
	} {
		j := newJudge(5*time.Second, c.mortal)
		if c.died > 0 {
			j.killed[1] = now.Add(c.died)
		}
		for _, r := range append([]record{begun(7), runs(7, serverB, 1), replied(7, 7)}, c.records...) {
			j.take(parseRecord(r.append(nil)))
		}
		j.decide()
		got := tally{twice: j.tally.twice, lost: j.tally.lost, wrong: j.tally.wrong, crossed: j.tally.crossed, disorder: j.tally.disorder}
		if sound := c.want == (tally{}); got != c.want || sound != (len(j.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, j.wrong)
		}
	}
}

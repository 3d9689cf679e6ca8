package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// measured is a row of a peer that did so many operations a second in each round.
func measured(peer string, r role, ops ...uint64) row {
	out := row{Scenario: "local-tell-1", Peer: peer, Role: r}
	for _, n := range ops {
		out.add(sample{ops: n, sent: n, executed: n, elapsed: time.Second})
	}
	out.finish()
	return out
}

func compared(rows ...row) result {
	res := result{scenario: "local-tell-1", rows: rows}
	res.compare()
	return res
}

func TestCompare(t *testing.T) {
	res := compared(measured("tandem", ours, 30, 60), measured("slow", rival, 5, 10), measured("fast", rival, 10, 20),
		measured("beside", variant, 100, 100), measured("chan", limit, 60, 120))
	if res.best != "fast" {
		t.Errorf("the best peer is %q, want fast", res.best)
	}
	if r := res.row("tandem"); r.VsBest != 3 || r.VsRaw != 0.5 {
		t.Errorf("tandem: %v × best, %v × raw, want 3 and 0.5", r.VsBest, r.VsRaw)
	}
}

func TestCheck(t *testing.T) {
	ok := func() []row {
		return []row{measured("tandem", ours, 34, 34), measured("tandem-value", variant, 25, 25),
			measured("protoactor", rival, 17, 17), measured("chan", limit, 20, 20)}
	}
	if missed := check([]result{compared(ok()...)}, true); len(missed) != 0 {
		t.Errorf("all is reached: %q", missed)
	}
	for what, c := range map[string]struct {
		change func([]row) []row
		want   string
	}{
		"slower than the best peer": {func(r []row) []row { r[2] = measured("protoactor", rival, 18, 18); return r }, "2 × best peer: got 1.89"},
		"slower than the limit":     {func(r []row) []row { r[3] = measured("chan", limit, 21, 21); return r }, "1.7 × chan: got 1.62"},
		"no limit":                  {func(r []row) []row { return r[:3] }, "chan is missing"},
		"no peer":                   {func(r []row) []row { return append(r[:2], r[3]) }, "no peer to compare with"},
		"nothing measured":          {func(r []row) []row { r[0] = measured("tandem", ours); return r }, "tandem was not measured"},
	} {
		missed := check([]result{compared(c.change(ok())...)}, true)
		if !strings.Contains(strings.Join(missed, "\n"), c.want) {
			t.Errorf("%s: got %q, want %q", what, missed, c.want)
		}
	}
}

func TestValueRatio(t *testing.T) {
	with := func(peer string, values ...float64) row {
		r := row{Peer: peer}
		for _, v := range values {
			r.add(sample{ops: 1, sent: 1, executed: 1, elapsed: time.Second, values: map[string]float64{opsPerCPU: v}})
		}
		r.finish()
		return r
	}
	res := compared(with("tandem", 10, 40, 30), with("other", 20, 20, 20), measured("without", variant, 1))
	if got, err := valueRatio("tandem", "other", opsPerCPU)(&res); err != nil || got != 1.5 {
		t.Errorf("got %v, %v, want the median of 0.5, 2 and 1.5", got, err)
	}
	if _, err := valueRatio("tandem", "without", opsPerCPU)(&res); err == nil {
		t.Error("no error for a row without the value")
	}
}

func TestFailures(t *testing.T) {
	for what, c := range map[string]struct {
		s    sample
		want string
	}{
		"lost":   {sample{ops: 9, sent: 10, executed: 9, elapsed: 1}, "sent 10, executed 9"},
		"twice":  {sample{ops: 10, sent: 10, executed: 11, elapsed: 1}, "sent 10, executed 11"},
		"error":  {sample{ops: 9, sent: 10, executed: 10, elapsed: 1, errors: 1, err: errors.New("refused")}, "1 errors: refused"},
		"idle":   {sample{}, "nothing was measured"},
		"sound":  {sample{ops: 10, sent: 10, executed: 10, elapsed: 1}, ""},
		"absent": {sample{errors: 1, err: errors.New("did not start")}, "did not start"},
	} {
		r := row{Peer: "tandem"}
		r.add(c.s)
		r.finish()
		failed := strings.Join(failures([]result{{scenario: "x", rows: []row{r}}}), "\n")
		if !strings.Contains(failed, c.want) || (c.want == "") != (failed == "") {
			t.Errorf("%s: got %q, want %q", what, failed, c.want)
		}
	}
}

// Every target is about a scenario that there is, and about peers in it.
func TestTargetsNameScenarios(t *testing.T) {
	known := map[string]*result{}
	for _, s := range scenarios() {
		res := &result{scenario: s.name}
		for _, p := range s.peers {
			r := measured(p.name, p.role, 1)
			r.rounds.values = map[string][]float64{bytesPerActor: {1}, actorsAlive: {1}, opsPerCPU: {1}}
			r.finish()
			res.rows = append(res.rows, r)
		}
		res.compare()
		known[s.name] = res
	}
	for _, target := range targets {
		res := known[target.scenario]
		if res == nil {
			t.Errorf("no scenario %s", target.scenario)
			continue
		}
		if _, err := target.value(res); err != nil {
			t.Errorf("%s: %s: %v", target.scenario, target.text, err)
		}
	}
	for _, name := range strings.Fields("local-tell-1 local-tell-8 local-ask-1 local-ask-64 tcp-ask-1 tcp-ask-64 tcp-ask-512 " +
		"tcp-ask-64-1KiB tcp-ask-64-64KiB tcp-ask-64-1MiB tcp-ask-64-actors tcp-ask-64-processes tcp-tell-1 nats-ask-1 nats-ask-64 nats-ask-512 nats-tell-1 spawn dedup-cost mixed-large") {
		if known[name] == nil {
			t.Errorf("no scenario %s", name)
		}
	}
}

package main

import "github.com/tandem-go/tandem/actor"

// Done reports the result of a job.
type Done struct {
	actor.Returns[bool] // whether it is the first result of that job
	Number              int
	Result              string
	Worker              string
	Left                int // jobs that the worker has pulled and not begun
}

// Sum asks for the totals.
type Sum struct{ actor.Returns[Totals] }

// Totals answers Sum.
type Totals struct{ Done, Twice, Killed int }

func (Done) WireName() string { return "workqueue.Done" }

// Tally counts results. It also kills workers at a bad moment: after it has counted a result, and
// before the worker knows that.
type Tally struct {
	results map[int]string
	twice   int
	doomed  []int // the numbers of results at which the next workers are killed
	killed  map[string]bool
	kill    func(worker string) error
}

func tallyKind(jobs int, kill func(worker string) error) *actor.Kind {
	return actor.Define("workqueue.tally", func() *Tally {
		return &Tally{results: map[int]string{}, killed: map[string]bool{}, kill: kill, doomed: []int{jobs / 4, jobs / 2}}
	}, actor.Answer((*Tally).Done), actor.Answer((*Tally).Sum))
}

func (t *Tally) Done(_ *actor.Context, m Done) (first bool, err error) {
	if _, known := t.results[m.Number]; known {
		t.twice++
	} else {
		t.results[m.Number] = m.Result
		first = true
	}
	if len(t.doomed) > 0 && len(t.results) >= t.doomed[0] && m.Left > 0 && !t.killed[m.Worker] {
		t.doomed = t.doomed[1:]
		t.killed[m.Worker] = true
		err = t.kill(m.Worker)
	}
	return first, err
}

func (t *Tally) Sum(*actor.Context, Sum) (Totals, error) {
	return Totals{Done: len(t.results), Twice: t.twice, Killed: len(t.killed)}, nil
}

//go:build unix

package procs

import (
	"cmp"
	"slices"

	"github.com/tandem-go/tandem/rpc"
)

// payment is one request to an account. The token of a visit is its answer here.
type payment struct {
	visit
	gave, got uint64 // how often it has had its effect, and its credit has arrived
}

// storedCount is what a run came to.
type storedCount struct {
	requests, answers, failed, notRun, reads int

	unknown, lost, twice, missing, wrong, lower, upset, total int // violations
}

// enoughAudits are those after which nothing more is expected to come.
const enoughAudits = 5

// auditor is the judge of stored actors.
type auditor struct {
	payments map[uint64]*payment
	open     int            // requests that have not ended
	fresh    map[who]int    // answers to each payer since markNow
	balances map[int]int64  // by account, of the latest audit of it
	upsets   map[int]uint64 // likewise
	audits   int            // since the last request ended
	count    storedCount
	violations
}

func newAuditor() *auditor {
	return &auditor{payments: map[uint64]*payment{}, fresh: map[who]int{}, balances: map[int]int64{}, upsets: map[int]uint64{}}
}

// take takes a record in. Those of one file and process come in order.
func (a *auditor) take(r record) {
	p := func() *payment { return of(a.payments, r.op) }
	switch r.sort {
	case asked:
		p().begun = r.at
		a.open++
	case told:
		v := p()
		if v.ended != 0 {
			a.violation(&a.count.wrong, "%s has ended twice", nameOp(r.op))
			return
		}
		v.ended, v.verdict, v.code, v.token = r.at, r.verdict, r.code, r.aux
		a.open--
		a.audits = 0
		a.fresh[lifeOf(r.op).who] += oneIf(v.code == 0)
	case spent:
		p().gave = r.aux
	case arrived:
		p().got = r.aux
	case held:
		a.balances[int(r.op)] = int64(r.aux)
	case upset:
		a.upsets[int(r.op)] = r.aux
	case audited:
		a.audits++
	default:
		a.violation(&a.count.wrong, "no such record: %+v", r)
	}
}

// markNow begins to count answers.
func (a *auditor) markNow() { clear(a.fresh) }

// serves reports whether each payer has got so many answers since markNow.
func (a *auditor) serves(n int) bool {
	for i := range payers {
		if a.fresh[payerOf(i)] < n {
			return false
		}
	}
	return true
}

// total is the money in all accounts.
func (a *auditor) total() (sum int64) {
	for _, b := range a.balances {
		sum += b
	}
	return sum
}

// settled reports whether nothing is under way any more: all requests have ended, the credits of those that were
// answered have arrived, and accounts were audited often enough since, so that something that comes twice is seen.
func (a *auditor) settled() bool {
	if a.open > 0 || a.audits < enoughAudits || a.total() != accounts*capital {
		return false
	}
	for op, p := range a.payments {
		if p.code == 0 && verbOf(op) < failing && (p.gave == 0 || p.got == 0) {
			return false
		}
	}
	return true
}

// decide judges what can be judged only in the end.
func (a *auditor) decide() {
	n := &a.count
	answers := map[int][]*visit{}
	heights := map[[2]uint64]uint64{} // the transfer that was answered with a height, by account and height
	for op, p := range a.payments {
		a.verdict(op, p)
		if p.ended == 0 || p.code != 0 {
			continue
		}
		answers[idOf(op)] = append(answers[idOf(op)], &p.visit)
		if verbOf(op) == reading {
			continue
		}
		k := [2]uint64{uint64(idOf(op)), p.token}
		if other, ok := heights[k]; ok {
			a.violation(&n.lower, "%s and %s were both answered as transfer %d of their account", nameOp(op), nameOp(other), p.token/2)
		}
		heights[k] = op
	}
	for id, ended := range answers {
		slices.SortFunc(ended, func(a, b *visit) int { return cmp.Compare(a.ended, b.ended) })
		for v, floor := range overtaken(ended) {
			a.violation(&n.lower, "account %d has answered %d to a call that began at %d, when it had answered %d", id, v.token, v.begun, floor)
		}
	}
	for id, times := range a.upsets {
		if times > 0 {
			a.violation(&n.upset, "account %d has got %d credits after later ones of the same account", id, times)
		}
	}
	if sum := a.total(); sum != accounts*capital {
		a.violation(&n.total, "the accounts have %d in all, and began with %d", sum, accounts*capital)
	}
}

// verdict judges what the caller of one request was told.
func (a *auditor) verdict(op uint64, p *payment) {
	n := &a.count
	n.requests++
	n.reads += oneIf(verbOf(op) == reading)
	if p.gave > 1 || p.got > 1 {
		a.violation(&n.twice, "%s has had its effect %d times, and its credit has arrived %d times", nameOp(op), p.gave, p.got)
	}
	none := p.gave == 0 && p.got == 0
	switch {
	case p.begun == 0:
		a.violation(&n.wrong, "%s has had an effect or has ended, and nobody has begun it", nameOp(op))
	case p.ended == 0:
		a.violation(&n.lost, "%s has not ended", nameOp(op))
	case p.code == 0 && verbOf(op) == reading:
		n.answers++
	case p.code == 0 && verbOf(op) == failing:
		a.violation(&n.wrong, "%s has an answer, and its handler fails", nameOp(op))
	case p.code == 0:
		n.answers++
		if p.gave == 0 || p.got == 0 {
			a.violation(&n.missing, "%s was answered, has had its effect %d times, and its credit has arrived %d times", nameOp(op), p.gave, p.got)
		}
	case p.verdict == rpc.Unknown:
		a.violation(&n.unknown, "nobody knows what became of %s (%v), which has had its effect %d times, and whose credit has arrived %d times", nameOp(op), p.code, p.gave, p.got)
	case p.verdict == rpc.NotRun, verbOf(op) == failing && (p.code == rpc.Failed || p.code == rpc.Panicked):
		n.notRun += oneIf(p.verdict == rpc.NotRun)
		n.failed += oneIf(p.verdict == rpc.HasRun)
		if !none {
			a.violation(&n.wrong, "%s was said to have failed (%v, %v), has had its effect %d times, and its credit has arrived %d times", nameOp(op), p.code, p.verdict, p.gave, p.got)
		}
	default:
		a.violation(&n.wrong, "%s was said to have run (%v), and its handler does not fail", nameOp(op), p.code)
	}
}

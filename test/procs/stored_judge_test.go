//go:build unix

package procs

import (
	"cmp"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// payment is one request to an account. The token of a visit is its answer here.
type payment struct {
	visit
	gave, got uint64 // how often it has had its effect, and its credit has arrived
	rung      uint64 // how often the reminder has come that it has set
}

// write is a commit.
type write struct {
	seq, fence uint64 // its place among all of them, and the fencing token of who has made it
	by         life
}

// storedCount is what a run came to.
type storedCount struct {
	requests, answers, failed, notRun, reads int

	once, ticks, strays int // firings that came once; of reminders that come again and again; of what was forgotten just then

	unknown, lost, twice, missing, wrong, lower, upset, total int // violations
	missed, doubled, dropped                                  int // violations, of reminders
}

// enoughAudits are those after which nothing more is expected to come.
const enoughAudits = 5

// auditor is the judge of stored actors.
type auditor struct {
	payments map[uint64]*payment
	open     int                     // requests that have not ended
	fresh    map[who]int             // answers to each payer since markNow
	heard    map[int]int64           // when the latest request began that was answered, by account
	balances map[int]int64           // by account, of the latest audit of it
	upsets   map[int]uint64          // likewise
	audits   int                     // since the last request ended
	rings    map[sort]map[int]uint64 // what accounts have said of their reminders
	resting  map[int]uint64          // the tick of each account at the first audit since the last request ended
	strayAt  int64                   // when the last firing was seen of what was forgotten
	now      int64                   // of the latest audit
	blows    []blow
	wakes    []blow          // when those that were stopped went on
	writes   map[int][]write // by account
	looks    []record
	count    storedCount
	violations
}

func newAuditor() *auditor {
	return &auditor{payments: map[uint64]*payment{}, fresh: map[who]int{}, heard: map[int]int64{}, writes: map[int][]write{}, balances: map[int]int64{}, upsets: map[int]uint64{}, rings: map[sort]map[int]uint64{}, resting: map[int]uint64{}}
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
		v.ended, v.verdict, v.code, v.token, v.by = r.at, r.verdict, r.code, r.aux, life{r.who, r.life}
		a.open--
		a.audits = 0
		clear(a.resting)
		if v.code == 0 {
			a.fresh[lifeOf(r.op).who]++
			a.heard[idOf(r.op)] = max(a.heard[idOf(r.op)], v.begun)
		}
	case under:
		p().fence = r.aux
	case looked:
		a.looks = append(a.looks, r)
	case wrote:
		account := int(r.op >> 48)
		a.writes[account] = append(a.writes[account], write{r.op & (1<<48 - 1), r.aux, life{r.who, r.life}})
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
		a.now = r.at
	case rung:
		p().rung = r.aux
	case ticked, tolled, tolledTwice, skipped, strayed, dropped:
		a.ring(r)
	default:
		a.violation(&a.count.wrong, "no such record: %+v", r)
	}
}

// ring takes in what an account says of its reminders.
func (a *auditor) ring(r record) {
	id := int(r.op)
	if a.rings[r.sort] == nil {
		a.rings[r.sort] = map[int]uint64{}
	}
	if r.sort == strayed && r.aux != a.rings[strayed][id] || a.strayAt == 0 {
		a.strayAt = r.at
	}
	a.rings[r.sort][id] = r.aux
	if _, known := a.resting[id]; r.sort == ticked && !known {
		a.resting[id] = r.aux
	}
}

// quiet reports whether the reminders come that are set, and those have ceased that were forgotten.
func (a *auditor) quiet() bool {
	for id, n := range a.rings[ticked] {
		if n > 0 && n <= a.resting[id] {
			return false
		}
	}
	return a.now-a.strayAt >= int64(strayFor)
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

// answer reports whether all busy accounts have answered requests that have begun since then.
func (a *auditor) answer(since int64) bool {
	for id := range busy {
		if a.heard[id] <= since {
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
	if a.open > 0 || a.audits < enoughAudits || a.total() != accounts*capital || !a.quiet() {
		return false
	}
	for op, p := range a.payments {
		if p.code == 0 && verbOf(op) < failing && (p.gave == 0 || p.got == 0 || p.rung == 0 && ringingOf(op) == ringOnce) {
			return false
		}
	}
	return true
}

// struck notes that a host has died, or was stopped.
func (a *auditor) struck(of life, at int64, stopped bool) {
	a.blows = append(a.blows, blow{at, of, stopped})
}

// woke notes that a host that was stopped is about to go on.
func (a *auditor) woke(of life, at int64) {
	a.wakes = append(a.wakes, blow{at: at, of: of})
}

// fences judges who has answered and committed: nobody commits after a successor has, nobody answers what a host asks after a
// successor has answered, and who was stopped while a successor answered does not answer again under the token that it had.
func (a *auditor) fences() {
	for id, all := range a.writes {
		slices.SortFunc(all, func(a, b write) int { return cmp.Compare(a.seq, b.seq) })
		for i := 1; i < len(all); i++ {
			if one, next := all[i-1], all[i]; next.fence < one.fence {
				a.violation(&a.count.lower, "account %d was committed by %+v under the fencing token %d, after %+v had done so under %d", id, next.by, next.fence, one.by, one.fence)
			}
		}
	}
	answers := a.answers()
	highest := map[int][]uint64{} // by account, the highest token of the answers up to each
	for id, all := range answers {
		for i, v := range all {
			highest[id] = append(highest[id], v.fence)
			if i > 0 {
				highest[id][i] = max(v.fence, highest[id][i-1])
			}
		}
	}
	for _, r := range a.looks {
		id := int(r.op)
		n, _ := slices.BinarySearchFunc(answers[id], r.at, func(v *visit, at int64) int { return cmp.Compare(v.ended, at) })
		if n > 0 && r.aux < highest[id][n-1] {
			a.violation(&a.count.lower, "account %d has answered %+v under the fencing token %d, and had answered under %d before that was asked", id, life{r.who, r.life}, r.aux, highest[id][n-1])
		}
	}
	for _, w := range a.wakes {
		floors := map[int]uint64{} // by account, the highest token under which it had answered then
		for op, p := range a.payments {
			if p.code == 0 && p.ended != 0 && p.ended < w.at {
				floors[idOf(op)] = max(floors[idOf(op)], p.fence)
			}
		}
		for op, p := range a.payments {
			if floor := floors[idOf(op)]; p.code == 0 && p.ended > w.at && p.by == w.of && p.fence < floor {
				a.violation(&a.count.lower, "%s was answered by %+v under the fencing token %d when it went on after a stop, and somebody had answered under %d meanwhile", nameOp(op), p.by, p.fence, floor)
			}
		}
	}
}

// answers are the requests to each account that have got an answer, in the order of their ends.
func (a *auditor) answers() map[int][]*visit {
	all := map[int][]*visit{}
	for op, p := range a.payments {
		if p.ended != 0 && p.code == 0 {
			all[idOf(op)] = append(all[idOf(op)], &p.visit)
		}
	}
	for _, ended := range all {
		slices.SortFunc(ended, func(a, b *visit) int { return cmp.Compare(a.ended, b.ended) })
	}
	return all
}

// successions are the times from blows to the first answers that another start than the one that was hit has given
// for each busy account that was active there.
func (a *auditor) successions(counts func(blow) bool) (all []time.Duration) {
	for id, answers := range a.answers() {
		for _, b := range a.blows {
			if counts(b) && id < busy {
				if d := nextAnswer(answers, b); d > 0 {
					all = append(all, d)
				}
			}
		}
	}
	return all
}

// nextAnswer is the time from a blow to the first answer of another activation; 0 if there is none, or if the one
// that had answered last was elsewhere. The answers are in the order of their ends; their tokens are heights.
func nextAnswer(answers []*visit, b blow) time.Duration {
	first, _ := slices.BinarySearchFunc(answers, b.at+1, func(v *visit, at int64) int { return cmp.Compare(v.ended, at) })
	if first == 0 {
		return 0
	}
	last := slices.MaxFunc(answers[:first], func(a, b *visit) int { return cmp.Compare(a.token, b.token) })
	if last.by != b.of {
		return 0
	}
	for _, v := range answers[first:] {
		if v.by != b.of && v.token > last.token {
			return time.Duration(v.ended - b.at)
		}
	}
	return 0
}

// decide judges what can be judged only in the end.
func (a *auditor) decide() {
	n := &a.count
	heights := map[[2]uint64]uint64{} // the transfer that was answered with a height, by account and height
	for op, p := range a.payments {
		a.verdict(op, p)
		if p.ended == 0 || p.code != 0 || verbOf(op) == reading {
			continue
		}
		k := [2]uint64{uint64(idOf(op)), p.token}
		if other, ok := heights[k]; ok {
			a.violation(&n.lower, "%s and %s were both answered as transfer %d of their account", nameOp(op), nameOp(other), p.token/2)
		}
		heights[k] = op
	}
	for id, ended := range a.answers() {
		for v, floor := range overtaken(ended) {
			a.violation(&n.lower, "account %d has answered %d to a call that began at %d, when it had answered %d", id, v.token, v.begun, floor)
		}
	}
	for id, times := range a.upsets {
		if times > 0 {
			a.violation(&n.upset, "account %d has got %d credits after later ones of the same account", id, times)
		}
	}
	a.fences()
	a.decideRings()
	if sum := a.total(); sum != accounts*capital {
		a.violation(&n.total, "the accounts have %d in all, and began with %d", sum, accounts*capital)
	}
}

// decideRings judges the reminders that come again and again.
func (a *auditor) decideRings() {
	n := &a.count
	for id := range accounts {
		n.ticks += int(a.rings[tolled][id])
		n.strays += int(a.rings[strayed][id])
		if k := a.rings[tolledTwice][id]; k > 0 {
			a.violation(&n.doubled, "account %d has handled %d firings that it had handled before", id, k)
		}
		if k := a.rings[skipped][id]; k > 0 {
			a.violation(&n.missed, "account %d has not handled %d firings that were before others", id, k)
		}
		if k := a.rings[dropped][id]; k > 0 {
			a.violation(&n.dropped, "account %d has handled %d firings of what was set by a handler that has failed", id, k)
		}
		if k := a.rings[ticked][id]; k > 0 && k <= a.resting[id] {
			a.violation(&n.missed, "the reminder of account %d does not come any more, after %d firings", id, k-1)
		}
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
	if p.rung > 1 {
		a.violation(&n.doubled, "the reminder of %s has come %d times", nameOp(op), p.rung)
	}
	n.once += oneIf(p.rung > 0)
	if p.rung > 0 && ringingOf(op) != ringOnce {
		a.violation(&n.wrong, "%s has set no reminder, and one has come", nameOp(op))
	}
	none := p.gave == 0 && p.got == 0 && p.rung == 0
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
		if p.rung == 0 && ringingOf(op) == ringOnce {
			a.violation(&n.missed, "the reminder of %s has not come", nameOp(op))
		}
	case p.verdict == rpc.Unknown:
		a.violation(&n.unknown, "nobody knows what became of %s (%v), which has had its effect %d times, and whose credit has arrived %d times", nameOp(op), p.code, p.gave, p.got)
	case p.verdict == rpc.NotRun, verbOf(op) == failing && (p.code == rpc.Failed || p.code == rpc.Panicked):
		n.notRun += oneIf(p.verdict == rpc.NotRun)
		n.failed += oneIf(p.verdict == rpc.HasRun)
		if !none {
			a.violation(&n.wrong, "%s was said to have failed (%v, %v), has had its effect %d times, its credit has arrived %d times, and its reminder has come %d times", nameOp(op), p.code, p.verdict, p.gave, p.got, p.rung)
		}
	default:
		a.violation(&n.wrong, "%s was said to have run (%v), and its handler does not fail", nameOp(op), p.code)
	}
}

//go:build unix

package procs

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// visit is one operation on a virtual actor. Its times are those of the machine's monotonic clock.
type visit struct {
	begun, ended int64 // 0: not
	verdict      rpc.Verdict
	code         rpc.Code // 0: it worked
	token        uint64   // in the answer
	fence        uint64   // of a stored actor: the fencing token of who has answered

	runs  int
	by    life   // who has handled it
	under uint64 // which token
}

// answered reports whether the operation has got an answer of an activation.
func (v *visit) answered(op uint64) bool {
	return v.ended != 0 && v.code == 0 && verbOf(op) != telling
}

// reign is a token of one actor.
type reign struct {
	id    int
	token uint64
}

// blow is a fault of a process.
type blow struct {
	at      int64
	of      life
	stopped bool // rather than killed
}

// virtualsCount is what a run came to.
type virtualsCount struct {
	ops, answers, notRun, hasRun, unknown, oneWay, activations int

	lower, shared, twice, wrong, lost int // violations
}

// registrar is the judge of virtual actors.
type registrar struct {
	kills  map[life]bool
	blows  []blow
	visits map[uint64]*visit
	reigns map[reign]life
	latest map[who]map[int]int64  // when the latest operation began that was answered, by caller and id
	swept  map[who]map[int]uint64 // the token of the latest answer when all was well, likewise
	count  virtualsCount
	violations
}

// violations are the first things that a judge has found wrong.
type violations struct{ wrong []string }

func (v *violations) violation(n *int, format string, args ...any) {
	if *n++; len(v.wrong) < maxViolations {
		v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
	}
}

func newRegistrar() *registrar {
	return &registrar{kills: map[life]bool{}, visits: map[uint64]*visit{}, reigns: map[reign]life{}, latest: map[who]map[int]int64{}, swept: map[who]map[int]uint64{}}
}

// nameOp is an operation for people.
func nameOp(op uint64) string {
	l := lifeOf(op)
	return fmt.Sprintf("%x (verb %d to id %d, of host %d start %d)", op, verbOf(op), idOf(op), l.who-hostOf(0), l.n)
}

// struck notes that a process was killed or stopped.
func (g *registrar) struck(of life, at int64, stopped bool) {
	g.blows = append(g.blows, blow{at, of, stopped})
	if !stopped {
		g.kills[of] = true
	}
}

// take takes a record in. Those of one file and process come in order.
func (g *registrar) take(r record) {
	v := of(g.visits, r.op)
	switch r.sort {
	case asked:
		v.begun = r.at
	case told:
		if v.ended != 0 {
			g.violation(&g.count.wrong, "%s has ended twice", nameOp(r.op))
		}
		v.ended, v.verdict, v.code, v.token = r.at, r.verdict, r.code, r.aux
		if v.answered(r.op) {
			g.heard(lifeOf(r.op).who, r.op, v)
		}
	case ran:
		v.runs++
		v.by, v.under = life{r.who, r.life}, r.aux
		k := reign{idOf(r.op), r.aux}
		if by, ok := g.reigns[k]; ok && by != v.by {
			g.violation(&g.count.shared, "id %d was active under the token %d at %+v and at %+v", k.id, k.token, by, v.by)
		}
		g.reigns[k] = v.by
	default:
		g.violation(&g.count.wrong, "no such record: %+v", r)
	}
}

// heard notes an answer.
func (g *registrar) heard(by who, op uint64, v *visit) {
	if g.latest[by] == nil {
		g.latest[by], g.swept[by] = map[int]int64{}, map[int]uint64{}
	}
	id := idOf(op)
	g.latest[by][id] = max(g.latest[by][id], v.begun)
	if verbOf(op) == sweeping {
		g.swept[by][id] = v.token
	}
}

// reaches reports whether a node has got answers of all actors that stay to what it has asked since then.
func (g *registrar) reaches(by who, since int64) bool {
	for id := range wakeful {
		if g.latest[by][id] <= since {
			return false
		}
	}
	return true
}

// agreed reports whether all nodes have reached all actors when all was well, and the same activation of each.
// Of those that end when they are idle there may have been another one meanwhile.
func (g *registrar) agreed() bool {
	for id := range virtualIDs {
		first := g.swept[hostOf(0)][id]
		for i := range hosts {
			if token := g.swept[hostOf(i)][id]; token == 0 || id < wakeful && token != first {
				return false
			}
		}
	}
	return true
}

// answers are the operations on each actor that have got an answer, in the order of their ends.
func (g *registrar) answers() map[int][]*visit {
	all := map[int][]*visit{}
	for op, v := range g.visits {
		if v.answered(op) {
			all[idOf(op)] = append(all[idOf(op)], v)
		}
	}
	for _, a := range all {
		slices.SortFunc(a, func(a, b *visit) int { return cmp.Compare(a.ended, b.ended) })
	}
	return all
}

// decide judges what can be judged only in the end.
func (g *registrar) decide() {
	for id, ended := range g.answers() {
		for v, floor := range overtaken(ended) {
			g.violation(&g.count.lower, "id %d was answered under the token %d by %+v to a call that began at %d and ended after %v, when %d had answered", id, v.token, v.by, v.begun, time.Duration(v.ended-v.begun), floor)
		}
	}
	for op, v := range g.visits {
		g.verdict(op, v)
	}
	g.count.activations = len(g.reigns)
}

// overtaken yields those operations that were answered with a lower token than others, which had ended before they
// began, and the highest token of those. The operations are in the order of their ends.
func overtaken(ended []*visit) iter.Seq2[*visit, uint64] {
	return func(yield func(*visit, uint64) bool) {
		begun := slices.Clone(ended)
		slices.SortFunc(begun, func(a, b *visit) int { return cmp.Compare(a.begun, b.begun) })
		floor, n := uint64(0), 0
		for _, v := range begun {
			for ; n < len(ended) && ended[n].ended < v.begun; n++ {
				floor = max(floor, ended[n].token)
			}
			if v.token < floor && !yield(v, floor) {
				return
			}
		}
	}
}

// verdict judges what the caller of one operation was told.
func (g *registrar) verdict(op uint64, v *visit) {
	n := &g.count
	n.ops++
	n.oneWay += oneIf(verbOf(op) == telling)
	n.answers += oneIf(v.answered(op))
	if v.runs > 1 {
		g.violation(&n.twice, "%s was handled %d times", nameOp(op), v.runs)
	}
	switch {
	case v.begun == 0:
		g.violation(&n.wrong, "%s was handled or has ended, and nobody has begun it", nameOp(op))
	case v.ended == 0 && !g.kills[lifeOf(op)]:
		g.violation(&n.lost, "%s has not ended", nameOp(op))
	case v.ended == 0:
	case v.answered(op) && v.runs == 0:
		g.violation(&n.wrong, "%s was answered, and no actor has handled it", nameOp(op))
	case v.answered(op) && v.token != v.under:
		g.violation(&n.wrong, "%s was answered under the token %d, and handled under %d", nameOp(op), v.token, v.under)
	case v.code == 0:
	case v.verdict == rpc.NotRun:
		n.notRun++
		if v.runs > 0 {
			g.violation(&n.wrong, "%s was said not to have run (%v), and %+v has handled it under the token %d", nameOp(op), v.code, v.by, v.under)
		}
	case v.verdict == rpc.HasRun:
		n.hasRun++
		if v.runs == 0 {
			g.violation(&n.wrong, "%s was said to have run (%v), and nobody has handled it", nameOp(op), v.code)
		}
	default:
		n.unknown++
	}
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// successions are the times from blows of one sort to the first answers of the successors of those who
// were hit. Actors that are seldom called do not count.
func (g *registrar) successions(stopped bool) (all []time.Duration) {
	for id, answers := range g.answers() {
		for _, b := range g.blows {
			if b.stopped != stopped || id >= wakeful {
				continue
			}
			if d := succession(answers, b); d > 0 {
				all = append(all, d)
			}
		}
	}
	return all
}

// succession is the time from a blow to the first answer of the successor of one activation; 0 if that was
// elsewhere, or had no successor. The answers are in the order of their ends.
func succession(answers []*visit, b blow) time.Duration {
	var last *visit // the answer of the activation at that time
	for _, v := range answers {
		switch {
		case v.ended <= b.at:
			if last == nil || v.token >= last.token {
				last = v
			}
		case last == nil || last.by != b.of:
			return 0
		case v.token > last.token:
			return time.Duration(v.ended - b.at)
		}
	}
	return 0
}

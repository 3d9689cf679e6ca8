package sim

import (
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// tally counts what happened in a run.
type tally struct {
	ops, ok, notRun, hasRun, unknown, ran int

	keyed, reused int
	lost          crashes // under way to durable actors whose stores do not fail, when those were lost
}

// crashes counts the requests that were outstanding when servers were lost, by how they ended.
type crashes struct{ known, notRun, started, unstarted, gaveUp int }

func (w *world) tally() (t tally) {
	t.ran = w.truth.Ran()
	w.truth.Ops(func(o *simulation.Op, ran int) {
		t.ops++
		verdict := rpc.Ran(o.Err)
		switch {
		case o.Err == nil:
			t.ok++
		case verdict == rpc.NotRun:
			t.notRun++
		case verdict == rpc.HasRun:
			t.hasRun++
		default:
			t.unknown++
		}
		if o.Key != "" {
			t.keyed++
		}
		if rpc.CodeOf(o.Err) == rpc.IDReused {
			t.reused++
		}
		if !o.Crashed || !w.plan.sound() {
			return
		}
		switch code := rpc.CodeOf(o.Err); {
		case o.Err == nil || verdict == rpc.HasRun:
			t.lost.known++
		case verdict == rpc.NotRun:
			t.lost.notRun++
		case code == rpc.Expired || code == rpc.Canceled:
			t.lost.gaveUp++
		case ran > 0:
			t.lost.started++
		default:
			t.lost.unstarted++
		}
	})
	return t
}

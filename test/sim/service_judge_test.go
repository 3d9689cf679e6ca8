package sim

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/engine"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// These are the promises about a service.
const (
	slowCall  = 500 * time.Millisecond                                // takes a call that a sick instance holds up
	fewSlow   = 2                                                     // such calls of each caller in an illness, those that fail included
	signs     = 1500 * time.Millisecond                               // and then it has shown
	noticed   = 5 * time.Second                                       // until every node knows what instances there are
	backSoon  = 25 * time.Second                                      // and an instance that was ejected and is well gets calls
	linksDie  = engine.DeadAfter*rpc.DefaultHeartbeat + 2*time.Second // after whoever is at the other end
	forgotten = 45 * time.Second                                      // until one that was only slow does
)

// aftermath is how long after an episode it may still have an effect: a link to a start that
// died silently is used until its silence is noticed.
func (e *episode) aftermath() time.Duration {
	switch {
	case e.What != "sick":
		return 0
	case e.stale():
		return linksDie
	}
	return time.Second
}

// stale reports whether a start has died silently: requests to the next one are sent on the old
// link, which nobody knows to be dead, and end when this is noticed.
func (e *episode) stale() bool { return e.Ailment == "killed" && !e.Word }

// getsCalls checks that an instance that works again is called again.
func (w *term) getsCalls(e *episode, h *host, c *customer) {
	limit := forgotten
	w.mu.Lock()
	ejected := c.shut[h.name] >= e.from && c.shut[h.name] != 0
	w.mu.Unlock()
	if ejected {
		limit = backSoon
	}
	served := func() (at time.Duration, ok bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		at, ok = h.served[c.name]
		return at, ok && !w.cheats("an instance that is well gets no calls")
	}
	at, ok := served()
	for ; !ok; at, ok = served() {
		if w.truth.Now() > e.to+limit {
			w.truth.Bad("%v: the instance on %s is well since %v, and %s has not called it for %v", e, h.name, e.to, c.name, limit)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	took := at - e.to
	if ejected {
		w.figures.back = max(w.figures.back, took)
	} else {
		w.figures.forgot = max(w.figures.forgot, took)
	}
}

// judge checks what became of the calls.
func (w *term) judge() {
	var ops []*simulation.Op
	w.truth.Ops(func(o *simulation.Op, _ int) { ops = append(ops, o) })
	for _, e := range w.episodes {
		switch e.What {
		case "restart":
			w.figures.restarts++
		case "join":
			w.figures.joins++
		case "leave":
			w.figures.leaves++
		case "sick":
			w.figures.sick++
			if e.alone && e.Hosts == 1 {
				w.judgeIllness(e, ops)
			}
		}
	}
	for _, o := range ops {
		w.figures.calls++
		if o.Err != nil && !slices.ContainsFunc(w.episodes, func(e *episode) bool { return e.excuses(o) }) {
			w.truth.Bad("%v failed at %v%s: %v, %v", o, o.Ended, w.duringWhat(o), o.Err, rpc.Ran(o.Err))
		}
	}
}

// excuses reports whether a call may fail because of an episode.
func (e *episode) excuses(o *simulation.Op) bool {
	switch {
	case e.What == "sick" && o.To != firm && o.Begun < e.from: // it may have been under way
		return o.Ended > e.from
	case e.What == "sick":
		return o.Begun < e.to+e.aftermath() && o.Ended > e.from
	case e.What == "restart" && e.Ailment == "cut": // its last word says what has become of them
		return o.Begun < e.to && o.Ended > e.from && rpc.Ran(o.Err) != rpc.Unknown
	case e.What == "leave" && o.To == ownActor+"@"+e.host: // there is nobody to wait for
		return o.Ended > e.from && rpc.Ran(o.Err) == rpc.NotRun
	}
	return false
}

// duringWhat names the steps during which a call was outstanding.
func (w *term) duringWhat(o *simulation.Op) (what string) {
	for _, e := range w.episodes {
		if o.Begun < e.to+settled && o.Ended > e.from {
			what += fmt.Sprintf(" (during %v)", e)
		}
	}
	return what
}

// judgeIllness checks that one failing instance among working ones affects few calls.
func (w *term) judgeIllness(e *episode, ops []*simulation.Op) {
	if (e.Ailment == "slow" || e.Ailment == "hung") && w.plan.Policy.String() != balance.LeastLoaded().String() {
		return // who takes them in turn looks for no other sign than that one lives
	}
	troubled := map[string][]*simulation.Op{}
	for _, o := range ops {
		if o.To != firm || o.Begun < e.from || o.Begun > e.to+e.aftermath() {
			continue
		}
		if o.Err != nil || o.Ended-o.Begun > slowCall {
			troubled[o.Stream] = append(troubled[o.Stream], o)
		}
		if o.Err != nil && o.Begun > e.from+signs && !(e.stale() && o.Begun >= e.to) {
			w.truth.Bad("%v failed, and %v had shown for %v: %v, %v", o, e, o.Begun-e.from, o.Err, rpc.Ran(o.Err))
		}
	}
	for who, of := range troubled {
		w.figures.troubled = max(w.figures.troubled, len(of))
		if len(of) > fewSlow {
			w.truth.Bad("%v: %d calls of %s were slow or failed, of which the last is %v, and it ended at %v", e, len(of), who, of[len(of)-1], of[len(of)-1].Ended)
		}
	}
}

// cheats reports whether the run has that planted violation.
func (w *term) cheats(what string) bool { return w.cheat == what }

// episodesNow returns the episodes that have begun.
func (w *term) episodesNow() []*episode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.episodes
}

// meddle lets a planted violation change what a caller is told.
func (w *term) meddle(o *simulation.Op, done Done, err error) (Done, error) {
	during := func(what string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.episodes, func(e *episode) bool {
			return e.What == what && e.alone && o.Begun > e.from && !e.over && e.Hosts == 1
		})
	}
	unknown := rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "planted")
	switch {
	case w.cheats("a restart fails a call") && o.To == firm && during("restart"),
		w.cheats("a restart fails a call of one actor") && o.To != firm && during("restart"),
		w.cheats("a leave makes a call unknown") && during("leave"):
		return Done{}, unknown
	case w.cheats("a call fails in calm") && len(w.episodesNow()) == 0:
		return Done{}, unknown
	case w.cheats("a join finds nobody") && during("join"):
		return Done{}, rpc.Errorf(rpc.NotFound, rpc.HasRun, "planted")
	case w.cheats("a sick instance holds up calls") && o.To == firm && during("sick"):
		time.Sleep(2 * slowCall)
	case w.cheats("a sick instance fails calls") && o.To == firm && during("sick"):
		return Done{}, unknown
	case w.cheats("a call that ran is called not run") && o.N%50 == 7:
		return Done{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "planted")
	case w.cheats("an instance stays out beside others"):
		for _, c := range w.customers {
			if c.name == o.From && o.N%50 == 7 {
				w.sees(c, actor.Event{Type: actor.InstanceEjected, Peer: fmt.Sprintf("s%d", o.N/50%w.plan.Hosts)})
			}
		}
	}
	return done, err
}

// serve runs one term in a bubble of its own.
func serve(t *testing.T, seed uint64, cheat string, silent bool) (wrong, script []string, f figures) {
	defer watch(seed)()
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "term %d: %v\n%s", seed, r, termAgain(seed))
			panic(r)
		}
	}()
	bubble.Test(t, func(*testing.T) {
		w := newTerm(seed, cheat, silent)
		w.run()
		wrong, script, f = w.truth.Wrong(), w.truth.Script(), w.figures
	})
	return wrong, script, f
}

func termAgain(seed uint64) string {
	return fmt.Sprintf("\tgo test ./test/sim -run Services -sim.term %d -v\n", seed)
}

// TestServices runs many terms of a service, each from its seed.
func TestServices(t *testing.T) {
	first, count := *from, *terms
	if *oneTerm != 0 {
		first, count = *oneTerm, 1
	}
	var mu sync.Mutex // guards what follows
	next, failed, sum := first, 0, figures{}
	t.Run("workers", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), count) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					s := next
					next++
					enough := s >= first+uint64(count) || failed >= 10
					mu.Unlock()
					if enough {
						return
					}
					wrong, script, f := serve(t, s, "", *oneTerm == 0 || !testing.Verbose())
					mu.Lock()
					sum.add(f)
					if len(wrong) > 0 {
						failed++
					}
					mu.Unlock()
					if *oneTerm != 0 {
						t.Log("\n" + strings.Join(script, "\n"))
					}
					if len(wrong) > 0 {
						t.Errorf("term %d:\n\t%s\n%s", s, strings.Join(wrong[:min(len(wrong), 8)], "\n\t"), termAgain(s))
					}
				}
			})
		}
	})
	t.Logf("%d terms: %d calls, %d restarts, %d joins, %d leaves, %d illnesses; at most %d calls of a caller were slow or failed in an illness; an instance was back within %v, a slow one within %v",
		count, sum.calls, sum.restarts, sum.joins, sum.leaves, sum.sick, sum.troubled, sum.back, sum.forgot)
}

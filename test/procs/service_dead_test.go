//go:build unix

package procs

import (
	"flag"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/test/ports"
)

var (
	comebacks  = flag.Int("procs.comebacks", 5, "how often to kill a node and start it again under its name")
	sicknesses = flag.Int("procs.ailments", 2, "in how many ways one of four instances falls ill")
)

// ailment is what is wrong with one of four instances.
type ailment struct {
	name    string
	proxied bool                                     // TCP leads through the proxy
	before  func(*service)                           // it starts with it
	befall  func(w *town, p *proxy, it *child) error // it gets it under load
	limit   time.Duration                            // beyond which a call is slow
	heal    func(p *proxy, it *child) error
}

var ailments = []ailment{
	{name: "killed", limit: 500 * time.Millisecond, befall: func(_ *town, _ *proxy, it *child) error { it.kill(); return nil }},
	{name: "silent", limit: 500 * time.Millisecond, befall: func(_ *town, _ *proxy, it *child) error { return it.stop() },
		heal: func(_ *proxy, it *child) error { return it.cont() }},
	{name: "unreachable over TCP", proxied: true, limit: 500 * time.Millisecond, befall: func(_ *town, p *proxy, _ *child) error { p.hold(toServer, toClient); return nil },
		heal: func(p *proxy, _ *child) error { p.release(toServer, toClient); return nil }},
	{name: "ten times slower", limit: 500 * time.Millisecond, before: func(s *service) { s.Work *= 10 }},
	{name: "refusing", limit: 500 * time.Millisecond, before: func(s *service) { s.Refuses = true }},
}

const (
	judged = 1000 // calls after an ailment began
	caught = 2    // of them that may be slow

	// noticed is the time in which a node reads that a connection has ended. What it sends in the moment before
	// that may have run, for all it knows.
	noticed = 100 * time.Millisecond
)

// TestOneSickInstanceOfFour has one of four instances die, freeze, be cut off from TCP, be
// slow, or refuse. Of the thousand calls that begin after the caller's node could notice it none fails, and two at
// most are slow.
func TestOneSickInstanceOfFour(t *testing.T) {
	t.Parallel()
	var runs sync.WaitGroup
	for _, a := range ailments[:min(*sicknesses, len(ailments))] {
		dir := t.TempDir()
		runs.Go(func() {
			defer enter()()
			before, after, err := sick(dir, a)
			if err != nil {
				t.Errorf("%s: %v", a.name, err)
			}
			t.Logf("%s:\n\tunder way when it began: %v\n\tthereafter: %v", a.name, before, after)
			if after.errors+after.open+len(after.wrong)+len(before.wrong)+before.open > 0 || after.slow > caught || after.calls < judged {
				t.Errorf("%s: %v %v %v", a.name, after, after.wrong, before.wrong)
			}
		})
	}
	runs.Wait()
}

// sick returns the results of the calls that were outstanding when the instance began to fail,
// and of those that began later.
func sick(dir string, a ailment) (before, after sum, err error) {
	w, err := newTown(dir, *seed)
	if err != nil {
		return before, after, err
	}
	defer w.close()
	w.plan(1)
	if err := w.startNATS(); err != nil {
		return before, after, err
	}
	p, err := newProxy()
	if err != nil {
		return before, after, err
	}
	defer p.close()
	it := "instance-0"
	for i := range 4 {
		s := service{KV: true, Name: crew, Work: 2 * time.Millisecond}
		if i == 0 {
			if a.proxied {
				s.Listen = "127.0.0.1:" + strconv.Itoa(ports.Free())
				s.Advertise = p.addr()
				p.lead(s.Listen)
			}
			if a.before != nil {
				a.before(&s)
			}
		}
		if err := w.start(w.node("instance", "instance-"+strconv.Itoa(i), s, nil)); err != nil {
			return before, after, err
		}
	}
	asker := service{KV: true, Name: crew, Callers: 4, Pause: 2 * time.Millisecond, Within: 20 * time.Second}
	if err := w.start(w.node("asker", "asker", asker, nil)); err != nil {
		return before, after, err
	}
	began := time.Now() // those that are ill from the start are judged from the first call
	if a.befall != nil {
		if err := w.more(200, 20*time.Second); err != nil {
			return before, after, err
		}
		if err := a.befall(w, p, w.procs[it]); err != nil {
			return before, after, err
		}
		began = time.Now().Add(noticed)
	}
	if err := w.more(judged+400, 40*time.Second); err != nil {
		return before, after, err
	}
	if a.heal != nil {
		if err := a.heal(p, w.procs[it]); err != nil {
			return before, after, err
		}
	}
	if a.name == "killed" {
		delete(w.procs, it)
	}
	err = w.end("asker")
	before = w.ledger.of(a.limit, func(c *inquiry) bool { return c.asked.Before(began) && (c.told.After(began) || c.told.IsZero()) })
	n := 0
	slices.SortFunc(w.ledger.order, func(x, y *inquiry) int { return x.asked.Compare(y.asked) })
	first := map[*inquiry]bool{}
	for _, c := range w.ledger.order {
		if c.asked.After(began) && n < judged {
			first[c] = true
			n++
		}
	}
	after = w.ledger.of(a.limit, func(c *inquiry) bool { return first[c] })
	return before, after, err
}

// TestAKilledNodeComesBack kills a node and starts it again at once, as a supervisor does:
// it serves again within a second or so, and its process does not end in between.
func TestAKilledNodeComesBack(t *testing.T) {
	t.Parallel()
	defer enter()()
	w, err := newTown(t.TempDir(), *seed)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	w.plan(1)
	if err := w.startNATS(); err != nil {
		t.Fatal(err)
	}
	const name = "solo"
	s := service{KV: true, Work: time.Millisecond}
	if err := w.start(w.node("instance", name, s, []registry.Node(nil))); err != nil {
		t.Fatal(err)
	}
	asker := service{KV: true, Solo: actorName + "@" + name, Callers: 4, Pause: 5 * time.Millisecond, Within: 30 * time.Second}
	if err := w.start(w.node("asker", "asker", asker, nil)); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range *comebacks {
		if err := w.back(name); err != nil {
			t.Fatal(err)
		}
		w.procs[name].kill()
		killed := time.Now()
		if err := w.start(w.node("instance", name, s, nil)); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if err := w.back(name); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(killed))
	}
	slices.Sort(took)
	t.Logf("from kill -9 to the first reply of the next start: p50 %v, p99 %v", short(quantile(took, 0.5)), short(quantile(took, 0.99)))
	solo := w.ledger.of(5*time.Second, func(c *inquiry) bool { return c.to == serverA })
	t.Logf("%v", solo)
	if p50 := quantile(took, 0.5); p50 > 2*time.Second {
		t.Errorf("it took %v at the median for a killed node to serve again", p50)
	}
	if len(solo.wrong) > 0 || solo.notRun > 0 {
		t.Errorf("%v: %v", solo, solo.wrong)
	}
}

// back waits until the actor on that node has answered a call that was made after now.
func (t *town) back(string) error {
	began := time.Now()
	ok := func() bool {
		return slices.ContainsFunc(t.ledger.order, func(c *inquiry) bool {
			return c.to == serverA && c.code == 0 && c.asked.After(began) && !c.told.IsZero()
		})
	}
	return t.await(40*time.Second, "the node does not answer", ok)
}

//go:build unix

package procs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

var deaths = flag.Int("procs.deaths", 40, "how often hosts of stored actors die at a step of an activation or of a commit; after each 20 there is another fault")

const (
	doomLimit     = 3 * time.Second // within which a host should come to the step at which it is to die; then it is killed
	calmAfter     = 20              // answers to each payer that show that all is well
	commonNth     = 40              // at most the n-th time that a host comes to a frequent step it dies
	rareNth       = 6               // likewise, of other steps
	betweenFaults = 20              // deaths at steps between two other faults
)

// storedRun has the processes of one run of stored actors.
type storedRun struct {
	*hostsRun
	judge   *auditor
	dooms   int          // hosts that were started to die
	died    map[step]int // those that did
	kills   int          // of hosts by the referee
	stops   int
	outages int // kills of NATS nodes
	risen   chan risen
	doomed  map[int]time.Time // the hosts that are up to die, and since when
	lone    map[life]bool     // the starts of hosts that were killed while all was well
}

// risen is a host that was started.
type risen struct {
	i    int
	role role
	c    *child
	err  error
}

func newStoredRun(dir string, seed uint64, c cheat) (*storedRun, error) {
	h, err := newHostsRun(dir, seed, c, "stored", 3)
	if err != nil {
		return nil, err
	}
	s := &storedRun{hostsRun: h, judge: newAuditor(), died: map[step]int{}, risen: make(chan risen, len(hosts)), doomed: map[int]time.Time{}, lone: map[life]bool{}}
	h.take, h.woke, h.struck = s.judge.take, s.judge.woke, func(of life, at int64, stopped bool) {
		s.judge.struck(of, at, stopped)
		s.stops += oneIf(stopped)
		s.kills += oneIf(!stopped)
	}
	return s, nil
}

// open starts everything.
func (s *storedRun) open() error {
	if err := s.hostsRun.open(); err != nil {
		return err
	}
	if err := s.soon(); err != nil {
		return err
	}
	for i, name := range payers {
		r := s.node("payer", name, service{KV: true, Lease: *nodeLease}, nil)
		r.Who = payerOf(i)
		if err := s.start(r); err != nil {
			return err
		}
	}
	return s.well()
}

// well waits until the payers get answers.
func (s *storedRun) well() error {
	if err := s.look(); err != nil {
		return err
	}
	s.judge.markNow()
	return s.await("the payers get no answers", func() bool { return s.judge.serves(calmAfter) })
}

// raise starts a host in the background. It is doomed if left is not 0, which counts down.
func (s *storedRun) raise(i int, left *int) {
	r := s.host(i)
	if *left > 0 {
		*left--
		at, most := steps[s.dooms%len(steps)], rareNth
		if at.frequent() {
			most = commonNth
		}
		r.Dies = &doom{at, 1 + s.r.Int64N(int64(most))}
		s.dooms++
	}
	go func() {
		c, err := spawn(r)
		s.risen <- risen{i, r, c, err}
	}()
}

// reap has hosts die n times at their steps. Whichever has died is started again, to die at the next step; in
// the end all are up, and none is doomed.
func (s *storedRun) reap(n int) error {
	for i := range hosts {
		s.kill(i)
		s.raise(i, &n)
	}
	for starting := len(hosts); starting > 0 || len(s.doomed) > 0; {
		select {
		case up := <-s.risen:
			starting--
			if up.err != nil {
				return up.err
			}
			s.procs[hosts[up.i]] = up.c
			if up.role.Dies != nil {
				up.c.doomed.Store(true)
				s.doomed[up.i] = time.Now()
			}
		case <-time.After(2 * time.Millisecond):
		}
		if err := s.look(); err != nil {
			return err
		}
		for i, since := range s.doomed {
			dead, err := s.dead(i, since)
			if err != nil {
				return err
			}
			if dead {
				delete(s.doomed, i)
				starting++
				s.raise(i, &n)
			}
		}
	}
	return nil
}

// dead reports whether a host has died at its step. It is killed if it has not for too long.
func (s *storedRun) dead(i int, since time.Time) (bool, error) {
	c := s.procs[hosts[i]]
	select {
	case <-c.gone:
	default:
		if time.Since(since) < doomLimit {
			return false, nil
		}
		s.kill(i)
		return true, nil
	}
	s.judge.struck(s.life(i), monotonic(), false)
	delete(s.procs, hosts[i])
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		return false, fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
	}
	s.died[c.dies]++
	return true, nil
}

// leader is the NATS node that leads one of the streams: of the states, of the reminders, or of their alarms.
func (s *storedRun) leader() (int, error) {
	name := []string{"_state", "_reminders", "_alarms"}[s.r.IntN(3)]
	nc, js, err := s.role.bus()
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for ; ; time.Sleep(20 * time.Millisecond) {
		if stream, err := js.Stream(ctx, s.role.cluster()+name); err == nil {
			if c := stream.CachedInfo().Cluster; c != nil && strings.HasPrefix(c.Leader, natsName("")) {
				return strconv.Atoi(strings.TrimPrefix(c.Leader, natsName("")))
			}
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the stream %s has no leader", name)
		}
	}
}

// loseNATS kills a NATS node, which is started again after a while, and has others do their things meanwhile.
func (s *storedRun) loseNATS(n int, after time.Duration, meanwhile func() error) error {
	s.outages++
	s.nats[n].kill()
	err := meanwhile()
	time.Sleep(after)
	return errors.Join(err, s.nats[n].start())
}

// injure makes the k-th of other faults.
func (s *storedRun) injure(k int) error {
	i, other := k%len(hosts), (k+1)%len(hosts)
	again := func() error { s.kill(i); return s.begin(i) }
	switch k % 5 {
	case 0: // everything at once: one is stopped, the two others and the leader of a stream are killed
		n, err := s.leader()
		if err != nil {
			return err
		}
		third := (k + 2) % len(hosts)
		return s.loseNATS(n, 0, func() error {
			s.kill(i)
			s.kill(third)
			return errors.Join(s.freeze(other), s.begin(i), s.begin(third))
		})
	case 1: // a host is killed while another one wakes
		return errors.Join(s.freeze(other), again())
	case 2: // the leader of a stream is lost, and a host
		n, err := s.leader()
		if err != nil {
			return err
		}
		return s.loseNATS(n, 300*time.Millisecond, again)
	case 3: // a NATS node is lost
		return s.loseNATS(k%len(s.nats), time.Second, func() error { return nil })
	default: // a host leaves, and another one is killed
		return errors.Join(s.replace(other), again())
	}
}

// killOne kills a host while all is well, and starts it again when the others have taken over.
func (s *storedRun) killOne(i int) error {
	s.lone[s.life(i)] = true
	s.kill(i)
	since := monotonic()
	return errors.Join(s.await("not all accounts answer", func() bool { return s.judge.answer(since) }), s.begin(i))
}

// finish has all come to rest, waits until all credits have arrived if they have to, and decides.
func (s *storedRun) finish(settle bool) error {
	for _, name := range payers {
		if _, err := io.WriteString(s.procs[name].orders, restOrder); err != nil {
			return err
		}
	}
	var errs []error
	if settle {
		errs = append(errs, s.await("not everything has arrived", s.judge.settled))
	} else {
		errs = append(errs, s.await("there were no audits", func() bool { return s.judge.audits >= enoughAudits }))
	}
	for _, name := range slices.Concat(payers, hosts) {
		errs = append(errs, s.procs[name].end())
		delete(s.procs, name)
	}
	errs = append(errs, s.look())
	s.judge.decide()
	return errors.Join(errs...)
}

// play has hosts die n times, with other faults in between.
func (s *storedRun) play(n int) error {
	if err := s.open(); err != nil {
		return err
	}
	for k := 0; n > 0; k++ {
		some := min(n, betweenFaults)
		n -= some
		if err := s.reap(some); err != nil {
			return fmt.Errorf("deaths at steps: %w", err)
		}
		if err := errors.Join(s.well(), s.killOne(k%len(hosts)), s.injure(k), s.well()); err != nil {
			return fmt.Errorf("injury %d: %w", k, err)
		}
	}
	return s.finish(true)
}

// TestStored has hosts of stored actors die at each step of an activation and of a commit, kills and stops them, and
// kills NATS nodes, while two nodes that live have accounts make transfers. Each transfer that was answered has had its
// effect once, and its credit has arrived once, and in order; one that has failed has had none; no caller is told that
// nobody knows; no money is lost or made. A reminder that such a transfer has set comes once, or again and again without a
// gap; one that is forgotten ceases.
func TestStored(t *testing.T) {
	t.Parallel()
	defer enter()()
	s, err := newStoredRun(t.TempDir(), *seed, honest)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	began := time.Now()
	err = s.play(*deaths)
	died := 0
	for _, n := range s.died {
		died += n
	}
	t.Logf("%d deaths at steps, %d kills, %d stops, %d kills of NATS nodes in %v: %+v", died, s.kills, s.stops, s.outages, short(time.Since(began)), s.judge.count)
	for _, at := range steps {
		t.Logf("%4d died %s", s.died[at], at)
	}
	for _, c := range []struct {
		what   string
		counts func(blow) bool
	}{
		{"a kill while all was well", func(b blow) bool { return s.lone[b.of] && !b.stopped }},
		{"a death among other faults", func(b blow) bool { return !s.lone[b.of] && !b.stopped }},
		{"a stop among other faults", func(b blow) bool { return b.stopped }},
	} {
		d := s.judge.successions(c.counts)
		t.Logf("from %s to the first answer of the holder's successor: %d times, p50 %v, p99 %v", c.what, len(d), short(quantile(d, 0.5)), short(quantile(d, 0.99)))
	}
	if err != nil {
		t.Error(err)
	}
	for _, line := range s.judge.wrong {
		t.Error(line)
	}
	if c := s.judge.count; c.answers < 10**deaths || died < *deaths*3/4 {
		t.Errorf("a stalled system is not a safe one: %d deaths, %+v", died, c)
	}
}

// TestStoredCheats breaks the rules of stored actors on purpose: it must be noticed.
func TestStoredCheats(t *testing.T) {
	t.Parallel()
	defer enter()()
	s, err := newStoredRun(t.TempDir(), *seed, dishonest)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	all := func() bool { return s.judge.serves(4 * payCallers * cheatEvery) }
	if err := errors.Join(s.await("the payers get no answers", all), s.finish(false)); err != nil {
		t.Fatal(err)
	}
	c := s.judge.count
	for what, n := range map[string]int{"unknown": c.unknown, "lost": c.lost, "twice": c.twice, "missing": c.missing, "wrong": c.wrong, "lower": c.lower, "upset": c.upset, "total": c.total,
		"missed": c.missed, "doubled": c.doubled, "dropped": c.dropped} {
		if n == 0 {
			t.Errorf("nothing that is %s was noticed: %+v", what, c)
		}
	}
}

// TestAuditor plants one violation at a time among records that are sound.
func TestAuditor(t *testing.T) {
	const id = 5
	a := life{payerOf(0), 1}
	op := func(n uint32, v verb) uint64 { return visitID(a, 1, n, v, id) }
	x, y, bad, look := op(1, paying), op(3, promising), op(5, failing), op(6, reading)
	rings, badRings := op(2, paying), op(10, failing)
	begun := func(op uint64) record { return record{sort: asked, op: op} }
	has := func(op, gave, got uint64) [2]record {
		return [2]record{{sort: spent, op: op, aux: gave}, {sort: arrived, op: op, aux: got}}
	}
	answer := func(op, height uint64) record {
		return record{sort: told, op: op, verdict: rpc.HasRun, aux: height}
	}
	rang := func(op, times uint64) record { return record{sort: rung, op: op, aux: times} }
	says := func(what sort, n uint64) record { return record{sort: what, op: id, aux: n} }
	failed := func(op uint64, v rpc.Verdict, c rpc.Code) record {
		return record{sort: told, op: op, verdict: v, code: c}
	}
	type rs = []any // a record, or several, or what happens to a host
	old, heir := life{hostOf(0), 1}, life{hostOf(1), 1}
	answered := func(op, height uint64, by life, fence uint64) [2]record {
		r := answer(op, height)
		r.who, r.life = by.who, by.n
		return [2]record{{sort: under, op: op, aux: fence}, r}
	}
	commit := func(seq uint64, by life, fence uint64) record {
		return record{sort: wrote, who: by.who, life: by.n, op: commitOf(id, seq), aux: fence}
	}
	sees := func(fence uint64) record { return record{sort: looked, who: old.who, life: old.n, op: id, aux: fence} }
	type blown func(g *auditor, at int64)
	stops := blown(func(g *auditor, at int64) { g.struck(old, at, true) })
	wakes := blown(func(g *auditor, at int64) { g.woke(old, at) })
	for _, c := range []struct {
		name    string
		records rs
		want    storedCount
	}{
		{"an answer", rs{begun(x), answer(x, 2), has(x, 1, 1)}, storedCount{}},
		{"two answers", rs{begun(x), answer(x, 2), begun(y), answer(y, 4), has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"two at once", rs{begun(x), begun(y), answer(y, 4), answer(x, 2), has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"a look", rs{begun(x), answer(x, 2), begun(look), answer(look, 3), has(x, 1, 1)}, storedCount{}},
		{"a handler that fails", rs{begun(bad), failed(bad, rpc.HasRun, rpc.Failed)}, storedCount{}},
		{"not run", rs{begun(x), failed(x, rpc.NotRun, rpc.Unavailable)}, storedCount{}},
		{"a reminder", rs{begun(rings), answer(rings, 2), has(rings, 1, 1), rang(rings, 1)}, storedCount{}},
		{"a reminder of a handler that fails", rs{begun(badRings), failed(badRings, rpc.HasRun, rpc.Failed)}, storedCount{}},
		{"reminders that come again and again", rs{says(ticked, 3), says(tolled, 2), says(ticked, 4), says(tolled, 3)}, storedCount{}},
		{"one that was forgotten", rs{says(ticked, 3), says(tolled, 2), says(ticked, 0), says(strayed, 1)}, storedCount{}},

		{"nobody knows, and it ran", rs{begun(x), failed(x, rpc.Unknown, rpc.OutcomeUnknown), has(x, 1, 1)}, storedCount{unknown: 1}},
		{"nobody knows, and it did not run", rs{begun(x), failed(x, rpc.Unknown, rpc.Expired)}, storedCount{unknown: 1}},
		{"it does not end", rs{begun(x), has(x, 1, 1)}, storedCount{lost: 1}},
		{"an effect twice", rs{begun(x), answer(x, 2), has(x, 2, 1)}, storedCount{twice: 1}},
		{"a credit twice", rs{begun(x), answer(x, 2), has(x, 1, 2)}, storedCount{twice: 1}},
		{"an answer without its effect", rs{begun(x), answer(x, 2), has(x, 0, 0)}, storedCount{missing: 1}},
		{"a credit that is lost", rs{begun(x), answer(x, 2), has(x, 1, 0)}, storedCount{missing: 1}},
		{"a credit without its effect", rs{begun(x), answer(x, 2), has(x, 0, 1)}, storedCount{missing: 1}},
		{"not run, and it did", rs{begun(x), failed(x, rpc.NotRun, rpc.Unavailable), has(x, 1, 1)}, storedCount{wrong: 1}},
		{"not run, and its credit arrived", rs{begun(x), failed(x, rpc.NotRun, rpc.Unavailable), has(x, 0, 1)}, storedCount{wrong: 1}},
		{"a handler that fails, with an effect", rs{begun(bad), failed(bad, rpc.HasRun, rpc.Failed), has(bad, 1, 0)}, storedCount{wrong: 1}},
		{"a handler that fails, with a credit", rs{begun(bad), failed(bad, rpc.HasRun, rpc.Failed), has(bad, 0, 1)}, storedCount{wrong: 1}},
		{"a handler that fails, and answers", rs{begun(bad), answer(bad, 2)}, storedCount{wrong: 1}},
		{"a handler that does not fail, and does", rs{begun(x), failed(x, rpc.HasRun, rpc.Failed)}, storedCount{wrong: 1}},
		{"an answer that was held back", rs{begun(x), failed(x, rpc.HasRun, rpc.Unavailable)}, storedCount{wrong: 1}},
		{"nobody asked", rs{has(x, 1, 1)}, storedCount{wrong: 1}},
		{"it ends twice", rs{begun(x), answer(x, 2), answer(x, 2), has(x, 1, 1)}, storedCount{wrong: 1}},
		{"one place for two", rs{begun(x), begun(y), answer(x, 2), answer(y, 2), has(x, 1, 1), has(y, 1, 1)}, storedCount{lower: 1}},
		{"a later one before", rs{begun(x), answer(x, 4), begun(y), answer(y, 2), has(x, 1, 1), has(y, 1, 1)}, storedCount{lower: 1}},
		{"a look at the past", rs{begun(x), answer(x, 4), begun(look), answer(look, 3), has(x, 1, 1)}, storedCount{lower: 1}},
		{"a look at what is lost", rs{begun(look), answer(look, 3), begun(x), answer(x, 2), has(x, 1, 1)}, storedCount{lower: 1}},
		{"out of order", rs{record{sort: upset, op: id, aux: 1}}, storedCount{upset: 1}},
		{"a reminder that does not come", rs{begun(rings), answer(rings, 2), has(rings, 1, 1)}, storedCount{missed: 1}},
		{"a reminder that comes twice", rs{begun(rings), answer(rings, 2), has(rings, 1, 1), rang(rings, 2)}, storedCount{doubled: 1}},
		{"a reminder of who has set none", rs{begun(x), answer(x, 2), has(x, 1, 1), rang(x, 1)}, storedCount{wrong: 1}},
		{"a reminder of a handler that fails, and comes", rs{begun(badRings), failed(badRings, rpc.HasRun, rpc.Failed), rang(badRings, 1)}, storedCount{wrong: 1}},
		{"a reminder of what did not run", rs{begun(rings), failed(rings, rpc.NotRun, rpc.Unavailable), rang(rings, 1)}, storedCount{wrong: 1}},
		{"one that ceases", rs{says(ticked, 3), says(tolled, 2)}, storedCount{missed: 1}},
		{"one that never comes", rs{says(ticked, 1)}, storedCount{missed: 1}},
		{"one that misses a firing", rs{says(skipped, 1)}, storedCount{missed: 1}},
		{"one that fires twice", rs{says(tolledTwice, 1)}, storedCount{doubled: 1}},
		{"one of a handler that has failed", rs{says(dropped, 1)}, storedCount{dropped: 1}},
		{"money that was made", rs{record{sort: held, op: id, aux: capital + 1}}, storedCount{total: 1}},

		{"one that was stopped, and has lost its account", rs{begun(x), answered(x, 2, old, 7), begun(y), stops, answered(y, 4, heir, 9), wakes, has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"one that was stopped, and gets it back", rs{begun(x), answered(x, 2, heir, 9), begun(y), wakes, answered(y, 4, old, 11), has(x, 1, 1), has(y, 1, 1)}, storedCount{}},
		{"one that was stopped, and answers on", rs{begun(look), begun(x), stops, answered(x, 2, heir, 9), wakes, answered(look, 1, old, 7), has(x, 1, 1)}, storedCount{lower: 1}},
		{"a host that looks at what has moved", rs{begun(x), answered(x, 2, heir, 9), wakes, sees(9), has(x, 1, 1)}, storedCount{}},
		{"a host that looks before anybody has answered", rs{sees(7), begun(x), answered(x, 2, heir, 9), has(x, 1, 1)}, storedCount{}},
		{"one that was stopped, and answers itself", rs{begun(x), stops, answered(x, 2, heir, 9), wakes, sees(7), has(x, 1, 1)}, storedCount{lower: 1}},
		{"commits in order", rs{commit(1, old, 7), commit(2, old, 7), commit(4, heir, 9)}, storedCount{}},
		{"commits that are heard of late", rs{commit(2, heir, 9), commit(1, old, 7)}, storedCount{}},
		{"one that was stopped, and commits on", rs{commit(1, old, 7), stops, commit(2, heir, 9), wakes, commit(3, old, 7)}, storedCount{lower: 1}},
	} {
		g, now := newAuditor(), int64(0)
		take := func(r record) {
			now++
			r.at = now
			g.take(parseRecord(r.append(nil)))
		}
		for id := range accounts {
			take(record{sort: held, op: uint64(id), aux: capital})
		}
		for _, r := range c.records {
			switch r := r.(type) {
			case record:
				take(r)
			case [2]record:
				take(r[0])
				take(r[1])
			case blown:
				now++
				r(g, now)
			}
		}
		for range enoughAudits {
			now += int64(strayFor)
			take(record{sort: audited})
		}
		settled := g.settled()
		g.decide()
		got := g.count
		got.requests, got.answers, got.failed, got.notRun, got.reads, got.once, got.ticks, got.strays = 0, 0, 0, 0, 0, 0, 0, 0
		if got != c.want || (c.want == storedCount{}) != (len(g.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, g.wrong)
		}
		missed := got.missed - int(g.rings[skipped][id]) // what was skipped is not waited for
		if late := got.lost+got.missing+got.total+missed > 0; settled == late {
			t.Errorf("%s: settled is %v", c.name, settled)
		}
	}
}

// TestAuditorWaits checks what the referee waits for.
func TestAuditorWaits(t *testing.T) {
	g := newAuditor()
	if g.settled() || g.serves(1) {
		t.Error("settled without an audit, or serves without an answer")
	}
	for i := range payers {
		op := visitID(life{payerOf(i), 1}, 1, 1, reading, 3)
		g.take(record{sort: asked, op: op, at: 1})
		g.take(record{sort: told, op: op, at: 2, verdict: rpc.HasRun, aux: 1})
		if all := i == len(payers)-1; g.serves(1) != all {
			t.Errorf("after an answer to payer %d: %v", i, !all)
		}
	}
	if g.markNow(); g.serves(1) {
		t.Error("old answers count")
	}
}

// TestNextAnswer checks from when to when the time of a succession is measured.
func TestNextAnswer(t *testing.T) {
	first, second := life{hostOf(0), 1}, life{hostOf(1), 1}
	answers := []*visit{{ended: 1, token: 2, by: second}, {ended: 2, token: 4, by: first}, {ended: 3, token: 2, by: second}, {ended: 6, token: 6, by: first}, {ended: 7, token: 4, by: second}, {ended: 9, token: 8, by: second}}
	for _, c := range []struct {
		blow
		want time.Duration
	}{{blow{at: 4, of: first}, 5}, {blow{at: 7, of: first}, 2}, {blow{at: 4, of: second}, 0}, {blow{at: 1, of: second}, 1}, {blow{at: 0, of: first}, 0}, {blow{at: 9, of: second}, 0}} {
		if d := nextAnswer(answers, c.blow); d != c.want {
			t.Errorf("%+v: %v, want %v", c.blow, d, c.want)
		}
	}
}

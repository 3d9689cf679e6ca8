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

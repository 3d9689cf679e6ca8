//go:build unix

package procs

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/registry"
)

// stage is the processes of one run of all patterns: two hosts, of which the first one is
// under fault, and two users, of which the second one is.
type stage struct {
	*world
	arbiter  *arbiter
	observer *nats.Conn
	elected  chan *nats.Msg
	users    [2]*child
	userRole [2]role
}

// Users, as records name them.
const (
	constantUser who = iota + 5
	mortalUser
)

// jobsStream is what the queue in NATS is kept in.
const jobsStream = "tandem_queue_jobs"

// goneLimit is how long a producer may go on whose reader was killed, and not its host.
const goneLimit = 90 * time.Second

// drainLimit is how long items may take to be acked when no more are pushed.
const drainLimit = 20 * time.Second

func newStage(dir string, seed uint64, c cheat) *stage {
	return &stage{world: newWorld(fault{records: inStore}, dir, seed, c), arbiter: newArbiter()}
}

func (s *stage) start() (err error) {
	for _, name := range []string{askedFile, ranFile} {
		f, err := openReader(s.dir, name)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
	}
	if s.proxy, err = newProxy(); err != nil {
		return err
	}
	if err := s.startBus(); err != nil {
		return err
	}
	if err := s.observe(); err != nil {
		return err
	}
	if s.b, err = spawn(s.node("host", nodeB, serverB, []int{1, 2, 0})); err != nil {
		return err
	}
	if err := s.startHost(); err != nil {
		return err
	}
	for i, name := range []string{"constant", "mortal"} {
		s.userRole[i] = s.node("user", name, constantUser+who(i), []int{i, 1, 2})
		s.userRole[i].Nodes = []registry.Node{
			{Name: nodeA, Addrs: map[string]string{"tcp": s.proxy.addr()}},
			{Name: nodeB, Addrs: map[string]string{"tcp": s.b.ready}},
		}
		if err := s.startUser(i); err != nil {
			return err
		}
	}
	return nil
}

// observe has NATS tell of each leader that it elects for a stream or a consumer.
func (s *stage) observe() (err error) {
	if s.observer, err = nats.Connect(s.nodes[0].url(), nats.MaxReconnects(-1)); err != nil {
		return err
	}
	s.elected = make(chan *nats.Msg, 1024)
	for _, of := range []string{"STREAM.LEADER_ELECTED." + jobsStream, "CONSUMER.LEADER_ELECTED." + jobsStream + ".*"} {
		if _, err := s.observer.ChanSubscribe("$JS.EVENT.ADVISORY."+of, s.elected); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) startHost() (err error) {
	r := s.node("host", nodeA, serverA, []int{1, 2, 0})
	r.Life = s.lives(s.a)
	if s.a, err = spawn(r); err == nil {
		s.proxy.lead(s.a.ready)
	}
	return err
}

func (s *stage) startUser(i int) (err error) {
	r := s.userRole[i]
	r.Life = s.lives(s.users[i])
	s.users[i], err = spawn(r)
	return err
}

// look reads what has come, and sees to it that nobody has died of himself.
func (s *stage) look() error {
	for len(s.elected) > 0 {
		<-s.elected
		s.arbiter.elections = append(s.arbiter.elections, time.Now().UnixNano())
	}
	for _, f := range s.files {
		if err := f.read(s.arbiter.take); err != nil {
			return err
		}
	}
	for _, c := range append(s.children(), s.users[:]...) {
		if c != nil && c.died() {
			return fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
		}
	}
	return nil
}

func (s *stage) killHost() error {
	s.arbiter.died(life{serverA, s.a.life}, time.Now().UnixNano())
	s.kill(s.a)
	time.Sleep(s.span(0, 300*time.Millisecond)) // nobody there
	return s.startHost()
}

func (s *stage) killUser() error {
	s.arbiter.died(life{mortalUser, s.users[1].life}, time.Now().UnixNano())
	s.kill(s.users[1])
	return s.startUser(1)
}

// changeLeader has another NATS node lead the queue in NATS, or its consumer.
func (s *stage) changeLeader() error {
	what := "CONSUMER.LEADER.STEPDOWN." + jobsStream + ".normal"
	if s.r.IntN(2) == 0 {
		what = "STREAM.LEADER.STEPDOWN." + jobsStream
	}
	before := len(s.arbiter.elections)
	for limit := time.Now().Add(recoverLimit); len(s.arbiter.elections) == before; {
		if time.Now().After(limit) {
			return errors.New("NATS elects no leader")
		}
		_, _ = s.observer.Request("$JS.API."+what, nil, time.Second)
		if err := s.wait(time.Second, func() int { return before + 1 - len(s.arbiter.elections) }); err != nil {
			return err
		}
	}
	return nil
}

// run kills somebody n times.
func (s *stage) run(n int, kill func() error) error {
	for range n {
		time.Sleep(s.span(300*time.Millisecond, 900*time.Millisecond)) // of load
		if err := s.look(); err != nil {
			return err
		}
		if err := kill(); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	return s.wait(cutLimit+slack, s.arbiter.uncut)
}

// wait looks until nothing is left, or time is up: the arbiter says what is wrong then.
func (s *stage) wait(within time.Duration, left func() int) error {
	for limit := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		if err := s.look(); err != nil || left() == 0 || time.Now().After(limit) {
			return err
		}
	}
}

// end ends the load, waits until nothing is open any more, and ends all processes.
func (s *stage) end(within time.Duration) error {
	for _, u := range s.users {
		if _, err := io.WriteString(u.orders, restOrder); err != nil {
			return err
		}
	}
	time.Sleep(settle) // for what has been begun
	if err := s.wait(within, s.arbiter.open); err != nil {
		return err
	}
	errs := []error{s.users[0].end(), s.users[1].end(), s.a.end(), s.b.end(), s.look()}
	s.arbiter.decide()
	return errors.Join(errs...)
}

func (s *stage) close() {
	for _, u := range s.users {
		if u != nil {
			u.kill()
		}
	}
	if s.observer != nil {
		s.observer.Close()
	}
	s.world.close()
}

// play runs a fault of patterns n times.
func (s *stage) play(n int, kill func() error, within time.Duration) error {
	leave := sync.OnceFunc(enter())
	defer leave()
	defer s.close()
	err := s.start()
	if err == nil {
		err = s.run(n, kill)
	}
	leave() // it only waits now, for a minute perhaps
	if err == nil {
		err = s.end(within)
	}
	return err
}

var (
	kills   = flag.Int("procs.kills", 2, "how often to kill those whom patterns belong to; NATS elects three times as many leaders, and hosts of virtual actors are killed six times as often")
	patient = flag.Bool("procs.patient", false, "also kill those who read streams, and wait a minute until their producers end")
)

// TestPatterns kills those whom queues, streams and jobs belong to, and has NATS change the
// leaders of the queue in it. With -procs.patient it also kills those who use them.
func TestPatterns(t *testing.T) {
	t.Parallel()
	n := *kills
	var runs sync.WaitGroup
	defer runs.Wait()
	runs.Go(func() {
		t.Run("kill host", func(t *testing.T) { faultless(t, n, (*stage).killHost, drainLimit) })
	})
	if *patient {
		runs.Go(func() {
			t.Run("kill user", func(t *testing.T) { faultless(t, n, (*stage).killUser, goneLimit) })
		})
	}
	runs.Go(func() {
		t.Run("change leader", func(t *testing.T) { faultless(t, 3*n, (*stage).changeLeader, drainLimit) })
	})
	runs.Go(func() { t.Run("cheats", cheats) })
}

// faultless has somebody killed n times, and nothing may be wrong.
func faultless(t *testing.T, n int, kill func(*stage) error, within time.Duration) {
	s := newStage(t.TempDir(), *seed, honest)
	began := time.Now()
	err := s.play(n, func() error { return kill(s) }, within)
	report(t, n, s.arbiter.count, time.Since(began))
	if err != nil {
		t.Error(err)
	}
	for _, line := range s.arbiter.wrong {
		t.Error(line)
	}
	if c := s.arbiter.count; c.items < 10*atLeast*n || c.again == 0 || c.streams < 2*atLeast*n || c.jobs < 5*atLeast*n || c.redeems == 0 {
		t.Errorf("a stalled system is not a safe one: %+v", c)
	}
}

func report(t *testing.T, n int, c count, took time.Duration) {
	out := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', tabwriter.AlignRight)
	defer out.Flush()
	fmt.Fprintln(out, "kills\titems\thanded out again\tgone with the memory\tpulls\tfailed\tstreams\tcut\tjobs\tunsure\tredeemed\tforgotten by NATS\tlost\ttwice\twrong\tsilent\tleaked\tlate\ttook\t")
	for _, v := range []int{n, c.items, c.again, c.gone, c.pulls, c.failedPulls, c.streams, c.cut, c.jobs, c.unsure, c.redeems, c.forgotten, c.lost, c.twice, c.wrong, c.silent, c.leaked, c.late} {
		fmt.Fprint(out, v, "\t")
	}
	fmt.Fprint(out, short(took), "\t\n")
}

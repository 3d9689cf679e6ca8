package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

var (
	faultTime = flag.Duration("faults", 4*time.Second, "for how long NATS has faults in TestClusterFaults")
	faultSeed = flag.Uint64("faultseed", 0, "the seed of its faults; 0 for any")
)

// serveEnv, if set, makes the test's own program a NATS server that can be stopped or killed.
const serveEnv = "TANDEM_TEST_SERVE"

// member is the part of embedded.Config that such a server gets.
type member struct {
	Name, StoreDir string
	Port           int
	Cluster        *embedded.ClusterConfig
}

func serve(config string) {
	var m member
	if err := json.Unmarshal([]byte(config), &m); err != nil {
		panic(err)
	}
	s, err := embedded.Start(embedded.Config{Name: m.Name, StoreDir: m.StoreDir, Port: m.Port, Cluster: m.Cluster})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the parent, or when it says so
	s.Shutdown()
	os.Exit(0)
}

// process is a NATS server in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func startProcess(t testing.TB, cfg embedded.Config) *process {
	t.Helper()
	config, err := json.Marshal(member{cfg.Name, cfg.StoreDir, cfg.Port, cfg.Cluster})
	ok(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	ok(t, cmd.Start())
	p := &process{cmd, in}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() }
func (p *process) stop() { p.stdin.Close(); _ = p.cmd.Wait() }

// ledger is what the clients of a queue have seen, by the numbers of the items.
type ledger struct {
	mu      sync.Mutex
	pushed  map[int]error
	ids     map[int]map[string]bool // of the deliveries
	acked   map[string]int          // by id: acks that returned nil
	unknown map[string]int          // acks of unknown outcome
	lately  []string                // how the last acks that failed ended
}

func (l *ledger) note(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

// push pushes items until ctx ends, about as fast as the consumers ack them.
func (l *ledger) push(ctx context.Context, q actor.Ref, next func() int) {
	for ctx.Err() == nil {
		n := next()
		try, stop := context.WithTimeout(context.Background(), 6*time.Second)
		err := actor.Push(try, q, Work{n})
		stop()
		l.note(func() { l.pushed[n] = err })
		time.Sleep(25 * time.Millisecond)
	}
}

// consume pulls and acks until ctx ends. It loses some items, and gives some back.
func (l *ledger) consume(ctx context.Context, q actor.Ref, rnd *rand.Rand) {
	for ctx.Err() == nil {
		try, stop := context.WithTimeout(ctx, 6*time.Second)
		ds, _ := actor.Pull[Work](try, q, actor.Max(8), actor.Wait(time.Second))
		for _, d := range ds {
			l.note(func() {
				if l.ids[d.Message.N] == nil {
					l.ids[d.Message.N] = map[string]bool{}
				}
				l.ids[d.Message.N][d.ID] = true
			})
			switch rnd.IntN(20) {
			case 0:
				continue
			case 1:
				_ = d.Nack(try, 0)
			case 2:
				_ = d.Release(try, 0)
			case 3:
				time.Sleep(time.Second / 4)
				fallthrough
			default:
				err := d.Ack(try)
				l.note(func() {
					switch {
					case err == nil:
						l.acked[d.ID]++
					case rpc.Ran(err) == rpc.Unknown:
						l.unknown[d.ID]++
					}
					if err != nil {
						l.lately = append(l.lately[max(0, len(l.lately)-9):], fmt.Sprint(d.Message.N, " attempt ", d.Attempt, " before ", l.acked[d.ID], "/", l.unknown[d.ID], ": ", err))
					}
				})
			}
		}
		stop()
	}
}

// judge checks the promise once no item is left in the queue.
func (l *ledger) judge(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	stored, refused, unknown := 0, 0, 0
	for n, err := range l.pushed {
		ids := l.ids[n]
		if len(ids) > 1 {
			t.Errorf("item %d was stored %d times by one Push", n, len(ids))
		}
		switch {
		case err == nil:
			stored++
			ended := false
			for id := range ids {
				ended = ended || l.acked[id]+l.unknown[id] > 0
			}
			if !ended {
				t.Errorf("item %d was lost: delivered %v", n, len(ids) > 0)
			}
		case rpc.Ran(err) == rpc.NotRun:
			refused++
			if len(ids) > 0 {
				t.Errorf("item %d is there, and its Push says that it did not run: %v", n, err)
			}
		default:
			unknown++
		}
	}
	acked, doubt := 0, 0
	for id, n := range l.acked {
		acked += n
		if n > 1 {
			t.Errorf("%d acks of item %s returned nil", n, id)
		}
	}
	for _, n := range l.unknown {
		doubt += n
	}
	t.Logf("pushed: %d, refused %d, unknown %d; acked: %d, unknown %d", stored, refused, unknown, acked, doubt)
	if stored == 0 || acked == 0 {
		t.Error("nothing was done at all")
	}
}

// NATS servers are stopped and killed, one at a time, and leaders of the stream and its
// consumers step down, while three actors serve one queue. No item is lost, none is stored
// twice by one Push, none is acked twice, and no item of a push that did not run is there.
func TestClusterFaults(t *testing.T) {
	t.Parallel()
	seed := *faultSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-faultseed=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := planCluster(t)
	var nodes [3]*process
	for i := range nodes {
		nodes[i] = startProcess(t, c.cfg[i])
	}
	js := c.connectOnceUp()
	cfg := queue.Config{Lease: 2 * time.Second, Attempts: 1000}
	replicated(t, js, cfg)

	l := &ledger{pushed: map[int]error{}, ids: map[int]map[string]bool{}, acked: map[string]int{}, unknown: map[string]int{}}
	var last int
	next := func() (n int) { l.note(func() { last++; n = last }); return n }
	pushCtx, stopPush := context.WithCancel(t.Context())
	defer stopPush()
	pullCtx, stopPull := context.WithCancel(t.Context())
	defer stopPull()
	var pushers, pullers sync.WaitGroup
	for range 3 {
		q := serveQueue(t, system(t), replicated(t, c.connect(), cfg))
		for range 2 {
			pushers.Go(func() { l.push(pushCtx, q, next) })
			r := rand.New(rand.NewPCG(rnd.Uint64(), 1))
			pullers.Go(func() { l.consume(pullCtx, q, r) })
		}
	}
	for began := time.Now(); time.Since(began) < *faultTime; {
		stepDown := func(what string) {
			_, _ = js.Conn().Request("$JS.API."+what, nil, time.Second)
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
		}
		switch rnd.IntN(6) {
		case 0, 1:
			stepDown("STREAM.LEADER.STEPDOWN.tandem_queue_jobs")
		case 2, 3:
			stepDown("CONSUMER.LEADER.STEPDOWN.tandem_queue_jobs.normal")
		default:
			i := rnd.IntN(3)
			if rnd.IntN(2) == 0 {
				nodes[i].kill()
			} else {
				nodes[i].stop()
			}
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
			nodes[i] = startProcess(t, c.cfg[i])
			c.whole(js)
		}
	}
	stopPush()
	pushers.Wait()
	for began := time.Now(); stored(t, js) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			l.note(func() { t.Fatalf("%d items are left: %s\nlast acks: %q", stored(t, js), c.describe(js), l.lately) })
		}
	}
	stopPull()
	pullers.Wait()
	l.judge(t)
}

// connectOnceUp connects to a cluster that has just been started.
func (c *cluster) connectOnceUp() natsjs.JetStream {
	c.t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		nc, err := nats.Connect(strings.Join(c.urls, ","))
		if err == nil {
			nc.Close()
			return c.connect()
		}
		if time.Since(began) > 30*time.Second {
			c.t.Fatal(err)
		}
	}
}

// describe returns a text that says where the items are.
func (c *cluster) describe(js natsjs.JetStream) string {
	s, err := js.Stream(c.t.Context(), "tandem_queue_jobs")
	if err != nil {
		return err.Error()
	}
	said := fmt.Sprintf("%+v", s.CachedInfo().State)
	if consumer, err := s.Consumer(c.t.Context(), "normal"); err == nil {
		i := consumer.CachedInfo()
		said += fmt.Sprintf("; delivered %+v, floor %+v, under way %d, again %d, waiting %d, pulls %d, created %v", i.Delivered, i.AckFloor, i.NumAckPending, i.NumRedelivered, i.NumPending, i.NumWaiting, i.Created)
	}
	return said
}

// whole waits until every server has all of the stream and of its consumers.
func (c *cluster) whole(js natsjs.JetStream) {
	c.t.Helper()
	current := func(info *natsjs.ClusterInfo) error {
		if info == nil || info.Leader == "" || len(info.Replicas) != 2 {
			return errors.New("no leader")
		}
		for _, r := range info.Replicas {
			if !r.Current || r.Offline {
				return errors.New("a server is behind")
			}
		}
		return nil
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		s, err := js.Stream(c.t.Context(), "tandem_queue_jobs")
		if err == nil {
			err = current(s.CachedInfo().Cluster)
		}
		if err == nil {
			var consumer natsjs.Consumer
			if consumer, err = s.Consumer(c.t.Context(), "normal"); err == nil {
				err = current(consumer.CachedInfo().Cluster)
			}
		}
		if err == nil {
			return
		}
		if time.Since(began) > time.Minute {
			c.t.Fatal(err)
		}
	}
}

package actor_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// While the store cannot record that an accepted job begins, the job waits and is tried
// again. It runs once.
func TestAcceptedJobWaitsForTheStore(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
			s, d := newShop(), new(disk)
			d.refusing.Store(refuse)
			kind := s.workers("b1").With(actor.Durable())
			var failing, works atomic.Int64
			a, b := c.start("a"), c.start("b", func(cfg *actor.Config) {
				cfg.Store, cfg.Kinds = d, []*actor.Kind{kind}
			})
			events := b.Events(t.Context())
			go func() {
				for e := range events {
					switch e.Type {
					case rpc.StoreFailing:
						failing.Add(1)
					case rpc.StoreWorks:
						works.Add(1)
					}
				}
			}()
			spawn(t, b, "w", kind)
			slow := submitJob(t, a, "slow")
			time.Sleep(moment) // now it runs, and the others wait behind it
			waiting, cancelled, lost := submitJob(t, a, "waiting"), submitJob(t, a, "cancelled"), submitJob(t, a, "lost")
			d.failing.Store(true)
			close(s.gate)
			time.Sleep(time.Minute)
			wantState(t, waiting, rpc.JobAccepted)
			s.ran(t, "waiting", 0)
			if failing.Load() != 1 || works.Load() != 0 {
				t.Errorf("%d events say that the store fails, %d that it works", failing.Load(), works.Load())
			}
			cancelling := make(chan error)
			go func() { // this is recorded when the store works again
				_, err := cancelled.Cancel(t.Context())
				cancelling <- err
			}()
			time.Sleep(time.Second)
			d.failing.Store(false)
			wantResult(t, waiting, "waiting by b1")
			wantResult(t, lost, "lost by b1")
			wantResult(t, slow, "slow by b1")
			if err := <-cancelling; err != nil {
				t.Error(err)
			}
			if _, err := cancelled.Await(t.Context()); rpc.CodeOf(err) != rpc.Canceled || rpc.Ran(err) == rpc.HasRun {
				t.Errorf("cancelled: %v", err)
			}
			for name, n := range map[string]int{"slow": 1, "waiting": 1, "lost": 1, "cancelled": 0} {
				s.ran(t, name, n)
			}
			if failing.Load() != 1 || works.Load() != 1 {
				t.Errorf("%d events say that the store fails, %d that it works", failing.Load(), works.Load())
			}
		})
	}
}

// A job that waits for the store does not delay a shutdown, and the next start runs it.
func TestShutdownWhileJobsWaitForTheStore(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		d.refusing.Store(true)
		close(s.gate)
		start := func(name string) *actor.System {
			kind := s.workers(name).With(actor.Durable())
			b := c.start("b", func(cfg *actor.Config) { cfg.Store, cfg.Kinds = d, []*actor.Kind{kind} })
			spawn(t, b, "w", kind)
			return b
		}
		a, b := c.start("a"), start("b1")
		held, err := actor.Submit(t.Context(), a.Ref("w@b"), Job{Name: "warm up"})
		if err != nil {
			t.Fatal(err)
		}
		wantResult(t, held, "warm up by b1")
		tok := submitJob(t, a, "x")
		d.failing.Store(true)
		time.Sleep(moment)
		result := make(chan string, 1)
		go func() {
			v, err := tok.Await(t.Context())
			result <- fmt.Sprint(v, err)
		}()
		time.Sleep(10 * time.Second)
		began := time.Now()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the shutdown took %v", took)
		}
		d.failing.Store(false)
		start("b2")
		if got := <-result; got != "x by b1<nil>" && got != "x by b2<nil>" {
			t.Errorf("the next start: %s", got)
		}
		s.ran(t, "x", 1)
	})
}

// Poll and Await say what is known of a job that was running when its node was lost.
func TestWhatIsKnownOfALostJob(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newStepped()
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		tok := submit(t, a.Ref("x@b"), "a")
		time.Sleep(moment)
		begun := time.Now().UTC().Format("2006-01-02T15:04")
		c.kill(b, &s.disk)
		c.start("b", s.config)
		st := wantState(t, tok, rpc.JobUnknown)
		_, err := tok.Await(t.Context())
		for what, err := range map[string]error{"Poll": st.Err, "Await": err} {
			wantErr(t, what, err, rpc.OutcomeUnknown, rpc.Unknown)
			if err != nil && !(strings.Contains(err.Error(), "the job for x was begun at "+begun) && strings.Contains(err.Error(), "was not done when the node was lost")) {
				t.Errorf("%s: %v", what, err)
			}
		}
		stranger, err := actor.Redeem[string](a, "b:"+strings.Repeat("A", 26))
		if err != nil {
			t.Fatal(err)
		}
		st = wantState(t, stranger, rpc.JobUnknown)
		_, err = stranger.Await(t.Context())
		for what, err := range map[string]error{"Poll": st.Err, "Await": err} {
			wantErr(t, what, err, rpc.OutcomeUnknown, rpc.Unknown)
			if err != nil && !strings.Contains(err.Error(), "knows nothing of such a job") {
				t.Errorf("%s of no job: %v", what, err)
			}
		}
	})
}

// pageBytes is the size of the result of a printer.
const pageBytes = 30 << 10

// printers is a kind whose jobs have results of pageBytes.
func printers(gate chan struct{}, ran *atomic.Int64) *actor.Kind {
	return actor.Define("test.printer", func() int { return 0 }, actor.Answer(func(_ int, _ *actor.Context, m Render) (string, error) {
		<-gate
		ran.Add(1)
		return m.Text + strings.Repeat(".", pageBytes), nil
	}))
}

// No result of a job that ran is lost because there is no room for it. At the limit a
// submission is refused and did not run. A job that was accepted before waits until there is
// room.
func TestResultsFindRoom(t *testing.T) {
	for _, durable := range []bool{false, true} {
		world := func(t *testing.T, run func(t *testing.T, a *actor.System, gate chan struct{}, ran *atomic.Int64)) {
			clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
				ran := new(atomic.Int64)
				gate := make(chan struct{})
				kind := printers(gate, ran)
				if durable {
					kind = kind.With(actor.Durable())
				}
				a, b := c.start("a"), c.start("b", func(cfg *actor.Config) {
					cfg.Store, cfg.Kinds = new(disk), []*actor.Kind{kind}
					cfg.ResultBytes = 4 * 100 << 10 // three pages, and some more
				})
				spawn(t, b, "x", kind)
				run(t, a, gate, ran)
			})
		}
		check := func(t *testing.T, name string, tok rpc.Token[string]) {
			t.Helper()
			if got, err := tok.Await(t.Context()); err != nil || got != name+strings.Repeat(".", pageBytes) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		once := rpc.WithRetry(rpc.Retry{Attempts: 1})
		world(t, func(t *testing.T, a *actor.System, gate chan struct{}, ran *atomic.Int64) { // the jobs run one after the other
			close(gate)
			for i := range 3 {
				name := fmt.Sprint(i)
				check(t, name, submit(t, a.Ref("x@b"), name))
			}
			for range 3 {
				_, err := actor.Submit(t.Context(), a.Ref("x@b"), Render{Text: "beyond"}, once)
				wantErr(t, "one beyond the limit", err, rpc.Overloaded, rpc.NotRun)
			}
			time.Sleep(actor.DefaultTokenLife + time.Second)
			check(t, "later", submit(t, a.Ref("x@b"), "later"))
			if ran.Load() != 4 {
				t.Errorf("%d jobs ran, want 4", ran.Load())
			}
		})
		world(t, func(t *testing.T, a *actor.System, gate chan struct{}, ran *atomic.Int64) { // the jobs are accepted before the sizes of results are known
			const jobs = 9
			var all []func()
			for i := range jobs {
				name := fmt.Sprint(i)
				tok := submit(t, a.Ref("x@b"), name)
				all = append(all, func() { check(t, name, tok) })
			}
			close(gate)
			time.Sleep(time.Minute)
			if n := ran.Load(); n < 3 || n > 5 {
				t.Errorf("%d jobs have run; there is room for the results of 3, and of those that ran meanwhile", n)
			}
			done := make(chan struct{})
			for _, check := range all {
				go func() { check(); done <- struct{}{} }()
			}
			for range jobs {
				<-done
			}
			if ran.Load() != jobs {
				t.Errorf("%d jobs ran, want %d", ran.Load(), jobs)
			}
		})
	}
}

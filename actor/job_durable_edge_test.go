package actor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// stepped is a disk, and a kind whose jobs are counted and end when the test says so.
type stepped struct {
	disk
	kind *actor.Kind
	step chan string
	ran  atomic.Int64
}

func newStepped() *stepped {
	s := &stepped{step: make(chan string, 1000)}
	s.kind = actor.Define("test.stepped", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Render) (string, error) {
			s.ran.Add(1)
			select {
			case x := <-s.step:
				return m.Text + x, nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		})).With(actor.Durable())
	return s
}

func (s *stepped) config(c *actor.Config) { c.Store, c.Kinds = &s.disk, []*actor.Kind{s.kind} }

// A durable job is cancelled before its turn. It does not run while its cancel is being
// written, and after that its status says that it is cancelled.
func TestDurableCancelOrRun(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newStepped()
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		var tokens []rpc.Token[string]
		for i := range 40 {
			tokens = append(tokens, submit(t, a.Ref("x@b"), fmt.Sprint(i)))
		}
		for range 30 { // these are quick, so that the run loop begins several of the following at once
			s.step <- "!"
		}
		time.Sleep(time.Second)
		wantState(t, tokens[30], rpc.JobRunning)
		states := make(chan rpc.JobState, 9)
		for _, tok := range tokens[31:] {
			go func() {
				st, err := tok.Cancel(t.Context())
				if err != nil {
					t.Error(err)
				}
				states <- st.State
			}()
		}
		synctest.Wait() // now the cancels are being written
		for range 10 {
			s.step <- "!"
		}
		for i, tok := range tokens[31:] {
			if st := <-states; st != rpc.JobCancelled {
				t.Errorf("the status after a cancel: %v", st)
			}
			_, err := tok.Await(t.Context())
			wantErr(t, fmt.Sprint("cancelled ", i), err, rpc.Canceled, rpc.NotRun)
		}
		if n := s.ran.Load(); n != 31 {
			t.Errorf("%d jobs ran of 31", n)
		}
	})
}

// If a job had begun and had not ended when its node was killed, Await says at once that its
// outcome is unknown.
func TestAwaitUnknownAtOnce(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newStepped()
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		tok := submit(t, a.Ref("x@b"), "a")
		time.Sleep(moment)
		c.kill(b, &s.disk)
		c.start("b", s.config)
		wantState(t, tok, rpc.JobUnknown)
		began := time.Now()
		_, err := tok.Await(t.Context())
		wantErr(t, "begun and not over", err, rpc.OutcomeUnknown, rpc.Unknown)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v to say so", took)
		}
		if st, err := tok.Cancel(t.Context()); st.State != rpc.JobUnknown || err != nil {
			t.Errorf("cancelled: %v, %v", st, err)
		}
		time.Sleep(actor.DefaultTokenLife + time.Second)
		wantState(t, tok, rpc.JobExpired)
	})
}

// After a restart, jobs that were accepted are not refused because a mailbox is full.
func TestDurableJobsBeyondTheMailbox(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s := newStepped()
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		var tokens []rpc.Token[string]
		for i := range 50 {
			tokens = append(tokens, submit(t, a.Ref("x@b"), fmt.Sprint(i)))
		}
		c.kill(b, &s.disk)
		b2 := c.start("b", s.config)
		spawn(t, b2, "x", s.kind, actor.Mailbox(mailbox.Config{Capacity: 2, Backlog: 2}))
		for i, tok := range tokens[1:] { // all but the first, which had begun
			s.step <- "!"
			if v, err := tok.Await(t.Context()); v != fmt.Sprint(i+1, "!") || err != nil {
				t.Errorf("job %d: %q, %v", i+1, v, err)
			}
		}
		// Jobs that wait for room outlive another restart.
		tokens = nil
		for i := range 4 {
			tokens = append(tokens, submit(t, a.Ref("x@b"), fmt.Sprint(i)))
		}
		c.kill(b2, &s.disk)
		b3 := c.start("b", s.config)
		spawn(t, b3, "x", s.kind, actor.Mailbox(mailbox.Config{Capacity: 1, Backlog: 1}))
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = b3.Shutdown(ctx)
		spawn(t, c.start("b", s.config), "x", s.kind)
		s.step <- "!"
		s.step <- "!"
		wantResult(t, tokens[2], "2!")
		wantResult(t, tokens[3], "3!")
	})
}

// A shutdown does not wait for callers who await jobs that this start will not run.
func TestShutdownWithJobsLeft(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s := newStepped()
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		submit(t, a.Ref("x@b"), "first")
		tok := submit(t, a.Ref("x@b"), "a")
		time.Sleep(moment)
		c.kill(b, &s.disk)
		b2 := c.start("b", s.config) // without the actor
		result := make(chan string, 1)
		go func() {
			v, err := tok.Await(t.Context())
			result <- fmt.Sprint(v, err)
		}()
		time.Sleep(5 * time.Second)
		began := time.Now()
		if err := b2.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the shutdown took %v", took)
		}
		spawn(t, c.start("b", s.config), "x", s.kind)
		s.step <- "!"
		if got := <-result; got != "a!<nil>" {
			t.Error(got)
		}
	})
}

// If Submit is cancelled while the job is being written, the job may have been accepted, so
// the error does not say whether it ran.
func TestSubmitGivenUpWhileWritten(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newStepped()
		s.disk.writeTime = 3 * time.Second
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		for _, sys := range []*actor.System{a, b} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := actor.Submit(ctx, sys.Ref("x@b"), Render{})
			wantErr(t, "from "+sys.Name(), err, rpc.Expired, rpc.Unknown)
		}
		s.step <- "!"
		s.step <- "!"
		time.Sleep(time.Minute)
		if n := s.ran.Load(); n != 2 {
			t.Errorf("%d ran", n)
		}
	})
}

// A key is a name of the submission. It outlives the node, as the job does.
func TestDurableSubmitUnderAKey(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newStepped()
		a, b := c.start("a"), c.start("b", s.config)
		spawn(t, b, "x", s.kind)
		first := submit(t, a.Ref("x@b"), "a", rpc.Key("k"))
		done := submit(t, a.Ref("x@b"), "b", rpc.Key("l"))
		s.step <- "!"
		s.step <- "!"
		wantResult(t, done, "b!")
		wantResult(t, first, "a!")
		waiting := submit(t, a.Ref("x@b"), "c", rpc.Key("m"))
		c.kill(b, &s.disk)
		spawn(t, c.start("b", s.config), "x", s.kind)
		for key, tok := range map[string]rpc.Token[string]{"k": first, "m": waiting} {
			text := map[string]string{"k": "a", "m": "c"}[key]
			if again := submit(t, a.Ref("x@b"), text, rpc.Key(key)); again.String() != tok.String() {
				t.Errorf("key %s: another token after the restart", key)
			}
		}
		_, err := actor.Submit(t.Context(), a.Ref("x@b"), Render{Text: "other"}, rpc.Key("k"))
		wantErr(t, "another job under the key", err, rpc.IDReused, rpc.Unknown)
		if v, err := submit(t, a.Ref("x@b"), "a", rpc.Key("k")).Await(t.Context()); v != "a!" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if n := s.ran.Load(); n > 3 {
			t.Errorf("%d ran", n)
		}
	})
}

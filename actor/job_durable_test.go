package actor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// submitJob submits a Job to the worker "w" of node b.
func submitJob(t *testing.T, sys *actor.System, name string, opts ...rpc.Option) rpc.Token[string] {
	t.Helper()
	tok, err := actor.Submit(t.Context(), sys.Ref("w@b"), Job{Name: name}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// wantResult checks the result of a job.
func wantResult(t *testing.T, tok rpc.Token[string], want string) {
	t.Helper()
	if v, err := tok.Await(t.Context()); v != want || err != nil {
		t.Errorf("%q, %v; want %q", v, err, want)
	}
}

// The tokens of a durable kind outlive the node, with the results of its jobs and the jobs
// that had not begun. If a job had begun and had not ended, its outcome is unknown.
func TestDurableJobs(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		done := submitJob(t, a, "done")
		wantResult(t, done, "done by b1")
		here, err := actor.Submit(t.Context(), b.Ref("w@b"), Job{Name: "here"})
		if err != nil {
			t.Fatal(err)
		}
		wantResult(t, here, "here by b1")
		slow := submitJob(t, a, "slow")
		time.Sleep(moment) // it has begun
		waiting := submitJob(t, a, "waiting")
		cancelled := submitJob(t, a, "cancelled")
		if _, err := cancelled.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		result := make(chan string, 1)
		go func() {
			v, err := waiting.Await(t.Context())
			result <- fmt.Sprint(v, err)
		}()
		time.Sleep(moment)
		c.kill(b, d)
		close(s.gate)
		b2 := c.start("b", d.config)
		time.Sleep(time.Second)
		wantResult(t, done, "done by b1")
		here, err = actor.Redeem[string](a, here.String())
		if err != nil {
			t.Fatal(err)
		}
		wantResult(t, here, "here by b1")
		wantState(t, slow, rpc.JobUnknown)
		_, err = slow.Await(t.Context())
		wantErr(t, "begun and not over", err, rpc.OutcomeUnknown, rpc.Unknown)
		wantState(t, waiting, rpc.JobAccepted)
		wantState(t, cancelled, rpc.JobCancelled)
		spawn(t, b2, "w", s.workers("b2").With(actor.Durable()))
		if got := <-result; got != "waiting by b2<nil>" {
			t.Errorf("what had not begun: %s", got)
		}
		for name, n := range map[string]int{"done": 1, "here": 1, "slow": 1, "waiting": 1, "cancelled": 0} {
			s.ran(t, name, n)
		}
		time.Sleep(actor.DefaultTokenLife + time.Minute)
		wantState(t, done, rpc.JobExpired)
		c.kill(b2, nil)
		l := ledger.New()
		for _, ch := range d.kept {
			l.Apply(ch)
		}
		for ch := range l.All() {
			if ch.Op == ledger.Submitted {
				t.Errorf("a job is still kept: %v", ch.ID)
			}
		}
	})
}

// A shutdown that runs out of time leaves the jobs that have not begun to the next start.
func TestDurableJobsAcrossShutdown(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		submitJob(t, a, "slow")
		time.Sleep(moment)
		waiting := submitJob(t, a, "waiting")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err == nil {
			t.Error("the shutdown did not run out of time")
		}
		close(s.gate)
		spawn(t, c.start("b", d.config), "w", s.workers("b2").With(actor.Durable()))
		wantResult(t, waiting, "waiting by b2")
		s.ran(t, "waiting", 1)
	})
}

// A job that is too large to be recorded is not accepted, and the error says so.
func TestDurableJobLimits(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		_, err := actor.Submit(t.Context(), a.Ref("w@b"), Job{Name: strings.Repeat("x", ledger.MaxBatch)})
		wantErr(t, "a job that is too large to be recorded", err, rpc.TooLarge, rpc.NotRun)
		tok := submitJob(t, a, strings.Repeat("x", ledger.MaxBatch-2048)) // its result is larger
		if _, err := tok.Await(t.Context()); rpc.Ran(err) == rpc.NotRun {
			t.Errorf("a large job: %v", err)
		}
		if _, err := d.Take(t.Context(), "b", "another", func(ledger.Change) {}); err != nil {
			t.Fatal(err)
		}
		_, err = actor.Submit(t.Context(), a.Ref("w@b"), Job{Name: "fenced"}, once)
		wantErr(t, "at a start that was succeeded", err, rpc.Unavailable, rpc.Unknown)
		s.ran(t, "fenced", 0)
	})
}

package actor_test

// The workers that the tests of records use, and what the tests check of them.

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Job is answered with its name and the name of the start that ran it. A job whose name
// begins with "slow" waits until the shop's gate opens.
type Job struct {
	actor.Returns[string]
	Name string
}

// Errand is a one-way Job.
type Errand struct{ Name string }

// shop is the state that the workers of all starts share. It counts how often each job ran.
type shop struct {
	mu       sync.Mutex // guards what follows
	runs     map[string]int
	canceled map[string]bool
	gate     chan struct{}
}

func newShop() *shop {
	return &shop{runs: map[string]int{}, canceled: map[string]bool{}, gate: make(chan struct{})}
}

// job counts a run, and waits for the gate if the job is slow.
func (s *shop) job(ctx context.Context, name string) error {
	s.mu.Lock()
	s.runs[name]++
	s.mu.Unlock()
	if !strings.HasPrefix(name, "slow") {
		return nil
	}
	select {
	case <-s.gate:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		s.canceled[name] = true
		s.mu.Unlock()
		return ctx.Err()
	}
}

// ran fails the test unless the job ran want times.
func (s *shop) ran(t *testing.T, name string, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.runs[name]; got != want {
		t.Errorf("%q ran %d times, want %d", name, got, want)
	}
}

// wasCanceled reports whether the context of a slow job ended while the job waited.
func (s *shop) wasCanceled(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.canceled[name]
}

// workers returns the kind of the workers of one start.
func (s *shop) workers(start string) *actor.Kind {
	return actor.Define("test.worker", func() *shop { return s },
		actor.Answer(func(s *shop, ctx *actor.Context, m Job) (string, error) {
			return m.Name + " by " + start, s.job(ctx, m.Name)
		}),
		actor.Handle(func(s *shop, ctx *actor.Context, m Errand) error { return s.job(ctx, m.Name) }))
}

// once is the option for a request that is not retried.
var once = rpc.WithRetry(rpc.Retry{Attempts: 1})

// ask asks the worker "w" of node b for a job.
func ask(sys *actor.System, name string, opts ...rpc.Option) *rpc.Future[string] {
	return actor.Ask(context.Background(), sys.Ref("w@b"), Job{Name: name}, opts...)
}

// want checks that a request is answered so.
func want(t *testing.T, f *rpc.Future[string], answer string) {
	t.Helper()
	if got, err := f.Await(t.Context()); got != answer || err != nil {
		t.Errorf("%q, %v; want %q", got, err, answer)
	}
}

// wantFailed checks that a request fails with this code and verdict.
func wantFailed(t *testing.T, what string, f *rpc.Future[string], code rpc.Code, ran rpc.Verdict) {
	t.Helper()
	_, err := f.Await(t.Context())
	wantErr(t, what, err, code, ran)
}

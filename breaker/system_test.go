package breaker_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex // guards what follows
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), text)
}

// A service whose node cannot be reached: after a few time-outs requests to it fail at once, by all verbs, until it
// can be. Each change is one event and one line in the log.
func TestInASystem(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg, log := memnet.New(memnet.Config{Seed: 1}), static.New(), new(lines)
		b, err := breaker.New(breaker.Config{InRow: 3, Trials: 1, Targets: []string{"prices@*"}})
		if err != nil {
			t.Fatal(err)
		}
		start := func(cfg actor.Config) *actor.System {
			cfg.Registry = reg
			cfg.Transports = append(cfg.Transports, net.Transport("direct", true))
			sys, err := actor.NewSystem(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
			return sys
		}
		here := start(actor.Config{Name: "here", Outgoing: []intercept.Func{b.Outgoing}, Logger: slog.New(slog.NewTextHandler(log, nil))})
		there := start(actor.Config{Name: "there", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		prices := actor.Define("example.prices", func() int { return 7 }, actor.Answer(func(n int, _ *actor.Context, _ Price) (int, error) { return n, nil }))
		if _, err := there.Spawn("prices", prices, actor.Expose("prices")); err != nil {
			t.Fatal(err)
		}
		events := here.Events(t.Context(), breaker.Changed)
		ref := here.Service("prices")
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := actor.Call(ctx, ref, Price{})
			return err
		}
		time.Sleep(time.Minute)
		for range 10 {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
		net.Partition("direct", "here", "there")
		for range 3 {
			if err := call(); err == nil || errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("while it cannot be reached: %v", err)
			}
		}
		begun := time.Now()
		for range 100 {
			if err := call(); !errors.Is(err, breaker.ErrOpen) || rpc.Ran(err) != rpc.NotRun {
				t.Fatalf("when it is known: %v", err)
			}
			if _, err := actor.Ask(t.Context(), ref, Price{}).Await(t.Context()); !errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("Ask: %v", err)
			}
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the refusals took %v", took)
		}
		net.Heal("direct", "here", "there")
		time.Sleep(time.Minute)
		if err := call(); err != nil {
			t.Errorf("when it can be reached again: %v", err)
		}
		synctest.Wait()
		var states []breaker.State
		for len(events) > 0 {
			e := <-events
			var c *breaker.Change
			if !errors.As(e.Err, &c) || e.Actor != "prices@*" || c.Message != "example.price" {
				t.Fatalf("event %+v", e)
			}
			states = append(states, c.To)
		}
		if len(states) != 3 || states[0] != breaker.Open || states[1] != breaker.HalfOpen || states[2] != breaker.Closed {
			t.Errorf("changes to %v", states)
		}
		if n := log.count(string(breaker.Changed)); n != 3 {
			t.Errorf("%d lines in the log", n)
		}
	})
}

package actortest

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/test/bubble"
)

// shutdownWait is how long a system may take to end with its test.
const shutdownWait = 10 * time.Second

// NewSystem starts a system that is shut down when the test ends. A shutdown that fails, or
// takes longer than 10 seconds, fails the test. Without a Logger in cfg, the system logs to the
// test. If the system cannot start, the test ends.
func NewSystem(t testing.TB, cfg actor.Config) *actor.System {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = newLogger(t)
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatalf("actortest: starting a system: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
		defer cancel()
		if err := sys.Shutdown(ctx); err != nil {
			t.Errorf("actortest: shutting the system %s down: %v", sys.Name(), err)
		}
	})
	return sys
}

// Spawn starts an actor, as System.Spawn does. If it cannot, the test ends.
func Spawn(t testing.TB, sys *actor.System, name string, kind *actor.Kind, opts ...actor.SpawnOption) actor.Ref {
	t.Helper()
	ref, err := sys.Spawn(name, kind, opts...)
	if err != nil {
		t.Fatalf("actortest: spawning %q on %s: %v", name, sys.Name(), err)
	}
	return ref
}

// Bubble runs a test on a clock of its own, which jumps when everything waits: it is
// synctest.Test, and works around a fault of the race detector (golang/go#78156), because of
// which the program has one processor while a bubble runs under the detector.
func Bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	bubble.Test(t, test)
}

// newLogger returns a logger that writes to the test until the test has ended.
func newLogger(t testing.TB) *slog.Logger {
	w := &testWriter{to: t.Output()}
	t.Cleanup(w.close)
	return slog.New(slog.NewTextHandler(w, nil))
}

// testWriter writes to a test, which must not be written to once it has ended.
type testWriter struct {
	mu     sync.Mutex // guards what follows
	to     io.Writer
	closed bool
}

func (w *testWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(b), nil
	}
	return w.to.Write(b)
}

func (w *testWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

// inBubble reports whether its caller runs in a bubble.
func inBubble() (in bool) {
	defer func() {
		if recover() != nil {
			in = false
		}
	}()
	synctest.Wait() // panics outside of one
	return true
}

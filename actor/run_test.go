package actor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	ossignal "os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// runEnv names what a process of the test binary does instead of the tests.
const runEnv = "TANDEM_TEST_RUN"

// Dawdle takes as long as it is told, whatever happens to its context.
type Dawdle struct{ For time.Duration }

type dawdler struct{ out io.Writer }

func (d *dawdler) Dawdle(_ *actor.Context, m Dawdle) error {
	fmt.Fprintln(d.out, "working")
	<-time.After(m.For)
	fmt.Fprintln(d.out, "done")
	return nil
}

// runProcess is main of the process: it works for as long as what says, and has half a second to end.
func runProcess(what string) {
	cfg := actor.Config{ShutdownWait: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	kind := actor.Define("test.dawdler", func() *dawdler { return &dawdler{os.Stdout} }, actor.Handle((*dawdler).Dawdle))
	cfg.Setup = func(s *actor.System) error {
		d, err := time.ParseDuration(what)
		if err != nil {
			return err
		}
		ref, err := s.Spawn("dawdler", kind)
		if err != nil {
			return err
		}
		return actor.Tell(context.Background(), ref, Dawdle{d})
	}
	if what == "config" {
		cfg.Weight = -1
	}
	err := actor.Run(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
	}
	os.Exit(actor.ExitCode(err))
}

// What a service manager sees: the process is asked to end while a handler works.
func TestRunSignals(t *testing.T) {
	if what := os.Getenv(runEnv); what != "" {
		runProcess(what)
	}
	for name, c := range map[string]struct {
		does    string
		signals []syscall.Signal // sent when the handler works
		code    int              // -1: ended by the last of signals
		says    string
	}{
		"a handler that ends in time":    {"50ms", []syscall.Signal{syscall.SIGTERM}, actor.ExitOK, "done"},
		"an interrupt":                   {"50ms", []syscall.Signal{syscall.SIGINT}, actor.ExitOK, "done"},
		"a handler that does not":        {"1h", []syscall.Signal{syscall.SIGTERM}, actor.ExitUnclean, "not clean"},
		"asked twice":                    {"1h", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, -1, ""},
		"a Config that is not valid":     {"config", nil, actor.ExitConfig, "Config.Weight"},
		"a Setup that fails for another": {"a while", nil, actor.ExitFailed, "invalid duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestRunSignals$")
			cmd.Env = append(os.Environ(), runEnv+"="+c.does)
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
			out := bufio.NewReader(pipe)
			for i, s := range c.signals {
				if i == 0 {
					if line, err := out.ReadString('\n'); line != "working\n" {
						t.Fatalf("it said %q, %v", line, err)
					}
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				if i+1 < len(c.signals) { // the first one must have been seen
					<-time.After(100 * time.Millisecond)
				}
			}
			rest, _ := io.ReadAll(out)
			err = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d (%v), want %d", code, err, c.code)
			}
			if !strings.Contains(string(rest), c.says) {
				t.Errorf("it said %q, want %q", rest, c.says)
			}
		})
	}
}

// unready is a registry that does not answer yet.
type unready struct{ registry.Registry }

func (unready) Register(ctx context.Context, _ registry.Node) error {
	<-ctx.Done()
	return registry.ErrUnavailable
}

// A context ends a system as a signal does, at whatever stage it is; and Run returns when the system has
// ended otherwise.
func TestRunContext(t *testing.T) {
	usual := make(chan os.Signal, 1)
	ossignal.Notify(usual, syscall.SIGHUP) // starts what the bubbles would otherwise wait for
	ossignal.Stop(usual)
	cfg := func() actor.Config { return actor.Config{Logger: slog.New(slog.DiscardHandler)} }
	for name, test := range map[string]func(*testing.T){
		"before": func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := actor.Run(ctx, cfg()); err != nil {
				t.Error(err)
			}
		},
		"while its registry is away": func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, began := cfg(), time.Now()
			c.Name, c.Registry = "a", unready{static.New()}
			c.Transports = []transport.Transport{memnet.New(memnet.Config{Seed: 1}).Transport("bus", false)}
			if err := actor.Run(ctx, c); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d != time.Second {
				t.Errorf("after %v", d)
			}
		},
		"while it serves": func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var sys *actor.System
			c, began := cfg(), time.Now()
			c.Setup = func(s *actor.System) error { sys = s; return nil }
			if err := actor.Run(ctx, c); err != nil || sys.Err() != nil {
				t.Error(err, sys.Err())
			}
			if d := time.Since(began); d < time.Hour || d > time.Hour+actor.DefaultAckWait {
				t.Errorf("after %v", d)
			}
		},
		"its own shutdown": func(t *testing.T) {
			c := cfg()
			c.Setup = func(s *actor.System) error {
				time.AfterFunc(time.Second, func() { s.Shutdown(t.Context()) })
				return nil
			}
			if err := actor.Run(t.Context(), c); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, actor.ExitOK},
		{errors.New("anything"), actor.ExitFailed},
		{fmt.Errorf("x: %w", actor.ErrConfig), actor.ExitConfig},
		{fmt.Errorf("x: %w", actor.ErrUnclean), actor.ExitUnclean},
		{errors.Join(fmt.Errorf("x: %w", actor.ErrFenced), actor.ErrUnclean), actor.ExitFenced}, // the reason counts
	} {
		if got := actor.ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

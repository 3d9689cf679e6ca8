package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	ossignal "os/signal"
	"syscall"
)

// ErrConfig is wrapped by errors of NewSystem that say what is wrong with a Config. To start again
// with the same one does not help.
var ErrConfig = errors.New("actor: the Config is not valid")

// ErrUnclean is wrapped by errors of Run whose shutdown did not end as it should: handlers that did not
// end in time, messages that were handed back, replies that may not have reached their callers.
var ErrUnclean = errors.New("actor: the shutdown was not clean")

// Exit codes of a process, see ExitCode. Those above 2 are of sysexits.h of BSD, which service managers
// can be told not to start again after (RestartPreventExitStatus of systemd).
const (
	ExitOK      = 0
	ExitFailed  = 1  // the system could not be started, or something else is wrong
	ExitFenced  = 69 // another process has taken over the node's name (EX_UNAVAILABLE)
	ExitUnclean = 70 // it was asked to end, and could not end cleanly (EX_SOFTWARE)
	ExitConfig  = 78 // the Config is not valid (EX_CONFIG)
)

// Run is the life of a process that is one node. It starts a system, and shuts it down when ctx ends or
// the process gets SIGTERM or an interrupt (Ctrl-C): other nodes send elsewhere, the messages that wait
// are handled, and replies are acked, for Config.ShutdownWait at most. Config.Setup gets the system.
//
//	func main() {
//		err := actor.Run(context.Background(), cfg)
//		if err != nil {
//			log.Print(err)
//		}
//		os.Exit(actor.ExitCode(err))
//	}
//
// It returns nil after a clean shutdown. Otherwise the error is that of NewSystem, wraps ErrUnclean, or,
// if the system has ended by itself, is that of System.Err. A signal during the start ends the start,
// once Config.Setup has returned; a second one ends the process at once.
// ShutdownWait should be shorter than the time after which a service manager kills the process (90 s
// in systemd, 30 s in Kubernetes).
//
// Signals are a matter of the whole process, so a process calls Run once at a time.
func Run(ctx context.Context, cfg Config) error {
	ctx, stop := ossignal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // so that a second one ends the process
	s, err := newSystem(ctx, cfg)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrConfig) {
		cfg.logger().Info("the node was asked to end while it started", "node", cfg.Name, "why", context.Cause(ctx), "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		s.log.Info("the node was asked to end", "why", context.Cause(ctx))
	}
	if err := s.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(s.Err(), fmt.Errorf("%w: %w", ErrUnclean, err))
	}
	return s.Err()
}

func (c *Config) logger() *slog.Logger { return cmp.Or(c.Logger, slog.Default()) }

// ExitCode is the exit code for an error of Run or NewSystem.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrConfig):
		return ExitConfig
	case errors.Is(err, ErrFenced):
		return ExitFenced
	case errors.Is(err, ErrUnclean):
		return ExitUnclean
	}
	return ExitFailed
}

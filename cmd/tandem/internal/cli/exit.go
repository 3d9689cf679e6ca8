package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/rpc"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitUnavailable = 5 // or it took too long
	exitUnknown     = 6 // what was to be done may have been done
)

// exitHelp is in the help of the root command.
const exitHelp = `Exit codes:
  0  done
  1  it failed
  2  the command line is wrong
  3  there is no such node, actor, service or entry
  4  not allowed
  5  NATS or a node cannot be reached, is overloaded, or did not answer in time; nothing was changed
  6  it is not known whether what was to be done was done`

// usageError is an error in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// changing marks an error of a command that changes something, of which it matters whether it ran.
type changing struct{ error }

func (c changing) Unwrap() error { return c.error }

// exitCode is the exit code for an error.
func exitCode(err error) int {
	var usage usageError
	var change changing
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &change) && errors.As(err, new(*rpc.Error)) && rpc.Ran(err) == rpc.Unknown:
		return exitUnknown
	case errors.Is(err, rpc.NotFound):
		return exitNotFound
	case errors.Is(err, rpc.Denied), errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrPermissionViolation):
		return exitDenied
	case errors.Is(err, rpc.Unavailable), errors.Is(err, rpc.Expired), errors.Is(err, rpc.Overloaded), errors.Is(err, rpc.Leaving), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders):
		return exitUnavailable
	}
	return exitFailed
}

// advice says what to do about an error; empty: nobody knows.
func advice(err error) string {
	switch {
	case errors.As(err, new(usageError)):
		return "see --help"
	case errors.Is(err, nats.ErrAuthorization):
		return "the NATS server refuses this user: check --creds, or the context that --context names (nats context ls)"
	case errors.Is(err, nats.ErrNoServers):
		return "no NATS server answers there: check --server or --context, and that the server runs"
	case exitCode(err) == exitUnknown:
		return "look before you do it again: with a key (--key) a message can be sent again safely"
	case errors.Is(err, rpc.Denied):
		return "the node's admin.Config has to name your principal in Read or Operate; you are \"nats:\" and what --user says"
	case errors.Is(err, rpc.NotFound):
		return "check --cluster and the name: `tandem nodes` lists the nodes. A node is seen only if it calls admin.Open and natsadmin.Serve"
	case errors.Is(err, rpc.Expired), errors.Is(err, context.DeadlineExceeded):
		return "it took longer than --timeout"
	}
	return ""
}

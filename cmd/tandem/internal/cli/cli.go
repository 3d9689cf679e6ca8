// Package cli has the commands of the program tandem. Each command is in the file of its subject; this one has what they share.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings/natskv"
)

// Exit codes.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitDenied      = 4
	ExitUnavailable = 5 // it cannot be reached, or has not answered in time
	ExitUnknown     = 6 // nobody can tell whether the request ran
)

// app is one run of the program: its flags, and what it writes to.
type app struct {
	in       io.Reader
	out, err io.Writer

	context, server, creds, user, inbox, cluster, node string
	timeout                                            time.Duration
	json                                               bool
	color                                              string

	changes bool // the command may have changed something, so that it matters whether it ran

	nc   *nats.Conn
	over *admin.Cluster // for tests of single commands; nil: over NATS
}

// usageError is an error about the arguments.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run runs the program, and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, err: errs}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if a.nc != nil {
		a.nc.Close()
	}
	if err == nil {
		return ExitOK
	}
	if !errors.Is(err, errSaid) {
		a.complain(err)
	}
	return a.codeOf(err)
}

// errSaid is the error of a command that has told already what is wrong.
var errSaid = errors.New("said")

// codeOf is the exit code for an error.
func (a *app) codeOf(err error) int {
	var bad usageError
	if errors.As(err, &bad) {
		return ExitUsage
	}
	var e *rpc.Error
	if !errors.As(err, &e) {
		return ExitFailed
	}
	switch {
	case errors.Is(err, natskv.ErrConflict):
		return ExitFailed
	case e.Code == rpc.NotFound:
		return ExitNotFound
	case e.Code == rpc.Denied:
		return ExitDenied
	case e.Code == rpc.Invalid && e.Verdict == rpc.NotRun:
		return ExitUsage
	case e.Verdict == rpc.Unknown && (a.changes || e.Code != rpc.Expired && e.Code != rpc.Unavailable):
		return ExitUnknown
	case e.Code == rpc.Unavailable, e.Code == rpc.Expired, e.Code == rpc.Leaving, e.Code == rpc.Overloaded:
		return ExitUnavailable
	}
	return ExitFailed
}

// complain tells what is wrong, and what can be done about it.
func (a *app) complain(err error) {
	var e *rpc.Error
	if !errors.As(err, &e) {
		fmt.Fprintln(a.err, "tandem:", err)
		var bad usageError
		if errors.As(err, &bad) {
			fmt.Fprintln(a.err, "Try --help.")
		}
		return
	}
	fmt.Fprintf(a.err, "tandem: %s: %s\n", e.Code.String(), clean(e.Message))
	switch e.Code {
	case rpc.NotFound:
		if e.Verdict == rpc.NotRun && e.Node != "" && a.nc != nil {
			fmt.Fprintln(a.err, "tandem nodes shows which nodes there are. Is --cluster right, and does the node serve package admin/natsadmin?")
		}
	case rpc.Denied:
		fmt.Fprintf(a.err, "The node's admin.Config has to name this user: Read: []string{\"nats:%s\"}, or Operate for what changes something.\n", a.user)
	}
}

// Root returns the whole tree of commands, for its documentation.
func Root() *cobra.Command { return new(app).root() }

// root is the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "See and change a Tandem cluster over NATS",
		Long: `tandem asks the admin actors of a cluster's nodes, over NATS, as the user of a nats context or of flags.

Exit codes: 0 all is well, 1 it failed, 2 the arguments are wrong, 3 there is no such thing, 4 denied,
5 it cannot be reached or has not answered in time, 6 nobody can tell whether the request ran.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&a.context, "context", "", "nats context to connect with (default: the selected one, if --server is not given)")
	f.StringVarP(&a.server, "server", "s", "", "URL of the NATS server, in place of a context")
	f.StringVar(&a.creds, "creds", "", "file with NATS credentials, with --server")
	f.StringVarP(&a.user, "user", "u", "", `the user's token in subjects, see package admin/natsadmin (default "-", which is nobody)`)
	f.StringVar(&a.inbox, "inbox", "", "prefix of the inbox, with --server, if the user may not subscribe to _INBOX")
	f.StringVarP(&a.cluster, "cluster", "c", "", "name of the cluster, as actor.Config.Cluster")
	f.StringVarP(&a.node, "node", "n", "", "ask this node only (default: all, or any)")
	f.DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.StringVar(&a.color, "color", "auto", "colour: auto (on terminals), always or never; NO_COLOR is heeded")
	root.AddCommand(a.look()...)
	root.AddCommand(a.requests()...)
	root.AddCommand(a.send()...)
	root.AddCommand(a.queues(), a.letters(), a.settings(), a.level(), a.stop(), a.perms(), a.check(), a.bench(), a.top(), a.mcp(), a.version())
	for _, c := range root.Commands() {
		a.checkArgs(c)
	}
	return root
}

// checkArgs makes wrong arguments of a command, and of those below it, a usageError.
func (a *app) checkArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{err}
			}
			if a.color != "auto" && a.color != "always" && a.color != "never" {
				return usage("--color %q: want auto, always or never", a.color)
			}
			return nil
		}
	}
	for _, below := range c.Commands() {
		a.checkArgs(below)
	}
}

// connect opens the connection, once.
func (a *app) connect() (*nats.Conn, error) {
	if a.nc != nil {
		return a.nc, nil
	}
	opts := []nats.Option{nats.Name("tandem"), nats.Timeout(a.timeout), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})} // what is refused is an error where it was asked for
	var err error
	if a.server != "" {
		if a.creds != "" {
			opts = append(opts, nats.UserCredentials(a.creds))
		}
		if a.inbox != "" {
			opts = append(opts, nats.CustomInboxPrefix(a.inbox))
		}
		a.nc, err = nats.Connect(a.server, opts...)
	} else {
		name := a.context
		if name == "" {
			name = natscontext.SelectedContext()
		}
		if name == "" {
			return nil, usage("there is no nats context: give --server or --context, or select one with nats context select")
		}
		a.nc, err = natscontext.Connect(name, opts...)
	}
	if err != nil {
		return nil, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "NATS: %w", err)
	}
	return a.nc, nil
}

// asks returns the cluster.
func (a *app) asks() (*admin.Cluster, error) {
	if a.over != nil {
		return a.over, nil
	}
	nc, err := a.connect()
	if err != nil {
		return nil, err
	}
	return natsadmin.Connect(nc, natsadmin.Client{Cluster: a.cluster, User: a.user, Timeout: a.timeout})
}

// colored reports whether what is written may have colours.
func (a *app) colored() bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	f, ok := a.out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

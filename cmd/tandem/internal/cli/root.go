// Package cli has the commands of tandem.
package cli

import (
	"context"
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
	"github.com/tandem-go/tandem/cmd/tandem/internal/show"
)

// Streams are the command's surroundings.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Out is a terminal
	Getenv   func(string) string
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// app is one run of the command.
type app struct {
	Streams
	context, server, creds, cluster, user, color string
	timeout                                      time.Duration
	json                                         bool

	conn *nats.Conn // nil: not connected yet
}

// Run runs the command line, and returns the exit code.
func Run(ctx context.Context, args []string, streams Streams) int {
	a := &app{Streams: streams}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	err := root.ExecuteContext(ctx)
	if a.conn != nil {
		a.conn.Close()
	}
	if err != nil {
		fmt.Fprintln(a.Err, "tandem:", show.Clean(err.Error()))
		if what := advice(err); what != "" {
			fmt.Fprintln(a.Err, "  ", what)
		}
	}
	return exitCode(err)
}

// root is the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "tandem",
		Short:         "Shows what a cluster of Tandem does, and changes it, over NATS",
		Long:          "Shows what a cluster of Tandem does, and changes it, over NATS. A node can be asked if it calls admin.Open and natsadmin.Serve.\n\n" + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&a.context, "context", "", "context of the nats CLI; default: the selected one, unless --server is set")
	f.StringVarP(&a.server, "server", "s", "", "URL of the NATS server; default: $NATS_URL, or that of the context")
	f.StringVar(&a.creds, "creds", "", "file with NATS credentials")
	f.StringVar(&a.cluster, "cluster", "tandem", "name of the cluster, as actor.Config.Cluster")
	f.StringVar(&a.user, "user", "", "who asks: nodes see the principal nats:USER; default: the context's user, or nobody")
	f.DurationVar(&a.timeout, "timeout", 5*time.Second, "how long to wait for answers")
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.StringVar(&a.color, "color", "auto", "auto, always or never; auto: on terminals, unless $NO_COLOR is set")
	_ = root.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return natscontext.KnownContexts(), cobra.ShellCompDirectiveNoFileComp
	})
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.validate() }
	root.AddGroup(&cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "change", Title: "Change:"}, &cobra.Group{ID: "run", Title: "Set up and measure:"})
	add := func(group string, all ...*cobra.Command) {
		for _, c := range all {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("look", a.nodes(), a.peers(), a.services(), a.actors(), a.inspect(), a.queues(), a.topics(), a.tokens(), a.sessions(), a.settings(), a.events())
	add("change", a.deadLetters(), a.logLevel(), a.call(), a.tell(), a.submit(), a.job("poll"), a.job("await"), a.job("cancel"))
	add("run", a.perms(), a.check(), a.bench(), a.version())
	usageArgs(root)
	return root
}

// usageArgs makes wrong arguments errors of usage, in all commands.
func usageArgs(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(cmd *cobra.Command, got []string) error {
			if err := args(cmd, got); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

// validate checks the global flags.
func (a *app) validate() error {
	switch a.color {
	case "auto", "always", "never":
	default:
		return usagef("--color=%s: want auto, always or never", a.color)
	}
	if a.timeout <= 0 {
		return usagef("--timeout=%v: want more than 0", a.timeout)
	}
	if a.context != "" && a.server != "" {
		return usagef("--context and --server: want one of them")
	}
	return nil
}

// printer prints the command's result.
func (a *app) printer() *show.Printer {
	color := a.color == "always" || a.color == "auto" && a.Terminal && a.Getenv("NO_COLOR") == ""
	return &show.Printer{Out: a.Out, JSON: a.json, Color: color}
}

// connect returns the connection to NATS, which is made at the first call.
func (a *app) connect(opts ...nats.Option) (*nats.Conn, error) {
	if a.conn != nil {
		return a.conn, nil
	}
	nc, err := a.dial(opts...)
	a.conn = nc
	return nc, err
}

// dial makes a connection as the flags say.
func (a *app) dial(opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{nats.Name("tandem"), nats.Timeout(a.timeout), nats.MaxReconnects(-1)}, opts...)
	server := a.server
	if server == "" && a.context == "" {
		server = a.Getenv("NATS_URL")
	}
	if a.creds != "" {
		opts = append(opts, nats.UserCredentials(a.creds))
	}
	if server == "" && (a.context != "" || natscontext.SelectedContext() != "") {
		c, err := natscontext.New(a.context, true)
		if err != nil {
			return nil, usagef("--context=%s: %w", a.context, err)
		}
		if a.user == "" {
			a.user = c.User()
		}
		return c.Connect(opts...)
	}
	if server == "" {
		server = nats.DefaultURL
	}
	nc, err := nats.Connect(server, opts...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	return nc, nil
}

// ask returns the cluster, and a context for questions to it.
func (a *app) ask(cmd *cobra.Command) (context.Context, context.CancelFunc, *admin.Cluster, error) {
	nc, err := a.connect()
	if err != nil {
		return nil, nil, nil, err
	}
	cluster, err := natsadmin.Connect(nc, natsadmin.Client{Cluster: a.cluster, User: a.user, Timeout: a.timeout})
	if err != nil {
		return nil, nil, nil, usageError{err}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
	return ctx, cancel, cluster, nil
}

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/cmd/tandem/internal/check"
	"github.com/tandem-go/tandem/cmd/tandem/internal/load"
	"github.com/tandem-go/tandem/cmd/tandem/internal/show"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "The version of this program", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v := struct {
			Version string `json:"version"`
			Go      string `json:"go"`
		}{"(devel)", runtime.Version()}
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v.Version = info.Main.Version
		}
		p := a.printer()
		if p.JSON {
			return p.Value(v)
		}
		p.Line(show.Plain, "tandem %s, %s", v.Version, v.Go)
		return nil
	}}
}

// parts are what a node may use of NATS, by name.
var parts = []struct {
	name, about string
	set         func(permissions.Node) permissions.Set
	make        func(permissions.Node) permissions.Set // nil: there is nothing to create
}{
	{"bus", "roads over NATS", permissions.Node.Bus, nil},
	{"registry", "registry/natskv", permissions.Node.Registry, permissions.Node.MakeRegistry},
	{"records", "ledger/jetstream", permissions.Node.Records, permissions.Node.MakeRecords},
	{"states", "state/jetstream", permissions.Node.States, permissions.Node.MakeStates},
	{"claims", "placement/natskv", permissions.Node.Claims, permissions.Node.MakeClaims},
	{"reminders", "reminder/jetstream", permissions.Node.Reminders, permissions.Node.MakeReminders},
	{"settings", "settings/natskv, to read", permissions.Node.Settings, permissions.Node.MakeSettings},
	{"topics", "topic/jetstream", permissions.Node.Topics, nil},
	{"bindings", "gateway/natskv", permissions.Node.Bindings, permissions.Node.MakeBindings},
}

// partNames are the names of parts.
func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func (a *app) perms() *cobra.Command {
	n := permissions.Node{}
	var use, queues []string
	var create, gateway, operator bool
	c := &cobra.Command{Use: "perms --node NAME", Short: "What a node's, a gateway's or an operator's NATS user must be allowed", Args: cobra.NoArgs,
		Long: "Prints exactly what a NATS user must be allowed, in the format of nats-server.conf, or as JSON. It asks no server.\n\n" +
			"A node needs --node; --gateway adds what natsapi and natsadmin need in the same process. --operator is for the user of this command.",
		Example: "  tandem perms --cluster shop --node till-1 --use bus,registry,records --create\n  tandem perms --cluster shop --operator --user ann"}
	f := c.Flags()
	f.StringVar(&n.Name, "node", "", "name of the node")
	f.StringVar(&n.Principal, "principal", "", "principal of the node on the bus; default: its name")
	f.StringVar(&n.Inbox, "inbox", "", "prefix of its inbox, as nats.CustomInboxPrefix sets it; default: _INBOX_ and its name")
	f.StringSliceVar(&use, "use", []string{"bus", "registry"}, "parts that it uses: "+strings.Join(partNames(), ", ")+", all")
	f.StringSliceVar(&queues, "queue", nil, "queues of queue/jetstream that it hosts")
	f.BoolVar(&create, "create", false, "it may also create the buckets and streams of these parts")
	f.BoolVar(&gateway, "gateway", false, "the process also serves natsapi or natsadmin")
	f.BoolVar(&operator, "operator", false, "for the user of this command, as --user says, instead of a node")
	_ = c.RegisterFlagCompletionFunc("use", cobra.FixedCompletions(append(partNames(), "all"), cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(*cobra.Command, []string) error {
		if operator == (n.Name != "") {
			return usagef("want --node NAME or --operator")
		}
		if operator && a.user == "" {
			return usagef("--operator needs --user")
		}
		var set permissions.Set
		if operator {
			set = operatorSet(a.cluster, a.user)
		} else {
			var err error
			if set, err = nodeSet(a.cluster, n, use, queues, create, gateway); err != nil {
				return err
			}
		}
		p := a.printer()
		if p.JSON {
			return p.Value(map[string]any{"permissions": map[string]any{"publish": map[string]any{"allow": set.Publish}, "subscribe": map[string]any{"allow": set.Subscribe}}})
		}
		fmt.Fprintln(a.Out, set)
		return nil
	}
	return c
}

// nodeSet is what a node must be allowed.
func nodeSet(cluster string, n permissions.Node, use, queues []string, create, gateway bool) (permissions.Set, error) {
	n.Cluster = cluster
	if n.Principal == "" {
		n.Principal = n.Name
	}
	if n.Inbox == "" {
		n.Inbox = "_INBOX_" + n.Name
	}
	if slices.Contains(use, "all") {
		use = partNames()
	}
	var sets []permissions.Set
	for _, name := range use {
		i := slices.Index(partNames(), name)
		if i < 0 {
			return permissions.Set{}, usagef("--use=%s: want %s or all", name, strings.Join(partNames(), ", "))
		}
		sets = append(sets, parts[i].set(n))
		if create && parts[i].make != nil {
			sets = append(sets, parts[i].make(n))
		}
	}
	for _, q := range queues {
		sets = append(sets, n.Queue(q))
	}
	if gateway {
		sets = append(sets, permissions.Set{Publish: []string{"$SRV.>", "_INBOX.>", "_INBOX_*.>", "_R_.>"}, Subscribe: []string{"tandem.api.>", "tandem.admin." + cluster + ".>", "$SRV.>"}})
	}
	return permissions.All(sets...), nil
}

// operatorSet is what the user of this command must be allowed.
func operatorSet(cluster, user string) permissions.Set {
	return permissions.Set{Publish: []string{"tandem.admin." + cluster + "." + user + ".>", "tandem.api." + user + ".>", "$SRV.>"}, Subscribe: []string{"_INBOX_" + user + ".>"}}
}

func (a *app) check() *cobra.Command {
	cfg := check.Config{}
	c := &cobra.Command{Use: "check", Short: "Try what a cluster needs of NATS, and say how to mend what is wrong", Args: cobra.NoArgs,
		Long: "Tries the connection, TLS, JetStream, the clock, and the buckets and streams of the cluster, and its nodes. It changes nothing.\n" +
			"Run it with the credentials of a node to try what that node may."}
	c.Flags().BoolVar(&cfg.RequireTLS, "tls", false, "a connection without TLS is wrong")
	c.Flags().DurationVar(&cfg.MaxSkew, "max-skew", check.DefaultSkew, "how far the clocks here and on the server may be apart")
	c.Flags().StringVar(&cfg.Node, "node", "", "also try what this node's NATS user must be allowed, as --use says")
	c.Flags().StringSliceVar(&cfg.Use, "use", []string{"bus", "registry"}, "parts of the permissions to try: "+strings.Join(partNames(), ", "))
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.Cluster, cfg.User, cfg.Timeout = a.cluster, a.user, a.timeout
		cfg.Connect = a.dial
		if cfg.Node != "" {
			set, err := nodeSet(a.cluster, permissions.Node{Name: cfg.Node}, cfg.Use, nil, false, false)
			if err != nil {
				return err
			}
			cfg.Permissions = set
		}
		results := check.Run(cmd.Context(), cfg)
		p := a.printer()
		failed := 0
		for _, r := range results {
			if r.State == check.Failed {
				failed++
			}
		}
		if p.JSON {
			if err := p.Value(results); err != nil {
				return err
			}
		} else {
			printChecks(p, results)
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d checks failed", failed, len(results))
		}
		return nil
	}
	return c
}

func printChecks(p *show.Printer, results []check.Result) {
	var rows [][]show.Cell
	for _, r := range results {
		state := show.In(show.Good, "ok")
		switch r.State {
		case check.Failed:
			state = show.In(show.Bad, "FAILED")
		case check.Warned:
			state = show.T("warning")
		case check.Skipped:
			state = show.In(show.Faint, "not tried")
		}
		rows = append(rows, []show.Cell{state, show.T(r.Name), show.T(r.Found)})
	}
	p.Table([]string{"", "CHECK", "FOUND"}, rows)
	for _, r := range results {
		if r.Mend != "" {
			p.Line(show.Plain, "%s: %s", r.Name, r.Mend)
		}
	}
}

func (a *app) bench() *cobra.Command {
	cfg := load.Config{}
	c := &cobra.Command{Use: "bench TARGET MESSAGE [JSON]", Short: "Measure requests to a service through the NATS gateway", Args: cobra.RangeArgs(2, 3), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Sends requests to a target of natsapi, and says how many were answered, how long they took, and what became of the others.\n" +
			"The messages run: choose one that does no harm. It ends after --count requests or after --for, whichever is first.",
		Example: `  tandem bench prices Price '{"Item": "tea"}' --clients 8 --for 10s`}
	c.Flags().IntVar(&cfg.Clients, "clients", 1, fmt.Sprintf("requests at a time, 1 to %d", load.MaxClients))
	c.Flags().IntVar(&cfg.Count, "count", 10_000, fmt.Sprintf("requests at most, 1 to %d", load.MaxCount))
	c.Flags().DurationVar(&cfg.For, "for", load.DefaultFor, fmt.Sprintf("how long at most, up to %v", load.MaxFor))
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg.Body = []byte("{}")
		if len(args) > 2 {
			cfg.Body = []byte(args[2])
		}
		nc, err := a.connect()
		if err != nil {
			return err
		}
		cfg.Conn, cfg.Target, cfg.Message, cfg.User, cfg.Timeout = nc, args[0], args[1], a.user, a.timeout
		r, err := load.Run(cmd.Context(), cfg)
		if err != nil {
			return usageError{err}
		}
		p := a.printer()
		if p.JSON {
			if err := p.Value(r); err != nil {
				return err
			}
		} else {
			p.Fields("requests", r.Requests, "answered", r.Answered, "per second", fmt.Sprintf("%.0f", r.PerSecond), "p50", show.Duration(r.P50), "p90", show.Duration(r.P90), "p99", show.Duration(r.P99), "max", show.Duration(r.Max),
				"failed, ran", r.Failed[load.Ran], "failed, not run", r.Failed[load.NotRun], "failed, unknown", r.Failed[load.Unknown])
			for _, e := range r.Errors {
				p.Line(show.Bad, "%d × %s", e.Count, e.Text)
			}
		}
		if r.Answered == 0 {
			return fmt.Errorf("no request was answered")
		}
		return nil
	}
	return c
}

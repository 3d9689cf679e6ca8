package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/cmd/tandem/internal/show"
	"github.com/tandem-go/tandem/rpc"
)

// do asks one node to change something, and prints what it says.
func do[M actor.Question[R], R any](a *app, cmd *cobra.Command, node string, m M, print func(*show.Printer, R)) error {
	ctx, cancel, cluster, err := a.ask(cmd)
	if err != nil {
		return err
	}
	defer cancel()
	r, err := admin.Ask(ctx, cluster, node, m)
	if err != nil {
		return changing{err}
	}
	p := a.printer()
	if p.JSON {
		return p.Value(r)
	}
	print(p, r)
	return nil
}

func (a *app) logLevel() *cobra.Command {
	var node string
	c := &cobra.Command{Use: "log-level --node NODE [LEVEL]", Short: "Show or set the least level that a node logs", Args: cobra.MaximumNArgs(1),
		Long: "Shows the least level that each node logs, or sets that of one node until the settings change it or it is started again.\n" +
			"To set it for all nodes, or to stay, write the section log of the settings: see docs/settings.md.",
		ValidArgsFunction: cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)}
	a.nodeFlag(c, &node, "the node; required to set it")
	shown := list[admin.Node, admin.NodeInfo]{
		question: func([]string) (m admin.Node, err error) { return m, nil },
		header:   []string{"LEVEL"},
		rows:     func(r admin.NodeInfo) [][]show.Cell { return [][]show.Cell{{show.T(r.Level)}} },
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return shown.run(a, cmd, node, nil)
		}
		if node == "" {
			return usagef("--node is required to set the level")
		}
		return do(a, cmd, node, admin.SetLevel{Level: args[0]}, func(p *show.Printer, _ admin.Done) { p.Line(show.Good, "node %s logs from %s on", node, args[0]) })
	}
	return c
}

func (a *app) deadLetters() *cobra.Command {
	c := &cobra.Command{Use: "dead-letters", Short: "Messages that could not be handled", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(a.listLetters("list", "Dead letters that are kept, without their messages", cobra.NoArgs), a.listLetters("show ID", "One dead letter", cobra.ExactArgs(1)), a.resendLetters(), a.discardLetters())
	return c
}

// filter is the flags that say which dead letters are meant.
type filter struct {
	admin.LetterFilter
	since time.Duration
	all   bool
}

func (f *filter) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.ID, "id", "", "the one with this id")
	c.Flags().StringVar(&f.Actor, "actor", "", "those to this actor")
	c.Flags().StringVar(&f.Type, "type", "", "those of this type")
	c.Flags().StringVar(&f.Code, "code", "", "those with this code, as \"not found\"")
	c.Flags().DurationVar(&f.since, "since", 0, "those of this last time, as 1h")
}

func (f *filter) question() admin.LetterFilter {
	q := f.LetterFilter
	if f.since > 0 {
		q.Since = time.Now().Add(-f.since)
	}
	return q
}

// chosen refuses to change everything by accident.
func (f *filter) chosen() error {
	if f.ID == "" && f.Actor == "" && f.Type == "" && f.Code == "" && f.since == 0 && !f.all {
		return usagef("say which letters: --id, --actor, --type, --code, --since, or --all")
	}
	return nil
}

func (a *app) listLetters(use, short string, args cobra.PositionalArgs) *cobra.Command {
	var f filter
	c := list[admin.Letters, admin.LettersInfo]{
		question: func(args []string) (admin.Letters, error) {
			if len(args) > 0 {
				f.ID = args[0]
			}
			return admin.Letters{LetterFilter: f.question(), Limit: admin.MaxPage}, nil
		},
		next: func(m admin.Letters, r admin.LettersInfo) (admin.Letters, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"ID", "TIME", "TO", "FROM", "TYPE", "SIZE", "STATE", "CODE", "REASON"},
		rows: func(r admin.LettersInfo) (rows [][]show.Cell) {
			for _, l := range r.Letters {
				rows = append(rows, []show.Cell{show.T(l.ID), show.T(l.Time.UTC().Format(time.RFC3339)), show.T(l.To), show.T(l.From), show.T(l.Type), show.T(show.Bytes(uint64(l.Size))), show.T(l.State), show.T(l.Code), show.T(l.Reason)})
			}
			return rows
		},
	}.command(a, use, short, args)
	if !strings.Contains(use, " ") {
		f.flags(c)
	}
	return c
}

func (a *app) resendLetters() *cobra.Command {
	var f filter
	var node, to string
	c := &cobra.Command{Use: "resend --node NODE", Short: "Send dead letters again, all that match, the oldest first", Args: cobra.NoArgs}
	f.flags(c)
	c.Flags().BoolVar(&f.all, "all", false, "all of the node")
	c.Flags().StringVar(&to, "to", "", "an address; default: where each was to go")
	a.nodeFlag(c, &node, "the node that keeps them")
	_ = c.MarkFlagRequired("node")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.chosen(); err != nil {
			return err
		}
		failed := 0
		err := do(a, cmd, node, admin.ResendLetters{LetterFilter: f.question(), To: to}, func(p *show.Printer, r admin.Resent) {
			p.Line(show.Good, "%d sent again", r.Sent)
			for _, e := range r.Failed {
				p.Line(show.Bad, "%s: %s (ran: %s)", e.ID, e.Error, e.Ran)
			}
			if r.More {
				p.Line(show.Plain, "there are more that match: run it again")
			}
			failed = len(r.Failed)
		})
		if err == nil && failed > 0 {
			return fmt.Errorf("%d letters were not sent", failed)
		}
		return err
	}
	return c
}

func (a *app) discardLetters() *cobra.Command {
	var f filter
	var node string
	c := &cobra.Command{Use: "discard --node NODE", Short: "Remove dead letters, all that match", Args: cobra.NoArgs}
	f.flags(c)
	c.Flags().BoolVar(&f.all, "all", false, "all of the node")
	a.nodeFlag(c, &node, "the node that keeps them")
	_ = c.MarkFlagRequired("node")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.chosen(); err != nil {
			return err
		}
		return do(a, cmd, node, admin.DiscardLetters{LetterFilter: f.question()}, func(p *show.Printer, r admin.Done) { p.Line(show.Good, "%d discarded", r.Count) })
	}
	return c
}

func (a *app) call() *cobra.Command {
	return a.invoke("call", "Send a message and wait for the reply")
}
func (a *app) tell() *cobra.Command { return a.invoke("tell", "Send a one-way message") }
func (a *app) submit() *cobra.Command {
	return a.invoke("submit", "Send a message as a job, and print its token")
}

// maxBody is how many bytes of a message are read from standard input.
const maxBody = 1 << 20

// invoke is call, tell or submit.
func (a *app) invoke(how, short string) *cobra.Command {
	var node string
	m := admin.Invoke{How: how}
	c := &cobra.Command{Use: how + " ADDRESS TYPE [JSON]", Short: short, Args: cobra.RangeArgs(2, 3), ValidArgsFunction: cobra.NoFileCompletions,
		Long: short + ". ADDRESS is NAME@NODE, *SERVICE, or ~KIND/ID for a virtual actor; TYPE is the name of the message; JSON is the message, or - to read it from standard input.",
		Example: "  tandem " + how + ` '*prices' prices.Price '{"Item": "tea"}'`}
	a.nodeFlag(c, &node, "the node that sends it; default: any")
	if how == "call" {
		c.Flags().StringVar(&m.Key, "key", "", "a key under which it runs once, however often it is sent")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		m.To, m.Type, m.Timeout = args[0], args[1], a.timeout
		body := "{}"
		if len(args) > 2 {
			body = args[2]
		}
		if body == "-" {
			b, err := io.ReadAll(io.LimitReader(a.In, maxBody+1))
			if err != nil {
				return err
			}
			if len(b) > maxBody {
				return usagef("the message is larger than %d bytes", maxBody)
			}
			body = string(b)
		}
		if !json.Valid([]byte(body)) {
			return usagef("%q is not JSON", body)
		}
		m.Body = json.RawMessage(body)
		var failed *admin.Failure
		err := do(a, cmd, node, m, func(p *show.Printer, r admin.Invoked) {
			failed = r.Error
			switch {
			case r.Error != nil:
			case r.Token != "":
				fmt.Fprintln(a.Out, r.Token)
			case len(r.Body) > 0:
				fmt.Fprintln(a.Out, string(r.Body))
				if r.Replayed {
					p.Line(show.Faint, "this is the recorded reply of an earlier attempt")
				}
			default:
				p.Line(show.Good, "sent")
			}
		})
		return errors.Join(err, failure(failed))
	}
	return c
}

// failure is the error of a message that was sent for us.
func failure(f *admin.Failure) error {
	if f == nil {
		return nil
	}
	e := &rpc.Error{Code: rpc.Failed, Message: f.Message, Node: f.Node, User: f.User}
	if c, ok := rpc.ParseCode(f.Code); ok {
		e.Code = c
	}
	for _, v := range []rpc.Verdict{rpc.NotRun, rpc.HasRun, rpc.Unknown} {
		if v.String() == f.Ran {
			e.Verdict = v
		}
	}
	return changing{e}
}

// job is poll, await or cancel.
func (a *app) job(how string) *cobra.Command {
	short := map[string]string{"poll": "What a job is now", "await": "Wait for the end of a job", "cancel": "Have a job end early"}[how]
	var node string
	c := &cobra.Command{Use: how + " TOKEN", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions}
	a.nodeFlag(c, &node, "the node that is asked; default: any")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		m := admin.Job{Token: args[0], Do: how}
		if how == "await" {
			m.Wait = a.timeout * 3 / 4
		}
		var failed *admin.Failure
		err := do(a, cmd, node, m, func(p *show.Printer, r admin.JobState) {
			progress := ""
			if r.Total > 0 {
				progress = fmt.Sprintf("%d of %d", r.Done, r.Total)
			}
			p.Fields("state", r.State, "progress", progress, "result", string(r.Result))
			failed = r.Error
		})
		return errors.Join(err, failure(failed))
	}
	return c
}

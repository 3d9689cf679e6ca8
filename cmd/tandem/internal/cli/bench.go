package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/cmd/tandem/internal/load"
)

// errNoAnswer is why a measurement has failed.
var errNoAnswer = errors.New("no request was answered")

// bench measures requests to a running cluster.
func (a *app) bench() *cobra.Command {
	cfg := load.Config{}
	c := &cobra.Command{Use: "bench TARGET MESSAGE [JSON]", Short: "Measure requests to a target of a gateway for NATS (package natsapi)", Long: `bench sends requests to a target of package natsapi, as many at a time as --clients says, and tells how many were answered, how long that
took, and what became of the others. The messages run: choose one that does no harm.

It ends after --count requests or after --for, whichever comes first, and then waits for the requests under way, for --timeout at most.
The exit code is 0 if any request was answered.`,
		Example: `  tandem bench prices Price '{"Item": "tea"}' --clients 8 --for 10s`,
		Args:    cobra.RangeArgs(2, 3)}
	f := c.Flags()
	f.IntVar(&cfg.Clients, "clients", 1, fmt.Sprintf("requests at a time, 1 to %d", load.MaxClients))
	f.IntVar(&cfg.Count, "count", load.DefaultCount, fmt.Sprintf("requests in all, at most %d", load.MaxCount))
	f.DurationVar(&cfg.For, "for", load.DefaultFor, fmt.Sprintf("how long, at most %v", load.MaxFor))
	f.StringVar(&cfg.Prefix, "prefix", load.DefaultPrefix, "what the gateway's subjects begin with, as natsapi.Config.Prefix")
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg.Target, cfg.Message, cfg.User, cfg.Timeout = args[0], args[1], a.user, a.timeout
		var err error
		if cfg.Body, err = a.body(args[2:]); err != nil {
			return err
		}
		if len(cfg.Body) == 0 {
			cfg.Body = []byte("{}")
		}
		if cfg.Conn, err = a.connect(); err != nil {
			return err
		}
		r, err := load.Run(c.Context(), cfg)
		if err != nil {
			return usageError{err}
		}
		if err := a.show(r, func(t *table) {
			t.head = []string{"REQUESTS", "ANSWERED", "PER SECOND", "P50", "P90", "P99", "MAX", "FAILED: RAN", "NOT RUN", "UNKNOWN"}
			unknown := cell{fmt.Sprint(r.Failed[load.Unknown]), ""}
			if r.Failed[load.Unknown] > 0 {
				unknown.color = red
			}
			t.row(r.Requests, r.Answered, fmt.Sprintf("%.0f", r.PerSecond), r.P50, r.P90, r.P99, r.Max, r.Failed[load.Ran], r.Failed[load.NotRun], unknown)
		}); err != nil {
			return err
		}
		for _, e := range r.Errors {
			fmt.Fprintf(a.err, "%d × %s\n", e.Count, clean(e.Text))
		}
		if r.Answered == 0 {
			return errNoAnswer
		}
		return nil
	}
	return c
}

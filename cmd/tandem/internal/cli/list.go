package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/cmd/tandem/internal/show"
)

// answer is what one node says, as JSON.
type answer[R any] struct {
	Node  string `json:"node"`
	Error string `json:"error,omitempty"`
	Reply *R     `json:"reply,omitempty"`
}

// maxPages is how many pages of a list are read from a node at most.
const maxPages = 100

// list is a command that shows the same of all nodes.
type list[M actor.Question[R], R any] struct {
	question func(args []string) (M, error)
	next     func(M, R) (M, bool) // the question for the next page; nil: there are none
	header   []string
	rows     func(R) [][]show.Cell
}

// run asks the nodes and prints what they say. A node that does not answer is an error, and does not hide the others.
func (l list[M, R]) run(a *app, cmd *cobra.Command, node string, args []string) error {
	m, err := l.question(args)
	if err != nil {
		return err
	}
	ctx, cancel, cluster, err := a.ask(cmd)
	if err != nil {
		return err
	}
	defer cancel()
	nodes := []string{node}
	if node == "" {
		if nodes, err = cluster.Nodes(ctx); err != nil {
			return err
		}
	}
	var all []answer[R]
	var rows [][]show.Cell
	var errs []error
	for _, node := range nodes {
		err := l.pages(ctx, cluster, node, m, func(r R) {
			all = append(all, answer[R]{Node: node, Reply: &r})
			for _, row := range l.rows(r) {
				rows = append(rows, append([]show.Cell{show.T(node)}, row...))
			}
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", node, err))
			all = append(all, answer[R]{Node: node, Error: err.Error()})
		}
	}
	if p := a.printer(); p.JSON {
		if err := p.Value(all); err != nil {
			return err
		}
	} else if len(rows) > 0 || len(errs) == 0 {
		p.Table(append([]string{"NODE"}, l.header...), rows)
	}
	return errors.Join(errs...)
}

// pages asks one node for all pages.
func (l list[M, R]) pages(ctx context.Context, c *admin.Cluster, node string, m M, take func(R)) error {
	for range maxPages {
		r, err := admin.Ask(ctx, c, node, m)
		if err != nil {
			return err
		}
		take(r)
		more := false
		if l.next != nil {
			m, more = l.next(m, r)
		}
		if !more {
			return nil
		}
	}
	return fmt.Errorf("only the first %d pages are shown", maxPages)
}

// command makes a command of it.
func (l list[M, R]) command(a *app, use, short string, args cobra.PositionalArgs) *cobra.Command {
	var node string
	c := &cobra.Command{Use: use, Short: short, Args: args, ValidArgsFunction: cobra.NoFileCompletions}
	c.RunE = func(cmd *cobra.Command, args []string) error { return l.run(a, cmd, node, args) }
	a.nodeFlag(c, &node, "only this node")
	return c
}

// nodeFlag adds --node, which completes the names of nodes.
func (a *app) nodeFlag(c *cobra.Command, node *string, usage string) {
	c.Flags().StringVar(node, "node", "", usage)
	_ = c.RegisterFlagCompletionFunc("node", a.completeNodes)
}

// completeNodes returns the names of the nodes, for the shell.
func (a *app) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel, cluster, err := a.ask(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer cancel()
	names, err := cluster.Nodes(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

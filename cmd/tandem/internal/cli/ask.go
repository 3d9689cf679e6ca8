package cli

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/rpc"
)

// each asks the node of --node, or all, and returns what they have answered, by node. Nodes that have not answered are told; if none has, that is the error.
func each[M actor.Question[R], R any](ctx context.Context, a *app, m M) ([]admin.Answer[R], error) {
	c, err := a.asks()
	if err != nil {
		return nil, err
	}
	a.changes = a.changes || changing(m)
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if a.node != "" {
		r, err := admin.Ask(ctx, c, a.node, m)
		return []admin.Answer[R]{{Node: a.node, Reply: r}}, err
	}
	var good []admin.Answer[R]
	var bad error
	for _, r := range admin.All(ctx, c, m) {
		if r.Err == nil {
			good = append(good, r)
			continue
		}
		if bad == nil {
			bad = r.Err
		}
		if r.Node != "" {
			fmt.Fprintf(a.err, "tandem: %s has not answered: %s\n", r.Node, text(r.Err))
		}
	}
	if len(good) == 0 {
		return nil, bad
	}
	return good, nil
}

// changing reports whether a question may change something.
func changing(m any) bool {
	right, _ := admin.RightFor(reflect.TypeOf(m).Name())
	return right == admin.ToOperate
}

// text is an error without what only programs need.
func text(err error) string {
	if e := (*rpc.Error)(nil); errors.As(err, &e) {
		return clean(e.Code.String() + ": " + e.Message)
	}
	return clean(err.Error())
}

// one asks one node.
func one[M actor.Question[R], R any](ctx context.Context, a *app, node string, m M) (r R, err error) {
	c, err := a.asks()
	if err != nil {
		return r, err
	}
	a.changes = a.changes || changing(m)
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return admin.Ask(ctx, c, node, m)
}

// address splits name@node. Without a node it is that of --node.
func (a *app) address(text string) (name, node string, err error) {
	name, node, _ = strings.Cut(text, "@")
	if node == "" {
		node = a.node
	}
	if name == "" || node == "" {
		return "", "", usage("%q: want name@node, or --node", text)
	}
	return name, node, nil
}

package admin

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Cluster asks the admin actors of the nodes of a cluster. Its methods, and the functions that take one, may be called concurrently.
type Cluster struct {
	sys   *actor.System // a node of the cluster; nil: it is asked from outside
	asker Asker
	opts  []rpc.Option
}

// Asker asks from outside of the cluster, with JSON.
type Asker interface {
	// Ask sends a question to the admin actor of a node; an empty node stands for any. message is the name of its type, and into is
	// what the answer is decoded into. The error is an *rpc.Error.
	Ask(ctx context.Context, node, message string, question, into any) error
}

// Of returns the cluster that a system belongs to. opts are options of each question, as rpc.OnBehalfOf, with which the rights
// of another principal count at other nodes.
func Of(sys *actor.System, opts ...rpc.Option) *Cluster { return &Cluster{sys: sys, opts: opts} }

// Through returns a cluster that is asked from outside.
func Through(a Asker) *Cluster { return &Cluster{asker: a} }

// Ask asks one node; an empty name stands for any. It waits until ctx ends, or as long as calls do. The error is an *rpc.Error: Denied if the principal
// that asks may not, NotFound if there is no such node, or it has no admin actor, and Overloaded if it answers too many
// questions.
func Ask[M actor.Question[R], R any](ctx context.Context, c *Cluster, node string, m M) (R, error) {
	if c.sys == nil {
		var r R
		err := c.asker.Ask(ctx, node, nameOf(m), m, &r)
		return r, err
	}
	if node == "" {
		node = c.sys.Name()
	}
	return actor.Call(ctx, c.sys.Ref(Name+"@"+node), m, c.opts...)
}

// AskJSON is Ask for a message whose name is given, as JSON in and out. An empty body is {}. A name that there is not is an error of code Invalid.
func (c *Cluster) AskJSON(ctx context.Context, node, message string, body json.RawMessage) (json.RawMessage, error) {
	wire := ""
	for _, m := range Kind().Messages() {
		if m.Type.Name() == message {
			wire = m.Name
		}
	}
	if wire == "" {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "admin: there is no message %q", message)
	}
	if len(body) == 0 {
		body = json.RawMessage("{}")
	}
	if c.sys == nil {
		var r json.RawMessage
		err := c.asker.Ask(ctx, node, message, body, &r)
		return r, err
	}
	if node == "" {
		node = c.sys.Name()
	}
	r, err := actor.Encoded{Type: wire, Codec: codec.IDJSON, Body: body}.Call(ctx, c.sys.Ref(Name+"@"+node), c.opts...)
	return r.Body, err
}

// Answer is what one node has answered.
type Answer[R any] struct {
	Node  string
	Reply R
	Err   error // an *rpc.Error; then there is no Reply
}

// Of All: how many nodes are asked at a time, and how long one is waited for.
const (
	asksAtATime = 32
	nodeWait    = 2 * time.Second
)

// All asks every node that the registry has, by name, and waits 2 s for each, at most: so a node that does not answer is one entry with an error.
// If the nodes are not known, the error of that is the only entry, without a node.
func All[M actor.Question[R], R any](ctx context.Context, c *Cluster, m M) []Answer[R] {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return []Answer[R]{{Err: err}}
	}
	all := make([]Answer[R], len(nodes))
	slots := make(chan struct{}, asksAtATime)
	var asking sync.WaitGroup
	for i, node := range nodes {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, nodeWait)
			defer cancel()
			all[i].Node = node
			all[i].Reply, all[i].Err = Ask(ctx, c, node, m)
		})
	}
	asking.Wait()
	return all
}

// Nodes returns the names of the nodes, in order, as one of them knows them.
func (c *Cluster) Nodes(ctx context.Context) (names []string, err error) {
	for after := ""; ; {
		i, err := Ask(ctx, c, "", Members{After: after, Limit: MaxPage})
		if err != nil {
			return nil, err
		}
		for _, m := range i.Members {
			names = append(names, m.Name)
		}
		if after = i.Next; after == "" {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
	}
}

// nameOf is the name of a question in a gateway.
func nameOf(m any) string { return reflect.TypeOf(m).Name() }

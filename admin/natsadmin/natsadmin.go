// Package natsadmin opens the admin actor of a node (package admin) to plain NATS with JSON, and asks those of a cluster that way.
//
//	server, err := natsadmin.Serve(ctx, sys, natsadmin.Config{Cluster: "shop", Connect: connect}) // on each node
//
//	cluster, err := natsadmin.Connect(nc, natsadmin.Client{Cluster: "shop", User: "ann"})
//	for _, a := range admin.All(ctx, cluster, admin.Queues{}) { ... }
//
//	nats req tandem.admin.shop.ann.node-a.Queues '{}'
//
// The subject of a question is
//
//	tandem.admin.<cluster>.<user>.<node>.<Message>
//
// with "any" in place of the node for whichever node gets it. All of package natsapi holds: the principal is "nats:" and the user's
// token, to which the permissions of the NATS server have to confine each user, as package natsapi says; and that principal has
// the rights that the admin.Config of the node gives it.
//
//	{user: ann, permissions: {publish: ["tandem.admin.shop.ann.>"], subscribe: "_INBOX_ann.>"}}
package natsadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/rpc"
)

// Any is what stands in a subject in place of a node, for whichever gets the question. A node of that name can be asked by it
// only if it is alone.
const Any = "any"

// prefix is what the subjects of a cluster begin with.
func prefix(cluster string) string {
	if cluster == "" {
		return "tandem.admin"
	}
	return "tandem.admin." + cluster
}

// Config says how an admin actor is opened. Connect is required.
type Config struct {
	Cluster string                                        // as actor.Config.Cluster
	Connect func(ctx context.Context) (*nats.Conn, error) // see natsapi.Config
	Inboxes []string                                      // see natsapi.Config
	Logger  *slog.Logger
}

// Serve opens the admin actor of a system, until Close. Call it in actor.Config.Setup behind admin.Open, or when the
// system serves. The error is that of natsapi.Serve.
func Serve(ctx context.Context, sys *actor.System, cfg Config) (*natsapi.Server, error) {
	ref, kind := sys.Ref(admin.Name+"@"+sys.Name()), admin.Kind()
	targets := []gateway.Target{gateway.Actor(sys.Name(), ref, kind)}
	if sys.Name() != Any {
		targets = append(targets, gateway.Actor(Any, ref, kind))
	}
	table, err := gateway.New(sys, targets...)
	if err != nil {
		return nil, fmt.Errorf("natsadmin: %w", err)
	}
	return natsapi.Serve(ctx, natsapi.Config{Table: table, Connect: cfg.Connect, Prefix: prefix(cfg.Cluster), Inboxes: cfg.Inboxes, Logger: cfg.Logger})
}

// Client says as whom a cluster is asked.
type Client struct {
	Cluster string
	User    string        // the token that stands for who asks; default "-", which is nobody
	Timeout time.Duration // of a question whose context has no deadline; default 5 s
}

// Connect returns the cluster that is asked over a connection. The connection stays the caller's.
func Connect(nc *nats.Conn, as Client) (*admin.Cluster, error) {
	if as.User == "" {
		as.User = "-"
	}
	if as.Timeout <= 0 {
		as.Timeout = 5 * time.Second
	}
	for _, token := range []string{as.User, as.Cluster} {
		if token != natsapi.Escape(token) && token != "" {
			return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "natsadmin: %q cannot be a token of a subject", token)
		}
	}
	return admin.Through(client{nc, as}), nil
}

// client is an admin.Asker.
type client struct {
	nc *nats.Conn
	Client
}

// Ask implements admin.Asker.
func (c client) Ask(ctx context.Context, node, message string, question, into any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(c.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	if node == "" {
		node = Any
	}
	if node != natsapi.Escape(node) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "natsadmin: %q cannot be the name of a node", node)
	}
	msg := nats.NewMsg(fmt.Sprintf("%s.%s.%s.%s", prefix(c.Cluster), c.User, node, message))
	msg.Data = body
	msg.Header.Set(gateway.HeaderTimeout, fmt.Sprintf("%.3f", max(time.Until(deadline).Seconds(), 0.001)))
	reply, err := c.nc.RequestMsgWithContext(ctx, msg)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node %q answers at %s: it is not there, or is not opened by natsadmin", node, prefix(c.Cluster))
	case errors.Is(err, nats.ErrConnectionClosed):
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w", err)
	case err != nil && ctx.Err() != nil:
		return rpc.FromContext(ctx, rpc.Unknown)
	case err != nil:
		return rpc.Errorf(rpc.Unavailable, rpc.Unknown, "%w", err)
	}
	if code := reply.Header.Get(gateway.HeaderCode); code != "" {
		return problem(node, code, reply)
	}
	if err := json.Unmarshal(reply.Data, into); err != nil {
		return rpc.Errorf(rpc.WrongReply, rpc.HasRun, "the answer of %s to %s: %w", node, message, err)
	}
	return nil
}

// problem is the error that an answer has.
func problem(node, code string, reply *nats.Msg) error {
	e := &rpc.Error{Code: rpc.Internal, Node: node, Message: "the node has answered with an error"}
	if c, ok := rpc.ParseCode(code); ok {
		e.Code = c
	}
	switch reply.Header.Get(gateway.HeaderRan) {
	case "yes":
		e.Verdict = rpc.HasRun
	case "no":
		e.Verdict = rpc.NotRun
	}
	var p gateway.Problem
	if json.Unmarshal(reply.Data, &p) == nil {
		if p.Detail != "" {
			e.Message = p.Detail
		}
		e.User, e.RetryAfter = p.User, time.Duration(p.RetryAfter*float64(time.Second))
	}
	return e
}

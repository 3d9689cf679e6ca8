package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// part is something that a node has on NATS.
type part struct {
	name, what string
	of         func(permissions.Node) permissions.Set
	optional   bool
}

// parts are what a node can have, in the order in which they are listed.
var parts = []part{
	{"bus", "the road over NATS", permissions.Node.Bus, false},
	{"registry", "the record of the node, and those of others", permissions.Node.Registry, false},
	{"records", "durable kinds", permissions.Node.Records, true},
	{"states", "stored actors", permissions.Node.States, true},
	{"claims", "virtual actors", permissions.Node.Claims, true},
	{"reminders", "reminders", permissions.Node.Reminders, true},
	{"topics", "durable topics", permissions.Node.Topics, true},
	{"bindings", "gateways with keys of services", permissions.Node.Bindings, true},
	{"settings", "settings that change while it runs", permissions.Node.Settings, true},
}

// makers are what lets a node make what it keeps, if nobody else has made it.
var makers = map[string]func(permissions.Node) permissions.Set{
	"registry": permissions.Node.MakeRegistry, "records": permissions.Node.MakeRecords, "states": permissions.Node.MakeStates, "claims": permissions.Node.MakeClaims,
	"reminders": permissions.Node.MakeReminders, "bindings": permissions.Node.MakeBindings, "settings": permissions.Node.MakeSettings,
}

// permission is what perms prints of one user.
type permission struct {
	Role      string
	Publish   []string // all that it may publish to; empty: all but Deny
	Deny      []string `json:",omitempty"` // what it may not publish to
	Subscribe []string
}

// String is the permission as a NATS server's configuration has it.
func (p permission) String() string {
	if p.Deny == nil {
		return fmt.Sprint(permissions.Set{Publish: p.Publish, Subscribe: p.Subscribe})
	}
	quoted := func(all []string) string { return `"` + strings.Join(all, "\"\n    \"") + `"` }
	return fmt.Sprintf("permissions: {\n  publish: { deny: [\n    %s\n  ] }\n  subscribe: { allow: [\n    %s\n  ] }\n}", quoted(p.Deny), quoted(p.Subscribe))
}

// perms prints what NATS users have to be allowed.
func (a *app) perms() *cobra.Command {
	var n permissions.Node
	var with, queues []string
	makes := false
	names := make([]string, 0, len(parts))
	for _, p := range parts {
		if p.optional {
			names = append(names, p.name)
		}
	}
	c := &cobra.Command{Use: "perms node|operator|gateway NAME", Short: "Print what the NATS user of a node, an operator or a gateway has to be allowed", Long: `perms prints permissions in the form of a NATS server's configuration, or as JSON.

  node NAME      a node of that name
  operator NAME  who uses this program, as the user NAME
  gateway NAME   a gateway of package natsapi or admin/natsadmin, on the node NAME; NAME is for the comment only`,
		Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
			p, err := permissionOf(args[0], args[1], a.cluster, n, with, queues, makes)
			if err != nil {
				return err
			}
			return a.show(p, func(*table) { fmt.Fprintf(a.out, "# %s of cluster %q\n%v\n", p.Role, a.cluster, p) })
		}}
	f := c.Flags()
	f.StringVar(&n.Principal, "principal", "", "principal on the bus (default: the node's name)")
	f.StringVar(&n.Inbox, "inbox", "", "prefix of the connection's inbox (default: _INBOX_ and the name)")
	f.StringSliceVar(&with, "with", nil, "what else the node has: "+strings.Join(names, ", "))
	f.StringSliceVar(&queues, "queue", nil, "queues in NATS that the node serves")
	f.BoolVar(&makes, "make", false, "it may make the buckets and streams that there are not")
	return c
}

// permissionOf is what a role needs.
func permissionOf(role, name, cluster string, n permissions.Node, with, queues []string, makes bool) (permission, error) {
	n.Cluster, n.Name = cluster, name
	if n.Principal == "" {
		n.Principal = name
	}
	if n.Inbox == "" {
		n.Inbox = "_INBOX_" + name
	}
	admin := "tandem.admin"
	if cluster != "" {
		admin += "." + cluster
	}
	var set permissions.Set
	is := func() permission {
		return permission{Role: role + " " + name, Publish: set.Publish, Subscribe: set.Subscribe}
	}
	switch role {
	case "operator":
		set = permissions.Set{Publish: []string{admin + "." + name + ".>"}, Subscribe: []string{n.Inbox + ".>"}}
		if slices.Contains(with, "settings") {
			set = permissions.All(set, n.Settings(), n.WriteSettings())
		}
		return is(), nil
	case "gateway": // it answers to inboxes of all users, whose names are theirs, but asks nothing itself
		set = permissions.Set{Subscribe: []string{admin + ".>", "tandem.api.>", "$SRV.>", n.Inbox + ".>"}}
		p := is()
		p.Deny = []string{"tandem.admin.>", "tandem.api.>", "$JS.>", "$KV.>"}
		return p, nil
	case "node":
	default:
		return permission{}, usage("%q: want node, operator or gateway", role)
	}
	for _, w := range with {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == w && p.optional }) {
			return permission{}, usage("--with %q: there is no such part", w)
		}
	}
	for _, p := range parts {
		if p.optional && !slices.Contains(with, p.name) {
			continue
		}
		set = permissions.All(set, p.of(n))
		if more := makers[p.name]; makes && more != nil {
			set = permissions.All(set, more(n))
		}
	}
	for _, q := range queues {
		set = permissions.All(set, n.Queue(q))
	}
	return is(), nil
}

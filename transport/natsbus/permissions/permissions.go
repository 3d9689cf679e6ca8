// Package permissions says what the NATS user of a node must be allowed, exactly: with one
// line less something does not work. The tests run each part as users that have these
// permissions and no others.
//
//	till := permissions.Node{Cluster: "shop", Name: "till-1", Principal: "till", Inbox: "_INBOX_till-1"}
//	fmt.Println(permissions.All(till.Bus(), till.Registry(), till.Records(), till.Queue("mails")))
//
// Each is for a server whose JetStream API has its usual prefix. In a domain "hub", replace
// $JS.API. by $JS.hub.API. and $KV. by $JS.hub.API.$KV.
//
// What they do not confine: who may ask JetStream for something names the subject that
// it answers to, and the server does not ask whether the user may publish there. So a message on a
// subject is no proof of who sent it, and on the bus nothing should rest on it alone.
package permissions

import (
	"fmt"
	"slices"
	"strings"
)

// Node is the node that a user runs.
type Node struct {
	Cluster   string // actor.Config.Cluster
	Name      string // the node's
	Principal string // natsbus.Config.Principal: who the user is on the bus

	// Inbox is the prefix of the connection's inbox: what nats.CustomInboxPrefix sets. Give each
	// user its own, for whoever may subscribe to the default, "_INBOX", reads what NATS answers
	// to everybody else who uses it.
	Inbox string
}

// Set is what a user may publish and subscribe to, and nothing else. A value is not
// changed by the functions of this package.
type Set struct{ Publish, Subscribe []string }

// Bus is for transport/natsbus.
func (n Node) Bus() Set {
	c := n.Cluster
	return Set{
		Publish:   []string{c + ".node.*.*." + n.Principal, c + ".find.*." + n.Principal},
		Subscribe: []string{c + ".node." + n.Name + ".*.*", c + ".find." + n.Name + ".*", c + ".gone." + n.Name + ".*.*"},
	}
}

// Registry is for registry/natskv where the bucket exists: the node's own record can be
// written, and all can be read.
func (n Node) Registry() Set {
	bucket := n.Cluster + "_nodes"
	stream := "KV_" + bucket
	return n.asks(
		"$KV."+bucket+"."+n.Name,
		"$KV."+bucket+".left."+n.Name, // where its former holder's last word is set aside
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.STREAM.MSG.GET."+stream,
		"$JS.API.CONSUMER.CREATE."+stream+".>", // watching
		"$JS.API.CONSUMER.DELETE."+stream+".>",
		"$JS.FC."+stream+".>") // flow control, in a bucket of a MiB and more
}

// MakeRegistry is what is needed beyond Registry to make the bucket. An administrator can
// do that instead: the bucket is "<cluster>_nodes", and has a LimitMarkerTTL of 10 minutes or more.
func (n Node) MakeRegistry() Set {
	return n.asks("$JS.API.INFO", "$JS.API.STREAM.CREATE.KV_"+n.Cluster+"_nodes")
}

// Records is for dedup/jetstream where the stream exists. The node's own records can be
// written, and read, as can those of others: JetStream confines reading to a stream, and purging too.
// Give a node that must not read or purge another's a cluster, or an account, of its own.
func (n Node) Records() Set {
	stream := n.Cluster + "_records"
	return n.asks(
		stream+"."+n.Name,
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.STREAM.MSG.GET."+stream,
		"$JS.API.STREAM.PURGE."+stream,
		"$JS.API.CONSUMER.CREATE."+stream+".>",
		"$JS.API.CONSUMER.MSG.NEXT."+stream+".>",
		"$JS.API.CONSUMER.DELETE."+stream+".>")
}

// MakeRecords is what is needed beyond Records to make the stream, and to make it anew
// should it be lost.
func (n Node) MakeRecords() Set { return n.asks("$JS.API.STREAM.CREATE." + n.Cluster + "_records") }

// Queue is for queue/jetstream, of one queue: for a process that spawns its actor. Who
// only pushes to it, or pulls from it, through the actor needs nothing.
func (n Node) Queue(name string) Set {
	items := n.Cluster + "_queue_" + name
	all := []string{items + ".*", items + "_dead", items + "_free.*"}
	for _, stream := range []string{items, items + "_dead", items + "_free"} {
		for _, do := range []string{"INFO", "CREATE", "UPDATE", "MSG.GET"} {
			all = append(all, "$JS.API.STREAM."+do+"."+stream)
		}
	}
	return n.asks(append(all,
		"$JS.API.STREAM.MSG.DELETE."+items,
		"$JS.API.STREAM.MSG.DELETE."+items+"_dead",
		"$JS.API.STREAM.PURGE."+items+"_free",
		"$JS.API.CONSUMER.CREATE."+items+".>",
		"$JS.API.CONSUMER.INFO."+items+".*",
		"$JS.API.CONSUMER.PAUSE."+items+".*",
		"$JS.API.CONSUMER.MSG.NEXT."+items+".*",
		"$JS.ACK."+items+".>")...) // that an item goes back or stays; what ends it is a deletion
}

// asks returns the set of one that publishes requests, and hears the answers.
func (n Node) asks(publish ...string) Set {
	inbox := n.Inbox
	if inbox == "" {
		inbox = "_INBOX"
	}
	return Set{Publish: publish, Subscribe: []string{inbox + ".>"}}
}

// All returns what is in any of the sets, each once.
func All(sets ...Set) (all Set) {
	add := func(to *[]string, subjects []string) {
		for _, s := range subjects {
			if !slices.Contains(*to, s) {
				*to = append(*to, s)
			}
		}
	}
	for _, s := range sets {
		add(&all.Publish, s.Publish)
		add(&all.Subscribe, s.Subscribe)
	}
	return all
}

// String returns s as it stands in the configuration of a NATS server, for a user.
func (s Set) String() string {
	var b strings.Builder
	write := func(what string, subjects []string) {
		fmt.Fprintf(&b, "  %s: { allow: [\n", what)
		for _, subject := range subjects {
			fmt.Fprintf(&b, "    %q\n", subject)
		}
		b.WriteString("  ] }\n")
	}
	b.WriteString("permissions: {\n")
	write("publish", s.Publish)
	write("subscribe", s.Subscribe)
	b.WriteString("}")
	return b.String()
}

// Package permissions says exactly what the NATS user of a node must be allowed: if a line is
// missing, something does not work. The tests run each part as a user that has these permissions
// and no others.
//
//	till := permissions.Node{Cluster: "shop", Name: "till-1", Principal: "till", Inbox: "_INBOX_till-1"}
//	fmt.Println(permissions.All(till.Bus(), till.Registry(), till.Records(), till.States(), till.Claims(), till.Queue("mails"), till.Topics()))
//
// The permissions are for a server whose JetStream API has its usual prefix. In a domain "hub",
// replace $JS.API. by $JS.hub.API. and $KV. by $JS.hub.API.$KV.
//
// There is one thing that they do not restrict. A request to JetStream names the subject for the
// answer, and the server does not check whether the user may publish there. So the subject of a
// message does not prove who sent it, and on the bus nothing should depend on it alone.
package permissions

import (
	"fmt"
	"slices"
	"strings"
)

// Node is the node that a user runs.
type Node struct {
	Cluster   string // actor.Config.Cluster
	Name      string // of the node
	Principal string // natsbus.Config.Principal: the user's principal on the bus

	// Inbox is the prefix of the connection's inbox, as nats.CustomInboxPrefix sets it. Give
	// each user its own, because a user that may subscribe to the default, "_INBOX", can read
	// the answers to all others that use it.
	Inbox string
}

// Set lists the only subjects that a user may publish and subscribe to. The functions of this
// package do not change a Set.
type Set struct{ Publish, Subscribe []string }

// Bus returns the permissions for transport/natsbus.
func (n Node) Bus() Set {
	c := n.Cluster
	return Set{
		Publish:   []string{c + ".node.*.*." + n.Principal, c + ".find.*." + n.Principal},
		Subscribe: []string{c + ".node." + n.Name + ".*.*", c + ".find." + n.Name + ".*", c + ".gone." + n.Name + ".*.*"},
	}
}

// Registry returns the permissions for registry/natskv if the bucket exists: to write the node's
// own record, and to read all.
func (n Node) Registry() Set {
	bucket := n.Cluster + "_nodes"
	stream := "KV_" + bucket
	return n.asks(
		"$KV."+bucket+"."+n.Name,
		"$KV."+bucket+".left."+n.Name, // the last word of the name's former holder is moved there
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.STREAM.MSG.GET."+stream,
		"$JS.API.CONSUMER.CREATE."+stream+".>", // watching
		"$JS.API.CONSUMER.DELETE."+stream+".>",
		"$JS.FC."+stream+".>") // flow control, in a bucket of a MiB and more
}

// MakeRegistry returns the permissions that are needed, in addition to those of Registry, to create
// the bucket. Instead, an administrator can create the bucket "<cluster>_nodes", with a
// LimitMarkerTTL of 10 minutes or more.
func (n Node) MakeRegistry() Set {
	return n.asks("$JS.API.INFO", "$JS.API.STREAM.CREATE.KV_"+n.Cluster+"_nodes")
}

// Records returns the permissions for ledger/jetstream if the stream exists: to write the node's
// own records, and to read and purge those of all nodes, because JetStream can restrict both only
// by stream. A node that must not read or purge the records of others needs a cluster, or an
// account, of its own.
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

// MakeRecords returns the permissions that are needed, in addition to those of Records, to create
// the stream, and to recreate it if it is lost.
func (n Node) MakeRecords() Set { return n.asks("$JS.API.STREAM.CREATE." + n.Cluster + "_records") }

// States returns the permissions for state/jetstream if the streams exist: to read and write the
// stored state of all virtual actors of the cluster, since any of its nodes may come to host them.
func (n Node) States() Set {
	stream := n.Cluster + "_state"
	return n.asks(
		stream+".>",
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.STREAM.INFO."+stream+"_made",
		"$JS.API.STREAM.MSG.GET."+stream,
		"$JS.API.CONSUMER.CREATE."+stream+".>", // listing what is stored
		"$JS.API.CONSUMER.MSG.NEXT."+stream+".>",
		"$JS.API.CONSUMER.DELETE."+stream+".>")
}

// MakeStates returns the permissions that are needed, in addition to those of States, to create the
// streams.
func (n Node) MakeStates() Set {
	stream := n.Cluster + "_state"
	return n.asks("$JS.API.STREAM.CREATE."+stream, "$JS.API.STREAM.CREATE."+stream+"_made")
}

// Claims returns the permissions for placement/natskv if the bucket exists: to read and write the
// claims of all virtual actors of the cluster, since any of its nodes may come to host them. A node
// that must not take the actors of others needs a cluster, or an account, of its own.
func (n Node) Claims() Set {
	bucket := n.Cluster + "_claims"
	return n.asks(
		"$KV."+bucket+".>",
		"$JS.API.STREAM.INFO.KV_"+bucket,
		"$JS.API.STREAM.INFO."+bucket+"_made",
		"$JS.API.STREAM.MSG.GET.KV_"+bucket,
		"$JS.API.CONSUMER.CREATE.KV_"+bucket+".>", // listing the claims of a kind
		"$JS.API.CONSUMER.MSG.NEXT.KV_"+bucket+".>",
		"$JS.API.CONSUMER.DELETE.KV_"+bucket+".>")
}

// MakeClaims returns the permissions that are needed, in addition to those of Claims, to create the
// bucket, and the stream that says which one it is.
func (n Node) MakeClaims() Set {
	bucket := n.Cluster + "_claims"
	return n.asks("$JS.API.STREAM.CREATE.KV_"+bucket, "$JS.API.STREAM.CREATE."+bucket+"_made")
}

// Bindings returns the permissions for gateway/natskv if the bucket exists: to bind keys, and to read which instance has them. It is
// for processes with a gateway only, each of which may bind the keys of all principals.
func (n Node) Bindings() Set {
	bucket := n.Cluster + "_bindings"
	return n.asks(
		"$KV."+bucket+".>",
		"$JS.API.STREAM.INFO.KV_"+bucket,
		"$JS.API.STREAM.INFO."+bucket+"_made",
		"$JS.API.STREAM.MSG.GET.KV_"+bucket)
}

// MakeBindings returns the permissions that are needed, in addition to those of Bindings, to create the
// bucket, and the stream that says which one it is.
func (n Node) MakeBindings() Set {
	bucket := n.Cluster + "_bindings"
	return n.asks("$JS.API.STREAM.CREATE.KV_"+bucket, "$JS.API.STREAM.CREATE."+bucket+"_made")
}

// Reminders returns the permissions for reminder/jetstream if the streams exist: to set, list and follow the
// reminders of all virtual actors of the cluster, since any of its nodes may come to host them.
func (n Node) Reminders() Set {
	records, alarms := n.Cluster+"_reminders", n.Cluster+"_alarms"
	all := []string{records + ".>", alarms + ".at.>", alarms + ".=mark", "$JS.API.STREAM.PURGE." + alarms}
	for _, stream := range []string{records, alarms} {
		all = append(all,
			"$JS.API.STREAM.INFO."+stream,
			"$JS.API.STREAM.MSG.GET."+stream,
			"$JS.API.CONSUMER.CREATE."+stream+".>",
			"$JS.API.CONSUMER.INFO."+stream+".*",
			"$JS.API.CONSUMER.MSG.NEXT."+stream+".*",
			"$JS.ACK."+stream+".>")
	}
	return n.asks(all...)
}

// MakeReminders returns the permissions that are needed, in addition to those of Reminders, to create the
// streams, and to create that of the alarms anew if it was deleted.
func (n Node) MakeReminders() Set {
	return n.asks("$JS.API.STREAM.CREATE."+n.Cluster+"_reminders", "$JS.API.STREAM.CREATE."+n.Cluster+"_alarms")
}

// Settings returns the permissions to follow and to read settings/natskv, as every node does that has them.
func (n Node) Settings() Set {
	stream := "KV_" + n.Cluster + "_settings"
	return n.asks(
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.CONSUMER.CREATE."+stream+".>",
		"$JS.API.CONSUMER.DELETE."+stream+".>",
		"$JS.FC."+stream+".>")
}

// WriteSettings returns the permission that is needed, in addition to those of Settings, to change settings. Who has it
// rules the cluster: it is for operators, not for nodes.
func (n Node) WriteSettings() Set { return n.asks("$KV." + n.Cluster + "_settings.>") }

// MakeSettings returns the permissions that are needed, in addition to those of Settings, to create the bucket.
func (n Node) MakeSettings() Set {
	return n.asks("$JS.API.INFO", "$JS.API.STREAM.CREATE.KV_"+n.Cluster+"_settings")
}

// Queue returns the permissions for one queue of queue/jetstream, for a process that spawns the
// queue's actor. Processes that push and pull through the actor need none of them.
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
		"$JS.ACK."+items+".>")...) // to give an item back or to keep it; an item ends when its message is deleted
}

// Topics returns the permissions for topic/jetstream: to publish on all durable topics of the cluster, and
// to read them. A node that may read may also delete consumers, and so the positions of others.
func (n Node) Topics() Set {
	stream := n.Cluster + "_topics"
	return n.asks(
		stream+".>",
		"$JS.API.STREAM.INFO."+stream,
		"$JS.API.STREAM.CREATE."+stream,
		"$JS.API.STREAM.UPDATE."+stream,
		"$JS.API.CONSUMER.CREATE."+stream+".>",
		"$JS.API.CONSUMER.INFO."+stream+".*",
		"$JS.API.CONSUMER.DELETE."+stream+".*",
		"$JS.API.CONSUMER.MSG.NEXT."+stream+".*",
		"$JS.ACK."+stream+".>")
}

// asks returns the permissions to publish requests and to receive the answers.
func (n Node) asks(publish ...string) Set {
	inbox := n.Inbox
	if inbox == "" {
		inbox = "_INBOX"
	}
	return Set{Publish: publish, Subscribe: []string{inbox + ".>"}}
}

// All returns the subjects that are in any of the sets, each once.
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

// String returns s in the format of a NATS server's configuration, as the permissions of a user.
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

package natsbus

import (
	"encoding/hex"
	"strings"

	"github.com/tandem-go/tandem/transport"
)

// subjects builds and reads the subjects of one node. Every name in them is a single
// token, which transport.ValidName guarantees.
//
//	<cluster>.node.<node>.<epoch>.<principal>   packets for a node, published by principal
//	<cluster>.find.<node>.<principal>           opens for a node whose epoch the dialler does not know
//	<cluster>.gone.<node>.<epoch>.<link>        where the server tells a publisher that nobody listens
type subjects struct {
	cluster string
	own     string // <node>.<epoch>

	toNode, toName string // before the principal in the subjects of packets, and of opens, for this node
}

func subjectsOf(l transport.Local) subjects {
	return subjects{cluster: l.Cluster, own: l.Node + "." + l.Epoch,
		toNode: l.Cluster + ".node." + l.Node + "." + l.Epoch + ".", toName: l.Cluster + ".find." + l.Node + "."}
}

// inbox, find and gone are what the node subscribes to.
func (s subjects) inbox() string { return s.toNode + "*" }
func (s subjects) find() string  { return s.toName + "*" }
func (s subjects) gone() string  { return s.cluster + ".gone." + s.own + ".*" }

// to returns the subject to which principal publishes packets for a node. With an empty epoch it
// is that of opens for any epoch of the node.
func (s subjects) to(node, epoch, principal string) string {
	if epoch == "" {
		return s.cluster + ".find." + node + "." + principal
	}
	return s.cluster + ".node." + node + "." + epoch + "." + principal
}

// goneLink returns the reply subject of the packets of one of the node's links.
func (s subjects) goneLink(id linkID) string {
	return s.cluster + ".gone." + s.own + "." + hex.EncodeToString(id[:])
}

// sender returns the node and the epoch in a packet's reply subject. Both names are valid, but they
// are only claims of the sender.
func (s subjects) sender(reply string) (node, epoch string, ok bool) {
	rest, ok := strings.CutPrefix(reply, s.cluster+".gone.")
	if !ok {
		return "", "", false
	}
	node, rest, _ = strings.Cut(rest, ".")
	epoch, _, ok = strings.Cut(rest, ".")
	return node, epoch, ok && transport.ValidName("node", node) == nil && transport.ValidName("epoch", epoch) == nil
}

// lastToken returns the part of a received subject that the subscription's wildcard stands for.
func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// linkOf returns the link's id in the last token of a gone subject.
func linkOf(subject string) (id linkID, ok bool) {
	token := lastToken(subject)
	if len(token) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(token))
	return id, err == nil
}

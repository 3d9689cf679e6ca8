package rpc

import (
	"strings"

	"github.com/tandem-go/tandem/transport"
)

// PrincipalOf says who a peer is if actor.Config.Principals is nil. A peer whose
// certificate or NATS user has the name of the node that it says it is, is that node, with
// one name on all roads. Any other peer is who its road says. If your roads name nodes in
// another way, write a function of your own that maps these names.
func PrincipalOf(_ string, peer transport.Peer) string {
	if kind, name, named := strings.Cut(peer.Principal, ":"); named && name == peer.Node && (kind == "tls" || kind == "nats") {
		return NodePrincipal(name)
	}
	return peer.Principal
}

// NodePrincipal is the principal of a peer that proved to be the node of that name. A
// function for actor.Config.Principals that returns it for the node that a peer claims to
// be says that the claim is true.
func NodePrincipal(node string) string { return nodePrefix + node }

// nodePrefix begins principals that no road gives.
const nodePrefix = "node:"

// LoopbackRoad is the road of requests from a node to itself, as actor.Config.Principals
// gets it. The principal of its peer is what the node's roads make of the node:
// transport.Anonymous or transport.TokenHolder if they prove no names, else NodePrincipal
// of its name.
const LoopbackRoad = "loopback"

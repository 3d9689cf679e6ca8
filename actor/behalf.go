package actor

import "github.com/tandem-go/tandem/rpc"

// Requests on behalf of another principal (rpc.OnBehalfOf) take a road to whatever node, so that they are judged and known
// where they arrive: see Settings.ByRoad, server.Origin and System.judge. What a node keeps and sends later it sends for
// itself.

// ownOnly returns an error if the settings name another principal, for a verb whose messages are the node's own.
func ownOnly(opts *settings, verb string) error {
	if opts == nil || opts.Behalf == "" {
		return nil
	}
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s is for the node's own messages: rpc.OnBehalfOf is not for it", verb)
}

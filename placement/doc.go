// Package placement decides where virtual actors live: which node is to host one, who holds it
// now, and what a node does with a claim that it finds. It has no lock, clock, goroutine or I/O.
//
// [Hosts.Choose] names a node for a key. All nodes that see the same hosts name the same one, and
// a host that joins takes over only its share of the keys. The choice is a hint: who holds an
// actor is decided by its claim, which is kept by an implementation of [Claims] as (node, epoch)
// under a token. A claim has no lease. It holds for as long as its epoch is in the registry, so an
// actor that does nothing costs nothing.
//
//	held, err := claims.Get(ctx, key)
//	if err != nil { ... }
//	switch placement.Decide(self, held, sight) {
//	case placement.Create:
//		token, err = claims.Create(ctx, key, claim)
//	case placement.Replace:
//		token, err = claims.Replace(ctx, key, claim, held.Token)
//	...
//	}
//	next := placement.After(err)
//
// The promise. Of several nodes that follow these decisions, at most one serves a key at a time,
// if each of them stops serving before its own lease can have ended; see [Self.Certain] and
// [Sight]. Each activation has made a write of its own, whose token is greater than those of all
// claims of the key before it, so a store can refuse what comes from an earlier holder.
//
// This needs a registry that keeps a record for the whole lease after each renewal. One that counts
// leases by a wall clock ends them early if that is put forward. With registry/natskv it is the
// clock of the NATS server that leads the bucket: so keep the clocks of a cluster's servers together,
// within a small part of a lease. Stored state does not depend on it: a commit under an older token
// is refused.
//
// An actor whose holder is gone stays so until somebody wants it. [Claims] has a Walk that finds such
// actors.
//
// [Keep] decides when a node has an actor activated that is to be active always. [Pace] and
// [Hosts.Misplaced] decide when a node gives up which actors to nodes that have joined.
//
// [Cache] remembers holders for those who call. It may be wrong: a wrong address answers that the
// actor has moved.
//
// [github.com/tandem-go/tandem/placement/natskv] keeps claims in NATS.
// [github.com/tandem-go/tandem/placement/memory] keeps them in the memory of the process. Package
// claimtest has the suite that all of them pass.
package placement

/*
Package simulation runs whole systems in memory under faults: it is what package actortest and
test/sim have in common.

A [World] is one run. It has nodes, which are real actor.Systems on roads in memory
(transport/memnet), a registry in memory, and disks that outlive a node's starts. Everything
happens in a bubble of testing/synctest, and what goes wrong is drawn from a seed.

The [Truth] knows what ran: each operation has an id, which is counted when a handler begins,
outside of all systems, over all nodes, their starts and their sessions. What callers were told
is compared with it.

A killed node cannot be removed from the process. It is cut off from the others and from its
disk, and goes on for itself: nobody hears from it again.
*/
package simulation

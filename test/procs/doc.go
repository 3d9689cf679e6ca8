// Package procs is a fault suite with real processes and real sockets. It consists of tests
// only.
//
// A run has a NATS cluster of three nodes, two servers and a client, each in its own
// process: the test binary, executed again in a role. The test itself is the referee. It
// kills the processes (SIGKILL), stops them (SIGSTOP), and holds or resets their connections
// in a proxy, while the client's callers keep sending requests.
//
// The ground truth is an operation id in every message. The effect of a handler is one
// record with that id, appended to a file by one write, which a kill cannot undo or tear. A
// caller also records what it is about to request, and what result it got. The referee reads
// these files, and in the end judges over all nodes, starts and sessions: no operation ran
// twice, none was lost without an error, no request ran that was reported not to have run,
// every request ran that was reported to have run, every reply belongs to its request, and
// one-way messages kept their order. An injection counts only if the server answers again
// within 15 s, and soon enough on average.
//
// In some runs the servers' records outlive their processes: in a store of Tandem, or in the
// transaction of the effect, which is then the ground truth. In some runs a server is not
// killed but stopped and replaced, and later goes on beside its successor.
//
// Patterns have their own processes: two hosts with a queue in memory, actors for a queue in
// NATS on three nodes, streams and durable jobs; and two users of all that. A host or a user
// is killed, or NATS changes the leaders of the queue, and an arbiter judges. An item that a
// queue in NATS has accepted is acked by exactly one consumer. An item in memory may be lost
// only with its node. The attempt numbers of an item differ, unless NATS elected a leader
// meanwhile. A reader learns of a cut within 5 s, and a producer whose reader was killed ends
// within 90 s. No goroutine or memory leaks. A job runs once, and its token has the same
// result after the restart.
//
// Lives (lives_*_test.go) are three nodes whose actors watch each other, publish and subscribe; two of
// them are killed in turn. Each watch of an actor of a killed node ends once, and the actor of the
// next start can be watched; what one start of a publisher has published arrives at each subscriber
// once and in order, at one member of the group, and a subscriber that has started anew gets what is
// published then.
//
// Posts (posts_*_test.go) are two nodes that send each other reliable messages, which they keep in NATS, and
// publish on a durable topic. One of them is killed, or both at once. Nothing is handled twice, and
// what one node sends to one actor is handled in order. A message that was kept is handled; only if
// its receiver was killed in the middle of it, or could not know, is it a dead letter of its sender,
// and never with a transactional kind. A publication is stored once, read by everybody in order and without
// a gap, and the subscription with a name goes on where it was.
//
// Virtuals (virtuals_*_test.go) are three nodes that host virtual actors and call them. The nodes are killed, stopped
// for longer than their leases, and replaced, and NATS is killed; each activation answers with its fencing token. After
// an answer under a token no later call is answered under a lower one, no two starts of nodes have the same one,
// verdicts are true, nothing is handled twice, and in the end all nodes reach the same activation of each actor.
//
// Stored actors (stored_*_test.go) are accounts on three nodes, whose state is in NATS, on three servers as well. Two nodes
// that live have them make transfers. The hosts kill themselves at each step of an activation and of a commit
// (stored_steps_test.go: the stores and the direct road that a host is given count its calls), or are killed, stopped
// for longer than their leases and replaced, and NATS servers are killed, also those that lead the streams of states and reminders. Each transfer
// that was answered has had its effect once, and its credit has arrived once, in order; one that has failed has had
// none; no caller is told that nobody knows; answers go back behind no earlier one; and no money is lost or made. Some transfers
// have a reminder set (stored_reminders_test.go), which comes once or each second, or have it forgotten: each firing is handled once and
// without a gap, what a failed handler has set does not come, and what is forgotten ceases. In a run
// of their own (stored_takeover_test.go) hosts are killed and stopped one at a time while all else is well, and the
// time until others answer has a limit: a second after the end of the lease of one that is stopped. When it goes on, it answers
// nothing under the fencing tokens that it had, also not to callers in its own process, and commits nothing.
//
// The life of a service has its own suites (service_*_test.go): five processes and three
// NATS servers are started in random orders and at random times, and must become ready by
// themselves; instances are restarted one after the other under load, without any error; one
// of four instances is killed, frozen, cut off from TCP, slow, or refuses; a killed node must
// serve under its name again.
//
//	go test ./test/procs                                    4 injections of most faults
//	go test ./test/procs -run Faults -procs.injections 1000 -timeout 0 -v
//	go test ./test/procs -run 'TestPatterns|TestLives|TestPosts|TestVirtuals' -procs.kills 80 -procs.patient -timeout 0 -v
//	go test ./test/procs -run Stored -procs.deaths 1000 -timeout 0 -v
//	go test ./test/procs -run StoredTakeover/kills -procs.kills 66 -procs.lease 15s -v
//	go test ./test/procs -run StoredTakeover/stops -procs.kills 24 -v
//	go test ./test/procs -run Faults -procs.fault 'kill server' -v
//	go test ./test/procs -run 'Starts|Deploy|Sick|Comes' -procs.starts 50 -procs.restarts 170 -procs.comebacks 100 -timeout 0 -v
package procs

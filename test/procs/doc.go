// Package procs is a fault suite with real processes, on real sockets. Its tests are all
// there is to it.
//
// A run has a NATS cluster of three nodes, two servers and a client, each a process of
// its own: the test binary, executed again in a role. The test itself is the referee. It
// kills them (SIGKILL), stops them (SIGSTOP), holds or resets their connections in a
// proxy, and meanwhile the client's callers go on asking.
//
// Ground truth is an operation id in every message. A handler's effect is one record
// with that id, appended to a file by one write, which a kill cannot undo or tear. A
// caller likewise writes down what it is about to ask, and what it was told. The referee
// reads along and judges in the end, over all nodes, starts and sessions: no operation
// ran twice, none was lost without an error, what was said not to have run never did,
// what was said to have run did, every reply is to the question that was asked, and
// one-way messages kept their order. An injection counts only if the server under fault
// answers again within 15 s, and soon enough on average.
//
// In some runs the servers keep records beyond their death: in a store of Tandem's, or in
// the transaction of the effect, which is then the truth. In some a server is not killed
// but stopped and replaced, and wakes up beside its successor.
//
// Patterns have processes of their own: two hosts, with a queue in memory, fronts of one in
// NATS on three nodes, streams and durable jobs, and two users of all that. A host or a
// user is killed, or NATS changes the leaders of the queue in it; an arbiter judges. What a
// queue in NATS has taken is acked by exactly one, what was in memory may be gone with its
// node and with nothing else; attempts differ, unless NATS elected a leader meanwhile; a
// reader hears of a cut within 5 s, and a producer whose reader was killed ends within
// 90 s; no goroutine or memory stays; a job runs once, and its token stands for the same
// result after the restart.
//
// The life of a service has suites of its own (service_*_test.go): five processes and three
// NATS servers started in random orders and paces, which must come up by themselves;
// instances restarted one after the other under load, with no error at all; one of four
// instances that is killed, frozen, cut off from TCP, slow, or refuses; a killed node that
// must serve under its name again.
//
//	go test ./test/procs                                    4 injections of most faults
//	go test ./test/procs -run Faults -procs.injections 1000 -timeout 0 -v
//	go test ./test/procs -run TestPatterns -procs.injections 1000 -procs.patient -timeout 0 -v    # a twelfth of that: 83 kills
//	go test ./test/procs -run Faults -procs.fault 'kill server' -v
//	go test ./test/procs -run 'Starts|Deploy|Sick|Comes' -procs.starts 50 -procs.restarts 170 -procs.comebacks 100 -timeout 0 -v
package procs

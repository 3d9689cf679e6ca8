// Package hostile attacks a node as an insider could: with a certificate or a NATS user of its own,
// and with a client or a server that sends anything in the wire's format. It consists of tests only.
//
// The victim, each attacker and the NATS server have their own processes. Meanwhile honest nodes
// call the victim all the time, open new links to it, submit jobs, and push and pull in its queue.
// The victim's memory must stay below a limit, no honest operation may fail, exactly the calls must
// run that honest nodes have made, and these and their new links must not be much slower than
// without the attack.
//
// How much slower they are depends on the machine, because the attacker needs a processor, too. It
// has the lowest priority, so that honest nodes are delayed only by what the victim does. By default
// and in CI, the tests assert a bound that holds even beside other work, and the table shows the
// ratio of the p99 to that without an attack. On a machine that does nothing else, -hostile.strict
// requires at most 3 times that, or 5 ms. Attacks that make the victim move tens of megabytes at once
// cannot meet this, because of the copying, and because garbage collection waits until a copy ends
// (column "pause").
//
// Of fewer than 200 calls the two slowest do not count.
//
// With the race detector there are no tests here, because it takes several times the memory that is
// measured.
//
//	go test ./test/hostile -v                                     a few attacks, a sixteenth of the whole
//	go test ./test/hostile -v -hostile.share 12                   all attacks, a twelfth, as in CI
//	go test ./test/hostile -v -hostile.share 1                    the whole, in three minutes
//	go test ./test/hostile -v -hostile.share 1 -run Attacks/acks  one of them
//
// With -hostile.profiles each victim writes a CPU profile into a folder.
package hostile

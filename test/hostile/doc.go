// Package hostile attacks a node from outside, as an insider would: with a certificate or a
// NATS user of its own, and a client, or a server, that speaks the wire as it likes. Its tests are all
// there is to it.
//
// The victim is a process of its own; so are each attacker and the NATS server. Beside them honest
// nodes call the victim all the time, open new links to it, have it do jobs, and push and pull
// in its queue. Required is that the victim's memory stays below a limit, that nothing honest
// fails, that exactly the calls run that honest nodes have made, and that these and their new links
// are not much slower than without the attack.
//
// How much slower depends on the machine, for the attacker needs a processor, too. It has the lowest
// priority, so that what honest nodes feel is what the victim does. Still, by default and in CI only
// a bound is asserted that holds beside other work, and the table shows how many times the p99 is that
// without an attack. On a machine that does nothing else, -hostile.strict has it at most 3 times that,
// or 5 ms. Attacks that have the victim move tens of megabytes at once are beyond it: it is a
// matter of copying, and of the collection of garbage, which waits for a copy to end (column "pause").
//
// Of fewer than 200 calls the two slowest do not count.
//
// With the race detector there is nothing here: it takes several times the memory that is
// measured.
//
//	go test ./test/hostile -v                                     a few attacks, a sixteenth of the whole
//	go test ./test/hostile -v -hostile.share 12                   all attacks, a twelfth, as in CI
//	go test ./test/hostile -v -hostile.share 1                    the whole, in three minutes
//	go test ./test/hostile -v -hostile.share 1 -run Attacks/acks  one of them
//
// With -hostile.profiles each victim leaves a CPU profile in a folder.
package hostile

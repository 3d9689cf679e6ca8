// Package hostile attacks a node from outside, as an insider would: with a certificate of its
// own, and a client that speaks the wire as it likes. Its tests are all there is to it.
//
// The victim is a process of its own; so is each attacker. Beside them an honest client calls
// the victim all the time. Required is that the victim's memory stays below a limit, that the
// honest client sees no error, and that its calls are not much slower than without the attack.
//
// With the race detector there is nothing here: it takes several times the memory that is
// measured.
//
//	go test ./test/hostile -v                       all attacks and limits an eighth of the whole, with a table
//	go test ./test/hostile -v -hostile.share 1      the whole
//	go test ./test/hostile -v -run Attacks/acks     one of them
package hostile

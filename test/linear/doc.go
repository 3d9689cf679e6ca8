// Package linear checks that registers behind actors are linearizable while their
// callers' roads fail: that there is one order of all operations, in keeping with when
// each began and ended, in which every answer is the right one. Its tests are all there
// is to it.
//
// Registers are read, written, compared and swapped, and added to, which shows what ran
// twice. A caller's verdict decides how an operation enters the history:
//
//	an answer           it took effect, once, between its call and its answer
//	rpc.NotRun          it is left out: nothing may show of it
//	rpc.HasRun, no more it took effect, once, and nobody knows what it found
//	rpc.Unknown         it took effect once after its call, or never
//
// The history goes to porcupine (github.com/anishathalye/porcupine), which knows
// nothing of Tandem.
//
//	go test ./test/linear                                             a few dozen histories
//	go test ./test/linear -run Linearizable -linear.seeds 5000 -timeout 0 many
//	go test ./test/linear -run Linearizable -linear.seed 17 -artifacts    one, with its picture
//
// As in test/sim, a seed draws nodes, callers and faults; which of two goroutines goes
// first it does not. A failure that needs luck may need -linear.tries to come back.
package linear

// Package linear checks that registers behind actors are linearizable while the roads of
// their callers fail: that there is an order of all operations, consistent with when each
// began and ended, in which every answer is correct. It consists of tests only.
//
// Registers are read, written, compared and swapped, and added to; the latter shows what
// ran twice. The verdict that a caller got decides how an operation enters the history:
//
//	an answer           it took effect, once, between its call and its answer
//	rpc.NotRun          it is left out, because it must have had no effect
//	rpc.HasRun alone    it took effect, once, and its result is unknown
//	rpc.Unknown         it took effect once after its call, or never
//
// The history is checked by porcupine (github.com/anishathalye/porcupine), which is
// independent of Tandem.
//
//	go test ./test/linear                                             a few dozen histories
//	go test ./test/linear -run Linearizable -linear.seeds 5000 -timeout 0 many
//	go test ./test/linear -run Linearizable -linear.seed 17 -artifacts    one, with its picture
//
// As in test/sim, a seed determines nodes, callers and faults, but not which of two
// goroutines goes first. A failure that depends on that may need -linear.tries to occur
// again.
package linear

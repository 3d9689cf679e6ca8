// Package mutants breaks Tandem's promises in its own code, one at a time, and requires
// that the tests notice. It consists of tests only.
//
//	go test ./test/mutants                                         only whether all of them apply
//	go test ./test/mutants -v -mutants.share 1                     all, with a table of what caught which
//	go test ./test/mutants -v -mutants.share 1 -run Mutants/acks   those whose names match
//
// Each file in testdata is one mutation:
//
//	What is broken, in a sentence or two.
//
//	caught by: ./rpc TestA|TestB
//
//	--- rpc
//	@@
//	 a line that stays
//	-a line that goes
//	+a line that comes
//
// There may be several "caught by" lines, each with a package and a pattern for the whole
// name of a test. The tests of each line must fail on their own. A hunk is found by its
// lines that stay and go, not by line numbers: they must occur, in this order and to the
// last blank, exactly once in the non-test Go files of the folder that the last "---" line
// names. So code may move within its folder without a change of the mutation. If the code
// changes, the mutation fails until it is adapted.
//
// A mutation that does not apply, does not compile, or survives fails the run. Nothing
// is written into the repository: the go command gets mutated files by -overlay.
package mutants

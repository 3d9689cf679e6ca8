// Package interop has the tests of nodes of two builds in one cluster: one of this tree, and one of another commit.
//
//	go test ./test/interop                              this build with itself
//	go test ./test/interop -interop.with HEAD~1         with the one of that commit, both ways
//
// The program in node is compiled in both trees. It hosts actors, asks others, and says what came of it; the tests start and
// end nodes of it and judge that.
package interop

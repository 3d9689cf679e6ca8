//go:build unix && !race

package procs

// atLeast is how much a run of patterns must have done.
const atLeast = 2

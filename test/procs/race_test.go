//go:build unix && race

package procs

// atLeast is how much a run of patterns must have done, in what the race detector
// leaves of it.
const atLeast = 1

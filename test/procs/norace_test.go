//go:build unix && !race

package procs

// byDefault is how many times each fault is injected; atLeast is how much a run of
// patterns must have done, in what the race detector leaves of it.
const (
	byDefault = 12
	atLeast   = 2
)

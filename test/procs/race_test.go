//go:build unix && race

package procs

// byDefault is how many times each fault is injected: the race detector makes processes
// slow to start. atLeast is how much a run of patterns must have done, in what the race
// detector leaves of it.
const (
	byDefault = 10
	atLeast   = 1
)

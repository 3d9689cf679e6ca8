//go:build unix && race

package procs

// byDefault is how many times each fault is injected: the race detector makes processes
// slow to start.
const byDefault = 20

//go:build unix && !race

package procs

// byDefault is how many times each fault is injected.
const byDefault = 100

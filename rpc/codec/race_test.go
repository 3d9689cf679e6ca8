//go:build race

package codec

// The race detector drops pooled values at random.
const raceEnabled = true

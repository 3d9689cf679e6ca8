// Package draw draws what a seed decides.
package draw

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// From returns the generator of something that draws: what it draws depends on the seed and on
// its name alone, not on when others draw. It is not for concurrent use.
func From(seed uint64, what string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Shared returns a source of numbers between 0 and 1 for several goroutines.
func Shared(seed uint64, whose string) func() float64 {
	r := From(seed, whose)
	var mu sync.Mutex // guards r
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
}

// Pick returns one of its arguments.
func Pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// Chance is true with a probability between 0 and 1.
func Chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// Span returns a duration between two bounds.
func Span(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Float64()*float64(to-from))
}

// Package bufpool keeps the memory of larger bodies and of read buffers for their next use. It has
// a pool for each size, two sizes for each power of two, so at most a third of a buffer is unused. A
// buffer has some bytes more than its size, so that the rest of a message without its header still
// counts as one of that size.
//
// The functions may be called concurrently. What is not put back is collected like any memory, and
// so is a buffer that nobody has taken for two collections.
package bufpool

import (
	"math/bits"
	"sync"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// Min and Max are the smallest and the largest buffer that is kept, in bytes. Smaller ones are best
// kept by the struct that uses them.
const (
	Min = 1 << smallest
	Max = 1<<largest + 1<<largest/2
)

const (
	smallest = 10
	largest  = 20
	spare    = 32 // a buffer has one in so many bytes more than its size
)

// pools has a pool for each size from Min to Max. boxes has what holds no buffer now: a slice that
// is put into a pool needs memory of its own.
var (
	pools [2*(largest-smallest) + 2]sync.Pool
	boxes = sync.Pool{New: func() any { return new([]byte) }}
)

// size is that of the buffers in a pool.
func size(pool int) int {
	n := 1 << (smallest + pool/2)
	return n + pool%2*n/2
}

// poolOf returns the pool with the largest buffers of at most n bytes, for n from Min to Max.
func poolOf(n int) int {
	power := bits.Len(uint(n)) - 1
	return 2*(power-smallest) + n>>(power-1)&1
}

// Get returns an empty slice with a capacity of n bytes or more. What was in it is still there
// beyond its length.
func Get(n int) []byte {
	if n > Max {
		return longcopy.Make(n)
	}
	pool := 0
	if n > Min {
		pool = poolOf(n-1) + 1
	}
	box, ok := pools[pool].Get().(*[]byte)
	if !ok {
		n = size(pool)
		return longcopy.Make(n + n/spare)
	}
	b := *box
	*box = nil
	boxes.Put(box)
	return b
}

// Put keeps the memory of b, which nobody may use any more. It does nothing if b is too small or
// too large to be kept.
func Put(b []byte) {
	if cap(b) < Min || cap(b) > Max+Max/4 {
		return
	}
	box := boxes.Get().(*[]byte)
	*box = b[:0]
	pools[poolOf(min(cap(b), Max))].Put(box)
}

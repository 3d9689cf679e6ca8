package main

import (
	"math/bits"
	"slices"
	"time"
)

// histogram counts durations in buckets that are 3 % wide. It is not for concurrent use.
type histogram struct {
	buckets [36 << subBits]uint64
	n       uint64
}

const subBits = 5 // 32 buckets for each doubling

// add counts d; what is over 18 minutes counts as that.
func (h *histogram) add(d time.Duration) {
	h.buckets[min(bucketOf(uint64(max(d, 0))), len(h.buckets)-1)]++
	h.n++
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.n += o.n
}

// counts returns the buckets that are not empty, by index.
func (h *histogram) counts() map[int]uint64 {
	all := map[int]uint64{}
	for i, n := range h.buckets {
		if n > 0 {
			all[i] = n
		}
	}
	return all
}

// addCounts merges what counts returned.
func (h *histogram) addCounts(counts map[int]uint64) {
	for i, n := range counts {
		h.buckets[i] += n
		h.n += n
	}
}

// quantile returns the middle of the bucket in which the q-th part of all durations
// ends, and 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.n)), h.n-1)
	for i, n := range h.buckets {
		if rank < n {
			low, width := bucket(i)
			return time.Duration(low + width/2)
		}
		rank -= n
	}
	panic("histogram: counts do not add up")
}

// bucketOf returns the index of the bucket that v falls in: the first 32 hold one
// value each, and from there on each doubling has 32 buckets.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-1-subBits, 0)
	return shift<<subBits + int(v>>shift)
}

// bucket returns the lowest value in bucket i, and how many values it holds.
func bucket(i int) (low, width uint64) {
	shift := max(i>>subBits-1, 0)
	return uint64(i-shift<<subBits) << shift, 1 << shift
}

// median returns the middle of values, the mean of the two middle ones if their number
// is even, and 0 if there are none.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// pairedRatio is the median of a[i]/b[i]. Two contenders that were measured in turns
// are compared round by round, so that a slow moment of the machine hits both.
func pairedRatio(a, b []float64) float64 { return median(ratios(a, b)) }

// ratios are a[i]/b[i], where there are both.
func ratios(a, b []float64) (all []float64) {
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			all = append(all, a[i]/b[i])
		}
	}
	return all
}

// middleHalf returns the ends of what is left of values without the lowest and the
// highest quarter; both are 0 if there are none.
func middleHalf(values []float64) (low, high float64) {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return 0, 0
	}
	return s[len(s)/4], s[len(s)-1-len(s)/4]
}

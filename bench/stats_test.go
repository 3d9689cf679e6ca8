package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	next := uint64(0)
	for i := range len(histogram{}.buckets) {
		low, width := bucket(i)
		if low != next {
			t.Fatalf("bucket %d begins at %d, want %d", i, low, next)
		}
		if bucketOf(low) != i || bucketOf(low+width-1) != i {
			t.Fatalf("bucket %d: its ends fall into %d and %d", i, bucketOf(low), bucketOf(low+width-1))
		}
		if low >= 32 && float64(width) > float64(low)/32 {
			t.Fatalf("bucket %d at %d is %d wide", i, low, width)
		}
		next = low + width
	}
}

func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(r.ExpFloat64() * 1e5)
		all = append(all, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			other.add(d)
		}
	}
	h.merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		want := float64(all[min(int(q*float64(len(all))), len(all)-1)])
		if got := float64(h.quantile(q)); got < want*0.96-1 || got > want*1.04+1 {
			t.Errorf("quantile %v: got %v, want about %v", q, got, want)
		}
	}
	var empty histogram
	if got := empty.quantile(0.5); got != 0 {
		t.Errorf("of nothing: got %v", got)
	}
	empty.add(time.Hour)
	empty.add(-1)
	if empty.n != 2 {
		t.Errorf("what is out of range was not counted: %d of 2", empty.n)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 2}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 100, 2}, 3},
	} {
		given := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", given, got, c.want)
		}
		if !slices.Equal(given, c.values) {
			t.Errorf("median changed its argument %v into %v", given, c.values)
		}
	}
}

// A round in which the machine was slow for both does not change the ratio.
func TestPairedRatio(t *testing.T) {
	if got := pairedRatio([]float64{20, 2, 40}, []float64{10, 1, 20}); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
	if got := pairedRatio([]float64{20, 7}, []float64{10}); got != 2 {
		t.Errorf("a missing round: got %v, want 2", got)
	}
	if got := pairedRatio(nil, nil); got != 0 {
		t.Errorf("no rounds: got %v, want 0", got)
	}
}

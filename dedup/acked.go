package dedup

import (
	"errors"
	"fmt"
	"slices"
)

// Errors for what only a broken or hostile client sends.
var (
	ErrBadMark        = errors.New("dedup: bad ack mark")
	ErrTooManyGivenUp = errors.New("dedup: too many requests given up one by one above the ack mark")
)

// Mark is an ack mark: the client needs no request below Below any more, except
// those whose numbers are in Except, in any order.
type Mark struct {
	Below  uint64
	Except []uint64
}

// check returns the mark's exceptions in ascending order.
func (m Mark) check(window int) ([]uint64, error) {
	if m.Below > MaxBelow {
		return nil, fmt.Errorf("%w: below %d", ErrBadMark, m.Below)
	}
	if len(m.Except) > window {
		return nil, fmt.Errorf("%w: %d exceptions, more than the window of %d", ErrBadMark, len(m.Except), window)
	}
	if !slices.IsSorted(m.Except) {
		return slices.Sorted(slices.Values(m.Except)), nil
	}
	return m.Except, nil
}

// acked is the set of acked numbers: the union of all marks and of the requests
// that were cancelled one by one. It only grows.
//
// The union of [1,H1) without E1 and [1,H2) without E2 is [1,max(H1,H2)) without
// the numbers that neither covers. These are at most as many as the exceptions of
// one mark. So one floor and one list represent all marks that ever came.
type acked struct {
	floor  uint64   // the largest Below; every number below it is acked, except those in except
	except []uint64 // ascending, all below floor
	alone  []uint64 // acked although they are not below floor; ascending
}

func (a *acked) has(seq uint64) bool {
	if seq < a.floor {
		return len(a.except) == 0 || !contains(a.except, seq)
	}
	return len(a.alone) > 0 && contains(a.alone, seq)
}

// add acks one number that is not acked yet. The error is ErrTooManyGivenUp if limit
// numbers stand alone already.
func (a *acked) add(seq uint64, limit int) error {
	if seq < a.floor {
		i, _ := slices.BinarySearch(a.except, seq)
		a.except = slices.Delete(a.except, i, i+1)
		return nil
	}
	if len(a.alone) >= limit {
		return ErrTooManyGivenUp
	}
	i, _ := slices.BinarySearch(a.alone, seq)
	a.alone = slices.Insert(a.alone, i, seq)
	return nil
}

// compact acks the numbers below the floor that were exceptions until now and are
// covered by a mark, and calls covered with each.
func (a *acked) compact(below uint64, except []uint64, covered func(seq uint64)) {
	if len(a.except) == 0 || below <= a.except[0] {
		return
	}
	kept := a.except[:0]
	for i, seq := range a.except {
		if seq >= below {
			kept = append(kept, a.except[i:]...)
			break
		}
		for len(except) > 0 && except[0] < seq {
			except = except[1:]
		}
		if len(except) > 0 && except[0] == seq {
			kept = append(kept, seq)
			continue
		}
		covered(seq)
	}
	a.except = kept
}

// raise raises the floor to below, with the exceptions of the mark that does it.
func (a *acked) raise(below uint64, except []uint64) {
	first, _ := slices.BinarySearch(except, a.floor)
	for i, seq := range except[first:] {
		if seq >= below {
			break
		}
		repeated := i > 0 && seq == except[first+i-1]
		if !repeated && !contains(a.alone, seq) {
			a.except = append(a.except, seq)
		}
	}
	a.floor = below
	if len(a.alone) > 0 {
		n, _ := slices.BinarySearch(a.alone, below)
		a.alone = slices.Delete(a.alone, 0, n)
	}
}

func contains(sorted []uint64, seq uint64) bool {
	_, found := slices.BinarySearch(sorted, seq)
	return found
}

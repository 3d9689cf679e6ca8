package trail

import (
	"cmp"
	"slices"
)

// Page returns copies of the n latest requests with numbers below before (0: of all) that match, the
// latest first. match must not call the Trail, nor keep what it gets.
func (t *Trail) Page(before uint64, n int, match func(*Record) bool) []Record {
	if t == nil || n <= 0 {
		return nil
	}
	var page []Record
	for class := range t.rings {
		page = append(page, t.some(Class(class), before, n, match)...)
	}
	slices.SortFunc(page, func(a, b Record) int { return cmp.Compare(b.Number, a.Number) })
	return page[:min(n, len(page))]
}

// portion is how many requests are looked at before others may have the lock.
const portion = 64

// some is Page for one class.
func (t *Trail) some(class Class, before uint64, n int, match func(*Record) bool) (page []Record) {
	for from, more := 0, true; more; from += portion {
		t.mu.Lock()
		all := t.rings[class].records
		for i := from; i < min(from+portion, len(all)); i++ {
			if r := &all[i]; r.Number > 0 && (before == 0 || r.Number < before) && match(r) {
				page = append(page, *r)
			}
		}
		more = from+portion < len(all)
		t.mu.Unlock()
		if len(page) >= n+portion {
			page = latest(page, n)
		}
	}
	return latest(page, n)
}

// latest returns the n latest ones of page, the latest first.
func latest(page []Record, n int) []Record {
	slices.SortFunc(page, func(a, b Record) int { return cmp.Compare(b.Number, a.Number) })
	return page[:min(n, len(page))]
}

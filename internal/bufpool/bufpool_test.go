package bufpool

import "testing"

// TestSizes requires that every size up to Max gets a buffer which is large enough and not twice
// as large, and that a buffer is never handed out for more than it has.
func TestSizes(t *testing.T) {
	for i := range Max / 31 {
		n := i * 31
		if i%9 == 0 { // at a border, and one byte to each side
			n = size(i/27%len(pools)) + i/9%3 - 1
		}
		b := Get(n)
		if len(b) != 0 || cap(b) < n || n > Min && cap(b) > n+n/2+n/4+64 || n > Max && cap(b) > n+n/4 {
			t.Fatalf("Get(%d) has length %d and capacity %d", n, len(b), cap(b))
		}
		Put(b)
		if odd := cap(b) - n%7; odd >= Min && odd <= Max {
			if pool := poolOf(odd); size(pool) > odd || pool+1 < len(pools) && size(pool+1) <= odd {
				t.Fatalf("a buffer of %d bytes goes to those of %d", odd, size(pool))
			}
		}
	}
	if last := size(len(pools) - 1); last != Max || size(0) != Min {
		t.Errorf("the sizes are from %d to %d", size(0), last)
	}
}

// TestPutOfOthers puts buffers of any size, and none may come back for more than it has.
func TestPutOfOthers(t *testing.T) {
	Put(nil)
	for n := 1; n < Max+1000; n += 97 {
		Put(make([]byte, n))
		if b := Get(n); cap(b) < n {
			t.Fatalf("Get(%d) has a capacity of %d", n, cap(b))
		}
	}
}

package mailbox

import (
	"errors"
	"testing"
)

// Displace takes the place of the oldest message only in a full box, whatever the policy is.
func TestDisplace(t *testing.T) {
	for _, policy := range []Policy{Block, Refuse, DropNewest, DropOldest} {
		var b Box[int]
		b.Init(&Config{Capacity: 2, Policy: policy})
		for i := range 4 {
			p, err := b.Displace(i)
			if err != nil || p.HasDropped != (i >= 2) || p.HasDropped && p.Dropped != i-2 || p.Wake != (i == 0) {
				t.Errorf("%v, %d: %+v, %v", policy, i, p, err)
			}
		}
		if got := b.Take(nil).Messages(); len(got) != 2 || got[0] != 2 || got[1] != 3 {
			t.Errorf("%v: took %v", policy, got)
		}
		b.Close()
		if _, err := b.Displace(9); !errors.Is(err, ErrClosed) {
			t.Errorf("%v: after the close: %v", policy, err)
		}
	}
}

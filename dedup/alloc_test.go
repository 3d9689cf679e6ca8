//go:build !race

package dedup

import "testing"

// A request's whole life in a table allocates nothing, however many others are
// outstanding, once the table has grown large enough.
func TestLifeAllocatesNothing(t *testing.T) {
	for _, others := range []uint64{0, 1, 512, DefaultWindow - 1} {
		table := New[[4]uint64](0)
		seq := uint64(0)
		admit := func() {
			seq++
			if v, _ := table.Admit(seq, seq); v != Run || !table.Start(seq) {
				t.Fatalf("request %d beside %d: %v", seq, others, v)
			}
		}
		for range others {
			admit()
		}
		life := func() {
			admit()
			oldest := seq - others
			if _, ok := table.Finish(oldest); !ok {
				t.Fatalf("request %d beside %d could not be finished", oldest, others)
			}
			if err := table.Ack(Mark{Below: oldest + 1}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 * DefaultWindow { // meanwhile the table grows
			life()
		}
		if n := testing.AllocsPerRun(DefaultWindow, life); n != 0 {
			t.Errorf("beside %d others: %v allocations", others, n)
		}
	}
}

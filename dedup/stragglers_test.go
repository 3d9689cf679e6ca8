package dedup

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestStragglersAgainstModel fills the window with slow requests except for one place,
// through which quick requests pass: 4,095 requests take long, the first copies of some
// of them come when much younger ones are done, and marks with up to 4,096 exceptions
// come in any order, twice, or never.
func TestStragglersAgainstModel(t *testing.T) {
	const (
		stragglers = DefaultWindow - 1
		rounds     = 24
		quick      = 50 // in a round
	)
	for seed := range uint64(2) {
		rnd := rand.New(rand.NewPCG(seed, 4095))
		p := newPair(t, DefaultWindow)
		var slow, late []uint64 // those that the client has not acked; and those of them that have not come
		for _, i := range rnd.Perm(stragglers) {
			seq := uint64(i + 1)
			slow = append(slow, seq)
			if rnd.IntN(5) == 0 {
				late = append(late, seq)
				continue
			}
			p.admit(seq, seq)
			if rnd.IntN(4) != 0 {
				p.start(seq)
			}
		}
		p.check()
		any := func() uint64 { return slow[rnd.IntN(len(slow))] }
		issued := uint64(stragglers)
		var marks []Mark
		for round := range rounds {
			except := slices.Clone(slow)
			for range quick {
				issued++
				p.admit(issued, issued)
				p.start(issued)
				p.admit(issued, issued)
				if rnd.IntN(16) == 0 && len(except) < DefaultWindow { // it takes one more round
					except = append(except, issued)
					continue
				}
				p.finish(issued)
				p.admit(issued, issued)
				if rnd.IntN(2) == 0 {
					p.giveUp(issued)
				}
			}
			rnd.Shuffle(len(except), func(i, j int) { except[i], except[j] = except[j], except[i] })
			marks = append(marks, Mark{issued + 1, except})
			for range rnd.IntN(3) {
				p.ack(marks[rnd.IntN(len(marks))])
			}
			for range 200 {
				seq := any()
				switch rnd.IntN(8) {
				case 0:
					p.start(seq)
				case 1:
					p.finish(seq)
				case 2:
					p.admit(seq, seq+1) // another request under its number
				default:
					p.admit(seq, seq) // a late first copy, or a further one
				}
			}
			for range min(len(late), stragglers/5/rounds) {
				seq := late[len(late)-1]
				late = late[:len(late)-1]
				p.admit(seq, seq)
				p.start(seq)
			}
			for range 20 { // some are given up, or answered and acked by the next mark
				i := rnd.IntN(len(slow))
				if p.finish(slow[i]); rnd.IntN(2) == 0 {
					p.giveUp(slow[i])
				}
				slow = slices.Delete(slow, i, i+1)
			}
			if round%8 == 7 {
				p.check()
			}
		}
		p.ack(Mark{Below: issued + 1})
		p.check()
		for seq := uint64(1); seq <= issued; seq++ {
			p.finish(seq)
			p.admit(seq, seq)
		}
		if p.check(); p.table.Outstanding() != 0 {
			t.Errorf("seed %d: %d outstanding in the end", seed, p.table.Outstanding())
		}
	}
}

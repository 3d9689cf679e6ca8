package actor

import "testing"

// Each state changes by these events, and by no other.
func TestCellStates(t *testing.T) {
	want := map[cellState]map[cellEvent]cellState{
		claiming:  {cellClaimed: starting, cellStopped: ending},
		starting:  {cellStarted: working, cellFailed: suspended, cellStopped: ending},
		working:   {cellFailed: suspended, cellStopped: ending},
		suspended: {cellResumed: working, cellRestarted: starting, cellStopped: ending},
		ending:    {cellLeft: gone},
		gone:      {},
	}
	for s := working; s <= gone; s++ {
		for e := cellClaimed; e <= cellLeft; e++ {
			to, changes := want[s][e]
			if !changes {
				to = s
			}
			if got, ok := s.next(e); got != to || ok != changes {
				t.Errorf("state %d, event %d: %d, %v; want %d, %v", s, e, got, ok, to, changes)
			}
			var l cellLife
			l.word.Store(uint32(s) | signaled | sealed)
			if ok := l.move(e); ok != changes || l.word.Load() != uint32(to)|signaled|sealed {
				t.Errorf("state %d, event %d: moves %v to %d", s, e, ok, l.word.Load())
			}
		}
	}
}

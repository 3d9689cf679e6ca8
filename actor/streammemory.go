package actor

import (
	"encoding/binary"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// streamMemory counts what the batches of a stream of another node take in its principal's
// share of the memory. What its client sends counts from its arrival on, as any message does,
// until it was read; what the application's part hands on, until its client needs no copy of
// the batch any more.
type streamMemory struct {
	share *rpc.Memory // nil: of this node, and not counted
	ahead int         // bytes counted for items that are still to come; the application's goroutine's own
}

const (
	streamAhead = 4 << 10 // bytes that are counted at a time
	roomPause   = 5 * time.Millisecond
	roomPauses  = 100 * time.Millisecond // at most, between two looks for room
)

// afford counts an item of n bytes, waiting for room, and returns how many bytes that are.
// The stream ends if there is none for long.
func (st *stream) afford(n int) (int, error) {
	m := &st.memory
	if m.share == nil {
		return 0, nil
	}
	n += len(binary.AppendUvarint(nil, uint64(n)))
	if n <= m.ahead {
		return n, nil
	}
	missing := n - m.ahead
	for pause, waited := roomPause, time.Duration(0); ; pause = min(2*pause, roomPauses) {
		step := max(missing, streamAhead)
		err := m.share.Hold(step)
		if err != nil && step > missing {
			step = missing
			err = m.share.Hold(step)
		}
		if err == nil {
			m.ahead += step
			return n, nil
		}
		if waited >= streamWait {
			err.Verdict = rpc.HasRun
			st.blame(err)
			return 0, err
		}
		waited += pause
		select {
		case <-time.After(pause):
		case <-st.gone:
			return 0, errOver
		}
	}
}

// giveBack gives back what counts no more. The stream's lock is held.
func (st *stream) giveBack() {
	if n := st.out.gone + st.in.gone; n > 0 {
		st.memory.share.Free(n)
	}
	st.out.gone, st.in.gone = 0, 0
}

// letGo gives back what a stream counts that is over, and of which nothing runs any more.
func (st *stream) letGo() {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.memory.ahead + st.reading.held + st.out.buf.held + st.in.buf.held
	for i := range st.out.kept {
		n += st.out.kept[i].held
	}
	for _, p := range st.in.pushed {
		n += p.items.held
	}
	st.memory.share.Free(n)
}

// takeWeight returns the bytes counted for a request of another node; they are its caller's
// to free.
func takeWeight(req request) int {
	if in, remote := req.(*rpc.Inbound); remote {
		return in.TakeWeight()
	}
	return 0
}

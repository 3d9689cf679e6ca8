package actor

import (
	"encoding/binary"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// streamMemory counts the batches of a stream of another node in its principal's share of the
// memory. Items from the client count from their arrival, like any message, until the application
// has read them; items for the client count until it needs no copy of their batch any more.
type streamMemory struct {
	share *account.Memory // nil: the stream is from this node, and not counted
	ahead int             // bytes counted in advance for the next items; only the application's goroutine uses it
}

const (
	streamAhead = 4 << 10                // bytes that are counted at a time
	roomPause   = 5 * time.Millisecond   // first pause between two attempts to get room; it doubles each time
	roomPauses  = 100 * time.Millisecond // longest such pause
)

// afford counts an item of n bytes, and returns how many bytes it counted. It waits for room; if
// there is none for streamWait, the stream ends.
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
			st.endWith(err)
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

// freeGone frees the bytes of items that are gone. The stream's lock is held.
func (st *stream) freeGone() {
	if n := st.out.gone + st.in.gone; n > 0 {
		st.memory.share.Free(n)
	}
	st.out.gone, st.in.gone = 0, 0
}

// freeMemory frees all that is counted for a stream that has ended, and of which nothing runs any
// more.
func (st *stream) freeMemory() {
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

// takeWeight returns the bytes counted for a request of another node. The caller has to free them.
func takeWeight(req request) int {
	if in, remote := req.(*server.Inbound); remote {
		return in.TakeWeight()
	}
	return 0
}

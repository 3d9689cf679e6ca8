package actor

import (
	"maps"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// streamSize is about how many bytes a stream of another node takes in addition to its batches
// (stream_memory.go). It counts in its principal's share (rpc.Limits.MemoryBytes).
const streamSize = 8 << 10

// streamTable holds the streams that a system serves.
type streamTable struct {
	mu   sync.Mutex // guards what follows
	all  map[*stream]struct{}
	of   map[string]int // how many are of other nodes, by principal
	shut bool
}

func (t *streamTable) enter(st *stream) *rpc.Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.shut:
		return errShutdown
	case st.remote && t.of[st.principal] >= MaxStreams:
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%s has %d streams here", st.principal, MaxStreams)
	case t.all == nil:
		t.all, t.of = map[*stream]struct{}{}, map[string]int{}
	}
	if st.remote {
		memory := st.sys.node.Memory(st.ctx.bearer())
		if err := memory.Hold(streamSize); err != nil {
			memory.Close()
			return err
		}
		st.memory.share = &memory
		t.of[st.principal]++
	}
	t.all[st] = struct{}{}
	return nil
}

// leave removes a stream that has ended, and of which nothing runs any more.
func (t *streamTable) leave(st *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.all[st]; !ok {
		return
	}
	delete(t.all, st)
	if st.remote {
		st.freeMemory()
		st.memory.share.Free(streamSize)
		st.memory.share.Close()
		if t.of[st.principal]--; t.of[st.principal] == 0 {
			delete(t.of, st.principal)
		}
	}
}

// each calls do for every stream. The table's lock is not held meanwhile.
func (t *streamTable) each(do func(*stream)) {
	t.mu.Lock()
	all := slices.Collect(maps.Keys(t.all))
	t.mu.Unlock()
	for _, st := range all {
		do(st)
	}
}

// close cuts all streams, and lets no new ones in.
func (t *streamTable) close() {
	t.mu.Lock()
	t.shut = true
	t.mu.Unlock()
	t.each(func(st *stream) { st.close(rpc.Errorf(rpc.Unavailable, rpc.HasRun, "the system is shutting down")) })
}

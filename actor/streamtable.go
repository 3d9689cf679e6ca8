package actor

import (
	"maps"
	"slices"
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// streamSize is how many bytes of its principal's share (rpc.Config.MemoryBytes) a stream of
// another node takes beside its batches, which count as they are (streammemory.go), about.
const streamSize = 8 << 10

// streamTable holds the streams that a system serves.
type streamTable struct {
	mu   sync.Mutex // guards what follows
	all  map[*stream]struct{}
	of   map[string]int // those of other nodes, by principal
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
		memory := st.sys.node.Memory(st.principal)
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

// leave takes out a stream that is over, and of which nothing runs any more.
func (t *streamTable) leave(st *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.all[st]; !ok {
		return
	}
	delete(t.all, st)
	if st.remote {
		st.letGo()
		st.memory.share.Free(streamSize)
		st.memory.share.Close()
		if t.of[st.principal]--; t.of[st.principal] == 0 {
			delete(t.of, st.principal)
		}
	}
}

// each calls do for all streams, without the table's lock.
func (t *streamTable) each(do func(*stream)) {
	t.mu.Lock()
	all := slices.Collect(maps.Keys(t.all))
	t.mu.Unlock()
	for _, st := range all {
		do(st)
	}
}

// close cuts all streams, and takes no more.
func (t *streamTable) close() {
	t.mu.Lock()
	t.shut = true
	t.mu.Unlock()
	t.each(func(st *stream) { st.close(rpc.Errorf(rpc.Unavailable, rpc.HasRun, "the system is shutting down")) })
}

package main

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

const dedupNote = "dedup cannot be switched off: this is what a request asks of dedup.Table (Admit, Start, Finish, Ack, 64 outstanding), " +
	"with its fingerprint and three locks of its session; its share is its CPU time over that of a whole ask. " +
	"Not in it: the memory that kept replies hold, and the client's window"

func dedupScenario() scenario {
	return scenario{
		name:  "dedup-cost",
		about: "what dedup takes of a TCP ask, 64 callers",
		peers: []peer{
			{name: "tandem", role: ours, note: "as in tcp-ask-64", start: func(*env) (rig, error) {
				n, err := overTCP()
				if err != nil {
					return nil, err
				}
				return n.asks(64, 64)
			}},
			{name: "dedup-table", role: variant, note: dedupNote, start: func(*env) (rig, error) { return newTableOps(), nil }},
		},
	}
}

// tableOps is a rig that does to a dedup table what the server does for each request.
type tableOps struct {
	mu    sync.Mutex             // guards table, as a session's lock does
	table *dedup.Table[*payload] // a payload stands for what rpc keeps of a request
	next  uint64
	seed  maphash.Seed
	body  []byte
}

const outstanding = 64

func newTableOps() *tableOps {
	return &tableOps{table: dedup.New[*payload](0), next: 1, seed: maphash.MakeSeed(), body: make([]byte, 72)}
}

func (t *tableOps) close() {}

func (t *tableOps) measure(d time.Duration) (out sample) {
	rec := new(payload)
	start := time.Now()
	for out.elapsed < d {
		for range 1000 {
			if err := t.request(rec); err != nil {
				out.errors++
				out.err = err
				return out
			}
			out.ops++
		}
		out.elapsed = time.Since(start)
	}
	out.sent, out.executed = out.ops, out.ops
	return out
}

// request takes one request in, and ends the one that came 64 before it.
func (t *tableOps) request(rec *payload) error {
	seq := t.next
	t.next++
	fingerprint := t.fingerprint()
	old := seq - min(seq, outstanding)

	t.mu.Lock()
	if old > 0 {
		if err := t.table.Ack(dedup.Mark{Below: old}, func(*payload) {}); err != nil {
			t.mu.Unlock()
			return err
		}
	}
	verdict, slot := t.table.Admit(seq, fingerprint)
	if verdict != dedup.Run {
		t.mu.Unlock()
		return fmt.Errorf("request %d: verdict %v", seq, verdict)
	}
	*slot = rec
	t.mu.Unlock()

	t.mu.Lock()
	started := t.table.Start(seq)
	t.mu.Unlock()

	t.mu.Lock()
	finished := true
	if old > 0 {
		_, finished = t.table.Finish(old)
	}
	t.mu.Unlock()
	if !started || !finished {
		return fmt.Errorf("request %d: started %t, the one before finished %t", seq, started, finished)
	}
	return nil
}

// fingerprint hashes as much as rpc does for a request.
func (t *tableOps) fingerprint() uint64 {
	var id [9]byte
	binary.BigEndian.PutUint64(id[:], t.next)
	return maphash.Bytes(t.seed, t.body) ^ maphash.String(t.seed, "far") ^ maphash.Bytes(t.seed, id[:])
}

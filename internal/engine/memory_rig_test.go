// A node that is attacked on the bus, and what tests measure there.

package engine

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/transport"
)

// attacked starts a node b whose clients on the bus are all mallory, and a client that has a
// session on the direct road as the principal honest. A principal that is alone may hold half
// of b's 8 MiB.
func attacked(r *rig, change ...func(*Config)) (honest, b *site) {
	change = append([]func(*Config){func(c *Config) {
		c.MemoryBytes = 8 << 20
		c.Principals = func(road string, _ transport.Peer) string {
			return map[string]string{"bus": "mallory", "direct": "honest"}[road]
		}
	}}, change...)
	b = r.start("b", "b1", twoRoads, change...)
	b.handle(func(_ *server.Inbound, body string) string { return body })
	honest = r.start("a", "a1", direct)
	honest.echoes("b", "hello")
	time.Sleep(time.Second) // and is acked
	return honest, b
}

// heapBytes returns how much memory is in use after a garbage collection.
func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// connOf returns the link that a node has to another one.
func (s *site) connOf(t *testing.T, node string) *conn {
	t.Helper()
	for _, c := range s.liveConns() {
		if c.ID.Node == node {
			return c
		}
	}
	t.Fatal("no link from " + node)
	return nil
}

// countVoids has no records, and counts the requests that it was told never to run.
type countVoids struct {
	noCompletions
	n atomic.Int64
}

func (c *countVoids) Void(context.Context, string) ([]byte, bool, error) {
	c.n.Add(1)
	return nil, false, nil
}

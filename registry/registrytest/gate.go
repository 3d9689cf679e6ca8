package registrytest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate stands between clients and a server, on TCP, and can be shut. It may be used concurrently.
type gate struct {
	l  net.Listener
	to string

	mu    sync.Mutex // guards what follows
	down  bool
	conns map[net.Conn]struct{}
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, to: to, conns: make(map[net.Conn]struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { g.pass(c) })
		}
	})
	t.Cleanup(func() { l.Close(); g.shut(); all.Wait() })
	return g
}

func (g *gate) addr() string { return g.l.Addr().String() }

// pass connects one client until either side ends, or the gate is shut.
func (g *gate) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer s.Close()
	g.mu.Lock()
	down := g.down
	if !down {
		g.conns[c], g.conns[s] = struct{}{}, struct{}{}
	}
	g.mu.Unlock()
	if down {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(s, c); s.Close() })
	both.Go(func() { _, _ = io.Copy(c, s); c.Close() })
	both.Wait()
	g.mu.Lock()
	delete(g.conns, c)
	delete(g.conns, s)
	g.mu.Unlock()
}

// shut closes all connections, and lets no new one pass until open.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = true
	for c := range g.conns {
		c.Close()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = false
}

// logged keeps what a logger writes. It may be used concurrently.
type logged struct {
	mu      sync.Mutex // guards what follows
	text    strings.Builder
	changed chan struct{} // closed by the next line; nil if nobody waits
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.text.Write(b)
}

// count returns how often text was written.
func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// await waits until text was written.
func (l *logged) await(t *testing.T, text string) {
	t.Helper()
	for late := time.After(patience); ; {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed, there := l.changed, strings.Contains(l.text.String(), text)
		l.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%q was not logged", text)
		}
	}
}

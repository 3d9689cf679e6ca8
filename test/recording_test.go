package test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// TestRecordedConnectionRunsNothing sends the bytes that a client has sent to a server again,
// as tools that mirror traffic do: all at once, at the pace of a client, and a part of them.
func TestRecordedConnectionRunsNothing(t *testing.T) {
	tr := newTruth()
	kind := counterKind(tr)
	reg := static.New()
	listening := tcp.New(tcp.Config{Listen: "127.0.0.1:0", HandshakeTimeout: time.Second})
	server := start(t, actor.Config{Name: "server", Transports: []transport.Transport{listening}, Registry: reg, Kinds: []*actor.Kind{kind}})
	if _, err := server.Spawn("counter", kind); err != nil {
		t.Fatal(err)
	}
	target := listening.Addr().String()
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var said bytes.Buffer
	var running sync.WaitGroup
	running.Go(func() {
		from, err := proxy.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		running.Go(func() { io.Copy(from, to); from.Close() })
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			mu.Lock()
			said.Write(b[:n])
			mu.Unlock()
			if _, e := to.Write(b[:n]); err != nil || e != nil {
				to.Close()
				return
			}
		}
	})
	t.Cleanup(func() { proxy.Close(); running.Wait() })
	through := static.New(registry.Node{Name: "server", Addrs: map[string]string{"tcp": proxy.Addr().String()}})
	client := start(t, actor.Config{Name: "client", Transports: []transport.Transport{tcp.New(tcp.Config{})}, Registry: through, Kinds: []*actor.Kind{kind}})
	const calls = 50
	for id := range uint64(calls) {
		if _, err := actor.Call(t.Context(), client.Ref("counter@server"), Op{ID: id + 1}); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	recorded := bytes.Clone(said.Bytes())
	mu.Unlock()
	if len(recorded) < calls*32 {
		t.Fatalf("recorded %d bytes of %d calls", len(recorded), calls)
	}
	opened := server.Stats().RPC.SessionsOpened
	for _, part := range []int{len(recorded), len(recorded) / 2} {
		for _, piece := range []int{len(recorded), 256} {
			c, err := net.Dial("tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			for b := recorded[:part]; len(b) > 0; b = b[min(piece, len(b)):] {
				if _, err := c.Write(b[:min(piece, len(b))]); err != nil { // it was closed, which is right
					break
				}
			}
			io.Copy(io.Discard, c)
			c.Close()
		}
	}
	if now := server.Stats().RPC.SessionsOpened; now != opened {
		t.Errorf("recordings opened %d sessions", now-opened)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.ran) != calls {
		t.Errorf("%d requests ran, %d were made", len(tr.ran), calls)
	}
	for id, n := range tr.ran {
		if n != 1 {
			t.Errorf("request %d ran %d times", id, n)
		}
	}
}

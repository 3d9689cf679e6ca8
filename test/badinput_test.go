package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// TestConfigListsEverything checks that all errors of a Config are reported together.
func TestConfigListsEverything(t *testing.T) {
	_, err := actor.NewSystem(actor.Config{
		Name:       "no spaces please",
		Cluster:    "a.b",
		Transports: []transport.Transport{nil, tcp.New(tcp.Config{}), tcp.New(tcp.Config{})},
		Kinds:      []*actor.Kind{nil, actor.KindNamed("x")},
		Roads:      77,
		Timeout:    -1,
		AckWait:    -1,
	})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"Config.Name", "Config.Cluster", "Transports[0] is nil", `two roads named "tcp"`, "without Config.Registry",
		"Kinds[0] is nil", "KindNamed", "Config.Roads", "Config.Timeout", "Config.AckWait"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %s in:\n%v", want, err)
		}
	}
}

// TestCannotStart checks that an error names what prevents a system from starting, and that
// nothing is left behind that would prevent the next one.
func TestCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nats, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Shutdown()
	closed, err := natsbus.Connect(t.Context(), nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	buffering, err := nats.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer buffering.Close()
	buffering.Opts.ReconnectBufSize = 1 << 20

	reg := static.New()
	if err := reg.Register(t.Context(), registry.Node{Name: "rival", Epoch: "e1"}); err != nil {
		t.Fatal(err)
	}
	try := func(name string, roads ...transport.Transport) error {
		t.Helper()
		sys, err := actor.NewSystem(actor.Config{Name: name, Transports: roads, Registry: reg, Logger: discard()})
		if err == nil {
			sys.Shutdown(t.Context())
			t.Errorf("%s started", name)
		}
		return err
	}
	if err := try("a", tcp.New(tcp.Config{Listen: taken.Addr().String()})); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("port in use: %v", err)
	}
	if err := try("a", tcp.New(tcp.Config{Listen: "0.0.0.0:0", Advertise: "127.0.0.1:0"})); !errors.Is(err, tcp.ErrInsecure) {
		t.Errorf("open to the world without TLS: %v", err)
	}
	if err := try("a", natsbus.New(closed, natsbus.Config{})); err == nil || !strings.Contains(err.Error(), "nats") {
		t.Errorf("NATS away: %v", err)
	}
	if err := try("a", natsbus.New(buffering, natsbus.Config{})); !errors.Is(err, natsbus.ErrReconnectBuffer) {
		t.Errorf("reconnect buffer on: %v", err)
	}
	if err := try("rival", tcp.New(tcp.Config{Listen: "127.0.0.1:0"})); !errors.Is(err, registry.ErrTaken) {
		t.Errorf("node name taken: %v", err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := natsbus.Connect(brief, "nats://127.0.0.1:1"); !errors.Is(err, natsbus.ErrNotConnected) {
		t.Errorf("connected to nobody: %v", err)
	}
	taken.Close()
	sys, err := actor.NewSystem(actor.Config{Name: "a", Registry: reg, Logger: discard(),
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: taken.Addr().String()})}})
	if err != nil {
		t.Fatalf("after all that: %v", err)
	}
	if err := sys.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOtherWireVersion dials a node that speaks a version this one does not know, and lets such
// a node dial.
func TestOtherWireVersion(t *testing.T) {
	future, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer future.Close()
	go func() { // a node of the far future: it refuses every greeting of today
		for {
			c, err := future.Accept()
			if err != nil {
				return
			}
			readFrame(c)
			writeFrame(c, transport.Welcome{Status: transport.StatusVersion, Version: 9, Node: "future", Epoch: "e9", Reason: "I speak 9"}.Append(nil))
			c.Close()
		}
	}()
	reg := static.New(registry.Node{Name: "future", Addrs: map[string]string{"tcp": future.Addr().String()}})
	listening := tcp.New(tcp.Config{Listen: "127.0.0.1:0"})
	sys := start(t, actor.Config{Name: "now", Transports: []transport.Transport{listening}, Registry: reg})
	began := time.Now()
	_, err = actor.Call(t.Context(), sys.Ref("x@future"), Op{ID: 1})
	if took := time.Since(began); took > 10*time.Second { // of 30: nobody waits for another version to come
		t.Errorf("the call failed after %v", took)
	}
	if !errors.Is(err, transport.ErrVersion) || !errors.Is(err, rpc.Unavailable) || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("dialling: %v", err)
	}

	c, err := net.Dial("tcp", listening.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	writeFrame(c, transport.Hello{MinVersion: 8, MaxVersion: 9, Cluster: "tandem", Node: "future", Epoch: "e9", WantNode: "now"}.Append(nil))
	b, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	w, err := transport.ParseWelcome(b)
	if err != nil || !errors.Is(w.Err(), transport.ErrVersion) {
		t.Errorf("being dialled: %+v, %v", w, err)
	}
}

// TestHostileBytes sends garbage, half frames and half greetings to a node's TCP port, and
// broken envelopes over an established link. Meanwhile another node works with it undisturbed.
func TestHostileBytes(t *testing.T) {
	tr := newTruth()
	w := newWorld(t, direct, counterKind(tr))
	if _, err := w.server.Spawn("counter", counterKind(tr)); err != nil {
		t.Fatal(err)
	}
	ref := w.client.Ref("counter@server")
	rng := rand.New(rand.NewPCG(1, 2))
	hello := func() []byte {
		h := transport.Hello{MinVersion: 1, MaxVersion: 1, Cluster: "tandem", Node: "mallory", Epoch: "e", WantNode: "server", Nonce: transport.NewNonce()}
		return h.Append(nil)
	}
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	attacks := []func() []byte{
		func() []byte { return []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n") },
		func() []byte { return frame(hello())[:10] },
		func() []byte { return binary.BigEndian.AppendUint32(nil, 1<<31) },
		func() []byte {
			b := make([]byte, rng.IntN(2000))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return b
		},
		func() []byte { // garbage behind a hello
			b := make([]byte, rng.IntN(200))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return append(frame(hello()), frame(b)...)
		},
	}
	greeted := []func() []byte{ // what comes after a proper greeting
		func() []byte { // garbage in a frame
			b := make([]byte, rng.IntN(200))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return frame(b)
		},
		func() []byte { // a well-formed envelope that asks for something outside any session
			e := transport.Envelope{Verb: transport.Verb(1 + rng.IntN(13)), Seq: rng.Uint64(), Target: "counter", TypeID: rng.Uint64(),
				Mark: transport.Mark{Below: rng.Uint64()}, Body: bytes.Repeat([]byte{0xdd}, rng.IntN(100))}
			b, err := e.Append(nil)
			if err != nil {
				t.Error(err)
			}
			return frame(b)
		},
		func() []byte { // opens a session and asks nonsense in it
			open, _ := (&transport.Envelope{Verb: transport.VerbOpen, Seq: 1}).Append(nil)
			out := frame(open)
			for range 20 {
				e := transport.Envelope{Verb: transport.Verb(1 + rng.IntN(13)), Codec: byte(rng.IntN(5)), Seq: rng.Uint64N(50), Target: "counter",
					TypeID: transport.TypeID("github.com/tandem-go/tandem/test.Op"), Mark: transport.Mark{Below: rng.Uint64N(1 << 40)},
					Body: bytes.Repeat([]byte{0xdf}, rng.IntN(100))}
				b, _ := e.Append(nil)
				out = append(out, frame(b)...)
			}
			return out
		},
	}
	before := len(tr.ran)
	for i := range 210 {
		c, err := net.Dial("tcp", w.proxy.target)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if n := i % (len(attacks) + len(greeted)); n < len(attacks) {
			c.Write(attacks[n]())
		} else {
			greetAs(t, c, hello())
			c.Write(greeted[n-len(attacks)]())
		}
		if i%2 == 0 { // half of them wait for what comes of it
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}
		c.Close()
		id := uint64(1_000_000 + i)
		reply, err := actor.Call(t.Context(), ref, Op{ID: id})
		if err != nil {
			t.Fatalf("the honest client was harmed by attack %d: %v", i%(len(attacks)+len(greeted)), err)
		}
		tr.check(t, id, reply, err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if ran := len(tr.ran) - before; ran != 210 {
		t.Errorf("%d operations ran, 210 were asked for", ran)
	}
	if p := w.server.Stats().Panics; p != 0 {
		t.Errorf("%d panics", p)
	}
}

// greetAs does a whole greeting on c, which begins with hello.
func greetAs(t *testing.T, c net.Conn, hello []byte) {
	t.Helper()
	writeFrame(c, hello)
	welcome, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	writeFrame(c, transport.Prove("", true, hello, welcome).Append(nil))
	b, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := transport.ParseProof(b)
	if err == nil {
		err = p.Check("", false, hello, welcome)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) {
	w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

package tcp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

func TestGarbageInsteadOfGreeting(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	for name, garbage := range map[string][]byte{
		"http":       []byte("GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
		"oversize":   {0, 1, 0, 1, 'T', 'N', 'D', 'M'},
		"huge":       {0xff, 0xff, 0xff, 0xff},
		"not magic":  framed([]byte("XXXX something else altogether")),
		"cut fields": framed([]byte("TNDM\x01\x01\x00\x04te")),
		"empty":      framed(nil),
		"chunk":      chunk(t, 1, 100, 0, 10),
	} {
		t.Run(name, func(t *testing.T) {
			c := raw(t, to)
			if _, err := c.Write(garbage); err != nil {
				t.Fatal(err)
			}
			ended(t, c)
			if len(links) > 0 {
				t.Error("a link was accepted")
			}
		})
	}
}

func TestGreetingTakesTooLong(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", HandshakeTimeout: 50 * time.Millisecond})
	silent, half := raw(t, to), raw(t, to)
	hello := framed(transport.Greet(local("a"), to).Append(nil))
	if _, err := half.Write(hello[:len(hello)-1]); err != nil {
		t.Fatal(err)
	}
	ended(t, silent)
	ended(t, half)
	if len(links) > 0 {
		t.Error("a link was accepted")
	}
}

func TestGreetingDripsIn(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	c := raw(t, to)
	h := transport.Greet(local("a"), to)
	h.Nonce = transport.NewNonce()
	for _, b := range framed(h.Append(nil)) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	w, err := transport.ParseWelcome(readFramed(t, c))
	if err != nil || w.Err() != nil {
		t.Fatalf("welcome: %v, %v", err, w.Err())
	}
	proven(t, c, h, w)
	wait(t, "link", links)
}

func tell(t testing.TB, seq uint64, body int) []byte {
	t.Helper()
	b, err := (&transport.Envelope{Verb: transport.VerbTell, Seq: seq, Body: make([]byte, body)}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return framed(b)
}

// chunk is one of a large message.
func chunk(t testing.TB, number, total, from uint64, size int) []byte {
	t.Helper()
	b, err := (&transport.Envelope{Verb: transport.VerbChunk, Seq: number, Mark: transport.Mark{Below: total}, TypeID: from, Body: make([]byte, size)}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return framed(b)
}

func TestMalformedFrames(t *testing.T) {
	otherVersion := tell(t, 2, 0)
	otherVersion[4] = 99
	for name, tt := range map[string]struct {
		bytes []byte
		want  error
	}{
		"over the limit":         {[]byte{0, 0x10, 0, 1}, transport.ErrProtocol},
		"huge":                   {[]byte{0xff, 0xff, 0xff, 0xff, 1}, transport.ErrProtocol},
		"no envelope":            {framed([]byte("short")), transport.ErrProtocol},
		"empty":                  {framed(nil), transport.ErrProtocol},
		"version":                {otherVersion, transport.ErrVersion},
		"chunk of nothing begun": {chunk(t, 1, 100, 50, 10), transport.ErrProtocol},
		"chunk out of turn":      {append(chunk(t, 1, 100, 0, 10), chunk(t, 1, 100, 20, 10)...), transport.ErrProtocol},
		"too large in chunks":    {chunk(t, 1, transport.DefaultMaxMessage+1, 0, 10), transport.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
			c, l := rawLink(t, to, links)
			if _, err := c.Write(append(tell(t, 1, 10), tt.bytes...)); err != nil {
				t.Fatal(err)
			}
			if seq := wait(t, "the good frame before it", l.got); seq != 1 {
				t.Errorf("got %d first", seq)
			}
			if err := wait(t, "end of the link", l.closed); !errors.Is(err, tt.want) {
				t.Errorf("closed with %v, want %v", err, tt.want)
			}
			ended(t, c)
		})
	}
}

func TestFramesDripIn(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	c, l := rawLink(t, to, links)
	for seq := range uint64(3) {
		for _, b := range tell(t, seq, 20) {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want := range uint64(3) {
		if got := wait(t, "frame", l.got); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
}

func TestPartialFrameStalls(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", StallTimeout: 50 * time.Millisecond})
	for _, n := range []int{1, 3, 4, 30} {
		c, l := rawLink(t, to, links)
		if _, err := c.Write(append(tell(t, 1, 10), tell(t, 2, 100)[:n]...)); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, "end of the link", l.closed); !errors.Is(err, transport.ErrStalled) {
			t.Errorf("%d bytes of a frame: closed with %v, want ErrStalled", n, err)
		}
	}
}

// A deadline that a completed frame left behind must not end an idle link.
func TestIdleAfterPartialFrame(t *testing.T) {
	const stall = 30 * time.Millisecond
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", StallTimeout: stall})
	c, l := rawLink(t, to, links)
	for seq := range uint64(3) {
		b := tell(t, seq, 100)
		for _, part := range [][]byte{b[:20], b[20:]} {
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		wait(t, "frame", l.got)
		select { // quiet for longer than any deadline that may be set
		case err := <-l.closed:
			t.Fatalf("idle link closed: %v", err)
		case <-time.After(3 * stall):
		}
	}
}

func TestPeerDoesNotRead(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", StallTimeout: 50 * time.Millisecond})
	_, l := rawLink(t, to, links)
	body := make([]byte, 256<<10)
	var places []uint64
	for {
		at, err := l.Send(&transport.Envelope{Verb: transport.VerbTell, Body: body})
		if errors.Is(err, transport.ErrFull) || errors.Is(err, transport.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, at)
	}
	if err := wait(t, "end of the link", l.closed); !errors.Is(err, transport.ErrStalled) {
		t.Errorf("closed with %v, want ErrStalled", err)
	}
	if !l.Handed(places[0]) || l.Handed(places[len(places)-1]) {
		t.Error("the first envelope was handed and the last was not; Handed says otherwise")
	}
}

// Answers are not refused at the soft limit. The link of a peer that reads none of them ends at
// the hard limit.
func TestAnswersPileUp(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	_, l := rawLink(t, to, links)
	body := make([]byte, transport.LargeBody)
	for range 16000 {
		if _, err := l.Send(&transport.Envelope{Verb: transport.VerbReply, Body: body}); err != nil {
			if !errors.Is(err, transport.ErrStalled) {
				t.Errorf("send: %v, want ErrStalled", err)
			}
			if err := wait(t, "end of the link", l.closed); !errors.Is(err, transport.ErrStalled) {
				t.Errorf("closed with %v, want ErrStalled", err)
			}
			return
		}
	}
	t.Error("1 GB of answers queued to a peer that does not read")
}

// Large answers are refused instead: they stay in the memory of their sender.
func TestLargeAnswersPileUp(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	_, l := rawLink(t, to, links)
	body := make([]byte, 32<<20)
	for i := range 8 {
		if _, err := l.Send(&transport.Envelope{Verb: transport.VerbReply, Body: body, Seq: uint64(10 + i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Send(&transport.Envelope{Verb: transport.VerbReply, Body: body, Seq: 1}); !errors.Is(err, transport.ErrFull) {
		t.Errorf("send: %v, want ErrFull", err)
	}
	if _, err := l.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: 2}); err != nil {
		t.Errorf("a small one: %v", err)
	}
}

// A peer whose greeting does not offer chunks gets none.
func TestPeerWithoutChunks(t *testing.T) {
	to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0"})
	c := raw(t, to)
	hello := transport.Greet(local("a"), to)
	hello.Largest = 0
	if w := introduce(t, c, hello); w.Err() != nil {
		t.Fatal(w.Err())
	}
	l := wait(t, "accepted link", links)
	e := &transport.Envelope{Verb: transport.VerbTell, Seq: 5, Body: make([]byte, transport.MaxFrame)}
	if _, err := l.Send(e); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("send: %v, want ErrTooLarge", err)
	}
	e.Body = e.Body[:transport.MaxFrame/2]
	if _, err := l.Send(e); err != nil {
		t.Fatal(err)
	}
	var got transport.Envelope
	if err := got.Parse(readFramed(t, c)); err != nil || got.Verb != transport.VerbTell || len(got.Body) != len(e.Body) {
		t.Errorf("got a %v of %d bytes, %v", got.Verb, len(got.Body), err)
	}
}

// fakeServer accepts one connection and hands it to serve.
func fakeServer(t *testing.T, serve func(net.Conn)) transport.Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return transport.Endpoint{Node: "b", Epoch: "epoch-b", Addr: ln.Addr().String()}
}

func TestDialHostileServer(t *testing.T) {
	answer := func(b []byte) func(net.Conn) {
		return func(c net.Conn) {
			c.Read(make([]byte, 4<<10)) // the hello
			c.Write(b)
		}
	}
	good := transport.Welcome{Version: transport.Version, Node: "b", Epoch: "epoch-b"}
	with := func(change func(*transport.Welcome)) []byte {
		w := good
		change(&w)
		return framed(w.Append(nil))
	}
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  error
	}{
		"hangs up":      {func(net.Conn) {}, transport.ErrNoPeer},
		"garbage":       {answer([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), transport.ErrProtocol},
		"not a welcome": {answer(framed([]byte("nothing of the kind"))), transport.ErrProtocol},
		"other node":    {answer(with(func(w *transport.Welcome) { w.Node = "c" })), transport.ErrIdentity},
		"other epoch":   {answer(with(func(w *transport.Welcome) { w.Epoch = "epoch-c" })), transport.ErrIdentity},
		"version":       {answer(with(func(w *transport.Welcome) { w.Version = 9 })), transport.ErrVersion},
		"busy":          {answer(with(func(w *transport.Welcome) { w.Status = transport.StatusBusy })), transport.ErrBusy},
		"new status":    {answer(with(func(w *transport.Welcome) { w.Status = 200 })), transport.ErrProtocol},
		"silent":        {func(c net.Conn) { io.Copy(io.Discard, c) }, transport.ErrNoPeer},
	} {
		t.Run(name, func(t *testing.T) {
			tr := dialler(t, tcp.Config{HandshakeTimeout: 300 * time.Millisecond})
			_, _, err := dial(t, tr, fakeServer(t, tt.serve))
			if !errors.Is(err, tt.want) {
				t.Errorf("dial: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDialEndsWithContextAndTransport(t *testing.T) {
	reached := make(chan struct{}, 1)
	silent := func(c net.Conn) {
		reached <- struct{}{}
		io.Copy(io.Discard, c)
	}
	fail := func(transport.Link) transport.Receiver { t.Error("open called"); return newSink() }

	tr := dialler(t, tcp.Config{HandshakeTimeout: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	if _, err := tr.Dial(ctx, fakeServer(t, silent), fail); !errors.Is(err, context.Canceled) || !errors.Is(err, transport.ErrNoPeer) {
		t.Errorf("dial with a context that ended: %v", err)
	}
	go func() { <-reached; tr.Close() }()
	if _, err := tr.Dial(t.Context(), fakeServer(t, silent), fail); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("dial while the transport closed: %v, want ErrClosed", err)
	}
}

// A transport closes although a peer is in the middle of its greeting, or reads nothing.
func TestCloseDoesNotHang(t *testing.T) {
	t.Parallel()
	tr := tcp.New(tcp.Config{Listen: "127.0.0.1:0"})
	links := make(chan accepted, 1)
	addr, err := tr.Start(t.Context(), local("b"), func(l transport.Link) transport.Receiver {
		s := newSink()
		links <- accepted{l, s}
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	to := transport.Endpoint{Node: "b", Addr: addr}
	raw(t, to)
	_, l := rawLink(t, to, links)
	for err == nil {
		_, err = l.Send(&transport.Envelope{Verb: transport.VerbTell, Body: make([]byte, 256<<10)})
	}
	closed := make(chan error, 1)
	go func() { closed <- tr.Close() }()
	if err := wait(t, "Close", closed); err != nil {
		t.Error(err)
	}
	wait(t, "Closed", l.closed)
}

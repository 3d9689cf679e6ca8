package tcp_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// tape is a proxy to one server, which records what both sides of a connection send.
type tape struct {
	addr string
	mu   sync.Mutex
	said [2]bytes.Buffer // by the dialler, and by the server
}

func record(t *testing.T, server string) *tape {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tape{addr: ln.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		from, err := ln.Accept()
		if err != nil {
			return
		}
		defer from.Close()
		to, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer to.Close()
		var both sync.WaitGroup
		for i, way := range [][2]net.Conn{{from, to}, {to, from}} {
			both.Go(func() {
				io.Copy(way[1], io.TeeReader(way[0], side{p, i}))
				way[1].(*net.TCPConn).CloseWrite()
			})
		}
		both.Wait()
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return p
}

type side struct {
	p *tape
	i int
}

func (s side) Write(b []byte) (int, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.said[s.i].Write(b)
}

// of returns the frames that one side said.
func (p *tape) of(i int) (frames [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := bytes.Clone(p.said[i].Bytes())
	for len(b) >= 4 {
		n := 4 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			break
		}
		frames, b = append(frames, b[:n]), b[n:]
	}
	return frames
}

// The recorded bytes of a connection are refused on any other one: all of them or a part, in both
// directions, with a token or without.
func TestRecordingIsNotServed(t *testing.T) {
	for _, token := range []string{"", "s3cret"} {
		to, links := serve(t, tcp.Config{Listen: "127.0.0.1:0", Token: token, HandshakeTimeout: 300 * time.Millisecond})
		p := record(t, to.Addr)
		tr := dialler(t, tcp.Config{Token: token, HandshakeTimeout: 300 * time.Millisecond})
		l, got, err := dial(t, tr, transport.Endpoint{Node: "b", Addr: p.addr})
		if err != nil {
			t.Fatal(err)
		}
		far := wait(t, "link", links)
		for seq := range uint64(3) {
			if _, err := l.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: seq + 1}); err != nil {
				t.Fatal(err)
			}
			wait(t, "a tell", far.got)
			if _, err := far.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: seq + 1}); err != nil {
				t.Fatal(err)
			}
			wait(t, "a tell back", got.got)
		}
		l.Close(errors.New("that is all"))
		wait(t, "end of the link", far.closed)

		said := p.of(0)
		if len(said) != 5 { // hello, proof, three tells
			t.Fatalf("recorded %d frames", len(said))
		}
		for n := 1; n <= len(said); n++ {
			c := raw(t, to)
			c.Write(bytes.Join(said[:n], nil)) // it may be closed already
			ended(t, c)
		}
		c := raw(t, to) // and one frame after the other
		for _, frame := range said {
			c.Write(frame)
			time.Sleep(time.Millisecond)
		}
		ended(t, c)
		if len(links) > 0 {
			t.Error("a recording opened a link")
		}

		answers := p.of(1)
		for n := 1; n <= len(answers); n++ {
			fake := fakeServer(t, func(c net.Conn) {
				c.Write(bytes.Join(answers[:n], nil))
				io.Copy(io.Discard, c)
			})
			fake.Epoch = ""
			_, s, err := dial(t, tr, fake)
			if err == nil || n > 1 && !errors.Is(err, transport.ErrDenied) {
				t.Errorf("dialling a recording of %d frames: %v, want ErrDenied", n, err)
			}
			if len(s.got) > 0 {
				t.Error("a recording was received")
			}
		}
	}
}

// If the port belongs to another kind of server, the dialler's error says so.
func TestWhatAnswersIsNamed(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	plain, secured := httptest.NewServer(ok), httptest.NewTLSServer(ok)
	t.Cleanup(plain.Close)
	t.Cleanup(secured.Close)
	trust := secured.Client().Transport.(*http.Transport).TLSClientConfig
	speaks := func(b string) transport.Endpoint {
		return fakeServer(t, func(c net.Conn) {
			c.Write([]byte(b))
			io.Copy(io.Discard, c)
		})
	}
	for name, tt := range map[string]struct {
		addr string
		tls  *tls.Config
		want error
		text string
	}{
		"HTTP":           {plain.Listener.Addr().String(), nil, transport.ErrProtocol, "does not speak Tandem: it looks like HTTP"},
		"HTTPS":          {secured.Listener.Addr().String(), trust, transport.ErrProtocol, "does not speak Tandem: it looks like HTTP"},
		"HTTP with TLS":  {plain.Listener.Addr().String(), trust, transport.ErrProtocol, "does not speak Tandem: it looks like HTTP"},
		"SSH":            {speaks("SSH-2.0-x\r\n").Addr, nil, transport.ErrProtocol, `does not speak Tandem: its first bytes are "SSH-"`},
		"TLS":            {speaks("\x15\x03\x01\x00\x02\x02\x16").Addr, nil, transport.ErrProtocol, "it looks like TLS"},
		"nobody answers": {speaks("").Addr, nil, transport.ErrNoPeer, "the connection is accepted, and the greeting is not answered"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := dialler(t, tcp.Config{TLS: tt.tls, HandshakeTimeout: 2 * time.Second})
			_, _, err := dial(t, tr, transport.Endpoint{Node: "b", Addr: tt.addr})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("dial: %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

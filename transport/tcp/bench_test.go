package tcp_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// counter is a Receiver that calls on with each envelope, and reports when n have come.
type counter struct {
	on    func(e *transport.Envelope)
	room  chan struct{}
	n     atomic.Int64
	until int64
	done  chan struct{}
}

func (c *counter) Receive(e *transport.Envelope) {
	if c.on != nil {
		c.on(e)
	}
	if n := c.n.Add(1); n == c.until {
		close(c.done)
	}
}

func (c *counter) Drained() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

func (c *counter) Flush()       {}
func (c *counter) Disturbed()   {}
func (c *counter) Closed(error) {}

// benchPair returns a link of "a" to "b"; on makes what b does with an envelope.
func benchPair(b *testing.B, on func(l transport.Link) func(*transport.Envelope)) (l transport.Link, near, far *counter) {
	near = &counter{room: make(chan struct{}, 1), until: int64(b.N), done: make(chan struct{})}
	far = &counter{until: int64(b.N), done: make(chan struct{})}
	server := tcp.New(tcp.Config{Listen: "127.0.0.1:0"})
	addr, err := server.Start(b.Context(), local("b"), func(l transport.Link) transport.Receiver {
		if on != nil {
			far.on = on(l)
		}
		return far
	})
	if err != nil {
		b.Fatal(err)
	}
	client := dialler(b, tcp.Config{})
	l, err = client.Dial(context.Background(), transport.Endpoint{Node: "b", Addr: addr}, func(transport.Link) transport.Receiver { return near })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	b.ReportAllocs()
	b.ResetTimer()
	return l, near, far
}

func rate(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s") }

// BenchmarkTell streams 64-byte bodies one way, from one sender.
func BenchmarkTell(b *testing.B) {
	l, near, far := benchPair(b, nil)
	e := transport.Envelope{Verb: transport.VerbTell, Target: "alice", Body: make([]byte, 64)}
	for i := range b.N {
		e.Seq = uint64(i)
		for {
			_, err := l.Send(&e)
			if err == nil {
				break
			}
			if !errors.Is(err, transport.ErrFull) {
				b.Fatal(err)
			}
			<-near.room
		}
	}
	<-far.done
	rate(b)
}

// BenchmarkPingPong sends one envelope there and back at a time.
func BenchmarkPingPong(b *testing.B) {
	l, near, _ := benchPair(b, echo)
	next := make(chan struct{}, 1)
	near.on = func(*transport.Envelope) { next <- struct{}{} }
	e := transport.Envelope{Verb: transport.VerbRequest, Target: "alice", Body: make([]byte, 64)}
	for range b.N {
		l.Send(&e)
		<-next
	}
	rate(b)
}

// BenchmarkAsk64 keeps 64 envelopes going there and back, one for each goroutine.
func BenchmarkAsk64(b *testing.B) {
	const callers = 64
	l, near, _ := benchPair(b, echo)
	var next [callers]chan struct{}
	var left atomic.Int64
	left.Store(int64(b.N))
	near.on = func(e *transport.Envelope) { next[e.Seq] <- struct{}{} }
	for c := range callers {
		next[c] = make(chan struct{}, 1)
	}
	for c := range callers {
		go func() {
			e := transport.Envelope{Verb: transport.VerbRequest, Seq: uint64(c), Target: "alice", Body: make([]byte, 64)}
			for left.Add(-1) >= 0 {
				l.Send(&e)
				<-next[c]
			}
		}()
	}
	<-near.done
	rate(b)
}

// BenchmarkLarge sends 64 MiB at a time.
func BenchmarkLarge(b *testing.B) {
	came := make(chan struct{}, 1)
	l, _, _ := benchPair(b, func(transport.Link) func(*transport.Envelope) {
		return func(*transport.Envelope) { came <- struct{}{} }
	})
	e := transport.Envelope{Verb: transport.VerbReply, Body: make([]byte, 64<<20)}
	b.SetBytes(int64(len(e.Body)))
	for i := range b.N {
		e.Seq = uint64(i)
		l.Send(&e)
		<-came
	}
}

func echo(l transport.Link) func(*transport.Envelope) {
	return func(e *transport.Envelope) {
		l.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: e.Seq, Body: e.Body})
	}
}

// BenchmarkRawPingPong is the limit for BenchmarkPingPong: the same bytes over a
// blocking socket, two goroutines in all.
func BenchmarkRawPingPong(b *testing.B) {
	near, far := socketPair(b)
	go io.Copy(struct{ io.Writer }{far}, struct{ io.Reader }{far})
	msg := make([]byte, 4+32+3+5+64)
	b.ResetTimer()
	for range b.N {
		near.Write(msg)
		if _, err := io.ReadFull(near, msg); err != nil {
			b.Fatal(err)
		}
	}
	rate(b)
}

// BenchmarkRawTell is the limit for BenchmarkTell: the same bytes framed through
// buffered sockets, without envelopes.
func BenchmarkRawTell(b *testing.B) {
	near, far := socketPair(b)
	msg := make([]byte, 4+32+3+5+64)
	binary.BigEndian.PutUint32(msg, uint32(len(msg)-4))
	b.ResetTimer()
	go func() {
		w := bufio.NewWriterSize(near, 64<<10)
		for range b.N {
			w.Write(msg)
		}
		w.Flush()
	}()
	r := bufio.NewReaderSize(far, 64<<10)
	for range b.N {
		head, err := r.Peek(4)
		if err != nil {
			b.Fatal(err)
		}
		r.Discard(4 + int(binary.BigEndian.Uint32(head)))
	}
	rate(b)
}

func socketPair(b *testing.B) (near, far net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

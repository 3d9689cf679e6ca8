//go:build linux && !race

package hostile

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// mallory is an attacker: a valid certificate, and a client of its own that sends what it
// likes.
type mallory struct{ role }

// line is one of mallory's links: a connection that was greeted. Its methods are for one
// goroutine.
type line struct {
	conn   net.Conn
	codec  codec.Codec
	seq    uint64
	buf    []byte
	opened chan struct{} // gets a token with each answer to an open
	ponged chan struct{} // and with each to a ping
	gone   chan struct{} // closed when nothing is read any more

	writing sync.Mutex // guards conn's writes
}

// dial opens a link to the victim, as a node of that name.
func (m *mallory) dial(ctx context.Context, node string) (*line, error) {
	cfg, err := m.tls()
	if err != nil {
		return nil, err
	}
	cfg.ServerName = victimName
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", m.Addr)
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, codec: codec.Msgpack(codec.Limits{}), opened: make(chan struct{}, 1), ponged: make(chan struct{}, 1), gone: make(chan struct{})}
	if err := l.greet(node); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go l.read()
	return l, nil
}

func (l *line) greet(node string) error {
	h := transport.Greet(transport.Local{Cluster: "tandem", Node: node, Epoch: "e-" + node}, transport.Endpoint{Node: victimName})
	h.Nonce = transport.NewNonce()
	hello := h.Append(nil)
	if err := l.write(hello); err != nil {
		return err
	}
	welcome, err := readFrame(l.conn)
	if err != nil {
		return err
	}
	if w, err := transport.ParseWelcome(welcome); err != nil || w.Err() != nil {
		return errors.Join(err, w.Err())
	}
	if err := l.write(transport.Prove("", true, hello, welcome).Append(nil)); err != nil {
		return err
	}
	_, err = readFrame(l.conn)
	return err
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

func (l *line) write(frame []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(patience))
	l.buf = append(binary.BigEndian.AppendUint32(l.buf[:0], uint32(len(frame))), frame...)
	_, err := l.conn.Write(l.buf)
	return err
}

// read takes in what the victim says, and answers pings, so that the link lives.
func (l *line) read() {
	defer close(l.gone)
	signal := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	for {
		b, err := readFrame(l.conn)
		if err != nil {
			return
		}
		var e transport.Envelope
		if e.Parse(b) != nil {
			continue
		}
		switch e.Verb {
		case transport.VerbOpened:
			signal(l.opened)
		case transport.VerbPong:
			signal(l.ponged)
		case transport.VerbPing:
			go func() { _ = l.send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: time.Now()}) }()
		}
	}
}

// send sends an envelope, in pieces if it is large.
func (l *line) send(e *transport.Envelope) error {
	b, err := e.Append(nil)
	if err != nil || len(b) <= transport.MaxFrame {
		if err == nil {
			err = l.write(b)
		}
		return err
	}
	l.seq++
	return l.pieces(l.seq, b, len(b))
}

// pieces sends what there is of a large message of so many bytes.
func (l *line) pieces(number uint64, b []byte, total int) error {
	const piece = 512 << 10
	for from := 0; from < len(b); from += piece {
		e := transport.Envelope{Verb: transport.VerbChunk, Seq: number, Mark: transport.Mark{Below: uint64(total)}, TypeID: uint64(from), Body: b[from:min(from+piece, len(b))]}
		frame, err := e.Append(nil)
		if err == nil {
			err = l.write(frame)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// session is a link with a session.
func (m *mallory) session(ctx context.Context, node string) (*line, error) {
	l, err := m.dial(ctx, node)
	if err != nil {
		return nil, err
	}
	return l, l.ask(ctx, &transport.Envelope{Verb: transport.VerbOpen, Seq: 1}, l.opened)
}

// arrived waits until the victim has received all that was sent.
func (l *line) arrived(ctx context.Context) error {
	return l.ask(ctx, &transport.Envelope{Verb: transport.VerbPing, Seq: 7}, l.ponged)
}

func (l *line) ask(ctx context.Context, e *transport.Envelope, answered <-chan struct{}) error {
	if err := l.send(e); err != nil {
		return err
	}
	select {
	case <-answered:
		return nil
	case <-l.gone:
		return fmt.Errorf("the victim has ended the link")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// message sends v to an actor, without waiting for anything.
func (l *line) message(verb transport.Verb, to string, v interface{ WireName() string }) error {
	body, err := l.codec.Append(nil, v)
	if err != nil {
		return err
	}
	l.seq++
	return l.send(&transport.Envelope{Verb: verb, Seq: l.seq, Target: to, Codec: l.codec.ID(), Body: body, TypeID: transport.TypeID(v.WireName())})
}

// each runs do n times at once.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

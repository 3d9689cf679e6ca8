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
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// mallory is an attacker. It has a valid certificate, or NATS user, and a client of its own
// that sends anything.
type mallory struct {
	role
	from     net.IP       // where its connections come from, if not from anywhere
	listener net.Listener // of a hostile server

	once sync.Once // guards what follows
	road transport.Transport
	err  error
}

// line is one of mallory's links, on which the greeting is done. Its methods are for one
// goroutine.
type line struct {
	conn   net.Conn       // on TCP
	link   transport.Link // on a bus
	grant  transport.Grant
	codec  codec.Codec
	seq    uint64
	buf    []byte
	piece  int           // bytes of a large message that go at once
	opened chan struct{} // gets a token with each answer to an open
	ponged chan struct{} // with each to a ping
	reply  chan struct{} // and with each reply
	room   chan struct{} // and when there is room for more on a bus
	gone   chan struct{} // closed when nothing is read any more
	deaf   atomic.Bool   // it does not read

	writing sync.Mutex // guards conn's writes
}

func (m *mallory) newLine() *line {
	signal := func() chan struct{} { return make(chan struct{}, 1) }
	return &line{piece: (512 << 10) / max(m.Share, 1), codec: codec.Msgpack(codec.Limits{}), opened: signal(), ponged: signal(), reply: signal(), room: signal(), gone: make(chan struct{})}
}

// dial opens a link to the victim as a node of the given name.
func (m *mallory) dial(ctx context.Context, node string) (*line, error) {
	if m.Kind == onBus {
		return m.dialBus(ctx, node)
	}
	conn, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	l := m.newLine()
	l.conn = conn
	if err := l.greet(node, m.token()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go l.read()
	return l, nil
}

// connect opens a connection on which nothing has been sent yet.
func (m *mallory) connect(ctx context.Context) (net.Conn, error) {
	plain := &net.Dialer{}
	if m.from != nil {
		plain.LocalAddr = &net.TCPAddr{IP: m.from}
	}
	if m.Kind == byToken {
		return plain.DialContext(ctx, "tcp", m.Addr)
	}
	cfg, err := m.tls()
	if err != nil {
		return nil, err
	}
	cfg.ServerName = victimName
	return (&tls.Dialer{NetDialer: plain, Config: cfg}).DialContext(ctx, "tcp", m.Addr)
}

func (m *mallory) token() string {
	if m.Kind == byToken {
		return secret
	}
	return ""
}

func (l *line) greet(node, token string) error {
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
	if err := l.write(transport.Prove(token, true, hello, welcome).Append(nil)); err != nil {
		return err
	}
	b, err := readFrame(l.conn)
	if err != nil {
		return err
	}
	p, err := transport.ParseProof(b)
	if err != nil {
		return err
	}
	return p.Check(token, false, hello, welcome)
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
	l.buf = appendFrame(l.buf[:0], frame)
	_, err := l.conn.Write(l.buf)
	return err
}

// read receives what the victim sends, and answers pings, so that the link is not closed.
func (l *line) read() {
	defer close(l.gone)
	for !l.deaf.Load() {
		b, err := readFrame(l.conn)
		if err != nil {
			return
		}
		var e transport.Envelope
		if e.Parse(b) == nil {
			l.hear(&e)
		}
	}
	select {} // the connection stays open, and nobody reads
}

func (l *line) hear(e *transport.Envelope) {
	signal := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	switch e.Verb {
	case transport.VerbOpened:
		if l.link != nil {
			l.grant = e.Grant
		}
		signal(l.opened)
	case transport.VerbPong:
		signal(l.ponged)
	case transport.VerbReply:
		signal(l.reply)
	case transport.VerbChunk: // of a reply
		has := e.TypeID + uint64(len(e.Body))
		seq := e.Seq
		go func() {
			_ = l.send(&transport.Envelope{Verb: transport.VerbChunked, Seq: seq, Mark: transport.Mark{Below: has}})
		}()
		if has == e.Mark.Below {
			signal(l.reply)
		}
	case transport.VerbPing:
		seq := e.Seq
		go func() { _ = l.send(&transport.Envelope{Verb: transport.VerbPong, Seq: seq, Sent: time.Now()}) }()
	}
}

// send sends an envelope, in pieces if it is large.
func (l *line) send(e *transport.Envelope) error {
	if l.link != nil {
		return l.publish(e)
	}
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

// close ends the link.
func (l *line) close() {
	if l.link != nil {
		l.link.Close(errEnough)
		return
	}
	_ = l.conn.Close()
}

var errEnough = errors.New("enough")

// pieces sends a part of a large message of the given size.
func (l *line) pieces(number uint64, b []byte, total int) error {
	for from := 0; from < len(b); from += l.piece {
		e := transport.Envelope{Verb: transport.VerbChunk, Seq: number, Mark: transport.Mark{Below: uint64(total)}, TypeID: uint64(from), Body: b[from:min(from+l.piece, len(b))]}
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

// arrived waits until the victim has received everything that was sent.
func (l *line) arrived(ctx context.Context) error {
	return l.ask(ctx, &transport.Envelope{Verb: transport.VerbPing, Seq: 7}, l.ponged)
}

func (l *line) ask(ctx context.Context, e *transport.Envelope, answered <-chan struct{}) error {
	if err := l.send(e); err != nil {
		return err
	}
	return await(ctx, l, answered)
}

func await(ctx context.Context, l *line, answered <-chan struct{}) error {
	select {
	case <-answered:
		return nil
	case <-l.gone:
		return fmt.Errorf("the victim has ended the link")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// message sends v to an actor, and does not wait for an answer.
func (l *line) message(verb transport.Verb, to string, v interface{ WireName() string }) error {
	e, err := l.envelope(verb, to, v)
	if err != nil {
		return err
	}
	return l.send(e)
}

func (l *line) envelope(verb transport.Verb, to string, v interface{ WireName() string }) (*transport.Envelope, error) {
	body, err := l.codec.Append(nil, v)
	l.seq++
	return &transport.Envelope{Verb: verb, Seq: l.seq, Grant: l.grant, Target: to, Codec: l.codec.ID(), Body: body, TypeID: transport.TypeID(v.WireName())}, err
}

func appendFrame(dst, envelope []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(envelope))), envelope...)
}

func appendSeq(dst []byte, seq uint64) []byte { return binary.BigEndian.AppendUint64(dst, seq) }

// each runs do n times, all at the same time.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

package tcp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/transport"
)

// link is one connection after its greeting. It has two goroutines: run reads and calls the
// Receiver, and write writes. run is the owner: it waits for write, calls Receiver.Closed, and
// ends last.
type link struct {
	t     *Transport
	raw   net.Conn    // the socket itself, which Close closes
	conn  net.Conn    // raw, or TLS over it
	who   standing    // Recheck judges it again
	turn  *sync.Mutex // shared by the links with the same principal; see receive
	out   *transport.Outbox
	large *transport.Assembly // used by run
	recv  transport.Receiver  // set by open, before the goroutines start
	taken atomic.Uint64       // position in the stream up to which bytes may have been handed to the network; see write

	finishOnce sync.Once
	finishing  chan struct{} // closed by finish: the queue is written, and then the link ends
	closeOnce  sync.Once
	cause      error         // set before done is closed
	done       chan struct{} // closed by Close
	written    chan struct{} // closed when write has ended
}

var (
	_ transport.Link   = (*link)(nil)
	_ transport.Packer = (*link)(nil)
)

// newLink returns the link to a peer whose greeting said terms.
func newLink(t *Transport, raw, conn net.Conn, who standing, terms transport.Terms) *link {
	l := &link{
		t: t, raw: raw, conn: conn, who: who, turn: new(sync.Mutex),
		out:       transport.NewOutbox(transport.MaxFrame),
		large:     transport.NewAssembly(t.local.Largest(), false),
		finishing: make(chan struct{}),
		done:      make(chan struct{}),
		written:   make(chan struct{}),
	}
	if who.counted != nil {
		l.turn = &who.counted.turn
	}
	l.out.PackTells()
	l.out.Agree(t.local, terms)
	l.large.InflateWith(t.local.Compression)
	return l
}

// open asks for the Receiver of the link. It is called once, before run.
func (l *link) open(receiver func(transport.Link) transport.Receiver) { l.recv = receiver(l) }

// run runs the link until it ends.
func (l *link) run() {
	go l.write()
	err := l.read()
	if l.ending() { // the peer has ended too; what is queued here is still sent
		<-l.written
	}
	l.Close(err)
	<-l.written
	l.recv.Closed(l.cause)
	l.t.end(l)
}

// Peer implements transport.Link.
func (l *link) Peer() transport.Peer { return l.who.peer }

// Road implements transport.Link.
func (l *link) Road() string { return Road }

// RemoteAddr implements transport.Addressed.
func (l *link) RemoteAddr() netip.Addr {
	if a, ok := l.raw.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Send implements transport.Link. If 64 MiB of answers wait because the peer does not read them,
// the link closes and Send returns ErrStalled.
func (l *link) Send(e *transport.Envelope) (at uint64, err error) {
	at, err = l.out.Append(e)
	if err == transport.ErrStalled {
		l.Close(err)
	}
	return at, err
}

// Row implements transport.Rower.
func (l *link) Row() *transport.Row { return l.out.Row() }

// Packs implements transport.Packer.
func (l *link) Packs() bool { return l.out.Packs() }

// Handed implements transport.Link.
func (l *link) Handed(at uint64) bool { return l.out.Handed(at, l.taken.Load()) }

// Close implements transport.Link.
func (l *link) Close(err error) {
	l.closeOnce.Do(func() {
		if err == nil {
			err = transport.ErrClosed
		}
		l.cause = err
		l.out.Discard()
		close(l.done)
		// l.conn is not closed, because TLS may wait for seconds to write its last message.
		l.raw.Close()
	})
}

// finish refuses further envelopes. The link ends when the queued ones are written and the peer
// has ended its side.
func (l *link) finish() {
	l.finishOnce.Do(func() {
		l.out.Close()
		close(l.finishing)
	})
}

// ending reports whether finish was called.
func (l *link) ending() bool {
	select {
	case <-l.finishing:
		return true
	default:
		return false
	}
}

// over reports whether Close was called.
func (l *link) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

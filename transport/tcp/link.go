package tcp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/transport"
)

// link is one connection after its greeting. Two goroutines run it: run reads and
// calls the Receiver, write writes. run is the owner: it ends last, waits for write,
// and tells the Receiver.
type link struct {
	t     *Transport
	raw   net.Conn // the socket itself, which Close closes
	conn  net.Conn // raw, or TLS over it
	who   standing // Recheck has it judged anew
	out   *transport.Outbox
	large *transport.Assembly // used by run
	recv  transport.Receiver  // set by open, before the goroutines start
	taken atomic.Uint64       // stream place before which bytes may have left; see write

	finishOnce sync.Once
	finishing  chan struct{} // closed by finish: write the queue, then end
	closeOnce  sync.Once
	cause      error         // set before done is closed
	done       chan struct{} // closed by Close
	written    chan struct{} // closed when write has ended
}

var _ transport.Link = (*link)(nil)

// newLink returns the link to a peer which takes messages of up to largest bytes.
func newLink(t *Transport, raw, conn net.Conn, who standing, largest uint64) *link {
	l := &link{
		t: t, raw: raw, conn: conn, who: who,
		out:       transport.NewOutbox(transport.MaxFrame),
		large:     transport.NewAssembly(t.local.Largest(), false),
		finishing: make(chan struct{}),
		done:      make(chan struct{}),
		written:   make(chan struct{}),
	}
	l.out.PackTells()
	l.out.SendLarge(t.local.Common(largest))
	return l
}

// open introduces the link to its Receiver. Called once, before run.
func (l *link) open(receiver func(transport.Link) transport.Receiver) { l.recv = receiver(l) }

// run runs the link until it ends.
func (l *link) run() {
	go l.write()
	err := l.read()
	if l.ending() { // the peer ended too; what is queued here still goes out
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

// Send implements transport.Link. A peer that lets 64 MiB of answers pile up is
// stalled: the link closes, and Send returns ErrStalled.
func (l *link) Send(e *transport.Envelope) (at uint64, err error) {
	at, err = l.out.Append(e)
	if err == transport.ErrStalled {
		l.Close(err)
	}
	return at, err
}

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
		// Not l.conn: closing TLS may wait for seconds to write its farewell.
		l.raw.Close()
	})
}

// finish refuses further envelopes, has the queued ones written, and then ends the
// link when the peer has ended its side.
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

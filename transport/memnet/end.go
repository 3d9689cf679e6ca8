package memnet

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/transport"
)

// end is one end of a link. Two goroutines run it: pump sends what is in the send queue, and
// deliver takes what arrives and calls the Receiver. deliver is the owner: it waits for pump,
// calls Receiver.Closed, and ends last.
type end struct {
	t     *Transport
	id    uint64 // increases in the order in which ends are made
	far   *end
	peer  transport.Peer
	out   *transport.Outbox
	in    *wire               // what is in flight to this end
	large *transport.Assembly // used by deliver
	draw  *rand.Rand          // used by pump
	recv  transport.Receiver  // set before the goroutines start
	taken atomic.Uint64       // position in the stream up to which bytes were sent

	disturbed  chan struct{} // holds a token while Disturbed has to be called
	finishOnce sync.Once
	finishing  chan struct{} // closed by finish
	closeOnce  sync.Once
	cause      error         // set before done is closed
	done       chan struct{} // closed by Close
	pumped     chan struct{} // closed when pump has ended
}

var (
	_ transport.Link   = (*end)(nil)
	_ transport.Packer = (*end)(nil)
)

// newEnd returns an end whose peer's greeting said terms.
func newEnd(t *Transport, peer transport.Peer, terms transport.Terms) *end {
	e := &end{
		t: t, peer: peer,
		out:       transport.NewOutbox(transport.MaxFrame),
		large:     transport.NewAssembly(t.local.Largest(), !t.direct),
		in:        newWire(),
		disturbed: make(chan struct{}, 1),
		finishing: make(chan struct{}),
		done:      make(chan struct{}),
		pumped:    make(chan struct{}),
	}
	if t.net.cfg.PackTells {
		e.out.PackTells()
	}
	e.out.Agree(t.local, terms)
	e.large.InflateWith(t.local.Compression)
	return e
}

// start starts the goroutines of the end. The caller has added two to its transport's tasks.
func (e *end) start() {
	go e.pump()
	go e.deliver()
}

// introduce makes the accepting side's Receiver and then runs the end.
func (e *end) introduce() {
	e.recv = e.t.accept(e)
	go e.pump()
	e.deliver()
}

// Peer implements transport.Link.
func (e *end) Peer() transport.Peer { return e.peer }

// Road implements transport.Link.
func (e *end) Road() string { return e.t.road }

// Send implements transport.Link.
func (e *end) Send(env *transport.Envelope) (at uint64, err error) {
	at, err = e.out.Append(env)
	if err == transport.ErrStalled {
		e.Close(err)
	}
	return at, err
}

// Packs implements transport.Packer.
func (e *end) Packs() bool { return e.out.Packs() }

// Row implements transport.Rower.
func (e *end) Row() *transport.Row { return e.out.Row() }

// Handed implements transport.Link.
func (e *end) Handed(at uint64) bool { return e.out.Handed(at, e.taken.Load()) }

// Close implements transport.Link.
func (e *end) Close(err error) {
	e.closeOnce.Do(func() {
		if err == nil {
			err = transport.ErrClosed
		}
		e.cause = err
		e.out.Discard()
		close(e.done)
	})
}

// finish refuses further envelopes, and closes the end once the queued ones are sent.
func (e *end) finish() {
	e.finishOnce.Do(func() {
		e.out.Close()
		close(e.finishing)
	})
}

func (e *end) disturb() { token(e.disturbed) }

// isClosed reports whether c, on which nothing is ever sent, is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// loopback is the road from a node to itself, in memory. Only requests with a key need it
// between actors of one node: they have to go through the table of keys, because what a key
// means must not depend on where its callers are.
type loopback struct {
	principal string // the principal of this node's own actors

	local      transport.Peer
	maxMessage int // the largest message in bytes, because it is not cut into chunks here
	accept     func(transport.Link) transport.Receiver

	owned  sync.WaitGroup
	mu     sync.Mutex // guards what follows
	ends   []*loopEnd
	closed bool
}

// OwnPrincipal returns the principal of this node's own actors.
func (n *Node) OwnPrincipal() string { return n.own }

func (l *loopback) Road() string { return rpc.LoopbackRoad }
func (l *loopback) Direct() bool { return true }

func (l *loopback) Start(_ context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	l.local = transport.Peer{Node: local.Node, Epoch: local.Epoch, Principal: l.principal}
	l.accept, l.maxMessage = accept, local.Largest()
	return "", nil
}

// Dial opens a link with both ends in this node.
func (l *loopback) Dial(_ context.Context, _ transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	near, far := newLoopEnd(l.local, l.maxMessage), newLoopEnd(l.local, l.maxMessage)
	near.other, far.other = far, near
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, transport.ErrClosed
	}
	l.ends = []*loopEnd{near, far}
	near.to, far.to = open(near), l.accept(far)
	l.owned.Go(near.pump)
	l.owned.Go(far.pump)
	return near, nil
}

func (l *loopback) Close() error {
	l.mu.Lock()
	l.closed = true
	ends := l.ends
	l.mu.Unlock()
	for _, e := range ends {
		e.Close(transport.ErrClosed)
	}
	l.owned.Wait()
	return nil
}

// loopEnd is one end of the link. What is sent on it is received at the other end.
type loopEnd struct {
	peer  transport.Peer
	out   *transport.Outbox
	other *loopEnd
	to    transport.Receiver
	wake  chan struct{} // holds a token if the pump is to receive
	turn  chan struct{} // holds a token while somebody receives, who owns inlet
	gone  chan struct{} // closed when this end or the other one is closed
	inlet

	once sync.Once
	err  error // set before gone is closed
}

// inlet is what an end keeps from one batch of envelopes to the next.
type inlet struct {
	env   transport.Envelope
	large *transport.Assembly
	spare []byte // memory of the last batch
	over  bool   // Closed was called
}

// maxLoopSpare is how large the memory of a batch may be that is kept for a later one.
const maxLoopSpare = 64 << 10

func newLoopEnd(peer transport.Peer, most int) *loopEnd {
	return &loopEnd{peer: peer, out: transport.NewOutbox(most), wake: make(chan struct{}, 1), turn: make(chan struct{}, 1), gone: make(chan struct{}),
		inlet: inlet{large: transport.NewAssembly(0, false)}} // no message is cut into chunks here: a frame is as large as its message
}

func (e *loopEnd) Peer() transport.Peer { return e.peer }
func (e *loopEnd) Road() string         { return rpc.LoopbackRoad }
func (e *loopEnd) Handed(uint64) bool   { return true }

func (e *loopEnd) Send(env *transport.Envelope) (at uint64, err error) {
	at, err = e.out.Append(env)
	e.other.poke()
	return at, err
}

// SendQuietly and Deliver implement wire.Near.
func (e *loopEnd) SendQuietly(env *transport.Envelope) (uint64, error) { return e.out.Append(env) }

func (e *loopEnd) Deliver() {
	to := e.other
	select {
	case to.turn <- struct{}{}:
		to.receive()
	default: // who receives may have taken what was there before
		to.poke()
	}
}

// poke wakes the pump.
func (e *loopEnd) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *loopEnd) Close(err error) {
	for _, end := range []*loopEnd{e, e.other} {
		end.once.Do(func() {
			end.err = err
			end.out.Close()
			close(end.gone)
		})
	}
}

// pump receives at this end what is sent on the other end, until the link is closed.
func (e *loopEnd) pump() {
	for {
		select {
		case <-e.wake:
			e.turn <- struct{}{}
			e.receive()
		case <-e.gone:
			e.turn <- struct{}{}
			e.over = true
			e.to.Closed(e.err)
			<-e.turn
			return
		}
	}
}

// receive receives what is queued, and gives the caller's turn back. What is queued meanwhile is for who queues it: it delivers
// that, or wakes the pump.
func (e *loopEnd) receive() {
	defer func() { <-e.turn }()
	if e.over {
		return
	}
	taken, _, drained := e.other.out.Take(e.spare)
	for frames := taken; len(frames) > 0; {
		n := binary.BigEndian.Uint32(frames)
		err := e.env.Parse(frames[4 : 4+n])
		if err == nil {
			err = e.large.Deliver(&e.env, e.out, e.to)
		}
		if err != nil {
			e.Close(errors.Join(transport.ErrProtocol, err))
			break
		}
		frames = frames[4+n:]
	}
	if e.spare = taken; cap(taken) > maxLoopSpare {
		e.spare = nil
	}
	e.to.Flush()
	if drained {
		e.other.to.Drained()
	}
}

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
	gone  chan struct{} // closed when this end or the other one is closed

	once sync.Once
	err  error // set before gone is closed
}

func newLoopEnd(peer transport.Peer, most int) *loopEnd {
	return &loopEnd{peer: peer, out: transport.NewOutbox(most), gone: make(chan struct{})}
}

func (e *loopEnd) Peer() transport.Peer                         { return e.peer }
func (e *loopEnd) Road() string                                 { return rpc.LoopbackRoad }
func (e *loopEnd) Send(env *transport.Envelope) (uint64, error) { return e.out.Append(env) }
func (e *loopEnd) Handed(uint64) bool                           { return true }

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
	var env transport.Envelope
	large := transport.NewAssembly(0, false) // no message is cut into chunks here: a frame is as large as its message
	for {
		select {
		case <-e.other.out.Wake():
		case <-e.gone:
			e.to.Closed(e.err)
			return
		}
		frames, _, drained := e.other.out.Take(nil) // without a buffer to reuse, since the receiver may keep what it gets
		for len(frames) > 0 {
			n := binary.BigEndian.Uint32(frames)
			err := env.Parse(frames[4 : 4+n])
			if err == nil {
				err = large.Deliver(&env, e.out, e.to)
			}
			if err != nil {
				e.Close(errors.Join(transport.ErrProtocol, err))
				break
			}
			frames = frames[4+n:]
		}
		e.to.Flush()
		if drained {
			e.other.to.Drained()
		}
	}
}

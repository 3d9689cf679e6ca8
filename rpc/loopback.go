package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/tandem-go/tandem/transport"
)

// loopback is the road from a node to itself, in memory. Requests between actors of one
// node do not need it, save those with a key: what one key means must not depend on
// where its callers are, so those go through the table of keys like others.
type loopback struct {
	principal string // of this node's own actors

	local  transport.Peer
	most   int // bytes of a message, which is not cut into chunks here
	accept func(transport.Link) transport.Receiver

	owned sync.WaitGroup
	mu    sync.Mutex // guards what follows
	ends  []*loopEnd
	shut  bool
}

// LoopbackRoad is the road of requests from a node to itself, for Config.Principals. Its
// peer's principal is what the node's roads make of the node: transport.Anonymous or
// transport.TokenHolder where they prove no names, else NodePrincipal of its name.
const LoopbackRoad = "loopback"

// OwnPrincipal is who requests of this node's own actors to each other come from.
func (n *Node) OwnPrincipal() string { return n.own }

func (l *loopback) Road() string { return LoopbackRoad }
func (l *loopback) Direct() bool { return true }

func (l *loopback) Start(_ context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	l.local = transport.Peer{Node: local.Node, Epoch: local.Epoch, Principal: l.principal}
	l.accept, l.most = accept, local.Largest()
	return "", nil
}

// Dial makes a link whose both ends are here.
func (l *loopback) Dial(_ context.Context, _ transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	near, far := newLoopEnd(l.local, l.most), newLoopEnd(l.local, l.most)
	near.other, far.other = far, near
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
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
	l.shut = true
	ends := l.ends
	l.mu.Unlock()
	for _, e := range ends {
		e.Close(transport.ErrClosed)
	}
	l.owned.Wait()
	return nil
}

// loopEnd is one end of the link. What is sent on it is received at the other.
type loopEnd struct {
	peer  transport.Peer
	out   *transport.Outbox
	other *loopEnd
	to    transport.Receiver
	gone  chan struct{} // closed when this end or the other was closed

	once sync.Once
	err  error // set before gone is closed
}

func newLoopEnd(peer transport.Peer, most int) *loopEnd {
	return &loopEnd{peer: peer, out: transport.NewOutbox(most), gone: make(chan struct{})}
}

func (e *loopEnd) Peer() transport.Peer                         { return e.peer }
func (e *loopEnd) Road() string                                 { return LoopbackRoad }
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

// pump receives here what was sent at the other end.
func (e *loopEnd) pump() {
	var env transport.Envelope
	large := transport.NewAssembly(0, false) // nothing is: frames are as large as messages
	for {
		select {
		case <-e.other.out.Wake():
		case <-e.gone:
			e.to.Closed(e.err)
			return
		}
		frames, _, drained := e.other.out.Take(nil) // what is received may be kept
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

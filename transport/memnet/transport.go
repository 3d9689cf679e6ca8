package memnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Transport is one system's access to a road. Make it with Network.Transport.
type Transport struct {
	net    *Network
	road   string
	direct bool

	principal string // the principal that its peers see

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	tasks  sync.WaitGroup // two goroutines for each end of a link

	// net.mu guards what follows; local and accept do not change once started.
	local   transport.Local
	accept  func(transport.Link) transport.Receiver
	addr    string
	started bool
	closed  bool
}

var _ transport.Transport = (*Transport)(nil)

// Road implements transport.Transport.
func (t *Transport) Road() string { return t.road }

// Direct implements transport.Transport.
func (t *Transport) Direct() bool { return t.direct }

// Identity returns the principal that the system's peers see.
func (t *Transport) Identity() string { return t.principal }

// Start implements transport.Transport. On a bus the address is empty.
func (t *Transport) Start(_ context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case t.closed:
		return "", fmt.Errorf("%w: transport was closed", transport.ErrClosed)
	case t.started:
		return "", errors.New("memnet: Start called twice")
	}
	t.local, t.accept, t.started = local, accept, true
	if t.direct {
		n.serial["addr"]++
		t.addr = fmt.Sprintf("mem:%s:%d", t.road, n.serial["addr"])
	}
	n.nodes = append(n.nodes, t)
	return t.addr, nil
}

// Dial implements transport.Transport. The greeting takes as long as a message there and one
// back. If no answer comes, Dial fails after Config.DialTimeout.
func (t *Transport) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	t.net.mu.Lock()
	ready := t.started && !t.closed
	t.net.mu.Unlock()
	if !ready {
		return nil, fmt.Errorf("%w: transport not started, or closed", transport.ErrClosed)
	}
	ctx, cancel := context.WithTimeout(ctx, t.net.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()

	near, far, err := t.greet(ctx, to)
	if err != nil {
		if t.ctx.Err() != nil {
			return nil, fmt.Errorf("%w: transport closed while dialling", transport.ErrClosed)
		}
		return nil, err
	}
	near.recv = open(near)
	near.start()
	go far.introduce()
	return near, nil
}

// greet sends a hello to the peer and waits for its welcome.
func (t *Transport) greet(ctx context.Context, to transport.Endpoint) (near, far *end, err error) {
	f, _, _ := t.net.state(t.road, t.local.Node, to.Node)
	if f.NoResponders {
		return nil, nil, fmt.Errorf("%w: no responders for %s", transport.ErrAbsent, to.Node)
	}
	t.net.mu.Lock()
	draw := t.net.generator("greeting/" + t.road + "/" + t.local.Node + "/" + to.Node)
	t.net.mu.Unlock()
	if err := t.travel(ctx, t.local.Node, to.Node, draw.Float64()); err != nil {
		return nil, nil, err
	}
	t.net.mu.Lock()
	peer := t.net.find(t, to)
	t.net.mu.Unlock()
	if peer == nil {
		return nil, nil, fmt.Errorf("%w: %s is not on %s", transport.ErrAbsent, to.Node, t.road)
	}
	h, err := transport.ParseHello(transport.Greet(t.local, to).Append(nil))
	if err != nil {
		return nil, nil, err
	}
	w, err := transport.ParseWelcome(transport.Answer(peer.local, h).Append(nil))
	if err != nil {
		return nil, nil, err
	}
	if err := t.travel(ctx, peer.local.Node, t.local.Node, draw.Float64()); err != nil {
		return nil, nil, err
	}
	if err := w.Err(); err != nil {
		return nil, nil, err
	}
	return t.connect(peer, h, w)
}

// travel waits as long as a greeting is in flight from one node to another. draw chooses the
// delay. If the greeting is lost on a bus, travel waits for the end of ctx.
func (t *Transport) travel(ctx context.Context, from, to string, draw float64) error {
	f, b, changed := t.net.state(t.road, from, to)
	timer := time.NewTimer(f.delay(draw))
	defer timer.Stop()
	arrived := timer.C
	for {
		if b == cut && !t.direct {
			arrived = nil
		}
		wake := arrived
		if b != passing {
			wake = nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: greeting %s: %w", transport.ErrNoPeer, to, err)
		}
		select {
		case <-wake:
			return nil
		case <-changed:
			_, b, changed = t.net.state(t.road, from, to)
		case <-ctx.Done():
		}
	}
}

// connect makes both ends of a link, unless one side closed meanwhile.
func (t *Transport) connect(peer *Transport, h transport.Hello, w transport.Welcome) (near, far *end, err error) {
	n := t.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.closed {
		return nil, nil, transport.ErrClosed
	}
	if peer.closed {
		return nil, nil, fmt.Errorf("%w: %s went away", transport.ErrNoPeer, w.Node)
	}
	near = newEnd(t, transport.Peer{Node: w.Node, Epoch: w.Epoch, Principal: peer.principal}, w.Terms())
	far = newEnd(peer, transport.Peer{Node: h.Node, Epoch: h.Epoch, Principal: t.principal}, h.Terms())
	near.far, far.far = far, near
	for _, e := range []*end{near, far} {
		e.draw = n.generator("link/" + t.road + "/" + e.t.local.Node + "/" + e.peer.Node)
		n.serial["end"]++
		e.id = n.serial["end"]
		n.links[e] = struct{}{}
		e.t.tasks.Add(2)
	}
	return near, far, nil
}

// flushTime is how long Close lets links send their queues.
const flushTime = time.Second

// Close implements transport.Transport. It must not be called from a Receiver.
func (t *Transport) Close() error {
	n := t.net
	n.mu.Lock()
	t.closed = true
	n.nodes = slices.DeleteFunc(n.nodes, func(o *Transport) bool { return o == t })
	n.mu.Unlock()
	t.cancel()
	ends := n.ends(func(e *end) bool { return e.t == t })
	for _, e := range ends {
		e.finish()
	}
	late := time.AfterFunc(flushTime, func() {
		for _, e := range ends {
			e.Close(fmt.Errorf("%w: transport closed before the queue was sent", transport.ErrClosed))
		}
	})
	defer late.Stop()
	t.tasks.Wait()
	return nil
}

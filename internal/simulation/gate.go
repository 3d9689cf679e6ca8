package simulation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Gate is the road of one start of a node. When it is shut, nothing passes any more, as if the
// process behind it had died; in truth it goes on and sees only silence.
type Gate struct {
	transport.Transport
	Tamper func(e *transport.Envelope, send Sender) (uint64, error) // sends what the node sends; nil: send does
	Watch  func(format string, args ...any)                         // is told of each envelope; nil: nobody is

	mu    sync.Mutex // guards what follows
	shut  bool
	until time.Time // nothing is read before
	beats time.Time // no heartbeat goes out before
	stood time.Duration
	links []transport.Link
}

// Sender is transport.Link.Send.
type Sender func(*transport.Envelope) (uint64, error)

// Start implements transport.Transport.
func (g *Gate) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	return g.Transport.Start(ctx, local, g.through(accept))
}

// Dial implements transport.Transport.
func (g *Gate) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	if g.isShut() {
		return nil, fmt.Errorf("%w: the node is dead", transport.ErrNoPeer)
	}
	return g.Transport.Dial(ctx, to, g.through(open))
}

func (g *Gate) through(open func(transport.Link) transport.Receiver) func(transport.Link) transport.Receiver {
	return func(l transport.Link) transport.Receiver {
		g.mu.Lock()
		g.links = append(g.links, l)
		g.mu.Unlock()
		return &gatedReceiver{open(&gatedLink{l, g}), g, l}
	}
}

// Stall makes the readers of the links wait.
func (g *Gate) Stall(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(d)
}

// Stop makes the readers of the links wait, and the goroutine that sends heartbeats and ends
// sessions: for these the process stands still. That goroutine goes on first, before the
// messages that have arrived meanwhile are read.
func (g *Gate) Stop(d time.Duration) {
	g.Stall(d + time.Millisecond)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.beats, g.stood = time.Now().Add(d), 0
}

// Stands reports whether the process is stopped.
func (g *Gate) Stands() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.beats.Add(time.Second))
}

// standStill returns when the process goes on.
func (g *Gate) standStill() {
	g.mu.Lock()
	d := time.Until(g.beats)
	g.mu.Unlock()
	if d > 0 {
		time.Sleep(d)
		g.mu.Lock()
		g.stood = d
		g.mu.Unlock()
	}
}

// StoodFor is how long heartbeats waited for the end of the last stop; 0 if none did.
func (g *Gate) StoodFor() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stood
}

func (g *Gate) stalled() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.until)
}

func (g *Gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// Shut closes the gate for ever. It does so silently, as in a power failure, or it closes every link as
// the operating system does for a killed process.
func (g *Gate) Shut(lastWord bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	if lastWord {
		for _, l := range g.links {
			l.Close(fmt.Errorf("%w: killed", transport.ErrClosed))
		}
	}
}

type gatedLink struct {
	transport.Link
	g *Gate
}

func (l *gatedLink) Send(e *transport.Envelope) (uint64, error) {
	if e.Verb == transport.VerbPing && e.Seq>>63 == 0 { // a heartbeat; others are sent under locks
		l.g.standStill()
	}
	if l.g.isShut() {
		return 0, nil
	}
	if l.g.Watch != nil {
		l.g.Watch("    %s→%s %s: verb %v seq %d flags %b code %d below %d grant %x", l.Road(), l.Peer().Node, l.Peer().Epoch[:4],
			e.Verb, e.Seq, e.Flags, e.Code, e.Mark.Below, e.Grant[:2])
	}
	if l.g.Tamper != nil {
		return l.g.Tamper(e, l.Link.Send)
	}
	return l.Link.Send(e)
}

type gatedReceiver struct {
	transport.Receiver
	g *Gate
	l transport.Link
}

func (r *gatedReceiver) Receive(e *transport.Envelope) {
	if d := r.g.stalled(); d > 0 {
		time.Sleep(d)
	}
	if r.g.isShut() {
		return
	}
	if r.g.Watch != nil {
		r.g.Watch("    %s←%s %s: verb %v seq %d flags %b code %d below %d grant %x", r.l.Road(), r.l.Peer().Node, r.l.Peer().Epoch[:4],
			e.Verb, e.Seq, e.Flags, e.Code, e.Mark.Below, e.Grant[:2])
	}
	r.Receiver.Receive(e)
}

package natsbus

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/transport"
)

// link is one end of a conversation. Its goroutine (run, in writer.go) publishes and
// calls Drained and Closed; the subscription's callback calls Receive; the watcher
// calls Disturbed. The gate below keeps Closed behind all the others.
type link struct {
	t       *Transport
	key     linkKey
	subject string         // where the peer hears this end; a dialler learns it from the welcome
	gone    string         // reply subject of what this end publishes
	peer    transport.Peer // set before open or accept is called
	token   string         // the peer's, in the subjects it publishes to; likewise, and empty until then
	out     *transport.Outbox
	handed  atomic.Uint64   // place in the stream before which bytes may have been handed over
	ended   atomic.Bool     // end was called
	done    chan struct{}   // closed by end
	hello   transport.Hello // what opened it

	// Of dialled links only.
	greetedBy transport.Peer         // owned by the callback: who sent the welcome
	answer    chan transport.Welcome // gets it, once

	mu     sync.Mutex // guards what follows
	cause  error      // why it ended
	notify bool       // tell the peer that it ended
	open   bool       // recv may be called
	shut   bool       // recv may not be called any more
	active int        // calls of recv going on through the gate
	idle   chan struct{}
	early  []packet // came before recv was there
	held   int      // bytes in early
	lost   bool     // early was full

	// Owned by whoever delivers: the opener until open is set, then the callback.
	recv  transport.Receiver // constant once open is set
	env   transport.Envelope
	large *transport.Assembly
	last  uint64 // highest packet number seen
}

func (t *Transport) newLink(key linkKey) *link {
	maxFrame := min(t.cfg.MaxFrame, t.maxPacket()-dataHeaderSize-frameSize)
	l := &link{t: t, key: key, gone: t.names.goneLink(key.id), out: transport.NewOutbox(maxFrame),
		large: transport.NewAssembly(t.local.Largest(), true), done: make(chan struct{}), answer: make(chan transport.Welcome, 1)}
	l.out.PackTells()
	return l
}

// maxPacket is the size of the largest packet that the server takes.
func (t *Transport) maxPacket() int { return int(min(maxPacket, t.room.Load())) }

// Peer implements transport.Link. Its Principal is "nats:" and the last token of the subject
// that the peer publishes on, or transport.Anonymous; its Node and Epoch are what the peer says of itself, and are
// proved only as far as the server confines who may subscribe to that node's subject.
func (l *link) Peer() transport.Peer { return l.peer }

// Road implements transport.Link.
func (l *link) Road() string { return Road }

// Send implements transport.Link.
func (l *link) Send(e *transport.Envelope) (uint64, error) {
	at, err := l.out.Append(e)
	if errors.Is(err, transport.ErrStalled) {
		err = fmt.Errorf("%w: %w", transport.ErrClosed, err)
		l.end(err, true)
	}
	return at, err
}

// Handed implements transport.Link.
func (l *link) Handed(at uint64) bool { return l.out.Handed(at, l.handed.Load()) }

// Close implements transport.Link.
func (l *link) Close(err error) {
	if err == nil {
		err = transport.ErrClosed
	}
	l.end(err, true)
}

// end ends the link; its goroutine does the rest. Only the first call counts. Never
// blocks, so that callbacks may call it. notify says that the peer should hear of it.
func (l *link) end(cause error, notify bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.cause, l.notify = cause, notify
	l.ended.Store(true)
	l.out.Discard()
	close(l.done)
}

// why returns the cause of an end that was called.
func (l *link) why() (cause error, notify bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause, l.notify
}

// enter asks to call recv and reports whether that is allowed; if so, leave must
// follow.
func (l *link) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open || l.shut {
		return false
	}
	l.active++
	return true
}

func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active--; l.active == 0 && l.shut {
		close(l.idle)
	}
}

// shutGate lets nobody in any more and waits until nobody is in. Called once.
func (l *link) shutGate() {
	l.mu.Lock()
	l.shut, l.idle = true, make(chan struct{})
	wait := l.active > 0
	l.mu.Unlock()
	if wait {
		<-l.idle
	}
}

// receive takes a data, close or reset packet from the callback.
func (l *link) receive(p packet) {
	l.mu.Lock()
	switch {
	case l.shut || l.ended.Load():
		l.mu.Unlock()
		return
	case !l.open:
		if l.held += len(p.payload); l.held <= transport.MaxSendQueue {
			l.early = append(l.early, p)
		} else {
			l.lost = true
		}
		l.mu.Unlock()
		return
	}
	l.active++
	l.mu.Unlock()
	l.deliver(p)
	l.leave()
}

// opened sets the receiver and gives it what came early. Called once, before run.
func (l *link) opened(recv transport.Receiver) {
	l.recv = recv
	l.mu.Lock()
	for len(l.early) > 0 {
		early := l.early
		l.early = nil
		l.mu.Unlock()
		for _, p := range early {
			l.deliver(p)
		}
		l.mu.Lock()
	}
	lost := l.lost
	l.open = true
	l.mu.Unlock()
	if lost && !l.ended.Load() {
		recv.Disturbed()
	}
}

// deliver hands the envelopes of p to recv, or ends the link as p says. A number that was skipped means that
// packets were lost; one that comes again is delivered again, for the layer above
// knows requests and tells by their own numbers.
func (l *link) deliver(p packet) {
	switch p.kind {
	case packetClose:
		l.end(fmt.Errorf("%w by peer: %q", transport.ErrClosed, p.payload[:min(len(p.payload), maxReason)]), false)
		return
	case packetReset:
		l.end(fmt.Errorf("%w: the peer does not know the link", transport.ErrClosed), false)
		return
	}
	if p.number > l.last {
		if p.number > l.last+1 {
			l.t.gaps.Add(1)
			l.recv.Disturbed()
		}
		l.last = p.number
	}
	defer l.recv.Flush()
	for frames := p.payload; len(frames) > 0 && !l.ended.Load(); {
		envelope, rest, err := nextFrame(frames, l.t.cfg.MaxFrame)
		if err == nil {
			err = l.env.Parse(envelope)
		}
		if err == nil {
			err = l.large.Deliver(&l.env, l.out, l.recv)
		}
		if err != nil {
			l.t.malformed.Add(1)
			l.end(err, true)
			return
		}
		frames = rest
	}
}

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
	gone    string // reply subject of what this end publishes
	out     *transport.Outbox
	handed  atomic.Uint64   // place in the stream before which bytes may have been handed over
	ended   atomic.Bool     // end was called
	done    chan struct{}   // closed by end
	hello   transport.Hello // what opened it
	doubted chan struct{}   // holds a token after a hint that the peer does not know the link
	asking  atomic.Uint64   // number of the ask that has no answer yet; 0: none

	// Constant once theirs is set.
	subject string // where the peer hears this end
	token   string // last token of the subjects that the peer publishes on
	mine    *sealer
	theirs  atomic.Pointer[sealer] // nil before both sides' keys are agreed on

	peer transport.Peer // set before open or accept is called

	// Of dialled links only.
	answers chan greeting                // what may be the answer to the open
	confirm atomic.Pointer[confirmation] // once there was one that the peer has made

	// Owned by the callback.
	last   uint64        // highest number of a data packet
	asked  uint64        // highest number of an ask
	proved bool          // the peer has proved that it has its keys
	proof  chan struct{} // closed then; accepted links only

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
}

// greeting is a packet that may answer an open, and who published it.
type greeting struct {
	packet
	bytes     []byte
	principal string
}

// confirmation is the packet that answers a welcome of the given tag.
type confirmation struct{ tag, packet []byte }

func (t *Transport) newLink(key linkKey) *link {
	maxFrame := min(t.cfg.MaxFrame, t.maxPacket()-dataRoom-frameSize)
	l := &link{t: t, key: key, gone: t.names.goneLink(key.id), out: transport.NewOutbox(maxFrame),
		large: transport.NewAssembly(t.local.Largest(), true), done: make(chan struct{}), doubted: make(chan struct{}, 1)}
	if key.dialled {
		l.answers = make(chan greeting, maxGreetings)
	} else {
		l.proof = make(chan struct{})
	}
	l.out.PackTells()
	return l
}

// maxPacket is the size of the largest packet that the server takes.
func (t *Transport) maxPacket() int { return int(min(maxPacket, t.room.Load())) }

// Peer implements transport.Link. Whoever is at the other end has proved, with every
// packet, that it has the key that the registry names for that start of that node, if the
// registry has one. Principal is then "nats:" and the last token of the subject that the peer
// publishes on, which the server confines. It is transport.Anonymous if there is a registry, and it does
// not know the peer. Without a registry, or a key in it, the peer has whatever key it named
// when the link was opened; its Node and Epoch are what it says of itself, and are
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

// receive takes a packet that the peer has made, in the callback.
func (l *link) receive(p packet) {
	switch p.kind {
	case packetData:
		if p.number <= l.last {
			l.t.replayed.Add(1)
			return
		}
		p.gap, l.last = p.number != l.last+1, p.number
		if l.asking.Load() != 0 {
			l.asking.Store(0)
		}
	case packetAsk:
		if p.number <= l.asked {
			l.t.replayed.Add(1)
			return
		}
		l.asked = p.number
		l.t.say(l.subject, l.sealed(packetAnswer, p.number, nil))
	case packetAnswer:
		l.asking.CompareAndSwap(p.number, 0)
	}
	if !l.proved && !l.key.dialled {
		l.proved = true
		close(l.proof)
	}
	if p.kind != packetData && p.kind != packetClose {
		return
	}
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

// hint has the link's goroutine ask the peer whether it knows the link.
func (l *link) hint() {
	select {
	case l.doubted <- struct{}{}:
	default:
	}
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

// deliver hands the envelopes of p to recv, or ends the link as p says.
func (l *link) deliver(p packet) {
	if p.kind == packetClose {
		l.end(fmt.Errorf("%w by peer: %q", transport.ErrClosed, p.payload[:min(len(p.payload), maxReason)]), false)
		return
	}
	if p.gap {
		l.t.gaps.Add(1)
		l.recv.Disturbed()
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

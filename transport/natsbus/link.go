package natsbus

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/transport"
)

// link is one end of a conversation. Its goroutine (run, in writer.go) publishes and calls
// Drained and Closed; the subscription's callback calls Receive; the watcher calls
// Disturbed. The gate below makes sure that Closed is called after all the others.
type link struct {
	t      *Transport
	key    linkKey
	gone   string // reply subject of what this end publishes
	out    *transport.Outbox
	handed atomic.Uint64   // position in the stream up to which bytes may have been handed to the connection
	ended  atomic.Bool     // end was called
	done   chan struct{}   // closed by end
	hello  transport.Hello // what opened it
	hints  chan struct{}   // holds a token after a hint that the peer does not know the link
	asking atomic.Uint64   // number of the ask that has no answer yet; 0: none
	peer   transport.Peer  // set before open or accept is called

	linkKeys
	linkDialled
	linkCallback
	linkGate
	linkDelivery
}

// linkKeys is what both ends have agreed on in the greeting. It is constant once theirs is set.
type linkKeys struct {
	subject string // on which the peer receives
	token   string // last token of the subjects that the peer publishes on
	mine    *sealer
	theirs  atomic.Pointer[sealer] // nil before both sides' keys are agreed on
}

// linkDialled is what only dialled links have.
type linkDialled struct {
	answers chan greeting                // what may be the answer to the open
	confirm atomic.Pointer[confirmation] // set once the peer's own welcome has come
}

// linkCallback is owned by the callback of the subscription.
type linkCallback struct {
	last   uint64        // highest number of a data packet
	asked  uint64        // highest number of an ask
	proved bool          // the peer has proved that it has its keys
	proof  chan struct{} // closed when proved becomes true; accepted links only
}

// linkGate says whether the link's Receiver may be called.
type linkGate struct {
	mu     sync.Mutex // guards what follows
	cause  error      // why the link ended
	notify bool       // tell the peer that it ended
	open   bool       // recv may be called
	shut   bool       // recv may not be called any more
	active int        // calls of recv that have entered the gate and not left it
	idle   chan struct{}
	early  []packet // came before recv was there
	held   int      // bytes in early
	lost   bool     // early was full
}

// linkDelivery is owned by the goroutine that delivers: the opener until open is set, then the
// callback.
type linkDelivery struct {
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
	l := &link{t: t, key: key, gone: t.names.goneLink(key.id), out: transport.NewOutbox(maxFrame), done: make(chan struct{}), hints: make(chan struct{}, 1)}
	l.large = transport.NewAssembly(t.local.Largest(), true)
	l.large.InflateWith(t.local.Compression)
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

// Peer implements transport.Link. If the registry has a key for the peer's node and epoch,
// every packet has proved that the peer has that key. Principal is then "nats:" and the last
// token of the subject on which the peer publishes, which the server's permissions restrict.
// If there is a registry that does not know the peer, it is transport.Anonymous. Without a
// registry, or without a key in it, the peer has the key that it named when the link was
// opened; its Node and Epoch are claims, which are proved only as far as the server restricts
// who may subscribe to that node's subject.
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

// Packs implements transport.Packer.
func (l *link) Packs() bool { return l.out.Packs() }

// Row implements transport.Rower.
func (l *link) Row() *transport.Row { return l.out.Row() }

// Handed implements transport.Link.
func (l *link) Handed(at uint64) bool { return l.out.Handed(at, l.handed.Load()) }

// Close implements transport.Link.
func (l *link) Close(err error) {
	if err == nil {
		err = transport.ErrClosed
	}
	l.end(err, true)
}

// end ends the link; the link's goroutine does the rest. Only the first call counts. It never
// blocks, so callbacks may call it. notify says whether to tell the peer.
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

// why returns the cause that was given to end.
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

// shutGate closes the gate and waits for the calls that have entered. It is called once.
func (l *link) shutGate() {
	l.mu.Lock()
	l.shut, l.idle = true, make(chan struct{})
	wait := l.active > 0
	l.mu.Unlock()
	if wait {
		<-l.idle
	}
}

// receive handles a packet that the peer has made, in the callback.
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

// hint makes the link's goroutine ask the peer whether it knows the link.
func (l *link) hint() {
	select {
	case l.hints <- struct{}{}:
	default:
	}
}

// opened sets the receiver and delivers the packets that came early. It is called once,
// before run.
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

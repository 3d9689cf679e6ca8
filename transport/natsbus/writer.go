package natsbus

import (
	"fmt"
	"runtime"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// askTimeout is how long a link that its peer may not know waits for the answer to an ask. It sends
// at most one ask in that time.
const askTimeout = time.Second

// run is the link's goroutine, after opened. It publishes what is queued until the link ends, and
// then finishes it.
func (l *link) run() {
	defer l.t.links.done()
	w := writer{link: l}
	stop := l.t.stop
	var overdue, unheard <-chan time.Time // nil unless needed, because a timer makes each select slower
	for !l.ended.Load() {
		select {
		case <-l.out.Wake():
			// Let the other senders that are ready append before the queue is taken.
			runtime.Gosched()
			w.takeAndPublish()
		case <-l.hints:
			if unheard == nil {
				unheard = time.After(askTimeout)
				w.ask()
			}
		case <-unheard:
			if unheard = nil; l.asking.Load() != 0 {
				l.end(fmt.Errorf("%w: the peer does not know the link", transport.ErrClosed), false)
			}
		case <-overdue:
		case <-l.done:
		case <-stop:
			stop = nil
			l.out.Close()
			w.takeAndPublish()
		}
		if stop == nil && l.out.Empty() { // otherwise the peer does not have all of a large message
			l.end(errTransportClosed, true)
		}
		overdue = nil
		switch silence, waiting := l.out.Silence(); {
		case silence >= transport.ResendAfter:
			l.out.Resend()
		case waiting:
			overdue = time.After(transport.ResendAfter - silence)
		}
	}
	l.finish()
}

// ask asks the peer whether it knows the link. Only the peer can make the answer, while anybody can
// make the hint because of which the link asks.
func (w *writer) ask() {
	w.asks++
	w.asking.Store(w.asks)
	if err := w.t.publish(w.subject, w.gone, w.sealed(packetAsk, w.asks, nil)); err != nil {
		w.end(fmt.Errorf("%w: %w", transport.ErrClosed, err), true)
	}
}

// finish calls Closed, and then tells the peer, if it should know. The latter comes second because
// it may have to wait for a server that does not read.
func (l *link) finish() {
	cause, notify := l.why()
	l.t.links.remove(l)
	l.shutGate()
	l.recv.Closed(cause)
	if notify {
		reason := cause.Error()
		l.t.publish(l.subject, "", l.sealed(packetClose, 0, []byte(reason[:min(len(reason), maxReason)])))
	}
}

// sealed returns an encoded packet from this end of the link, with its tag. For a kind and a number
// the payload must always be the same.
func (l *link) sealed(kind packetKind, number uint64, payload []byte) []byte {
	return l.mine.seal(nil, make([]byte, nonceSize), packet{kind: kind, fromDialler: l.key.dialled, link: l.key.id, number: number, payload: payload})
}

// packet returns an encoded packet without a tag from this end of the link.
func (l *link) packet(kind packetKind, payload []byte) []byte {
	return packet{kind: kind, fromDialler: l.key.dialled, link: l.key.id, payload: payload}.append(nil)
}

// writer turns a link's queue into packets. Owned by the link's goroutine.
type writer struct {
	*link
	spare  []byte // the queue's other buffer
	number uint64 // of the last data packet
	asks   uint64 // number of the last ask
	nonce  [nonceSize]byte
}

// takeAndPublish publishes all that is queued, in packets of many frames.
func (w *writer) takeAndPublish() {
	frames, at, drained := w.out.Take(w.spare)
	if drained && w.enter() {
		w.recv.Drained()
		w.leave()
	}
	w.spare = frames
	for len(frames) > 0 && !w.ended.Load() {
		n := split(frames, min(gather, w.t.maxPacket())-dataRoom)
		if n == 0 { // the first frame is a large one
			n = split(frames, w.t.maxPacket()-dataRoom)
		}
		if n == 0 { // the server's limit has shrunk since the link was opened
			w.end(fmt.Errorf("%w: %w: the server takes %d bytes", transport.ErrClosed, transport.ErrTooLarge, w.t.maxPacket()), true)
			return
		}
		err := w.publishData(frames[:n])
		at += uint64(n)
		if err == nil || !neverAppended(err) {
			w.handed.Store(at)
		}
		if err != nil {
			w.t.room.Store(w.t.nc.MaxPayload()) // if that was the reason, later packets fit
			w.end(fmt.Errorf("%w: %w", transport.ErrClosed, err), true)
			return
		}
		frames = frames[n:]
	}
}

func (w *writer) publishData(frames []byte) error {
	w.number++
	buf := w.t.buffers.Get().(*[]byte)
	defer w.t.buffers.Put(buf) // nats.go has copied it
	*buf = w.mine.seal((*buf)[:0], w.nonce[:], packet{kind: packetData, fromDialler: w.key.dialled, link: w.key.id, number: w.number, payload: frames})
	return w.t.publish(w.subject, w.gone, *buf)
}

// publish hands one packet to the connection. It may block while the server does not
// read, so callbacks must not call it: an in-process connection is a synchronous pipe.
func (t *Transport) publish(subject, reply string, b []byte) error {
	var err error
	if reply == "" {
		err = t.nc.Publish(subject, b)
	} else {
		err = t.nc.PublishRequest(subject, reply, b)
	}
	if err == nil {
		t.packetsOut.Add(1)
	}
	return err
}

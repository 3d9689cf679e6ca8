package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// rawActor is what an actor on another node comes to if nothing is encoded, no session is
// kept and nothing is filtered: a goroutine that takes its messages from a channel. Readers
// of links put them there, and writers of links take its replies away.
type rawActor struct {
	mail  chan rawMail
	asked *tally    // counts requests
	told  *arrivals // if not nil, messages are one way, and counted here
	ended sync.WaitGroup
}

// rawMail is a message in the mailbox of a rawActor. Its body is the actor's own: a handler
// may keep it.
type rawMail struct {
	from   *outgoing
	caller uint64
	body   []byte
}

func newRawActor(told *arrivals) *rawActor {
	a := &rawActor{mail: make(chan rawMail, queue), asked: new(tally), told: told}
	a.ended.Go(a.run)
	return a
}

func (a *rawActor) run() {
	for m := range a.mail {
		if a.told != nil {
			a.told.add()
			continue
		}
		a.asked.add()
		m.from.append(m.caller|rawReply, m.body)
	}
}

// close ends the actor. The links that it is on must have been closed.
func (a *rawActor) close() {
	close(a.mail)
	a.ended.Wait()
}

// rawReply in the caller's number of a frame says that it is a reply.
const rawReply = 1 << 63

// rawLink is one end of a connection, with a goroutine that writes and one that reads. Each
// caller gets its replies through a channel of its own.
type rawLink struct {
	conn  net.Conn
	actor *rawActor // gets requests from the other end; nil if none come
	out   *outgoing
	back  []chan []byte
	stop  chan struct{}
	ended sync.WaitGroup
}

// newRawLink owns conn from now on.
func newRawLink(conn net.Conn, callers int, actor *rawActor) *rawLink {
	l := &rawLink{conn: conn, actor: actor, out: newOutgoing(), back: make([]chan []byte, callers), stop: make(chan struct{})}
	for i := range l.back {
		l.back[i] = make(chan []byte, 1)
	}
	l.ended.Go(func() { l.out.write(conn, l.stop) })
	l.ended.Go(l.read)
	return l
}

func (l *rawLink) read() {
	readFrames(l.conn, func(frame []byte) {
		caller, body := binary.BigEndian.Uint64(frame[4:]), bytes.Clone(frame[rawHead:])
		if caller&rawReply != 0 {
			l.back[caller&^rawReply] <- body
			return
		}
		l.actor.mail <- rawMail{l.out, caller, body}
	}, func() {})
	for _, back := range l.back {
		close(back)
	}
}

var errRawEnd = errors.New("the connection has ended")

// ask sends a request and waits for its reply. A caller asks nothing else meanwhile.
func (l *rawLink) ask(caller int, body []byte) ([]byte, error) {
	l.out.append(uint64(caller), body)
	got, ok := <-l.back[caller]
	if !ok {
		return nil, errRawEnd
	}
	return got, nil
}

func (l *rawLink) close() {
	close(l.stop)
	l.conn.Close()
	l.ended.Wait()
}

// rawActorPair is an actor, and the near end of a link to it.
func rawActorPair(callers int, told *arrivals) (near *rawLink, a *rawActor, stop func(), err error) {
	nearConn, farConn, err := socketPair()
	if err != nil {
		return nil, nil, nil, err
	}
	a = newRawActor(told)
	near, far := newRawLink(nearConn, callers, nil), newRawLink(farConn, 0, a)
	return near, a, func() { near.close(); far.close(); a.close() }, nil
}

// rawActorAsks is the limit of asking an actor over one socket.
func rawActorAsks(callers, size int) (rig, error) {
	near, a, stop, err := rawActorPair(callers, nil)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	return &asks{callers: callers, executed: a.asked, stop: stop,
		do: func(caller int) error { return reply(near.ask(caller, data)) }}, nil
}

// rawActorTells is the limit of telling an actor over one socket.
func rawActorTells() (rig, error) {
	got := newArrivals()
	near, _, stop, err := rawActorPair(0, got)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 64)
	return &tells{producers: 1, burst: remoteBurst, arrived: got, stop: stop,
		do: func(int) error { near.out.append(0, data); return nil }}, nil
}

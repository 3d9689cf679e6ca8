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
// of connections put them there, and a writer of each connection takes the replies away.
type rawActor struct {
	mail  chan rawMail
	asked *tally    // counts requests
	told  *arrivals // if not nil, messages are one way, and counted here
	ended sync.WaitGroup

	mu    sync.Mutex // guards links
	links []*rawLink
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
		m.from.append(m.caller, m.body)
	}
}

// serve has the actor get what arrives on a connection, which is its own from now on.
func (a *rawActor) serve(conn net.Conn) {
	link := newRawLink(conn)
	a.mu.Lock()
	a.links = append(a.links, link)
	a.mu.Unlock()
	link.read(func(caller uint64, body []byte) { a.mail <- rawMail{link.out, caller, bytes.Clone(body)} }, func() {})
}

// close ends the actor and its connections. Nothing is served any more.
func (a *rawActor) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, link := range a.links {
		link.close()
	}
	close(a.mail)
	a.ended.Wait()
}

// rawClient is callers that share one connection. Each gets its replies through a channel
// of its own.
type rawClient struct {
	link *rawLink
	back []chan []byte
}

var errRawEnd = errors.New("the connection has ended")

func newRawClient(conn net.Conn, callers int) *rawClient {
	c := &rawClient{link: newRawLink(conn), back: make([]chan []byte, callers)}
	for i := range c.back {
		c.back[i] = make(chan []byte, 1)
	}
	c.link.read(func(caller uint64, body []byte) { c.back[caller] <- bytes.Clone(body) }, func() {
		for _, back := range c.back {
			close(back)
		}
	})
	return c
}

func (c *rawClient) ask(caller int, body []byte) ([]byte, error) {
	c.link.out.append(uint64(caller), body)
	got, ok := <-c.back[caller]
	if !ok {
		return nil, errRawEnd
	}
	return got, nil
}

// rawLink is one end of a connection, with a goroutine that writes and one that reads.
type rawLink struct {
	conn  net.Conn
	out   *outgoing
	stop  chan struct{}
	ended sync.WaitGroup
}

func newRawLink(conn net.Conn) *rawLink {
	l := &rawLink{conn: conn, out: newOutgoing(), stop: make(chan struct{})}
	l.ended.Go(func() { l.out.write(conn, l.stop) })
	return l
}

// read calls each with the frames that arrive, in one goroutine, and end after the last.
// A body is valid until each returns.
func (l *rawLink) read(each func(caller uint64, body []byte), end func()) {
	l.ended.Go(func() {
		defer end()
		readFrames(l.conn, func(frame []byte) { each(binary.BigEndian.Uint64(frame[4:]), frame[rawHead:]) }, func() {})
	})
}

func (l *rawLink) close() {
	close(l.stop)
	l.conn.Close()
	l.ended.Wait()
}

// rawActorPair is an actor, and callers on the other end of a connection to it.
func rawActorPair(callers int, told *arrivals) (*rawClient, *rawActor, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	a := newRawActor(told)
	a.serve(far)
	return newRawClient(near, callers), a, nil
}

// rawActorAsks is the limit of asking an actor over one socket.
func rawActorAsks(callers, size int) (rig, error) {
	c, a, err := rawActorPair(callers, nil)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	return &asks{callers: callers, executed: a.asked, do: func(caller int) error { return reply(c.ask(caller, data)) },
		stop: func() { c.link.close(); a.close() }}, nil
}

// rawActorTells is the limit of telling an actor over one socket.
func rawActorTells() (rig, error) {
	got := newArrivals()
	c, a, err := rawActorPair(1, got)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 64)
	return &tells{producers: 1, burst: remoteBurst, arrived: got, do: func(int) error { c.link.out.append(0, data); return nil },
		stop: func() { c.link.close(); a.close() }}, nil
}

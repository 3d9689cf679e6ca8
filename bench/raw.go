package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"
)

// Frames on raw sockets are a length, the caller's number, and the payload.
const (
	rawHead   = 4 + 8
	rawFrame  = rawHead + 64
	rawBuffer = 64 << 10
	rawBound  = 1 << 20 // bytes of frames that wait to be written, and one frame more
)

// socketPair is one loopback connection, both ends.
func socketPair() (near, far net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	far, err = ln.Accept()
	return near, far, err
}

// outgoing gathers frames: senders append, one goroutine writes all that is there. A
// sender waits while there are rawBound bytes or more.
type outgoing struct {
	wake chan struct{}
	room *sync.Cond // on mu: what was there is being written, or nobody writes any more

	mu   sync.Mutex // guards what follows
	buf  []byte
	over bool // nobody writes any more; what is appended is dropped
}

func newOutgoing() *outgoing {
	o := &outgoing{wake: make(chan struct{}, 1)}
	o.room = sync.NewCond(&o.mu)
	return o
}

func (o *outgoing) append(caller uint64, data []byte) {
	o.mu.Lock()
	for len(o.buf) >= rawBound && !o.over {
		o.room.Wait()
	}
	if o.over {
		o.mu.Unlock()
		return
	}
	first := len(o.buf) == 0
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(8+len(data)))
	o.buf = binary.BigEndian.AppendUint64(o.buf, caller)
	o.buf = append(o.buf, data...)
	o.mu.Unlock()
	if first {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

// write writes until the connection fails or stop is closed.
func (o *outgoing) write(conn net.Conn, stop <-chan struct{}) {
	defer o.end()
	var spare []byte
	for {
		select {
		case <-o.wake:
		case <-stop:
			return
		}
		for {
			o.mu.Lock()
			ready := o.buf
			o.buf = spare[:0]
			o.mu.Unlock()
			o.room.Broadcast()
			spare = ready
			if len(ready) == 0 {
				break
			}
			if _, err := conn.Write(ready); err != nil {
				return
			}
			runtime.Gosched() // the next batch grows
		}
	}
}

func (o *outgoing) end() {
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	o.room.Broadcast()
}

// readFrames calls each with every frame until the connection fails; idle is called
// when no further whole frame of 64 bytes is buffered. The buffer grows with the frames.
func readFrames(conn net.Conn, each func(frame []byte), idle func()) {
	r := bufio.NewReaderSize(conn, rawBuffer)
	for {
		head, err := r.Peek(4)
		if err != nil {
			return
		}
		size := 4 + int(binary.BigEndian.Uint32(head))
		if size > r.Size() {
			r = larger(r, conn, 2*size)
		}
		frame, err := r.Peek(size)
		if err != nil {
			return
		}
		each(frame)
		r.Discard(size)
		if r.Buffered() < rawFrame {
			idle()
		}
	}
}

// larger is a reader with another buffer that goes on where r is.
func larger(r *bufio.Reader, conn net.Conn, size int) *bufio.Reader {
	rest, _ := r.Peek(r.Buffered())
	return bufio.NewReaderSize(io.MultiReader(bytes.NewReader(rest), conn), size)
}

// rawFrames is the limit of asking over one socket.
func rawFrames(callers int) (rig, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	got, stop := new(tally), make(chan struct{})
	var replies []byte
	go readFrames(far, func(frame []byte) {
		got.add()
		replies = append(replies, frame...)
	}, func() {
		far.Write(replies) // a failure ends the reading as well
		replies = replies[:0]
	})
	back := make([]chan struct{}, callers)
	for i := range back {
		back[i] = make(chan struct{}, 1)
	}
	go readFrames(near, func(frame []byte) { back[binary.BigEndian.Uint64(frame[4:])] <- struct{}{} }, func() {})
	out := newOutgoing()
	go out.write(near, stop)
	data := make([]byte, 64)
	return &asks{callers: callers, executed: got,
		do:   func(caller int) error { out.append(uint64(caller), data); <-back[caller]; return nil },
		stop: func() { close(stop); near.Close(); far.Close() }}, nil
}

// rawPingPong is the limit of asking alone.
func rawPingPong() (rig, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	got := new(tally)
	go func() {
		frame := make([]byte, rawFrame)
		for {
			if _, err := io.ReadFull(far, frame); err != nil {
				return
			}
			got.add()
			if _, err := far.Write(frame); err != nil {
				return
			}
		}
	}()
	frame := make([]byte, rawFrame)
	return &asks{callers: 1, executed: got, do: func(int) error {
		if _, err := near.Write(frame); err != nil {
			return err
		}
		_, err := io.ReadFull(near, frame)
		return err
	}, stop: func() { near.Close(); far.Close() }}, nil
}

// rawTells is the limit of telling over one socket. Its writer is flushed when a burst
// is complete.
func rawTells() (rig, error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, err
	}
	got := newArrivals()
	go readFrames(far, func([]byte) { got.add() }, func() {})
	w := bufio.NewWriterSize(near, rawBuffer)
	frame := make([]byte, rawFrame)
	binary.BigEndian.PutUint32(frame, rawFrame-4)
	sent := 0
	return &tells{producers: 1, burst: remoteBurst, arrived: got, do: func(int) error {
		if _, err := w.Write(frame); err != nil {
			return err
		}
		if sent++; sent%remoteBurst == 0 {
			return w.Flush()
		}
		return nil
	}, stop: func() { near.Close(); far.Close() }}, nil
}

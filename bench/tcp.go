package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
)

func tcpAsk(callers int) scenario {
	s := scenario{
		name:  fmt.Sprintf("tcp-ask-%d", callers),
		about: fmt.Sprintf("%d callers over loopback TCP; 64 bytes there and back, encoded and decoded", callers),
		peers: []peer{
			{name: "tandem", role: ours, note: "one link, dedup on", start: func(*env) (rig, error) {
				n, err := overTCP()
				if err != nil {
					return nil, err
				}
				return n.asks(callers)
			}},
			{name: "protoactor", role: rival, start: func(*env) (rig, error) { return protoAsks(callers) }},
			{name: "grpc", role: rival, start: func(*env) (rig, error) { return grpcAsks(callers) }},
			{name: "drpc", role: rival, note: drpcNote, start: func(*env) (rig, error) { return drpcAsks(callers) }},
			{name: "raw-frames", role: limit, note: "many callers' frames gathered on one socket, answered by its reader; nothing is encoded",
				start: func(*env) (rig, error) { return rawFrames(callers) }},
		},
	}
	if callers == 1 {
		s.peers = append(s.peers, peer{name: "raw-pingpong", role: limit, note: "a blocking write and a blocking read",
			start: func(*env) (rig, error) { return rawPingPong() }})
	}
	return s
}

func tcpTell() scenario {
	return scenario{
		name:  "tcp-tell-1",
		about: "one producer, one way over loopback TCP; 64 bytes, encoded and decoded",
		peers: []peer{
			{name: "tandem", role: ours, start: func(*env) (rig, error) {
				n, err := overTCP()
				if err != nil {
					return nil, err
				}
				return n.tells()
			}},
			{name: "protoactor", role: rival, start: func(*env) (rig, error) { return protoTells() }},
			{name: "grpc", role: rival, note: "one client stream", start: func(*env) (rig, error) { return grpcTells() }},
			{name: "drpc", role: rival, note: "one client stream", start: func(*env) (rig, error) { return drpcTells() }},
			{name: "raw-frames", role: limit, note: "a buffered writer and a buffered reader; nothing is encoded",
				start: func(*env) (rig, error) { return rawTells() }},
		},
	}
}

// Frames on raw sockets are a length, the caller's number, and the payload.
const (
	rawHead   = 4 + 8
	rawFrame  = rawHead + 64
	rawBuffer = 64 << 10
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

// outgoing gathers frames: senders append, one goroutine writes all that is there.
type outgoing struct {
	wake chan struct{}

	mu  sync.Mutex // guards what follows
	buf []byte
}

func (o *outgoing) append(caller int, data []byte) {
	o.mu.Lock()
	first := len(o.buf) == 0
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(8+len(data)))
	o.buf = binary.BigEndian.AppendUint64(o.buf, uint64(caller))
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

// readFrames calls each with every frame until the connection fails; idle is called
// when no further whole frame is buffered.
func readFrames(conn net.Conn, each func(frame []byte), idle func()) {
	r := bufio.NewReaderSize(conn, rawBuffer)
	for {
		head, err := r.Peek(4)
		if err != nil {
			return
		}
		frame, err := r.Peek(4 + int(binary.BigEndian.Uint32(head)))
		if err != nil {
			return
		}
		each(frame)
		r.Discard(len(frame))
		if r.Buffered() < rawFrame {
			idle()
		}
	}
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
	out := &outgoing{wake: make(chan struct{}, 1)}
	go out.write(near, stop)
	data := make([]byte, 64)
	return &asks{callers: callers, executed: got,
		do:   func(caller int) error { out.append(caller, data); <-back[caller]; return nil },
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

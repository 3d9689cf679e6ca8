package main

import (
	"io"
	"net"
	"sync"
)

// wire is a proxy between this process and a server, until it is cut.
type wire struct {
	listener net.Listener

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	cut   bool
}

func newWire(server string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l}
	go func() { // until Cut
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.join(c, server)
		}
	}()
	return w, nil
}

// Addr is where to dial.
func (w *wire) Addr() string { return w.listener.Addr().String() }

func (w *wire) join(c net.Conn, server string) {
	s, err := net.Dial("tcp", server)
	if err != nil {
		c.Close()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		c.Close()
		s.Close()
		return
	}
	w.conns = append(w.conns, c, s)
	go func() { _, _ = io.Copy(s, c); s.Close() }() // until either is closed
	go func() { _, _ = io.Copy(c, s); c.Close() }()
}

// Cut ends every connection and accepts no more. It returns how many there were.
func (w *wire) Cut() int {
	w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.conns) / 2
	for _, c := range w.conns {
		c.Close()
	}
	w.conns, w.cut = nil, true
	return n
}

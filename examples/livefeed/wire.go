package main

import (
	"io"
	"net"
	"sync"
)

// wire is a proxy between two nodes, whose connections can be cut.
type wire struct {
	listener net.Listener
	owned    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	conns  []*net.TCPConn
}

func newWire() (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l}
	w.owned.Go(w.accept)
	return w, nil
}

// Addr is where clients dial, and Forward says where their connections go.
func (w *wire) Addr() string { return w.listener.Addr().String() }

func (w *wire) Forward(target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = target
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		target := w.target
		w.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, client.(*net.TCPConn), server.(*net.TCPConn))
		w.mu.Unlock()
		w.owned.Go(func() { io.Copy(server, client); server.Close() })
		w.owned.Go(func() { io.Copy(client, server); client.Close() })
	}
}

// Cut resets every connection, and returns how many there were.
func (w *wire) Cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.conns) / 2
	for _, c := range w.conns {
		c.SetLinger(0) // Close then resets the connection
		c.Close()
	}
	w.conns = nil
	return n
}

// Close ends it and waits for its goroutines.
func (w *wire) Close() {
	w.listener.Close()
	w.Cut()
	w.owned.Wait()
}

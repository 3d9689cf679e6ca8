package main

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// relay is a proxy between two nodes. It can hold back the bytes that the server sends, and cut all
// connections as a crashing router would.
type relay struct {
	listener net.Listener
	owned    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	gate   chan struct{} // when it is closed, the server's bytes pass
	conns  []*net.TCPConn
}

func newRelay() (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, gate: make(chan struct{})}
	close(r.gate)
	r.owned.Go(r.accept)
	return r, nil
}

// Addr returns the address for clients.
func (r *relay) Addr() string { return r.listener.Addr().String() }

// Forward sets the address to which connections are forwarded.
func (r *relay) Forward(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		target := r.target
		r.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, client.(*net.TCPConn), server.(*net.TCPConn))
		r.mu.Unlock()
		r.owned.Go(func() { io.Copy(server, client); server.Close() })
		r.owned.Go(func() { io.Copy(gated{client, r}, server); client.Close() })
	}
}

// gated writes only while the relay's gate is open.
type gated struct {
	io.Writer
	relay *relay
}

func (g gated) Write(b []byte) (int, error) {
	g.relay.mu.Lock()
	gate := g.relay.gate
	g.relay.mu.Unlock()
	<-gate
	return g.Writer.Write(b)
}

// HoldAndCut holds back what the server sends once hold is true, and resets every
// connection once cut is.
func (r *relay) HoldAndCut(ctx context.Context, hold, cut func() bool) error {
	err := waitFor(ctx, hold)
	if err == nil {
		r.mu.Lock()
		r.gate = make(chan struct{})
		r.mu.Unlock()
		err = waitFor(ctx, cut)
	}
	r.cut()
	return err
}

// cut resets every connection and opens the gate for new ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.SetLinger(0) // Close then resets the connection
		c.Close()
	}
	r.conns = nil
	select {
	case <-r.gate:
	default:
		close(r.gate)
	}
}

// Close ends the relay and waits for its goroutines.
func (r *relay) Close() {
	r.listener.Close()
	r.cut()
	r.owned.Wait()
}

func waitFor(ctx context.Context, cond func() bool) error {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

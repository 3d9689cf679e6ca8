//go:build unix

package procs

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// direction is a way through the proxy.
type direction int

const (
	toServer direction = iota
	toClient
)

// proxy stands between the client and the server under fault, on TCP. It can hold what
// passes, in each direction, as a network does that has been cut: nothing comes through,
// not even the end of a connection, and once it is mended all of it comes, late.
type proxy struct {
	l       net.Listener
	backend atomic.Pointer[string]
	moved   atomic.Int64 // bytes to the server
	owned   sync.WaitGroup
	closed  chan struct{}

	mu    sync.Mutex // guards what follows
	pairs map[*pair]struct{}
	gates [2]chan struct{} // closed while its direction is open
}

// pair is one connection through the proxy.
type pair struct{ client, server *net.TCPConn }

func newProxy() (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, pairs: map[*pair]struct{}{}, closed: make(chan struct{})}
	for i := range p.gates {
		p.gates[i] = make(chan struct{})
		close(p.gates[i])
	}
	p.owned.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// lead says where the server is.
func (p *proxy) lead(addr string) { p.backend.Store(&addr) }

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.owned.Go(func() { p.carry(c.(*net.TCPConn)) })
	}
}

func (p *proxy) carry(c *net.TCPConn) {
	if !p.pass(toServer) { // what opens a connection is held too
		c.Close()
		return
	}
	s, err := net.DialTimeout("tcp", *p.backend.Load(), time.Second)
	if err != nil {
		reset(c)
		return
	}
	x := &pair{c, s.(*net.TCPConn)}
	p.mu.Lock()
	p.pairs[x] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(x, x.client, x.server, toServer) })
	both.Go(func() { p.copy(x, x.server, x.client, toClient) })
	both.Wait()
	x.client.Close()
	x.server.Close()
	p.mu.Lock()
	delete(p.pairs, x)
	p.mu.Unlock()
}

// copy carries one direction of a connection, its end included.
func (p *proxy) copy(x *pair, from, to *net.TCPConn, d direction) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.pass(d) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				x.reset()
				return
			}
			if d == toServer {
				p.moved.Add(int64(n))
			}
		}
		switch {
		case err == io.EOF:
			to.CloseWrite()
			return
		case err != nil:
			x.reset()
			return
		}
	}
}

// pass waits while d is held, and reports false once the proxy closes.
func (p *proxy) pass(d direction) bool {
	p.mu.Lock()
	gate := p.gates[d]
	p.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-p.closed:
		return false
	}
}

// hold cuts the given directions.
func (p *proxy) hold(directions ...direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range directions {
		p.gates[d] = make(chan struct{})
	}
}

// release mends what hold has cut.
func (p *proxy) release(directions ...direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range directions {
		close(p.gates[d])
	}
}

// reset ends all connections at once, with RST to both sides.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.pairs {
		x.reset()
	}
}

func (x *pair) reset() {
	reset(x.client)
	reset(x.server)
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func (p *proxy) close() {
	close(p.closed)
	p.l.Close()
	p.reset()
	p.owned.Wait()
}

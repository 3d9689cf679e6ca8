package natsapi

import (
	"sync"

	"github.com/nats-io/nats.go/micro"
)

// crew has the goroutines that carry requests out. One that is done waits for the next request: a fresh one would have to grow
// its stack first. There are never more than the door lets requests in. It may be used concurrently.
type crew struct {
	running sync.WaitGroup

	mu   sync.Mutex   // guards what follows
	idle []chan order // of those that wait, the latest one last: its stack is warm
	shut bool
}

// order is a request that is to be carried out.
type order struct {
	carry func(m micro.Request) // carries it out
	m     micro.Request
}

// maxIdle is how many goroutines wait for requests; one more ends.
const maxIdle = 256

// take has a goroutine carry a request out. It never waits. It must not be called after close.
func (c *crew) take(o order) {
	c.mu.Lock()
	n := len(c.idle)
	if n == 0 {
		c.mu.Unlock()
		c.running.Go(func() { c.work(o) })
		return
	}
	next := c.idle[n-1]
	c.idle = c.idle[:n-1]
	c.mu.Unlock()
	next <- o
}

// work carries out one request after the other.
func (c *crew) work(o order) {
	orders := make(chan order, 1)
	for ok := true; ok; o, ok = <-orders {
		o.carry(o.m)
		o = order{}
		if !c.rest(orders) {
			return
		}
	}
}

// rest reports whether the caller is to wait for an order.
func (c *crew) rest(orders chan order) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut || len(c.idle) >= maxIdle {
		return false
	}
	c.idle = append(c.idle, orders)
	return true
}

// close ends the goroutines, and waits for them: those that are at work end after it.
func (c *crew) close() {
	c.mu.Lock()
	c.shut = true
	for _, orders := range c.idle {
		close(orders)
	}
	c.idle = nil
	c.mu.Unlock()
	c.running.Wait()
}

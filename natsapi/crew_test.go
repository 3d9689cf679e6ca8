package natsapi

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go/micro"
)

// task is a request whose work is a function.
type task struct {
	micro.Request
	do func()
}

func (c *crew) run(do func()) {
	c.take(order{carry: func(m micro.Request) { m.(task).do() }, m: task{do: do}})
}

// A goroutine that is done takes the next request; one that is at work does not keep another request waiting.
func TestCrewReusesGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		for range 3 {
			c.run(func() {})
			synctest.Wait()
		}
		if len(c.idle) != 1 {
			t.Errorf("%d goroutines wait after requests one after the other, want 1", len(c.idle))
		}
		hold := make(chan struct{})
		for range 5 {
			c.run(func() { <-hold })
		}
		ran := false
		c.run(func() { ran = true })
		synctest.Wait()
		if !ran {
			t.Error("a request waits for others")
		}
		close(hold)
		c.close()
	})
}

// At most maxIdle goroutines wait, and close ends all, those at work included.
func TestCrewEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		hold := make(chan struct{})
		var mu sync.Mutex
		ran := 0
		for range maxIdle + 8 {
			c.run(func() { <-hold; mu.Lock(); ran++; mu.Unlock() })
		}
		close(hold)
		synctest.Wait()
		if len(c.idle) != maxIdle || ran != maxIdle+8 {
			t.Errorf("%d wait of %d, want %d", len(c.idle), ran, maxIdle)
		}
		late := make(chan struct{})
		c.run(func() { <-late; ran++ })
		go func() { close(late) }()
		c.close()
		if ran != maxIdle+9 {
			t.Error("close did not wait for the request at work")
		}
	}) // the bubble fails if a goroutine is left
}

package natsapi

import (
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// door lets requests in, up to a bound, until it is shut. It may be used concurrently.
type door struct {
	requests int // that may be inside
	bytes    int // that these may have

	mu     sync.Mutex // guards what follows
	inside int
	held   int
	shut   bool
	empty  chan struct{} // closed when the door is shut and nobody is inside
}

func newDoor(requests, bytes int) *door {
	return &door{requests: requests, bytes: bytes, empty: make(chan struct{})}
}

// enter lets a request of that size in; it must leave. The error says why it did not enter.
func (d *door) enter(size int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.shut:
		return &rpc.Error{Code: rpc.Leaving, Verdict: rpc.NotRun, Message: "this gateway stops"}
	case d.inside >= d.requests || d.held+size > d.bytes && d.inside > 0:
		return &rpc.Error{Code: rpc.Overloaded, Verdict: rpc.NotRun, Message: "too many requests are open", RetryAfter: time.Second}
	}
	d.inside++
	d.held += size
	return nil
}

// leave is for a request of that size that entered.
func (d *door) leave(size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	d.held -= size
	if d.shut && d.inside == 0 {
		close(d.empty)
	}
}

// close shuts the door, for good. It may be called again.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return
	}
	d.shut = true
	if d.inside == 0 {
		close(d.empty)
	}
}

// open reports how many requests are inside.
func (d *door) open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside
}

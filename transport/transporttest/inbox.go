package transporttest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// inbox is a transport.Receiver that keeps everything it gets. It reports calls that break the
// contract of Receiver. on, if not nil, is called with every envelope.
type inbox struct {
	t    testing.TB
	link transport.Link
	on   func(e *transport.Envelope) // runs without the lock; set before the link is open

	mu      sync.Mutex           // guards what follows
	put     []transport.Envelope // what Receive got since the last Flush
	got     []transport.Envelope // what it got before that: without Flush, nothing counts as received
	busy    bool                 // inside Receive, Flush or Closed
	closed  error
	drained chan struct{} // closed and replaced by Drained
	changed chan struct{} // closed and replaced by every event
}

func newInbox(t testing.TB, l transport.Link) *inbox {
	return &inbox{t: t, link: l, drained: make(chan struct{}), changed: make(chan struct{})}
}

// enter records that Receive, Flush or Closed runs, until leave.
func (in *inbox) enter(what string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.busy {
		in.t.Errorf("%s while another call of the same link runs", what)
	}
	if in.closed != nil {
		in.t.Errorf("%s after Closed", what)
	}
	in.busy = true
}

func (in *inbox) leave(then func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.busy = false
	then()
	close(in.changed)
	in.changed = make(chan struct{})
}

func (in *inbox) Receive(e *transport.Envelope) {
	in.enter("Receive")
	if in.on != nil {
		in.on(e)
	}
	kept := e.Clone()
	in.leave(func() { in.put = append(in.put, kept) })
}

func (in *inbox) Flush() {
	in.enter("Flush")
	in.leave(func() { in.got, in.put = append(in.got, in.put...), nil })
}

func (in *inbox) Drained() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed != nil {
		in.t.Error("Drained after Closed")
	}
	close(in.drained)
	in.drained = make(chan struct{})
}

func (in *inbox) Disturbed() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed != nil {
		in.t.Error("Disturbed after Closed")
	}
}

func (in *inbox) Closed(err error) {
	in.enter("Closed")
	if err == nil {
		in.t.Error("Closed with a nil error")
		err = transport.ErrClosed
	}
	if len(in.put) > 0 {
		in.t.Errorf("Closed without a Flush after %d envelopes", len(in.put))
	}
	in.leave(func() { in.closed = err })
}

// whenDrained returns a channel that the next Drained closes.
func (in *inbox) whenDrained() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.drained
}

// wait returns once done holds. done runs under the lock.
func (in *inbox) wait(what string, done func() bool) {
	in.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		in.mu.Lock()
		ok, changed, n, closed := done(), in.changed, len(in.got), in.closed
		in.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			in.t.Fatalf("waited %v for %s; have %d envelopes, closed: %v", patience, what, n, closed)
		}
	}
}

// waitFor returns all envelopes once there are n.
func (in *inbox) waitFor(n int) []transport.Envelope {
	in.t.Helper()
	in.wait("envelopes", func() bool {
		if in.closed != nil && len(in.got) < n {
			in.t.Errorf("link closed with %d of %d envelopes: %v", len(in.got), n, in.closed)
			return true
		}
		return len(in.got) >= n
	})
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.got) < n {
		in.t.FailNow()
	}
	return slices.Clone(in.got)
}

// all returns what has come so far.
func (in *inbox) all() []transport.Envelope {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.got)
}

// waitClosed returns the error that Closed was called with.
func (in *inbox) waitClosed() error {
	in.t.Helper()
	in.wait("Closed", func() bool { return in.closed != nil })
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.closed
}

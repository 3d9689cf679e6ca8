package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/transport"
)

// listener is a Receiver that notes the numbers of what it gets. Only one goroutine at a time may call it.
type listener struct {
	t      *testing.T
	inside atomic.Int32
	got    map[uint64]int
	order  []uint64
	closed error
	during func(e *transport.Envelope) // called in Receive; nil: nothing is
}

func (l *listener) enter() func() {
	if l.inside.Add(1) != 1 {
		l.t.Error("two goroutines receive at once")
	}
	return func() { l.inside.Add(-1) }
}

func (l *listener) Receive(e *transport.Envelope) {
	defer l.enter()()
	if l.closed != nil {
		l.t.Error("something was received after Closed")
	}
	l.got[e.Seq]++
	l.order = append(l.order, e.Seq)
	if l.during != nil {
		l.during(e)
	}
}
func (l *listener) Flush()           { defer l.enter()() }
func (l *listener) Drained()         {}
func (l *listener) Disturbed()       {}
func (l *listener) Closed(err error) { defer l.enter()(); l.closed = err }

// loop returns both ends of a link within a node, and who listens there.
func loop(t *testing.T) (road *loopback, near, far *loopEnd, atNear, atFar *listener) {
	atNear, atFar = &listener{t: t, got: map[uint64]int{}}, &listener{t: t, got: map[uint64]int{}}
	road = &loopback{maxMessage: 1 << 20, accept: func(transport.Link) transport.Receiver { return atFar }}
	link, err := road.Dial(context.Background(), transport.Endpoint{}, func(transport.Link) transport.Receiver { return atNear })
	if err != nil {
		t.Fatal(err)
	}
	near = link.(*loopEnd)
	return road, near, near.other, atNear, atFar
}

func numbered(seq uint64) *transport.Envelope {
	return &transport.Envelope{Verb: transport.VerbRequest, Seq: seq, Target: "a", Body: []byte("body")}
}

// Whatever way envelopes are sent, each arrives once, those of a sender in their order, and one goroutine at a time receives.
func TestLoopDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const senders, each = 8, 200
		road, near, _, _, atFar := loop(t)
		var all sync.WaitGroup
		for s := range uint64(senders) {
			all.Go(func() {
				for n := range uint64(each) {
					var err error
					if (s+n)%3 == 0 {
						_, err = near.Send(numbered(s*each + n))
					} else {
						_, err = near.SendQuietly(numbered(s*each + n))
						near.Deliver()
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		synctest.Wait()
		last := [senders]uint64{}
		for _, seq := range atFar.order {
			s := seq / each
			if seq < last[s] {
				t.Errorf("number %d came after %d", seq, last[s])
			}
			last[s] = seq
		}
		if len(atFar.got) != senders*each || len(atFar.order) != senders*each {
			t.Errorf("%d of %d arrived, %d times", len(atFar.got), senders*each, len(atFar.order))
		}
		if err := road.Close(); err != nil || atFar.closed == nil {
			t.Errorf("after Close: %v, %v", err, atFar.closed)
		}
	})
}

// Who delivers while somebody else receives leaves that to the pump, also if it is the receiver itself; nothing is left lying.
func TestLoopDeliversWhatItsReceiverSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		road, near, _, _, atFar := loop(t)
		atFar.during = func(e *transport.Envelope) {
			if e.Seq < 5 {
				_, _ = near.SendQuietly(numbered(e.Seq + 1))
				near.Deliver()
			}
		}
		_, _ = near.SendQuietly(numbered(1))
		near.Deliver()
		synctest.Wait()
		if len(atFar.order) != 5 {
			t.Errorf("%v arrived, want 1 to 5", atFar.order)
		}
		_ = road.Close()
	})
}

// After the end of the link nothing is received, and a receiver that panics does not keep the turn.
func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		road, near, far, atNear, atFar := loop(t)
		atFar.during = func(*transport.Envelope) { panic("receiver") }
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic of a receiver is hidden")
				}
			}()
			_, _ = near.SendQuietly(numbered(1))
			near.Deliver()
		}()
		atFar.during = nil
		_, _ = near.SendQuietly(numbered(2))
		near.Deliver()
		if atFar.got[2] != 1 {
			t.Error("nothing is received after a panic")
		}
		_, _ = near.SendQuietly(numbered(3))
		near.Close(transport.ErrHeartbeat)
		synctest.Wait()
		near.Deliver()
		far.Deliver()
		if !errors.Is(atFar.closed, transport.ErrHeartbeat) || !errors.Is(atNear.closed, transport.ErrHeartbeat) {
			t.Errorf("closed with %v and %v", atFar.closed, atNear.closed)
		}
		if _, err := near.SendQuietly(numbered(4)); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("sending on a closed link: %v", err)
		}
		_ = road.Close()
	})
}

// The memory of a large batch is not kept.
func TestLoopKeepsNoLargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		road, near, far, _, _ := loop(t)
		for _, size := range []int{maxLoopSpare / 4, maxLoopSpare + 1} {
			_, _ = near.SendQuietly(&transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Body: make([]byte, size)})
			near.Deliver()
			if kept := cap(far.spare) > 0; kept != (size < maxLoopSpare) {
				t.Errorf("a batch of %d bytes: %d are kept", size, cap(far.spare))
			}
		}
		_ = road.Close()
	})
}

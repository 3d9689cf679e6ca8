package natsbus

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
)

// watch calls Disturbed and ends links when something happens to the connection or to the node's
// subscription. It has its own listeners, so handlers that the user has set on the connection stay.
func (t *Transport) watch() {
	defer t.wg.Done()
	// A slow consumer is reported at its first drop, and becomes active again with
	// the first message that fits: only then is it known how much was dropped.
	slow := t.node.StatusChanged(nats.SubscriptionSlowConsumer, nats.SubscriptionActive)
	seen := 0
	for {
		select {
		case s := <-t.status:
			switch s {
			case nats.CONNECTED:
				t.room.Store(t.nc.MaxPayload())
				t.local.Logger.Info("natsbus: reconnected")
				t.disturb()
			case nats.CLOSED:
				t.local.Logger.Error("natsbus: the NATS connection was closed for good: nothing travels on this road until the process is restarted", "err", t.nc.LastError())
				t.links.each(func(l *link) {
					l.end(fmt.Errorf("%w: %w", transport.ErrClosed, nats.ErrConnectionClosed), false)
				})
			}
		case _, ok := <-slow:
			if !ok {
				slow = nil
				continue
			}
			if n, err := t.node.Dropped(); err == nil && n > seen {
				t.dropped.Add(uint64(n - seen))
				t.local.Logger.Warn("natsbus: slow consumer, messages dropped", "dropped", n-seen)
				seen = n
				t.disturb()
			}
		case <-t.stopped:
			return
		}
	}
}

// disturb tells every link that messages may have been lost.
func (t *Transport) disturb() {
	t.links.each(func(l *link) {
		if l.enter() {
			l.recv.Disturbed()
			l.leave()
		}
	})
}

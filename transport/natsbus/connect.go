package natsbus

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Connect connects to a NATS server with settings that suit this road, each of which
// opts may override save the reconnect buffer, which is off: a publish without a
// connection fails at once, so that its sender knows that it never left. The
// connection reconnects for ever, starting after 100 ms; a silent server is given up
// after 15 s, a stuck write after 5 s. The first connect fails if no server answers.
// The caller closes the connection.
func Connect(url string, opts ...nats.Option) (*nats.Conn, error) {
	all := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 200*time.Millisecond),
		nats.RetryOnFailedConnect(false),
		nats.Timeout(5 * time.Second),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(5 * time.Second),
		// A flush that failed has lost what it held. Only a reconnect makes that known.
		nats.ReconnectOnFlusherError(),
	}
	nc, err := nats.Connect(url, append(append(all, opts...), nats.ReconnectBufSize(-1))...)
	if err != nil {
		return nil, fmt.Errorf("natsbus: connecting: %w", err)
	}
	return nc, nil
}

// checkConn reports why a road cannot run on nc.
func checkConn(nc *nats.Conn) error {
	switch {
	case nc == nil:
		return fmt.Errorf("%w: it is nil", ErrNotConnected)
	case nc.Opts.ReconnectBufSize >= 0:
		return ErrReconnectBuffer
	case !nc.IsConnected():
		return fmt.Errorf("%w: it is %s", ErrNotConnected, nc.Status())
	}
	return nil
}

// neverAppended reports whether err, from a publish, says that nothing of the
// message came into the connection's write buffer: nats.go v1.55 returns these
// before it appends, and everything else after it.
func neverAppended(err error) bool {
	for _, e := range [...]error{nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed, nats.ErrConnectionDraining,
		nats.ErrMaxPayload, nats.ErrInvalidConnection, nats.ErrBadSubject, nats.ErrHeadersNotSupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

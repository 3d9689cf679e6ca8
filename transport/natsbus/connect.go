package natsbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/internal/natswait"
)

// DefaultStartWait is how long Connect and Transport.Start wait for a server if their ctx has
// no deadline.
const DefaultStartWait = natswait.DefaultWait

// Connect connects to a NATS server with settings that suit this road. opts may override all
// of them except for the reconnect buffer, which is off: a publish without a connection
// fails at once, so its sender knows that it was not sent. The connection reconnects for
// ever, starting after 100 ms, even while the server refuses its user or password. It gives
// up a silent server after 15 s, and a stuck write after 5 s.
//
// While no server answers, or none accepts the user, Connect tries again until ctx ends, or
// for DefaultStartWait if ctx has no deadline. It logs to slog.Default what it waits for
// whenever that changes. The error wraps ErrNotConnected and the last cause. The
// caller closes the connection.
func Connect(ctx context.Context, url string, opts ...nats.Option) (*nats.Conn, error) {
	var nc *nats.Conn
	err := natswait.For{What: "a connection to NATS", Try: time.Hour}.Until(ctx, nil, func(try context.Context) (err error) {
		all := []nats.Option{
			nats.MaxReconnects(-1),
			nats.IgnoreAuthErrorAbort(),
			nats.ReconnectWait(100 * time.Millisecond),
			nats.ReconnectJitter(100*time.Millisecond, 200*time.Millisecond),
			nats.RetryOnFailedConnect(false),
			nats.Timeout(5 * time.Second),
			nats.PingInterval(5 * time.Second),
			nats.MaxPingsOutstanding(2),
			nats.FlusherTimeout(5 * time.Second),
			// A failed flush has lost what it held. Only a reconnect makes that visible.
			nats.ReconnectOnFlusherError(),
		}
		nc, err = nats.Connect(url, append(append(all, opts...), nats.ReconnectBufSize(-1), until(try))...)
		return err
	})
	if e := (*natswait.Error)(nil); errors.As(err, &e) {
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return nc, err
}

// until bounds a connect by ctx's deadline.
func until(ctx context.Context) nats.Option {
	return func(o *nats.Options) error {
		if end, ok := ctx.Deadline(); ok {
			o.Timeout = max(min(o.Timeout, time.Until(end)), time.Millisecond)
		}
		return nil
	}
}

// checkConn reports why a road can never run on nc.
func checkConn(nc *nats.Conn) error {
	switch {
	case nc == nil:
		return fmt.Errorf("%w: it is nil", ErrNotConnected)
	case nc.Opts.ReconnectBufSize >= 0:
		return ErrReconnectBuffer
	case nc.Opts.NoEcho:
		return ErrNoEcho
	case nc.IsClosed(), nc.IsDraining():
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

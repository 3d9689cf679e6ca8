package natskv

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A watch may deliver nothing any more without an error, and even with heartbeats, if its server
// has lost the connection to the others. So it is checked that the watch delivers what the
// stream's leader has.
const (
	probeEvery = 2 * time.Second // between two requests to the leader
	probeWait  = 2 * time.Second // how long the watch may take to deliver what the leader had
)

// probe compares the watch with the stream's leader until end is called, which waits for it.
// stalled is closed if the watch does not deliver what the leader has.
func (r *Registry) probe(ctx context.Context) (stalled <-chan struct{}, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	found, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for pause(ctx, probeEvery) {
			watched := r.Watched()
			last, err := r.bucket.last(ctx, "*")
			api := (*jetstream.APIError)(nil)
			switch {
			case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
			case err != nil || last == nil: // no leader answers, or the bucket is empty
				continue
			case last.rev < watched: // this is not the bucket that is watched
			case r.Watched() >= last.rev || !pause(ctx, probeWait) || r.Watched() >= last.rev:
				continue
			}
			if ctx.Err() == nil {
				close(found)
			}
			return
		}
	}()
	return found, func() {
		cancel()
		<-done
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

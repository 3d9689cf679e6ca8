package natskv

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A watch may fall silent without an error, and even go on with its heartbeats, when the
// server that feeds it has lost touch with the rest. So it has to prove that it lives:
// what the stream's leader has must come through it.
const (
	probeEvery = 2 * time.Second // between two questions to the leader
	probeWait  = 2 * time.Second // for the watch to tell what the leader had
)

// probe compares the watch with the stream's leader until end is called, which waits for
// it. stalled is closed when the watch does not tell what the leader has.
func (r *Registry) probe(ctx context.Context) (stalled <-chan struct{}, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	found, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for pause(ctx, probeEvery) {
			told := r.toldTo()
			last, err := r.bucket.last(ctx, "*")
			api := (*jetstream.APIError)(nil)
			switch {
			case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
			case err != nil || last == nil: // no leader to ask, or nothing to tell
				continue
			case last.rev < told: // it is not the bucket that is watched
			case r.toldTo() >= last.rev || !pause(ctx, probeWait) || r.toldTo() >= last.rev:
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

// toldTo returns the highest revision that the watch has told.
func (r *Registry) toldTo() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.streamed
}

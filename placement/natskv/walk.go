package natskv

import (
	"context"
	"fmt"
	"iter"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
)

// Walk implements [placement.Claims]. The order is that in which the claims were made. It reads some
// hundreds at a time, through a consumer in the memory of the server that leads the bucket. After a
// lost answer or the restart of a server it goes on behind what it has read, until ctx ends.
func (c *Claims) Walk(ctx context.Context, kind string) iter.Seq2[placement.Entry, error] {
	return func(yield func(placement.Entry, error) bool) {
		fail := func(key placement.Key, err error) {
			yield(placement.Entry{}, known(&placement.Error{Op: "walk", Key: key}, err))
		}
		all := placement.Key{Kind: kind}
		if err := (placement.Key{Kind: kind, ID: kind}).Valid(); err != nil { // valid if the kind is
			fail(all, err)
			return
		}
		var bad placement.Key // the first one whose claim cannot be decoded
		var badly error
		for m, err := range c.home.Walk(ctx, kind, true) {
			if err != nil {
				fail(all, err)
				return
			}
			entry, err := c.entry(kind, m)
			if err != nil && badly == nil {
				bad, badly = entry.Key, err
			}
			if err == nil && entry.Claim != (placement.Claim{}) && !yield(entry, nil) {
				return
			}
		}
		if badly != nil {
			fail(bad, badly)
		}
	}
}

// entry returns the claim that a message has, with its key. If that was released, there is none. The
// error wraps placement.ErrFormat.
func (c *Claims) entry(kind string, m *natsjs.RawStreamMsg) (placement.Entry, error) {
	entry := placement.Entry{Key: placement.Key{Kind: kind}}
	id, err := c.home.ID(kind, m.Subject)
	if err != nil {
		return entry, fmt.Errorf("%w: %w", placement.ErrFormat, err)
	}
	entry.Key.ID = id
	entry.Held, err = held(m)
	return entry, err
}

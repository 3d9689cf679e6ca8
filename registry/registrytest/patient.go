package registrytest

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// patient wraps a registry. While the registry is unavailable, it repeats each call until ctx ends,
// because on a busy machine a cluster of servers may have no leader for some seconds. Each call
// may be repeated, even if the first one was carried out.
type patient struct{ registry.Registry }

func again(ctx context.Context, f func() error) error {
	for {
		err := f()
		if !errors.Is(err, registry.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (r patient) Register(ctx context.Context, n registry.Node) error {
	return again(ctx, func() error { return r.Registry.Register(ctx, n) })
}

func (r patient) Update(ctx context.Context, n registry.Node) error {
	return again(ctx, func() error { return r.Registry.Update(ctx, n) })
}

func (r patient) Renew(ctx context.Context, name, epoch string) error {
	return again(ctx, func() error { return r.Registry.Renew(ctx, name, epoch) })
}

func (r patient) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	return again(ctx, func() error { return r.Registry.Deregister(ctx, name, epoch, last) })
}

func (r patient) Evict(ctx context.Context, name, epoch string) error {
	return again(ctx, func() error { return r.Registry.Evict(ctx, name, epoch) })
}

func (r patient) Lookup(ctx context.Context, name string) (n registry.Node, err error) {
	err = again(ctx, func() error { n, err = r.Registry.Lookup(ctx, name); return err })
	return n, err
}

func (r patient) Departed(ctx context.Context, name string) (d registry.Departure, err error) {
	err = again(ctx, func() error { d, err = r.Registry.Departed(ctx, name); return err })
	return d, err
}

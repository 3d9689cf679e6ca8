package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

// hold returns leases for a claim: those that it has, begun again, or new ones.
func (s *store) hold(ctx context.Context, n registry.Node) (h holding, err error) {
	s.mu.Lock()
	h = s.leases[n.Name]
	s.mu.Unlock()
	if h.epoch != n.Epoch {
		h = holding{epoch: n.Epoch}
	}
	if h.record, err = s.live(ctx, h.record, s.lease); err != nil {
		return h, err
	}
	// The trace lasts for so much longer that it need not be renewed each time.
	if now := time.Now(); h.trace == 0 || now.Sub(h.extended) > registry.Memory {
		if h.trace, err = s.live(ctx, h.trace, s.lease+2*registry.Memory); err != nil {
			return h, err
		}
		h.extended = now
	}
	s.mu.Lock()
	s.leases[n.Name] = h
	s.mu.Unlock()
	return h, nil
}

// live begins a lease again. If etcd does not have it, or it is zero, it begins a new one.
func (s *store) live(ctx context.Context, id clientv3.LeaseID, d time.Duration) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if id != 0 {
		_, err := s.c.KeepAliveOnce(ctx, id)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return id, s.fault(err)
		}
	}
	got, err := s.c.Grant(ctx, int64(d/time.Second))
	if err != nil {
		return 0, s.fault(err)
	}
	return got.ID, nil
}

// traced writes the trace of a claim.
func (s *store) traced(n registry.Node, h holding) clientv3.Op {
	value, _ := json.Marshal(trace{Epoch: n.Epoch, Renewed: time.Now()}) // it cannot fail
	return clientv3.OpPut(s.traces+n.Name, string(value), clientv3.WithLease(h.trace))
}

// departed writes a departure, for as long as the lease.
func (s *store) departed(name string, d registry.Departure, lease clientv3.LeaseID) clientv3.Op {
	value, _ := json.Marshal(d) // it cannot fail
	return clientv3.OpPut(s.leavings+name, string(value), clientv3.WithLease(lease))
}

// read reads keys.
func (s *store) read(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := s.c.Get(ctx, key, opts...)
	return got, s.fault(err)
}

// swap makes all writes if all comparisons hold, and returns the revision of the writes.
func (s *store) swap(ctx context.Context, name string, writes []clientv3.Op, conditions ...clientv3.Cmp) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := s.c.Txn(ctx).If(conditions...).Then(writes...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound): // it has ended meanwhile, or somebody has revoked it
		s.mu.Lock()
		delete(s.leases, name)
		s.mu.Unlock()
		return 0, leased.ErrConflict
	case err != nil:
		return 0, s.fault(err)
	case !got.Succeeded:
		return 0, leased.ErrConflict
	}
	return uint64(got.Header.Revision), nil
}

// fault wraps an error of etcd in the sentinel of package registry that fits; nil stays nil.
func (s *store) fault(err error) error {
	var e rpctypes.EtcdError
	switch {
	case err == nil:
		return nil
	case s.c.Ctx().Err() != nil:
		return fmt.Errorf("%w: %w: %w", registry.ErrUnavailable, registry.ErrClosed, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: %w", registry.ErrTooLarge, err)
	case errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty),
		errors.As(err, &e) && (e.Code() == codes.PermissionDenied || e.Code() == codes.Unauthenticated):
		return fmt.Errorf("%w: %w", registry.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
}

package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

const requestTimeout = 5 * time.Second // bounds a read or a write

// store is the keys of one cluster. Beside the records there are traces, which outlive them and say
// who held a name and when its lease was renewed last, and departures. An empty record says
// that its node has left.
type store struct {
	c                       *clientv3.Client
	nodes, traces, leavings string // prefixes of keys
	lease                   time.Duration

	mu     sync.Mutex         // guards what follows
	leases map[string]holding // of what this client has claimed, by name
}

var _ leased.Store = (*store)(nil)

// holding is the leases of one claim.
type holding struct {
	epoch    string
	record   clientv3.LeaseID
	trace    clientv3.LeaseID
	extended time.Time // when the lease of the trace was begun or renewed
}

// trace says who holds a name, or has held it until its lease ended.
type trace struct {
	Epoch   string    `json:"epoch"`
	Renewed time.Time `json:"renewed"` // by the clock of the holder
}

func newStore(c *clientv3.Client, cfg leased.Config) *store {
	prefix := cfg.Cluster + "/"
	return &store{c: c, nodes: prefix + "nodes/", traces: prefix + "traces/", leavings: prefix + "departures/", lease: cfg.Lease, leases: make(map[string]holding)}
}

// Ready returns an error if no server can be reached.
func (s *store) Ready() error {
	switch {
	case s.c.Ctx().Err() != nil:
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, registry.ErrClosed)
	case s.c.ActiveConnection().GetState() == connectivity.TransientFailure:
		return fmt.Errorf("%w: no server of etcd can be reached", registry.ErrUnavailable)
	}
	return nil
}

// Get reads what etcd has about a name.
func (s *store) Get(ctx context.Context, name string) (leased.Record, error) {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := s.c.Txn(limited).Then(clientv3.OpGet(s.nodes+name), clientv3.OpGet(s.traces+name)).Commit()
	if err != nil {
		return leased.Record{}, s.fault(err)
	}
	t := trace{}
	if kvs := got.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		_ = json.Unmarshal(kvs[0].Value, &t) // one that cannot be read says nothing
	}
	kvs := got.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return s.expired(t), nil
	}
	last := leased.Record{Rev: uint64(kvs[0].ModRevision), Value: kvs[0].Value, At: t.Renewed}
	if len(last.Value) == 0 {
		last.Departed, err = s.Departed(ctx, name)
		return last, err
	}
	last.Node, last.Broken = leased.Decode(name, last.Value)
	last.Exists = last.Broken == nil
	return last, last.Broken
}

// expired returns what is in the place of a record that is gone.
func (s *store) expired(t trace) leased.Record {
	at := t.Renewed.Add(s.lease)
	if t.Epoch == "" || time.Since(at) > registry.Memory {
		return leased.Record{}
	}
	return leased.Record{Departed: &registry.Departure{Epoch: t.Epoch, Change: registry.Expired, At: at}}
}

// Put writes the record, if nobody has written another one since last was read.
func (s *store) Put(ctx context.Context, n registry.Node, value []byte, last leased.Record) (uint64, error) {
	h, err := s.hold(ctx, n)
	if err != nil {
		return 0, err
	}
	write := []clientv3.Op{clientv3.OpPut(s.nodes+n.Name, string(value), clientv3.WithLease(h.record)), s.traced(n, h)}
	if d := last.Departed; d != nil && d.Change == registry.Expired { // one that has left is there already
		lease, err := s.live(ctx, 0, registry.Memory)
		if err != nil {
			return 0, err
		}
		write = append(write, s.departed(n.Name, *d, lease))
	}
	return s.swap(ctx, n.Name, write, clientv3.Compare(clientv3.ModRevision(s.nodes+n.Name), "=", int64(last.Rev)))
}

// Renew restarts the leases. The record must be the one that this client wrote under its lease.
func (s *store) Renew(ctx context.Context, n registry.Node, value []byte, rev uint64) (uint64, error) {
	s.mu.Lock()
	former := s.leases[n.Name]
	s.mu.Unlock()
	h, err := s.hold(ctx, n)
	if err != nil {
		return 0, err
	}
	if h.record != former.record { // the record's lease is gone, and the record with it
		return 0, leased.ErrConflict
	}
	_, err = s.swap(ctx, n.Name, []clientv3.Op{s.traced(n, h)},
		clientv3.Compare(clientv3.ModRevision(s.nodes+n.Name), "=", int64(rev)),
		clientv3.Compare(clientv3.LeaseValue(s.nodes+n.Name), "=", h.record))
	return rev, err
}

// Delete leaves an empty record, which etcd drops when the departure need not be remembered any more.
func (s *store) Delete(ctx context.Context, name string, last leased.Record, d registry.Departure) (uint64, error) {
	d.At = time.Now()
	lease, err := s.live(ctx, 0, registry.Memory)
	if err != nil {
		return 0, err
	}
	write := []clientv3.Op{clientv3.OpPut(s.nodes+name, "", clientv3.WithLease(lease)), s.departed(name, d, lease), clientv3.OpDelete(s.traces + name)}
	rev, err := s.swap(ctx, name, write, clientv3.Compare(clientv3.ModRevision(s.nodes+name), "=", int64(last.Rev)))
	if err == nil {
		s.mu.Lock()
		delete(s.leases, name)
		s.mu.Unlock()
	}
	return rev, err
}

// Departed reads the latest departure that was written.
func (s *store) Departed(ctx context.Context, name string) (*registry.Departure, error) {
	got, err := s.read(ctx, s.leavings+name)
	if err != nil || len(got.Kvs) == 0 {
		return nil, err
	}
	d := new(registry.Departure)
	if json.Unmarshal(got.Kvs[0].Value, d) != nil {
		return nil, nil // somebody else has written it, so it says nothing
	}
	return d, nil
}

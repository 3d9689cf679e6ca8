// Package etcd is a registry in etcd (version 3).
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"etcd-0:2379", "etcd-1:2379", "etcd-2:2379"}})
//	if err != nil { ... }
//	defer client.Close()
//	reg, err := etcd.New(ctx, client, etcd.Config{Cluster: "shop"})
//	if err != nil { ... }
//	defer reg.Close()
//
// The record of a node has the key "<cluster>/nodes/<name>". A claim is made, and changes its owner,
// only by a transaction that compares the record's revision, so only one epoch wins. The record
// is attached to a lease of etcd, which restarts with every Renew. A node that ends without
// Deregister keeps its name until the lease has ended: 15 s, unless Config says otherwise. The
// server may make a lease longer, but never shorter: etcd has no leases below 1.5 of its election
// time-outs. After a change of etcd's leader each lease begins again.
//
// Claims are decided by what a majority of the servers has. The registry remembers for
// [registry.Memory] that a node has left or expired, with its last word.
//
// Reads are answered from a cache, which a watch keeps up to date. The cache still answers while etcd
// is away, and it does not take trouble of etcd for the death of nodes: see [Registry]. Every 2 s it
// is checked that the watch is as far as etcd is, so a watch that has fallen silent is opened again
// within seconds.
//
// A connection that hangs is noticed only if the client has clientv3.Config.DialKeepAliveTime and
// DialKeepAliveTimeout; a few seconds each are right.
//
// If etcd has users, that of the client needs to read and write all keys that begin with "<cluster>/". Who may
// write them may write the record of any node, and so say at which address and under which
// principal it is; the roads' own security does not help against that. A user that may write only the
// keys "<cluster>/nodes/<name>", "<cluster>/traces/<name>" and "<cluster>/departures/<name>" of its own node, and
// read all, cannot; it cannot evict the dead either, whose leases then have to end.
//
// The limits: a record has at most registry.MaxRecord bytes, and Config bounds how many are kept in
// memory. Records beyond that are not served, and the log says so. A renewal is one write, which
// reaches no other node. A restore of etcd from a backup may bring a former holder of a name back;
// it ends with its lease. This package is a module of its own, so that others need no etcd.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

// Defaults of a Config.
const (
	DefaultLease      = leased.DefaultLease      // how long a claim lives without Renew
	DefaultMaxRecords = leased.DefaultMaxRecords // records of other nodes that are served
	DefaultMaxBytes   = leased.DefaultMaxBytes   // about how many bytes they take in memory
	DefaultStartWait  = leased.DefaultStartWait  // how long New waits for etcd if its ctx has no deadline
)

// Config describes a Registry. Its zero value is the default.
type Config struct {
	Cluster string        // prefix of the keys; default "tandem"
	Lease   time.Duration // default DefaultLease, at least 1 s, rounded up to whole seconds
	Logger  *slog.Logger  // default slog.Default()

	// MaxRecords and MaxBytes bound the records of other nodes that are kept in memory and
	// served. Beyond that, a new node is not served until others have left.
	MaxRecords, MaxBytes int

	StartWait time.Duration // how long New waits for etcd if its ctx has no deadline
}

// Registry is a client of one cluster's records. Its methods may be called concurrently. It does
// not own the client of etcd. It is a [registry.Registry]; Close ends it: its watches end, claims
// stay until their leases end, and its cache no longer changes.
//
// A failure of etcd does not count as the death of nodes. While etcd is away, nothing expires. For one
// lease after it was away, a record that has expired is served for one more lease, so that a
// node that could not renew has time to register again; only then is it reported as Expired. Left is
// reported at once. A key that was deleted by hand looks as if it had expired.
type Registry struct {
	*client
	store *store
}

// client has the methods of a registry.
type client = leased.Registry

var _ registry.Registry = (*Registry)(nil)

// New returns a client of the cluster's records once it knows all of them. ctx bounds only New.
//
// Programs and servers may start in any order: New waits for etcd until ctx ends, or for
// Config.StartWait if ctx has no deadline, and logs that it waits. The error then wraps
// registry.ErrUnavailable. If waiting cannot help, New returns at once: the error wraps
// registry.ErrDenied if the user may not read the records, and registry.ErrClosed if the client is closed.
func New(ctx context.Context, c *clientv3.Client, cfg Config) (*Registry, error) {
	shared, err := leased.Config{
		Package: "etcd", Cluster: cfg.Cluster, Lease: cfg.Lease, MaxRecords: cfg.MaxRecords, MaxBytes: cfg.MaxBytes,
		StartWait: cfg.StartWait, Logger: cfg.Logger,
	}.Checked(time.Second)
	if err != nil {
		return nil, err
	}
	s := newStore(c, shared)
	r := &Registry{client: leased.New(s, shared), store: s}
	if err := r.Open(ctx, r.watch); err != nil {
		return nil, err
	}
	return r, nil
}

const (
	pageSize   = 256             // records that are read at once
	probeEvery = 2 * time.Second // between two looks at how far etcd is
	probeWait  = 2 * time.Second // how long the watch may take to be as far
)

var (
	errStalled  = fmt.Errorf("%w: the watch does not deliver what etcd has", registry.ErrUnavailable)
	errReplaced = fmt.Errorf("%w: etcd does not have what it had", registry.ErrUnavailable)
	errAgain    = fmt.Errorf("%w: etcd answers again", registry.ErrUnavailable)
	errEnded    = fmt.Errorf("%w: the watch ended", registry.ErrUnavailable)
)

// watch reports the records and their changes, until ctx ends or something may have been missed.
func (r *Registry) watch(ctx context.Context, complete func()) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	s := r.Begin(complete)
	defer s.End()
	rev, err := r.readAll(ctx, s)
	if err != nil {
		return err
	}
	updates := r.store.c.Watch(ctx, r.store.nodes, clientv3.WithPrefix(), clientv3.WithRev(rev+1))
	failed, end := r.probe(ctx)
	defer end()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case now := <-s.Due():
			if r.store.Ready() == nil { // while etcd is away nothing expires
				s.Expire(now)
			} else {
				s.Delay()
			}
		case u, ok := <-updates:
			switch {
			case !ok:
				return errors.Join(errEnded, r.store.Ready())
			case u.Err() != nil:
				return r.store.fault(u.Err())
			case u.IsProgressNotify():
				s.Reached(uint64(u.Header.Revision))
			}
			for _, e := range u.Events {
				r.take(s, e)
			}
		}
	}
}

// readAll reports all records to s, as they are at the revision that it returns.
func (r *Registry) readAll(ctx context.Context, s *leased.Session) (rev int64, err error) {
	from, end := r.store.nodes, clientv3.GetPrefixRangeEnd(r.store.nodes)
	for {
		page, err := r.store.read(ctx, from, clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(pageSize))
		if err != nil {
			return 0, err
		}
		if rev == 0 {
			rev = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			r.take(s, &clientv3.Event{Type: clientv3.EventTypePut, Kv: kv})
			from = string(kv.Key) + "\x00"
		}
		if !page.More {
			s.Whole(uint64(rev))
			return rev, nil
		}
	}
}

// take reports one change of a key to the session.
func (r *Registry) take(s *leased.Session, e *clientv3.Event) {
	name, rev := strings.TrimPrefix(string(e.Kv.Key), r.store.nodes), uint64(e.Kv.ModRevision)
	switch {
	case e.Type == clientv3.EventTypeDelete:
		s.Expired(name, rev)
	case len(e.Kv.Value) == 0:
		s.Left(name, rev)
	default:
		s.Record(name, e.Kv.Value, rev)
	}
}

// probe compares the watch with what etcd has until end is called, which waits for it. failed gets an error
// if the watch may have missed something.
func (r *Registry) probe(ctx context.Context) (failed <-chan error, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	found, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		away := false
		for pause(ctx, probeEvery) {
			before := r.Watched()
			got, err := r.store.read(ctx, r.store.nodes, clientv3.WithCountOnly())
			if err != nil {
				r.Trouble()
				away = true
				continue
			}
			if err := r.compare(ctx, away, before, uint64(got.Header.Revision)); err != nil {
				found <- err
				return
			}
		}
	}()
	return found, func() {
		cancel()
		<-done
	}
}

// compare returns an error if the watch may have missed something. etcd was at revision rev, after the
// watch had been at revision before.
func (r *Registry) compare(ctx context.Context, away bool, before, rev uint64) error {
	switch {
	case away:
		return errAgain
	case rev < before:
		return errReplaced
	case r.Watched() >= rev:
		return nil
	}
	// What has changed may be another key of etcd. The answer comes through the watch.
	if err := r.store.c.RequestProgress(ctx); err != nil {
		return r.store.fault(err)
	}
	if pause(ctx, probeWait) && r.Watched() < rev {
		return errStalled
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

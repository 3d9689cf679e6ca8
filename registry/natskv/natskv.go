// Package natskv is a registry in a JetStream key-value bucket.
//
//	reg, err := natskv.New(ctx, js, natskv.Config{Cluster: "shop"})
//	if err != nil { ... }
//	defer reg.Close()
//
// The record of a node is in the bucket "<cluster>_nodes", under the node's name. A claim is
// made by a create, so only one epoch wins. It lives for its lease, which is the record's
// TTL and restarts with every Renew. It changes its owner only by a compare-and-set on the
// record's revision.
//
// A process that ends without Deregister, for example by kill -9, leaves its claim behind
// until the lease has expired: 15 s, unless Config says otherwise. Until then Register of
// that name returns [registry.ErrTaken]. Package actor takes over the name at once if it can
// prove that the holder is dead, and waits otherwise. With a shorter Config.Lease a death
// is noticed sooner, but a node survives fewer seconds of trouble.
//
// Claims are decided by what the leader of the bucket's stream has. The registry remembers
// for [registry.Memory] that a node has left or expired, with its last word.
//
// Reads are answered from a cache, which one watch of the bucket keeps up to date. The cache
// still answers while NATS is away, and it does not take trouble of NATS for the death of
// nodes: see [Registry.Watch]. Every 2 s it is compared with the leader, so a watch that has
// fallen silent is opened again within seconds.
//
// The permissions that the connection's user needs are in docs/nats-permissions.md.
//
// The limits: a record has at most registry.MaxRecord bytes, and Config bounds how many are
// kept in memory. Records beyond that are not served, and the log says so. The owner of a
// record writes its own record with every Renew, even if somebody else has changed it.
//
// Every renewal reaches every node. With N nodes, the default lease and three renewals a
// lease, each node reads N messages in 5 s. That is meant for hundreds of nodes.
package natskv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

// DefaultLease is how long a claim lives without Renew, unless Config says otherwise.
const DefaultLease = leased.DefaultLease

// markerTTL is how long the bucket remembers that a key was deleted or has expired, and the
// last word: for Departed, and for a watcher that lost contact with its server without
// noticing.
const markerTTL = registry.Memory

// The most that is kept in memory of what the bucket holds, unless Config says otherwise.
const (
	DefaultMaxRecords = leased.DefaultMaxRecords
	DefaultMaxBytes   = leased.DefaultMaxBytes // about how many bytes the records take in memory
)

// DefaultStartWait is how long New waits for JetStream if its ctx has no deadline.
const DefaultStartWait = natswait.DefaultWait

// Config describes a Registry. Its zero value is the default.
type Config struct {
	Cluster  string        // prefix of the bucket's name; default "tandem"
	Lease    time.Duration // default DefaultLease, at least 1 s, rounded up to whole seconds
	Replicas int           // number of replicas of the bucket, if New has to create it; default 1
	Logger   *slog.Logger  // default slog.Default()

	// MaxRecords and MaxBytes bound the records of other nodes that are kept in memory and
	// served; default 4,096 and 16 MiB. Beyond that, a new node is not served until others have
	// left.
	MaxRecords, MaxBytes int

	StartWait time.Duration // how long New waits for JetStream if its ctx has no deadline; default DefaultStartWait
}

// Registry is a client of one cluster's bucket. Its methods may be called
// concurrently. It does not own the NATS connection. It is a [registry.Registry]; Close ends it:
// its watches end, claims stay until their leases end, and its cache no longer changes.
//
// A failure of NATS does not count as the death of nodes. While NATS is away, nothing expires.
// For one lease after it was away, a record that has expired is served for one more lease,
// so that a node that could not renew has time to register again; only then is it reported
// as Expired. Left is reported at once. A key that was purged by hand looks as if it had
// expired.
type Registry struct {
	*client
	log    *slog.Logger
	bucket bucket
}

// client has the methods of a registry.
type client = leased.Registry

var _ registry.Registry = (*Registry)(nil)

// New returns a client of the cluster's bucket once it knows all records in it. If there is
// no bucket, it creates one. ctx bounds only New.
//
// Programs and servers may start in any order: while NATS is away, or JetStream does not
// serve yet, New waits until ctx ends, or for Config.StartWait if ctx has no deadline, and logs
// what is missing whenever that changes. The error then wraps registry.ErrUnavailable, and says
// what is missing and what to do. If waiting cannot help, New returns at once: the error wraps
// registry.ErrDenied if the user lacks a permission, and registry.ErrClosed if the connection is
// closed.
func New(ctx context.Context, js jetstream.JetStream, cfg Config) (*Registry, error) {
	shared, err := leased.Config{
		Package: "natskv", Cluster: cfg.Cluster, Lease: cfg.Lease, MaxRecords: cfg.MaxRecords, MaxBytes: cfg.MaxBytes,
		StartWait: cfg.StartWait, Logger: cfg.Logger,
	}.Checked(time.Second) // the server ignores fractions of a second
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, shared.StartWait)
		defer cancel()
	}
	bucket := newBucket(js, shared, cfg.Replicas)
	r := &Registry{client: leased.New(bucket, shared), log: shared.Logger, bucket: bucket}
	opening := natswait.For{What: "the registry's bucket " + bucket.name, Logger: r.log}
	err = opening.Until(ctx, js.Conn(), func(ctx context.Context) error {
		_, err := bucket.open(ctx)
		return err
	})
	if err != nil {
		return nil, bucket.unopened(err)
	}
	if err := r.Start(ctx, r.follow); err != nil {
		return nil, fmt.Errorf("natskv: reading bucket %s: %w", bucket.name, err)
	}
	return r, nil
}

// unopened wraps the error of opening the bucket in the sentinel of package registry that fits.
func (b bucket) unopened(err error) error {
	e := (*natswait.Error)(nil)
	switch {
	case !errors.As(err, &e): // the bucket is there, and cannot be used
		return err
	case e.Denied:
		return fmt.Errorf("natskv: %w: %w", registry.ErrDenied, err)
	case b.js.Conn().IsClosed():
		return fmt.Errorf("natskv: %w: %w: %w", registry.ErrUnavailable, registry.ErrClosed, err)
	}
	return fmt.Errorf("natskv: %w: %w", registry.ErrUnavailable, err)
}

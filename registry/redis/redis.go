// Package redis is a registry in Redis 6.2 or later, or a server that works as it does.
//
//	client := redis.NewClient(&redis.Options{Addr: "redis:6379"}) // of github.com/redis/go-redis/v9
//	defer client.Close()
//	reg, err := tandemredis.New(ctx, client, tandemredis.Config{Cluster: "shop"})
//	if err != nil { ... }
//	defer reg.Close()
//
// All keys begin with "tandem:{<cluster>}:", which is one slot of a Redis Cluster. A claim is made, and
// changes its owner, only by a script that compares the record's revision, so only one epoch wins. The
// record expires with its lease (PX), which begins again with every Renew: 15 s, unless Config
// says otherwise. The registry remembers for [registry.Memory] that a node has left or expired, with
// its last word.
//
// Reads are answered from a cache. A change is published, so that all clients read it at once. What is
// published may be lost; therefore each client also asks every 2 s for what has changed since the
// revision that it knows, and that also finds records that are gone before their time, and data that was lost.
// The cache still answers while Redis is away, and it does not take trouble of Redis for the
// death of nodes: see [Registry]. That includes a server's clock that was set forward, by which
// Redis ends all leases.
//
// What Redis cannot promise: it confirms a write before its replicas have it, and, with the usual
// settings, before it is on a disk. After a failover or a restart the last second's claims may be
// missing, so for up to one renewal two epochs may both believe that they hold a name. A clock that is set
// forward ends leases that were renewed. Where that must never happen, as for virtual actors, of
// which at most one may answer, use registry/natskv or registry/etcd. Turn evictions off
// (maxmemory-policy noeviction), for they remove claims; they count as expired.
//
// If Redis has users, that of the client needs
//
//	~tandem:{<cluster>}:* &tandem:{<cluster>}:* +@read +@write +@scripting +@pubsub +@connection +time
//
// Such a user may write the record of any node, and so say at which address and under which principal
// it is; the roads' own security does not help against that. Give it to nobody but the nodes.
//
// The limits: a record has at most registry.MaxRecord bytes, and Config bounds how many are kept in
// memory. Records beyond that are not served, and the log says so. A renewal reaches no other node.
// Connect to a primary. This package is a module of its own, so that others need no Redis.
package redis

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

// Defaults of a Config.
const (
	DefaultLease      = leased.DefaultLease      // how long a claim lives without Renew
	DefaultMaxRecords = leased.DefaultMaxRecords // records of other nodes that are served
	DefaultMaxBytes   = leased.DefaultMaxBytes   // about how many bytes they take in memory
	DefaultStartWait  = leased.DefaultStartWait  // how long New waits for Redis if its ctx has no deadline
)

// Config describes a Registry. Its zero value is the default.
type Config struct {
	Cluster string        // part of the keys; default "tandem"
	Lease   time.Duration // default DefaultLease, at least 1 s, rounded up to whole seconds
	Logger  *slog.Logger  // default slog.Default()

	// MaxRecords and MaxBytes bound the records of other nodes that are kept in memory and
	// served. Beyond that, a new node is not served until others have left.
	MaxRecords, MaxBytes int

	StartWait time.Duration // how long New waits for Redis if its ctx has no deadline
}

// Registry is a client of one cluster's records. Its methods may be called concurrently. It does
// not own the client of Redis. It is a [registry.Registry]; Close ends it: its watches end, claims
// stay until their leases end, and its cache no longer changes.
//
// A failure of Redis does not count as the death of nodes. While Redis is away, nothing expires. For one
// lease after it was away, a record that has expired is served for one more lease, so that a
// node that could not renew has time to register again; only then is it reported as Expired. Left is
// reported at once. A record that was deleted by hand looks as if it had expired.
type Registry struct {
	*client
	store *store
}

// client has the methods of a registry.
type client = leased.Registry

var _ registry.Registry = (*Registry)(nil)

// New returns a client of the cluster's records once it knows all of them. ctx bounds only New.
//
// Programs and servers may start in any order: New waits for Redis until ctx ends, or for
// Config.StartWait if ctx has no deadline, and logs that it waits. The error then wraps
// registry.ErrUnavailable. If waiting cannot help, New returns at once: the error wraps
// registry.ErrDenied if the user or its permissions are wrong, and registry.ErrClosed if the client is closed.
func New(ctx context.Context, c redis.UniversalClient, cfg Config) (*Registry, error) {
	shared, err := leased.Config{
		Package: "redis", Cluster: cfg.Cluster, Lease: cfg.Lease, MaxRecords: cfg.MaxRecords, MaxBytes: cfg.MaxBytes,
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

const sweepEvery = 2 * time.Second // between two looks for changes, if none is published

var errReplaced = fmt.Errorf("%w: Redis does not have what it had", registry.ErrUnavailable)

// watch reports the records and their changes, until ctx ends or Redis does not answer.
func (r *Registry) watch(ctx context.Context, complete func()) error {
	s := r.Begin(complete)
	defer s.End()
	published := r.store.c.Subscribe(ctx, r.store.prefix+"changed")
	defer published.Close()
	told := published.Channel()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	f := follower{s: s, store: r.store, trouble: r.Trouble}
	for {
		if err := f.catchUp(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-told:
			for len(told) > 0 { // one look is enough for all
				<-told
			}
		case <-sweep.C:
		case now := <-s.Due():
			if err := f.catchUp(ctx); err != nil { // while Redis is away nothing expires
				return err
			}
			s.Expire(now)
		}
	}
}

// follower is how far one watch is.
type follower struct {
	s       *leased.Session
	store   *store
	trouble func() // called if what expires should not be believed
	id      string // of the data
	rev     uint64 // up to which all changes are reported
	clock   clock
}

// catchUp reports all that has changed.
func (f *follower) catchUp(ctx context.Context) error {
	for first := f.id == ""; ; {
		p, err := f.store.changes(ctx, f.rev)
		if err != nil {
			return err
		}
		if f.id == "" {
			f.id = p.id
		}
		if p.id != f.id || p.rev < f.rev {
			return errReplaced
		}
		if f.clock.jumped(p.now, time.Now(), f.store.lease/4) {
			f.trouble()
		}
		for _, c := range p.changes {
			switch {
			case c.held:
				f.s.Record(c.name, []byte(c.value), c.rev)
			case c.value == registry.Left.String():
				f.s.Left(c.name, c.rev)
			default:
				f.s.Expired(c.name, c.rev)
			}
			f.rev = c.rev
		}
		if len(p.changes) == pageSize {
			continue
		}
		f.rev = p.rev
		if first {
			f.s.Whole(p.rev)
		} else {
			f.s.Reached(p.rev)
		}
		return nil
	}
}

// clock compares the clock of Redis with this process's, to find out that it was set forward.
type clock struct{ theirs, ours time.Time }

// jumped reports whether more time has passed for Redis than for this process since the last
// call, by most at least.
func (c *clock) jumped(theirs, ours time.Time, most time.Duration) bool {
	last := *c
	c.theirs, c.ours = theirs, ours
	return !last.ours.IsZero() && theirs.Sub(last.theirs)-ours.Sub(last.ours) >= most
}

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
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/feed"
)

// DefaultLease is how long a claim lives without Renew, unless Config says otherwise.
const DefaultLease = 15 * time.Second

// markerTTL is how long the bucket remembers that a key was deleted or has expired, and the
// last word: for Departed, and for a watcher that lost contact with its server without
// noticing.
const markerTTL = registry.Memory

// The most that is kept in memory of what the bucket holds, unless Config says otherwise.
const (
	DefaultMaxRecords = 4096
	DefaultMaxBytes   = 16 << 20 // about how many bytes the records take in memory
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
// concurrently. It does not own the NATS connection.
type Registry struct {
	cfg    Config
	js     jetstream.JetStream
	log    *slog.Logger
	bucket bucket
	feed   *feed.Feed // the records that are served

	stop     context.CancelFunc // ends the goroutine of follow
	followed chan struct{}      // closed when that has ended

	said   time.Time // when it was last logged that records are not served; owned by that goroutine
	unsaid int       // how many records since then; likewise

	mu      sync.Mutex // guards what follows; feed changes under it
	view    view
	claims  map[string]*claim // what this client registered, by name
	past    past              // departures that this client has seen
	trouble time.Time         // when NATS was last found to be away; zero if never
}

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
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if err := (registry.Node{Name: cfg.Cluster, Epoch: "e"}).Valid(); err != nil {
		return nil, fmt.Errorf("natskv: cluster %q: want a name like a node's", cfg.Cluster)
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Lease < time.Second {
		return nil, fmt.Errorf("natskv: a lease of %v: want 1 s or more", cfg.Lease)
	}
	cfg.Lease = (cfg.Lease + time.Second - 1).Truncate(time.Second) // the server ignores fractions of a second
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.MaxRecords, cfg.MaxBytes = cmp.Or(cfg.MaxRecords, DefaultMaxRecords), cmp.Or(cfg.MaxBytes, DefaultMaxBytes)
	r := &Registry{
		cfg:      cfg,
		js:       js,
		log:      cfg.Logger.With("registry", cfg.Cluster),
		bucket:   newBucket(js, cfg),
		feed:     feed.New(),
		followed: make(chan struct{}),
		view:     newView(cfg.MaxRecords, cfg.MaxBytes),
		claims:   make(map[string]*claim),
		past:     make(past),
	}
	if cfg.MaxRecords < 0 || cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("natskv: negative MaxRecords %d or MaxBytes %d", cfg.MaxRecords, cfg.MaxBytes)
	}
	if cfg.StartWait < 0 {
		return nil, fmt.Errorf("natskv: Config.StartWait is negative: %v", cfg.StartWait)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(cfg.StartWait, DefaultStartWait))
		defer cancel()
	}
	opening := natswait.For{What: "the registry's bucket " + r.bucket.name, Logger: r.log}
	err := opening.Until(ctx, js.Conn(), func(ctx context.Context) error {
		_, err := r.bucket.open(ctx)
		return err
	})
	if err != nil {
		return nil, r.unopened(err)
	}
	life, stop := context.WithCancel(context.Background())
	r.stop = stop
	complete, failed := make(chan struct{}), make(chan error, 1)
	go r.follow(life, complete, failed)
	select {
	case <-complete:
		return r, nil
	case err = <-failed:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", registry.ErrUnavailable, ctx.Err())
	}
	r.Close()
	return nil, fmt.Errorf("natskv: reading bucket %s: %w", r.bucket.name, err)
}

// unopened wraps the error of opening the bucket in the sentinel of package registry that fits.
func (r *Registry) unopened(err error) error {
	e := (*natswait.Error)(nil)
	switch {
	case !errors.As(err, &e): // the bucket is there, and cannot be used
		return err
	case e.Denied:
		return fmt.Errorf("natskv: %w: %w", registry.ErrDenied, err)
	case r.js.Conn().IsClosed():
		return fmt.Errorf("natskv: %w: %w: %w", registry.ErrUnavailable, registry.ErrClosed, err)
	}
	return fmt.Errorf("natskv: %w: %w", registry.ErrUnavailable, err)
}

// Close ends all watches and stops following the bucket, and waits for both. Claims stay
// until their leases end; Deregister gives them up. It is idempotent. The methods of a
// closed Registry may be called, but its cache no longer changes.
func (r *Registry) Close() {
	r.stop()
	<-r.followed
	r.feed.Close()
}

// Register claims n.Name for n.Epoch, or replaces the record that this epoch
// registered before. If it fails with ErrUnavailable, the claim may have been made. Such a
// claim ends with its lease, and the same epoch may register again.
func (r *Registry) Register(ctx context.Context, n registry.Node) error {
	if err := r.replace(ctx, n, func(last record) error {
		if last.exists && last.node.Epoch != n.Epoch {
			return &registry.TakenError{Holder: last.node, Renewed: last.at}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("natskv: register %q: %w", n.Name, err)
	}
	return nil
}

// Update replaces the record of an epoch that holds the name. It claims nothing.
func (r *Registry) Update(ctx context.Context, n registry.Node) error {
	if err := r.replace(ctx, n, func(last record) error {
		if !last.exists || last.node.Epoch != n.Epoch {
			return registry.ErrLost
		}
		return nil
	}); err != nil {
		return fmt.Errorf("natskv: update %q: %w", n.Name, err)
	}
	return nil
}

// replace writes n in the place of the last record of its name, if may allows that.
func (r *Registry) replace(ctx context.Context, n registry.Node, may func(last record) error) error {
	if err := n.Valid(); err != nil {
		return err
	}
	n = n.Clone() // the caller keeps the maps
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if len(value) > registry.MaxRecord {
		return fmt.Errorf("%w: a record of %d bytes, at most %d are allowed", registry.ErrTooLarge, len(value), registry.MaxRecord)
	}
	return r.retry(ctx, n.Name, func(last record) error {
		if last.broken != nil {
			return last.broken
		}
		if err := may(last); err != nil {
			return err
		}
		if last.departed != nil {
			d := *last.departed
			if d.Epoch == "" {
				d.Epoch = r.lastEpoch(n.Name)
			}
			if err := r.bucket.setAside(ctx, n.Name, d); err != nil {
				return err
			}
		}
		return r.claim(ctx, &claim{node: n, value: value}, last.rev)
	})
}

// Deregister gives up the claim. The last word replaces the record. If it is larger than the
// NATS servers accept, it is left out, and the error is ErrTooLarge.
func (r *Registry) Deregister(ctx context.Context, name, epoch string, last []byte) error {
	if len(last) > registry.MaxLast {
		return fmt.Errorf("natskv: deregister %q: %w: it leaves %d bytes behind, %d are allowed", name, registry.ErrTooLarge, len(last), registry.MaxLast)
	}
	if err := r.release(ctx, name, epoch, last); err != nil {
		return fmt.Errorf("natskv: deregister %q: %w", name, err)
	}
	return nil
}

// Evict removes the claim of an epoch that is known to be dead.
func (r *Registry) Evict(ctx context.Context, name, epoch string) error {
	if err := r.release(ctx, name, epoch, nil); err != nil {
		return fmt.Errorf("natskv: evict %q: %w", name, err)
	}
	return nil
}

func (r *Registry) release(ctx context.Context, name, epoch string, what []byte) error {
	if (registry.Node{Name: name, Epoch: epoch}).Valid() != nil {
		return nil // nobody can hold it
	}
	return r.retry(ctx, name, func(last record) error {
		if last.broken != nil {
			return last.broken
		}
		if !last.exists || last.node.Epoch != epoch {
			r.forget(name, epoch)
			r.apply(func(v *view) []registry.Event { return v.release(name, epoch) })
			return nil
		}
		d := registry.Departure{Epoch: epoch, Change: registry.Left, Last: what}
		rev, err := r.bucket.delete(ctx, name, last.rev, d)
		var unsaid error
		if errors.Is(err, registry.ErrTooLarge) { // it leaves nevertheless
			d.Last, unsaid = nil, err
			rev, err = r.bucket.delete(ctx, name, last.rev, d)
		}
		if err != nil {
			return err
		}
		r.forget(name, epoch)
		r.apply(func(v *view) []registry.Event { return v.removed(name, rev) })
		return unsaid
	})
}

// Lookup returns the record of a node from the cache, or from NATS if the cache has none.
// The error wraps registry.ErrUnavailable if NATS must be asked and is away.
func (r *Registry) Lookup(ctx context.Context, name string) (registry.Node, error) {
	if n, ok := r.feed.Lookup(name); ok {
		return n, nil
	}
	if (registry.Node{Name: name, Epoch: "e"}).Valid() != nil {
		return registry.Node{}, fmt.Errorf("natskv: lookup %q: %w", name, registry.ErrNotFound)
	}
	last, err := r.get(ctx, name)
	if err != nil {
		return registry.Node{}, fmt.Errorf("natskv: lookup %q: %w", name, err)
	}
	if last.departed != nil {
		return registry.Node{}, fmt.Errorf("natskv: lookup %q: %w", name, registry.ErrAway)
	}
	if !last.exists {
		return registry.Node{}, fmt.Errorf("natskv: lookup %q: %w", name, registry.ErrNotFound)
	}
	return last.node, nil
}

// Refresh reads the record of name from the leader of the bucket's stream, and not from the cache,
// and serves what it finds.
func (r *Registry) Refresh(ctx context.Context, name string) error {
	if (registry.Node{Name: name, Epoch: "e"}).Valid() != nil {
		return nil
	}
	last, err := r.get(ctx, name)
	if err != nil {
		return fmt.Errorf("natskv: refresh %q: %w", name, err)
	}
	switch {
	case last.exists:
		r.apply(func(v *view) []registry.Event { return v.read(last.node, last.rev) })
	case last.departed != nil && last.departed.Change == registry.Left: // the watch decides about a record that has expired
		r.apply(func(v *view) []registry.Event { return v.removed(name, last.rev) })
	}
	return nil
}

// Nodes returns all live records from the cache, sorted by name.
func (r *Registry) Nodes(ctx context.Context) ([]registry.Node, error) {
	return r.feed.Nodes(), nil
}

// Watch reports changes until ctx ends or the Registry is closed.
//
// A failure of NATS does not count as the death of nodes. While NATS is away, nothing expires.
// For one lease after it was away, a record that has expired is served for one more lease,
// so that a node that could not renew has time to register again; only then is it reported
// as Expired. Left is reported at once. A key that was purged by hand looks as if it had
// expired.
func (r *Registry) Watch(ctx context.Context) (<-chan registry.Event, error) {
	events, ok := r.feed.Watch(ctx)
	if !ok {
		return nil, fmt.Errorf("natskv: watch: %w: registry is closed", registry.ErrUnavailable)
	}
	return events, nil
}

// Lease returns how long a claim lives without Renew.
func (r *Registry) Lease() time.Duration { return r.cfg.Lease }

// retry calls try with the last record of name, and again with a newer one as long as try
// reports a conflict because somebody else has written meanwhile.
func (r *Registry) retry(ctx context.Context, name string, try func(last record) error) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		last, err := r.get(ctx, name)
		if err == nil || last.broken != nil {
			err = try(last)
		}
		if !errors.Is(err, errConflict) {
			return r.noted(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", registry.ErrUnavailable, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// get reads the last record of name from NATS.
func (r *Registry) get(ctx context.Context, name string) (record, error) {
	if err := r.reachable(); err != nil {
		return record{}, err
	}
	last, err := r.bucket.get(ctx, name)
	return last, r.noted(err)
}

// apply calls change, which changes the view, and serves the result.
func (r *Registry) apply(change func(*view) []registry.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range change(&r.view) {
		if e.Change >= registry.Left {
			r.past.add(e.Node, e.Change, time.Now())
			r.feed.Remove(e.Node.Name, e.Change)
		} else {
			r.feed.Put(e.Node)
		}
	}
}

// reachable returns an error if NATS is known to be away, so that nothing waits in a reconnect
// buffer and is sent later.
func (r *Registry) reachable() error {
	if s := r.js.Conn().Status(); s != nats.CONNECTED {
		err := fmt.Errorf("%w: connection is %v", registry.ErrUnavailable, s)
		if s == nats.CLOSED {
			err = fmt.Errorf("%w: %w", registry.ErrUnavailable, registry.ErrClosed)
		}
		return r.noted(err)
	}
	return nil
}

// noted records that NATS is away if err says so, and returns err.
func (r *Registry) noted(err error) error {
	if errors.Is(err, registry.ErrUnavailable) && !errors.Is(err, context.Canceled) {
		r.mu.Lock()
		r.trouble = time.Now()
		r.mu.Unlock()
	}
	return err
}

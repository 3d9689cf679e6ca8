// Package leased is what all registries have in common that keep records under leases in a
// store which many processes share: which records are served and for how long, what becomes of
// a claim, who may write what. A registry gives it a [Store], which reads and writes single
// records, and a goroutine that reports to a [Session] what others have written.
//
// The decisions are in view.go and past.go, without a lock, a clock or I/O.
package leased

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/feed"
)

// Defaults of registries.
const (
	DefaultLease      = 15 * time.Second // how long a claim lives without Renew
	DefaultMaxRecords = 4096             // records of other nodes that are kept in memory
	DefaultMaxBytes   = 16 << 20         // about how many bytes they take there
	DefaultStartWait  = time.Minute      // how long opening a registry waits for its store
)

// ErrConflict is the error of a write that came too late: the store has another revision.
var ErrConflict = errors.New("registry: record has changed")

// Record is what a store holds under a node's name: the node's record, or how the last one ended.
// The zero value means that there is neither.
type Record struct {
	Exists   bool
	Node     registry.Node
	Value    []byte              // the node's record, encoded
	Rev      uint64              // of the record, or of what is in its place
	At       time.Time           // when the holder wrote it last
	Departed *registry.Departure // there is no record any more; its Epoch may be empty
	Broken   error               // why the record cannot be read; then only Rev and At are known
}

// Store is where the records are. Its methods may be called concurrently, and names that it is
// given are valid. Its errors are ErrConflict or wrap a sentinel of package registry. Revisions
// grow with each change of a record.
type Store interface {
	// Get reads what the store has under name, and never from a replica that may be behind.
	// The error is Record.Broken if that is set.
	Get(ctx context.Context, name string) (Record, error)

	// Put replaces what Get found by the record value, the encoding of n, for one lease. What it
	// found of a departure can still be read by Departed. It returns the new revision.
	Put(ctx context.Context, n registry.Node, value []byte, last Record) (rev uint64, err error)

	// Renew gives the record value with the revision rev, which this client has written, another
	// lease. It returns the revision after that, which may be the same.
	Renew(ctx context.Context, n registry.Node, value []byte, rev uint64) (uint64, error)

	// Delete puts a departure in the place of the record that Get found. It returns the
	// revision after that. ErrTooLarge: the store does not take the last word.
	Delete(ctx context.Context, name string, last Record, d registry.Departure) (rev uint64, err error)

	// Departed returns how the latest former holder of a name ended that is held now, or not known
	// to be free; nil if the store does not know.
	Departed(ctx context.Context, name string) (*registry.Departure, error)

	// Ready returns an error if the store is known to be away, so that nothing is sent that
	// would arrive late.
	Ready() error
}

// Config describes a Registry.
type Config struct {
	Package, Cluster     string        // the package, for errors, and the name of the cluster
	Lease                time.Duration // of a claim, as it is in the store
	MaxRecords, MaxBytes int           // of other nodes that are served
	StartWait            time.Duration // how long Start waits if its ctx has no deadline
	Logger               *slog.Logger
}

// Checked returns cfg with its defaults, and with a lease of whole steps; the smallest lease is a step, too. It
// returns an error if a field is not valid.
func (c Config) Checked(step time.Duration) (Config, error) {
	c.Cluster = cmp.Or(c.Cluster, "tandem")
	if !named(c.Cluster) {
		return c, fmt.Errorf("%s: cluster %q: want a name like a node's", c.Package, c.Cluster)
	}
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	if c.Lease < step {
		return c, fmt.Errorf("%s: a lease of %v: want %v or more", c.Package, c.Lease, step)
	}
	c.Lease = (c.Lease + step - 1).Truncate(step)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("registry", c.Cluster)
	if c.MaxRecords < 0 || c.MaxBytes < 0 {
		return c, fmt.Errorf("%s: negative MaxRecords %d or MaxBytes %d", c.Package, c.MaxRecords, c.MaxBytes)
	}
	c.MaxRecords, c.MaxBytes = cmp.Or(c.MaxRecords, DefaultMaxRecords), cmp.Or(c.MaxBytes, DefaultMaxBytes)
	if c.StartWait < 0 {
		return c, fmt.Errorf("%s: Config.StartWait is negative: %v", c.Package, c.StartWait)
	}
	c.StartWait = cmp.Or(c.StartWait, DefaultStartWait)
	return c, nil
}

// Registry is one client of a cluster's records. It implements registry.Registry.
type Registry struct {
	cfg   Config
	log   *slog.Logger
	store Store
	feed  *feed.Feed // the records that are served

	stop     context.CancelFunc // ends the goroutine that follows the store
	followed chan struct{}      // closed when that has ended

	said   time.Time // when it was last logged that records are not served; owned by that goroutine
	unsaid int       // how many records since then; likewise

	mu      sync.Mutex // guards what follows; feed changes under it
	view    view
	claims  map[string]*claim // what this client registered, by name
	past    past              // departures that this client has seen
	trouble time.Time         // when the store was last found to be away; zero if never
}

// New returns a registry of what is in store. It serves nothing before Start.
func New(store Store, cfg Config) *Registry {
	return &Registry{
		cfg:      cfg,
		log:      cfg.Logger,
		store:    store,
		feed:     feed.New(),
		followed: make(chan struct{}),
		view:     newView(cfg.MaxRecords, cfg.MaxBytes),
		claims:   make(map[string]*claim),
		past:     make(past),
	}
}

// Start runs follow on a goroutine of its own, whose ctx ends with Close. It returns nil when follow closes
// complete, which says that all records are known, and else, after Close, the error that follow
// sends to failed, or ErrUnavailable when ctx ends.
func (r *Registry) Start(ctx context.Context, follow func(ctx context.Context, complete chan<- struct{}, failed chan<- error)) error {
	life, stop := context.WithCancel(context.Background())
	r.stop = stop
	complete, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(r.followed)
		follow(life, complete, failed)
	}()
	var err error
	select {
	case <-complete:
		return nil
	case err = <-failed:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", registry.ErrUnavailable, ctx.Err())
	}
	r.Close()
	return err
}

// Close ends all watches and stops following the store, and waits for both. Claims stay
// until their leases end; Deregister gives them up. It is idempotent. The methods of a
// closed Registry may be called, but its cache no longer changes.
func (r *Registry) Close() {
	r.stop()
	<-r.followed
	r.feed.Close()
}

// Lookup returns the record of a node from the cache, or from the store if the cache has none.
// The error wraps registry.ErrUnavailable if the store must be asked and is away.
func (r *Registry) Lookup(ctx context.Context, name string) (registry.Node, error) {
	if n, ok := r.feed.Lookup(name); ok {
		return n, nil
	}
	var last Record
	err := error(nil)
	if named(name) {
		last, err = r.get(ctx, name)
	}
	switch {
	case err != nil:
	case last.Departed != nil:
		err = registry.ErrAway
	case !last.Exists:
		err = registry.ErrNotFound
	}
	if err != nil {
		return registry.Node{}, r.failed("lookup", name, err)
	}
	return last.Node, nil
}

// Refresh reads the record of name from the store, and not from the cache, and serves what it
// finds.
func (r *Registry) Refresh(ctx context.Context, name string) error {
	if !named(name) {
		return nil
	}
	last, err := r.get(ctx, name)
	if err != nil {
		return r.failed("refresh", name, err)
	}
	switch {
	case last.Exists:
		r.apply(func(v *view) []registry.Event { return v.read(last.Node, last.Rev) })
	case last.Departed != nil && last.Departed.Change == registry.Left: // the watch decides about a record that has expired
		r.apply(func(v *view) []registry.Event { return v.removed(name, last.Rev) })
	}
	return nil
}

// Nodes returns all live records from the cache, sorted by name.
func (r *Registry) Nodes(ctx context.Context) ([]registry.Node, error) {
	return r.feed.Nodes(), nil
}

// Watch reports changes until ctx ends or the Registry is closed.
//
// A failure of the store does not count as the death of nodes. While it is away, nothing expires.
// For one lease after it was away, a record that has expired is served for one more lease,
// so that a node that could not renew has time to register again; only then is it reported
// as Expired. Left is reported at once. What was removed by hand looks as if it had expired.
func (r *Registry) Watch(ctx context.Context) (<-chan registry.Event, error) {
	events, ok := r.feed.Watch(ctx)
	if !ok {
		return nil, fmt.Errorf("%s: watch: %w: registry is closed", r.cfg.Package, registry.ErrUnavailable)
	}
	return events, nil
}

// Departed says how the latest former holder of name ended, as far as the store remembers it. If
// its lease has expired, perhaps only clients that had seen its record know its epoch.
func (r *Registry) Departed(ctx context.Context, name string) (registry.Departure, error) {
	d, err := r.departed(ctx, name)
	if err == nil && (d == nil || time.Since(d.At) > registry.Memory) {
		err = registry.ErrNotFound
	}
	if err != nil {
		return registry.Departure{}, r.failed("departure of", name, err)
	}
	return *d, nil
}

func (r *Registry) departed(ctx context.Context, name string) (*registry.Departure, error) {
	if !named(name) {
		return nil, nil
	}
	last, err := r.get(ctx, name)
	if err != nil || last.Departed != nil {
		return last.Departed, err
	}
	d, err := r.store.Departed(ctx, name)
	if err != nil {
		return nil, r.noted(err)
	}
	r.identify(name, d)
	return d, nil
}

// identify adds the epoch to a departure without one, if this client has seen it.
func (r *Registry) identify(name string, d *registry.Departure) {
	if d == nil || d.Epoch != "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Epoch = r.past[name].Epoch
}

// Lease returns how long a claim lives without Renew.
func (r *Registry) Lease() time.Duration { return r.cfg.Lease }

// retry calls try with the last record of name, and again with a newer one as long as try
// reports a conflict because somebody else has written meanwhile.
func (r *Registry) retry(ctx context.Context, name string, try func(last Record) error) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		last, err := r.get(ctx, name)
		if err == nil || last.Broken != nil {
			err = try(last)
		}
		if !errors.Is(err, ErrConflict) {
			return r.noted(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", registry.ErrUnavailable, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// get reads the last record of name from the store.
func (r *Registry) get(ctx context.Context, name string) (Record, error) {
	if err := r.ready(); err != nil {
		return Record{}, err
	}
	last, err := r.store.Get(ctx, name)
	r.identify(name, last.Departed)
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

func (r *Registry) ready() error { return r.noted(r.store.Ready()) }

// Trouble records that the store is, or was, not to be relied on. For one lease from now, what expires
// is not believed at once.
func (r *Registry) Trouble() {
	r.mu.Lock()
	r.trouble = time.Now()
	r.mu.Unlock()
}

// noted records that the store is away if err says so, and returns err.
func (r *Registry) noted(err error) error {
	if errors.Is(err, registry.ErrUnavailable) && !errors.Is(err, context.Canceled) {
		r.Trouble()
	}
	return err
}

// failed says what an error is about.
func (r *Registry) failed(what, name string, err error) error {
	return fmt.Errorf("%s: %s %q: %w", r.cfg.Package, what, name, err)
}

// named reports whether a node may have the name.
func named(name string) bool { return (registry.Node{Name: name, Epoch: "e"}).Valid() == nil }

// Decode decodes the record that a store holds under name.
func Decode(name string, value []byte) (registry.Node, error) {
	var n registry.Node
	if len(value) > registry.MaxRecord {
		return n, fmt.Errorf("record of %q: %w: %d bytes, at most %d are read", name, registry.ErrTooLarge, len(value), registry.MaxRecord)
	}
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("record of %q: %w", name, err)
	}
	if n.Name != name {
		return n, fmt.Errorf("record of %q names node %q", name, n.Name)
	}
	return n, n.Valid()
}

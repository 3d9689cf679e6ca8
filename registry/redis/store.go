package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

const requestTimeout = 5 * time.Second // bounds a read or a write

// store is the records of one cluster.
type store struct {
	c      redis.UniversalClient
	prefix string // of all keys, with one slot in a Redis Cluster
	id     string // of the data, if this client is the first to find none
	lease  time.Duration
}

var _ leased.Store = (*store)(nil)

func newStore(c redis.UniversalClient, cfg leased.Config) *store {
	return &store{c: c, prefix: "tandem:{" + cfg.Cluster + "}:", id: rand.Text(), lease: cfg.Lease}
}

// Ready returns nil: only a request shows whether Redis can be reached, and fails soon if it cannot.
func (s *store) Ready() error { return nil }

// run runs a script.
func (s *store) run(ctx context.Context, script *redis.Script, args ...any) (*redis.Cmd, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	args = append([]any{s.prefix, s.id, registry.Memory.Milliseconds()}, args...)
	cmd := script.Run(ctx, s.c, []string{s.prefix + "state"}, args...)
	return cmd, s.fault(cmd.Err())
}

// write runs a script that returns a revision, or 0 if another record is there than was expected.
func (s *store) write(ctx context.Context, script *redis.Script, args ...any) (uint64, error) {
	cmd, err := s.run(ctx, script, args...)
	if err != nil {
		return 0, err
	}
	rev, err := cmd.Uint64()
	if err != nil {
		return 0, s.fault(err)
	}
	if rev == 0 {
		return 0, leased.ErrConflict
	}
	return rev, nil
}

// Get reads what Redis has about a name.
func (s *store) Get(ctx context.Context, name string) (leased.Record, error) {
	got, err := s.get(ctx, name)
	if err != nil {
		return leased.Record{}, err
	}
	rev, value, held := text(got, 0), text(got, 1), got[0] != nil || got[1] != nil
	if !held {
		return leased.Record{Rev: number(text(got, 3)), Departed: departure(got)}, nil
	}
	last := leased.Record{Rev: number(rev), Value: []byte(value), At: millis(text(got, 2))}
	last.Node, last.Broken = leased.Decode(name, last.Value)
	last.Exists = last.Broken == nil
	return last, last.Broken
}

// Departed returns the latest departure of a name.
func (s *store) Departed(ctx context.Context, name string) (*registry.Departure, error) {
	got, err := s.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return departure(got), nil
}

func (s *store) get(ctx context.Context, name string) ([]any, error) {
	cmd, err := s.run(ctx, getScript, name)
	if err != nil {
		return nil, err
	}
	got, err := cmd.Slice()
	for len(got) < 8 { // a Redis that answers a list ends it at the first nil
		got = append(got, nil)
	}
	return got, s.fault(err)
}

// departure returns the departure that getScript found; nil for none.
func departure(got []any) *registry.Departure {
	if got[5] == nil {
		return nil
	}
	d := &registry.Departure{Epoch: text(got, 4), Change: registry.Expired, At: millis(text(got, 6)), Last: []byte(text(got, 7))}
	if text(got, 5) == registry.Left.String() {
		d.Change = registry.Left
	}
	return d
}

// Put writes the record, if nobody has written another one since last was read.
func (s *store) Put(ctx context.Context, n registry.Node, value []byte, last leased.Record) (uint64, error) {
	rev := last.Rev
	if !last.Exists && last.Broken == nil {
		rev = 0
	}
	return s.write(ctx, putScript, n.Name, rev, value, n.Epoch, s.lease.Milliseconds())
}

// Renew begins the lease again, if the record is the one that this client wrote.
func (s *store) Renew(ctx context.Context, n registry.Node, value []byte, rev uint64) (uint64, error) {
	return s.write(ctx, renewScript, n.Name, rev, value, s.lease.Milliseconds())
}

// Delete puts a departure in the place of the record.
func (s *store) Delete(ctx context.Context, name string, last leased.Record, d registry.Departure) (uint64, error) {
	return s.write(ctx, deleteScript, name, last.Rev, d.Epoch, d.Last)
}

// page is a part of what has changed.
type page struct {
	id      string
	rev     uint64    // of the latest change of all
	now     time.Time // on the clock of Redis
	changes []change
}

// change is the latest state of a name.
type change struct {
	name  string
	rev   uint64
	value string // the record, or how the node departed
	held  bool
}

const pageSize = 128 // changes

// changes returns what has changed after a revision, at most pageSize changes.
func (s *store) changes(ctx context.Context, since uint64) (page, error) {
	cmd, err := s.run(ctx, changesScript, since, pageSize)
	if err != nil {
		return page{}, err
	}
	got, err := cmd.Slice()
	if err != nil {
		return page{}, s.fault(err)
	}
	p := page{id: text(got, 0), rev: number(text(got, 1)), now: millis(text(got, 2))}
	for i := 3; i+3 < len(got); i += 4 {
		p.changes = append(p.changes, change{name: text(got, i), rev: number(text(got, i+1)), value: text(got, i+2), held: text(got, i+3) == "1"})
	}
	return p, nil
}

// text returns an element of an answer; empty for nil.
func text(got []any, i int) string {
	if i >= len(got) || got[i] == nil {
		return ""
	}
	return fmt.Sprint(got[i])
}

// number reads a revision; what is none counts as 0, the revision of nothing.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

func millis(s string) time.Time { return time.UnixMilli(int64(number(s))) }

// fault wraps an error of Redis in the sentinel of package registry that fits; nil stays nil.
func (s *store) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrClosed):
		return fmt.Errorf("%w: %w: %w", registry.ErrUnavailable, registry.ErrClosed, err)
	case redis.IsAuthError(err), redis.IsPermissionError(err):
		return fmt.Errorf("%w: %w", registry.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
}

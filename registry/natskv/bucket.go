package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
)

// When a server dies or a cluster has no leader, what was asked is never answered.
const (
	requestTimeout = 5 * time.Second // bounds a read or a write
	openTimeout    = 2 * time.Second // bounds finding or creating the bucket, which is tried again
)

// errConflict is a write that came too late: the record has another revision.
var errConflict = errors.New("natskv: record has changed")

// bucket is the key-value bucket, as far as a registry needs it. Its errors are
// errConflict or wrap registry.ErrUnavailable, save for a bucket or a record that
// this package cannot work with. Methods may be called concurrently.
type bucket struct {
	js       jetstream.JetStream
	name     string
	subject  string // what keys are published under, with a dot at its end
	lease    time.Duration
	replicas int
	kv       *atomic.Pointer[jetstream.KeyValue] // set by open
}

// record is what the bucket holds under a key; its zero value is nothing.
type record struct {
	exists bool
	node   registry.Node
	value  []byte
	rev    uint64
}

func newBucket(js jetstream.JetStream, cfg Config) bucket {
	b := bucket{
		js:       js,
		name:     cfg.Cluster + "_nodes",
		lease:    cfg.Lease,
		replicas: cfg.Replicas,
		kv:       new(atomic.Pointer[jetstream.KeyValue]),
	}
	b.subject = "$KV." + b.name + "."
	switch o := js.Options(); { // through an API prefix, publishing goes there as well
	case o.Domain != "":
		b.subject = "$JS." + o.Domain + ".API." + b.subject
	case o.APIPrefix != "":
		b.subject = strings.TrimSuffix(o.APIPrefix, ".") + "." + b.subject
	}
	return b
}

// open finds the bucket, or creates it.
func (b bucket) open(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	kv, err := b.js.KeyValue(ctx, b.name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:         b.name,
			Description:    "nodes of a Tandem cluster",
			LimitMarkerTTL: max(markerTTL, b.lease),
			Replicas:       b.replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another node was faster, with other settings
			kv, err = b.js.KeyValue(ctx, b.name)
		}
	}
	if err != nil {
		return nil, unavailable(err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	if status.LimitMarkerTTL() == 0 {
		return nil, errors.New("bucket exists without a marker TTL, so its records could not expire")
	}
	b.kv.Store(&kv)
	return kv, nil
}

// get reads the last record under key from the server.
func (b bucket) get(ctx context.Context, key string) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	e, err := (*b.kv.Load()).Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return record{}, nil
	}
	if err != nil {
		return record{}, unavailable(err)
	}
	n, err := decode(key, e.Value())
	if err != nil {
		return record{}, err
	}
	return record{true, n, e.Value(), e.Revision()}, nil
}

// put stores value under key for one lease, if the key's last revision is rev. Zero
// means that there must be no record. It returns the new revision.
func (b bucket) put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if rev == 0 {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		// Create looks beneath the marker that a former record left.
		rev, err := (*b.kv.Load()).Create(ctx, key, value, jetstream.KeyTTL(b.lease))
		return rev, conflict(err)
	}
	// Update would drop the TTL, and the record would never expire.
	return b.publish(ctx, &nats.Msg{Subject: b.subject + key, Data: value}, b.lease, rev)
}

// delete removes the record of revision rev and returns the revision of the marker
// in its place. Unlike KeyValue.Delete's, this marker does not stay for ever.
func (b bucket) delete(ctx context.Context, key string, rev uint64) (uint64, error) {
	m := nats.NewMsg(b.subject + key)
	m.Header.Set("KV-Operation", "DEL")
	return b.publish(ctx, m, max(markerTTL, b.lease), rev)
}

func (b bucket) publish(ctx context.Context, m *nats.Msg, ttl time.Duration, rev uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	ack, err := b.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(rev), jetstream.WithMsgTTL(ttl))
	if err != nil {
		return 0, conflict(err)
	}
	return ack.Sequence, nil
}

// conflict tells a lost race from NATS' trouble.
func conflict(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists):
		return errConflict
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant): // the latter from replicated buckets
		return errConflict
	}
	return unavailable(err)
}

// unavailable marks what NATS did not do, for whatever reason.
func unavailable(err error) error {
	return fmt.Errorf("%w: %w", registry.ErrUnavailable, err)
}

// decode reads the record that the bucket holds under key.
func decode(key string, value []byte) (registry.Node, error) {
	var n registry.Node
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("natskv: record of %q: %w", key, err)
	}
	if n.Name != key {
		return n, fmt.Errorf("natskv: record of %q names node %q", key, n.Name)
	}
	return n, n.Valid()
}

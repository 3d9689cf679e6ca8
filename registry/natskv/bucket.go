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

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/registry"
)

// When a server dies, or a cluster has no leader, a request is never answered.
const requestTimeout = 5 * time.Second // bounds a read or a write

// errConflict is the error of a write that came too late: the record has another revision.
var errConflict = errors.New("natskv: record has changed")

// bucket is the key-value bucket, as far as a registry needs it. Its errors are errConflict or
// wrap a sentinel of package registry, except for those of open, and those for a record that
// this package cannot read. Methods may be called concurrently.
type bucket struct {
	js       jetstream.JetStream
	name     string
	subject  string // prefix of the subjects of keys, with a dot at its end
	lease    time.Duration
	replicas int
	api      string                              // prefix of the subjects of JetStream's API, with a dot at its end
	kv       *atomic.Pointer[jetstream.KeyValue] // set by open
}

// record is what the bucket holds under a node's name: the node's record, or the marker in the
// place of a former one. The zero value means that there is neither.
type record struct {
	exists   bool
	node     registry.Node
	value    []byte
	rev      uint64    // of the marker, if there is one
	at       time.Time // when it was written
	departed *registry.Departure
	broken   error // why the record cannot be read; then only rev and at are known
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
	b.api = "$JS.API."
	switch o := js.Options(); { // with an API prefix, messages are published under it as well
	case o.Domain != "":
		b.api = "$JS." + o.Domain + ".API."
		b.subject = b.api + b.subject
	case o.APIPrefix != "":
		b.api = strings.TrimSuffix(o.APIPrefix, ".") + "."
		b.subject = b.api + b.subject
	}
	return b
}

// open finds the bucket, or creates it. It does not wait for NATS; package natswait does.
func (b bucket) open(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, b.name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:         b.name,
			Description:    "nodes of a Tandem cluster",
			LimitMarkerTTL: max(markerTTL, b.lease),
			Replicas:       b.replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another node has created it meanwhile, with other settings
			kv, err = b.js.KeyValue(ctx, b.name)
		}
	}
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.LimitMarkerTTL() == 0 {
		return nil, natswait.Stop(fmt.Errorf("natskv: bucket %s exists without a marker TTL, so its records could not expire", b.name))
	}
	b.kv.Store(&kv)
	return kv, nil
}

// get reads what the bucket holds under a node's name.
func (b bucket) get(ctx context.Context, name string) (record, error) {
	m, err := b.last(ctx, name)
	switch {
	case err != nil || m == nil:
		return record{}, err
	case isMarker(m.header):
		d := departureOf(m)
		return record{rev: m.rev, departed: &d}, nil
	}
	n, err := decode(name, m.data)
	if err != nil {
		return record{rev: m.rev, at: m.at, broken: err}, err
	}
	return record{exists: true, node: n, value: m.data, rev: m.rev, at: m.at}, nil
}

// put stores value under key for one lease, if the key's last revision is rev. If rev is zero,
// there must be neither a record nor a marker. It returns the new revision.
func (b bucket) put(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	// KeyValue.Update would drop the TTL, and the record would never expire.
	return b.publish(ctx, &nats.Msg{Subject: b.subject + key, Data: value}, b.lease, jetstream.WithExpectLastSequencePerSubject(rev))
}

// delete removes the record with the revision rev. It returns the revision of the marker that
// replaces it and describes the departure. Unlike that of KeyValue.Delete, this marker does not
// stay for ever.
func (b bucket) delete(ctx context.Context, key string, rev uint64, d registry.Departure) (uint64, error) {
	m := markerOf(b.subject+key, d)
	m.Header.Set("KV-Operation", "DEL")
	return b.publish(ctx, m, max(markerTTL, b.lease), jetstream.WithExpectLastSequencePerSubject(rev))
}

func (b bucket) publish(ctx context.Context, m *nats.Msg, ttl time.Duration, opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	before := b.js.Conn().LastError()
	ack, err := b.js.PublishMsg(ctx, m, append(opts, jetstream.WithMsgTTL(ttl))...)
	switch {
	case wrongRevision(err):
		return 0, errConflict
	case err != nil:
		return 0, b.fault(before, err)
	}
	return ack.Sequence, nil
}

// wrongRevision reports whether a write lost a race.
func wrongRevision(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) // the latter from replicated buckets
}

// fault returns err, with which a request to NATS has failed, wrapped in the sentinel of package
// registry that fits. before is the connection's last error before the request.
func (b bucket) fault(before, err error) error {
	why := natswait.Explain(b.js.Conn(), before, err)
	var api *jetstream.APIError
	switch {
	case why.Denied:
		return fmt.Errorf("%w: %s; %s: %w", registry.ErrDenied, why.Why, why.Do, err)
	case errors.Is(err, nats.ErrMaxPayload), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: NATS takes %d bytes: %w", registry.ErrTooLarge, b.js.Conn().MaxPayload(), err)
	case b.js.Conn().IsClosed():
		return fmt.Errorf("%w: %w: %s: %w", registry.ErrUnavailable, registry.ErrClosed, why.Do, err)
	}
	return fmt.Errorf("%w: %s: %w", registry.ErrUnavailable, why.Why, err)
}

// decode decodes the record that the bucket holds under key.
func decode(key string, value []byte) (registry.Node, error) {
	var n registry.Node
	if len(value) > registry.MaxRecord {
		return n, fmt.Errorf("natskv: record of %q: %w: %d bytes, at most %d are read", key, registry.ErrTooLarge, len(value), registry.MaxRecord)
	}
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("natskv: record of %q: %w", key, err)
	}
	if n.Name != key {
		return n, fmt.Errorf("natskv: record of %q names node %q", key, n.Name)
	}
	return n, n.Valid()
}

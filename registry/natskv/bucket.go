package natskv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/internal/leased"
)

// When a server dies, or a cluster has no leader, a request is never answered.
const requestTimeout = 5 * time.Second // bounds a read or a write

// bucket is the key-value bucket, as the store of a registry. Its errors are leased.ErrConflict or
// wrap a sentinel of package registry, except for those of open, and those for a record that
// cannot be read. Methods may be called concurrently.
type bucket struct {
	js       jetstream.JetStream
	name     string
	subject  string // prefix of the subjects of keys, with a dot at its end
	lease    time.Duration
	replicas int
	api      string                              // prefix of the subjects of JetStream's API, with a dot at its end
	kv       *atomic.Pointer[jetstream.KeyValue] // set by open
}

var _ leased.Store = bucket{}

func newBucket(js jetstream.JetStream, cfg leased.Config, replicas int) bucket {
	b := bucket{
		js:       js,
		name:     cfg.Cluster + "_nodes",
		lease:    cfg.Lease,
		replicas: replicas,
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

// Ready returns an error if NATS is known to be away, so that nothing waits in a reconnect
// buffer and is sent later.
func (b bucket) Ready() error {
	switch s := b.js.Conn().Status(); s {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED:
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, registry.ErrClosed)
	default:
		return fmt.Errorf("%w: connection is %v", registry.ErrUnavailable, s)
	}
}

// Get reads what the bucket holds under a node's name.
func (b bucket) Get(ctx context.Context, name string) (leased.Record, error) {
	m, err := b.last(ctx, name)
	switch {
	case err != nil || m == nil:
		return leased.Record{}, err
	case isMarker(m.header):
		d := departureOf(m)
		return leased.Record{Rev: m.rev, Departed: &d}, nil
	}
	n, err := leased.Decode(name, m.data)
	if err != nil {
		return leased.Record{Rev: m.rev, At: m.at, Broken: err}, err
	}
	return leased.Record{Exists: true, Node: n, Value: m.data, Rev: m.rev, At: m.at}, nil
}

// Put moves the departure that the record replaces, and stores the record.
func (b bucket) Put(ctx context.Context, n registry.Node, value []byte, last leased.Record) (uint64, error) {
	if last.Departed != nil {
		if err := b.setAside(ctx, n.Name, *last.Departed); err != nil {
			return 0, err
		}
	}
	return b.Renew(ctx, n, value, last.Rev)
}

// Renew stores value under the node's name for one lease, if the last revision there is rev. If rev is
// zero, there must be neither a record nor a marker. It returns the new revision.
func (b bucket) Renew(ctx context.Context, n registry.Node, value []byte, rev uint64) (uint64, error) {
	// KeyValue.Update would drop the TTL, and the record would never expire.
	return b.publish(ctx, &nats.Msg{Subject: b.subject + n.Name, Data: value}, b.lease, jetstream.WithExpectLastSequencePerSubject(rev))
}

// Delete removes the record. It returns the revision of the marker that replaces it and describes
// the departure. Unlike that of KeyValue.Delete, this marker does not stay for ever.
func (b bucket) Delete(ctx context.Context, name string, last leased.Record, d registry.Departure) (uint64, error) {
	m := markerOf(b.subject+name, d)
	m.Header.Set("KV-Operation", "DEL")
	return b.publish(ctx, m, max(markerTTL, b.lease), jetstream.WithExpectLastSequencePerSubject(last.Rev))
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
		return 0, leased.ErrConflict
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

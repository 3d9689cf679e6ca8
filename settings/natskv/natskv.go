// Package natskv keeps settings in a JetStream key-value bucket, "<cluster>_settings". It is a
// [settings.Source] for nodes, and what operators change settings with:
//
//	bucket, err := natskv.Create(ctx, js, natskv.Config{Cluster: "shop"})
//	revision, err := bucket.Put(ctx, settings.Key{Section: settings.LogSection}, settings.Log{Level: slog.LevelDebug}, 0, "ann")
//
// A key is that of [settings.Key.String]: "limits", or "node.till-1.limits" for one node. Its value is a document
// as [settings.Parse] takes it. So any tool can write it, as in
//
//	nats kv put shop_settings log '{"author": "ann", "value": {"level": "debug"}}'
//
// but only Put checks a value before it is stored, and does not overwrite what its author has not seen.
//
// Nodes only read, see permissions.Node.Settings; who may write is said by permissions.Node.WriteSettings. A node
// does not create the bucket. While there is none, the source is away.
package natskv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

// Defaults of Config.
const (
	DefaultHistory = 16              // writes of each key
	DefaultCheck   = 5 * time.Second // between two comparisons with the bucket
)

// MaxHistory is the most writes of each key that a bucket remembers.
const MaxHistory = 64

const requestTimeout = 5 * time.Second // bounds a read or a write, if ctx does not

// maxCluster is the most bytes of a cluster's name.
const maxCluster = 128

// Config says where the settings are. Its zero value is the default.
type Config struct {
	Cluster  string        // prefix of the bucket's name; default "tandem"
	History  int           // how many writes of each key the bucket remembers, if Create makes it; default 16
	Replicas int           // of the bucket, if Create makes it; default 1
	Check    time.Duration // how often Follow compares what it has seen with the bucket, in case that its watch has fallen silent; default 5 s
	Logger   *slog.Logger  // gets a line whenever what Create waits for changes; default slog.Default()
}

// Store is the settings of a cluster in its bucket. It does not own the NATS connection. Its methods may be called
// concurrently. While NATS is away they return an error of code rpc.Unavailable at once, but Follow waits.
type Store struct {
	js     jetstream.JetStream
	cfg    Config
	bucket string
	pre    string // of the subjects of keys, with a dot at its end
}

var _ settings.Source = (*Store)(nil)

// Open returns the settings of a cluster. It asks nobody: whether there is a bucket is found out later.
func Open(js jetstream.JetStream, cfg Config) (*Store, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if cfg.History == 0 {
		cfg.History = DefaultHistory
	}
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.Check == 0 {
		cfg.Check = DefaultCheck
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var errs []error
	if _, err := settings.ParseKey("node." + cfg.Cluster + ".log"); err != nil || len(cfg.Cluster) > maxCluster {
		errs = append(errs, fmt.Errorf("cluster %q: want 1 to %d letters, digits, '-' and '_'", cfg.Cluster, maxCluster))
	}
	if cfg.History < 1 || cfg.History > MaxHistory || cfg.Replicas < 1 || cfg.Check < 0 {
		errs = append(errs, fmt.Errorf("History is %d, want 1 to %d; Replicas is %d, Check is %v", cfg.History, MaxHistory, cfg.Replicas, cfg.Check))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "settings/natskv: %w", err)
	}
	s := &Store{js: js, cfg: cfg, bucket: cfg.Cluster + "_settings"}
	s.pre = "$KV." + s.bucket + "."
	switch o := js.Options(); { // with an API prefix, messages are published under it as well
	case o.Domain != "":
		s.pre = "$JS." + o.Domain + ".API." + s.pre
	case o.APIPrefix != "":
		s.pre = strings.TrimSuffix(o.APIPrefix, ".") + "." + s.pre
	}
	return s, nil
}

// Create is Open for an operator: it creates the bucket if there is none. It waits for JetStream until ctx ends, or
// for 30 s if ctx has no deadline.
func Create(ctx context.Context, js jetstream.JetStream, cfg Config) (*Store, error) {
	s, err := Open(js, cfg)
	if err != nil {
		return nil, err
	}
	err = natswait.For{What: "the bucket " + s.bucket + ", for the settings", Logger: s.cfg.Logger}.Until(ctx, js.Conn(), func(ctx context.Context) error {
		_, err := js.KeyValue(ctx, s.bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket:       s.bucket,
				Description:  "settings of a Tandem cluster, see package settings",
				MaxValueSize: settings.MaxDocument,
				History:      uint8(s.cfg.History),
				Replicas:     s.cfg.Replicas,
			})
		}
		if errors.Is(err, jetstream.ErrBucketExists) { // another one has created it meanwhile
			err = nil
		}
		return err
	})
	if err != nil {
		code := rpc.Unavailable
		if e := (*natswait.Error)(nil); errors.As(err, &e) && e.Denied {
			code = rpc.Denied
		}
		return nil, rpc.Errorf(code, rpc.NotRun, "settings/natskv: %w", err)
	}
	return s, nil
}

// ErrConflict is wrapped by the error of a write whose author has not seen the latest one. Nothing was written.
var ErrConflict = errors.New("settings/natskv: somebody else has written meanwhile")

// ErrNoBucket is wrapped by errors when there is no bucket.
var ErrNoBucket = errors.New("settings/natskv: there is no bucket")

// Put checks a value and stores it for a key, if the latest revision of the key is expected: 0 if it was never
// written. It returns the new revision. author is who changes it.
//
// The code of an error is rpc.Invalid or TooLarge if the value is wrong (settings.Error), Invalid if expected is not
// the latest revision (ErrConflict), Denied if the user may not write, and else Unavailable. If its verdict is rpc.Unknown, the value
// may have been stored: look at History.
func (s *Store) Put(ctx context.Context, key settings.Key, value settings.Value, expected uint64, author string) (revision uint64, err error) {
	return s.Write(ctx, key, settings.Document{Author: author, Value: value}, expected)
}

// Delete removes the value of a key, so that nodes do what holds without it. Otherwise it is like Put.
func (s *Store) Delete(ctx context.Context, key settings.Key, expected uint64, author string) (revision uint64, err error) {
	return s.Write(ctx, key, settings.Document{Author: author}, expected)
}

// Write is Put of a document, which may have a note, or Delete if its Value is nil.
func (s *Store) Write(ctx context.Context, key settings.Key, d settings.Document, expected uint64) (revision uint64, err error) {
	if _, err := settings.ParseKey(key.String()); err != nil {
		return 0, err
	}
	data, err := d.Encode(key.Section)
	if err != nil {
		return 0, err
	}
	m := &nats.Msg{Subject: s.pre + key.String(), Data: data, Header: nats.Header{}}
	if d.Value == nil {
		m.Header.Set("KV-Operation", "DEL")
	}
	if err := s.ready(); err != nil {
		return 0, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	before := s.js.Conn().LastError()
	ack, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectStream("KV_"+s.bucket), jetstream.WithExpectLastSequencePerSubject(expected))
	var api *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w: the latest revision of %s is not %d: %v", ErrConflict, key, expected, err)
	case api != nil:
		return 0, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "settings/natskv: writing %s: %w", key, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return 0, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w: writing %s: %v", ErrNoBucket, key, err)
	}
	return 0, s.fault("writing "+key.String(), rpc.Unknown, before, err)
}

// bounded returns a ctx that has a deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, requestTimeout)
}

// ready returns an error if NATS is known to be away, so that nothing waits in a buffer and is written later.
func (s *Store) ready() error {
	if status := s.js.Conn().Status(); status != nats.CONNECTED {
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "settings/natskv: the connection to NATS is %v", status)
	}
	return nil
}

// fault is the error of a request. before is the last error of the connection before it.
func (s *Store) fault(what string, verdict rpc.Verdict, before, err error) error {
	why := natswait.Explain(s.js.Conn(), before, err)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "%w %s: %s: %v", ErrNoBucket, s.bucket, what, err)
	case why.Denied:
		return rpc.Errorf(rpc.Denied, rpc.NotRun, "settings/natskv: %s: %s; %s: %w", what, why.Why, why.Do, err)
	}
	return rpc.Errorf(rpc.Unavailable, verdict, "settings/natskv: %s: %s: %w", what, why.Why, err)
}

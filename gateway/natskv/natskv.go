// Package natskv keeps the bindings of keys in a JetStream key-value bucket, for gateways of which there are several: any of
// them can then take the next attempt at a request to a service that another one has sent.
//
//	binds, err := natskv.Open(ctx, js, natskv.Config{Cluster: "shop", Replicas: 3})
//	if err != nil { ... }
//	table, err := gateway.Config{Bindings: binds}.New(sys, gateway.Service("mailer", Mailer))
//
// The promise is that of [gateway.Bindings]: all gateways of a cluster share the bucket "<cluster>_bindings", and for each name
// the first address that was given holds, whoever gave it. A write is accepted only if there is nothing under the name, and
// reads are answered by the leader of the bucket's stream, not by a replica that may lag behind. While NATS is away, or has no
// leader, Bind returns an error, and so the gateway sends nothing.
//
// What is lost is noticed: the bucket denies deletes and purges, and a second stream, "<cluster>_bindings_made", says which
// bucket it is. If the bucket is deleted, emptied or set back to an earlier state, an open Bindings says [ErrLost] as soon as it
// finds out, for ever, and Open refuses with the same error. Bindings that were made since then may differ from those that
// were lost. The operator stops all gateways for as long as keys last (rpc.Limits.KeyLife, 10 minutes), deletes what is left
// of the streams "KV_<cluster>_bindings" and "<cluster>_bindings_made", and starts the gateways.
//
// The limits: a binding is one message of about 200 bytes, which the server removes after [Config].Life of its own time. A first
// attempt takes one request to JetStream, a later one two. How safe a binding is depends on the server: with one replica, a
// loss of power may lose what was not synced to disk. What NATS users must be allowed is listed by package
// transport/natsbus/permissions, see Bindings and MakeBindings.
package natskv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natshome"
)

// Errors of Open and Bind.
var (
	ErrLost        = errors.New("gateway/natskv: the bindings of keys are lost")                    // see the documentation of the package
	ErrUnavailable = errors.New("gateway/natskv: JetStream does not take or give bindings of keys") // another attempt may succeed
	ErrFormat      = errors.New("gateway/natskv: a binding of a key cannot be read")                // a newer version has written it, or somebody else
)

// Defaults of Config.
const (
	DefaultLife = 20 * time.Minute // for the default of rpc.Limits.KeyLife
	DefaultWait = 5 * time.Second
)

// minLife is the shortest life that JetStream gives a message.
const minLife = time.Second

// maxCluster is the most bytes of a cluster's name.
const maxCluster = 128

// Config says where the bindings are kept, and for how long. Its zero value is the default.
type Config struct {
	Cluster string // prefix of the names: up to 128 letters, digits, '-' and '_'; default "tandem"

	// Life is how long a binding lasts: at least rpc.Limits.KeyLife of the nodes and the longest time that a request may take.
	// It is rounded up to whole seconds. Default DefaultLife.
	Life time.Duration

	Wait      time.Duration // how long Bind waits for JetStream, if its ctx does not end before; default DefaultWait
	Replicas  int           // number of replicas of the bucket, if Open has to create it; default 1
	StartWait time.Duration // how long Open waits for JetStream if its ctx has no deadline; default 30 s
	Logger    *slog.Logger  // gets a line whenever what Open waits for changes, and when bindings are lost; default slog.Default()
}

// Bindings are [gateway.Bindings]. They do not own the NATS connection. They may be used concurrently.
type Bindings struct {
	home       *natshome.Home
	life, wait time.Duration
}

var _ gateway.Bindings = (*Bindings)(nil)

// Open returns the bindings of a cluster, and creates the bucket if the cluster never had one. While JetStream does not answer,
// it tries again until ctx ends. The error wraps ErrLost if the cluster had bindings, and they are not there any more.
//
// A bucket that was created beforehand is a stream "KV_<cluster>_bindings" with the one subject
// "$KV.<cluster>_bindings.<any token>.>", which keeps one message of each subject, lets single messages have a life of their
// own and leaves no marks where one has ended, denies deletes and purges, rejects new messages when it is full, and does not
// allow direct reads.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Bindings, error) {
	cfg.Cluster = cmp.Or(cfg.Cluster, "tandem")
	cfg.Life, cfg.Wait = cmp.Or(cfg.Life, DefaultLife), cmp.Or(cfg.Wait, DefaultWait)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	switch {
	case !natshome.Plain(cfg.Cluster) || len(cfg.Cluster) > maxCluster:
		return nil, fmt.Errorf("gateway/natskv: cluster %q: want 1 to %d letters, digits, '-' and '_'", cfg.Cluster, maxCluster)
	case cfg.Life < minLife:
		return nil, fmt.Errorf("gateway/natskv: a life of %v: want %v or more", cfg.Life, minLife)
	case cfg.Wait < 0:
		return nil, fmt.Errorf("gateway/natskv: a wait of %v", cfg.Wait)
	}
	bucket := cfg.Cluster + "_bindings"
	stream, made := "KV_"+bucket, bucket+"_made"
	home, err := natshome.Open(ctx, js, natshome.Plan{
		Stream:      stream,
		Root:        "$KV." + bucket,
		Made:        made,
		Description: "which instances of services have the keys that came through the gateways of a Tandem cluster",
		Replicas:    max(cfg.Replicas, 1),
		Expiring:    true,
		API:         natshome.Mapped(js.Options()),
		For:         "the bucket " + bucket + ", for the bindings of keys",
		What:        "bindings of keys",
		Lost:        ErrLost,
		Cure:        fmt.Sprintf("stop all gateways for as long as keys last, and delete the streams %s and %s", stream, made),
		Package:     "gateway/natskv",
		StartWait:   cfg.StartWait,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway/natskv: %w", err)
	}
	seconds := (cfg.Life + time.Second - 1) / time.Second
	return &Bindings{home, seconds * time.Second, cfg.Wait}, nil
}

// formVersion is that of the text in which a binding is kept. Another one is not decoded.
const formVersion = 1

// form is a binding as it is kept.
type form struct {
	Version int    `json:"v"`
	Address string `json:"address"`
}

// decode returns the address that is kept as text. The error wraps ErrFormat.
func decode(text []byte) (string, error) {
	var f form
	err := json.Unmarshal(text, &f)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrFormat, err)
	case f.Version != formVersion:
		return "", fmt.Errorf("%w: its form has the version %d, want %d", ErrFormat, f.Version, formVersion)
	case f.Address == "":
		return "", fmt.Errorf("%w: it has no address", ErrFormat)
	}
	return f.Address, nil
}

// Bind implements [gateway.Bindings]. An error wraps ErrUnavailable, if the same Bind may succeed later, ErrLost or ErrFormat.
// After it the name may be bound to the address, or be bound to it a moment later.
func (b *Bindings) Bind(ctx context.Context, name, address string) (string, error) {
	if err := gateway.ValidBinding(name, address); err != nil {
		return "", err
	}
	if err := b.home.Lost(); err != nil {
		return "", err
	}
	data, err := json.Marshal(form{formVersion, address})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	w := &write{b: b, msg: &nats.Msg{Subject: b.home.Subject(name), Data: data}, address: address}
	err = natshome.Retry(ctx, func() error { return w.try(ctx) })
	if again, ok := err.(natshome.Again); ok {
		err = again.Err
	}
	switch {
	case err == nil:
		return w.address, nil
	case errors.Is(err, ErrLost), errors.Is(err, ErrFormat):
		return "", err
	}
	return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// write is a Bind that is under way. Its attempts publish the same message, which is stored only where there is none: so what
// became of the attempts before does not matter, what is there in the end does.
type write struct {
	b        *Bindings
	msg      *nats.Msg
	address  string // in the end: the one that is bound
	attempts jserror.Attempts
}

// try makes one attempt.
func (w *write) try(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return natshome.Again{Err: err}
	}
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	_, found, err := w.b.home.Publish(step, w.msg, 0, &w.attempts, natsjs.WithMsgTTL(w.b.life))
	switch {
	case err == nil:
		return nil
	case found.Cause == jserror.Conflict:
		return w.read(step)
	case errors.As(err, new(natshome.Final)), !found.Again:
		return err
	case found.Cause == jserror.Away && step.Err() == nil: // nobody listens: is there a bucket?
		if lost := w.b.home.Whole(step); errors.Is(lost, ErrLost) {
			return lost
		}
	}
	return natshome.Again{Err: err}
}

// read takes over the address that somebody has bound, or this write itself.
func (w *write) read(ctx context.Context) error {
	m, err := w.b.home.Last(ctx, w.msg.Subject)
	switch {
	case errors.Is(err, ErrLost):
		return err
	case err != nil:
		return natshome.Again{Err: err}
	case m == nil: // its life has just ended, or it is lost
		if err := w.b.home.Whole(ctx); err != nil {
			if errors.Is(err, ErrLost) {
				return err
			}
			return natshome.Again{Err: err}
		}
		return natshome.Again{Err: errors.New("the binding has just ended"), Now: true}
	}
	address, err := decode(m.Data)
	if err == nil {
		w.address = address
	}
	return err
}

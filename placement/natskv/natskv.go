package natskv

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/placement"
)

// ReleasedFor is how long the mark of a released claim stays. Tokens do not depend on it.
const ReleasedFor = time.Hour

// maxCluster is the most bytes of a cluster's name: the longest subject must fit into a line of
// the NATS protocol, which is 4 KiB by default.
const maxCluster = 128

// Config says where the claims are kept. Its zero value is the default.
type Config struct {
	Cluster   string        // prefix of the names: up to 128 letters, digits, '-' and '_'; default "tandem"
	Replicas  int           // number of replicas of the bucket, if Open has to create it; default 1
	StartWait time.Duration // how long Open waits for JetStream if its ctx has no deadline; default 30 s
	Logger    *slog.Logger  // gets a line whenever what Open waits for changes, and when claims are lost; default slog.Default()
}

// Claims is a [placement.Claims]. It does not own the NATS connection. If the connection is
// closed, calls return an error; while it is disconnected, they wait until their ctx ends. It may
// be used concurrently.
type Claims struct{ home *natshome.Home }

var _ placement.Claims = (*Claims)(nil)

// Open returns the claims of a cluster, and creates the bucket if the cluster never had one.
//
// While JetStream does not answer, Open tries again until ctx ends: a cluster that has just been
// started has no leader yet. A line in the log says what is missing, and another one when that
// changes; the error at the end says it as well.
//
// The error wraps placement.ErrLost if the cluster had claims, and they are not there any more.
//
// A bucket that was created beforehand is a stream "KV_<cluster>_claims" with the one subject
// "$KV.<cluster>_claims.<any token>.>", which keeps one message of each subject, for ever, lets
// single messages have a life of their own, denies deletes and purges, rejects new messages when
// it is full, and does not allow direct reads.
func Open(ctx context.Context, js natsjs.JetStream, cfg Config) (*Claims, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "tandem"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if !natshome.Plain(cfg.Cluster) || len(cfg.Cluster) > maxCluster {
		return nil, fmt.Errorf("placement/natskv: cluster %q: want 1 to %d letters, digits, '-' and '_'", cfg.Cluster, maxCluster)
	}
	bucket := cfg.Cluster + "_claims"
	stream, made := "KV_"+bucket, bucket+"_made"
	home, err := natshome.Open(ctx, js, natshome.Plan{
		Stream:      stream,
		Root:        "$KV." + bucket,
		Made:        made,
		Description: "which nodes of a Tandem cluster hold which virtual actors",
		Replicas:    max(cfg.Replicas, 1),
		Expiring:    true, // the marks of releases
		API:         natshome.Mapped(js.Options()),
		For:         "the bucket " + bucket + ", for the claims of virtual actors",
		What:        "claims of virtual actors",
		Lost:        placement.ErrLost,
		Cure:        fmt.Sprintf("stop all nodes, and delete the streams %s and %s", stream, made),
		Package:     "placement/natskv",
		StartWait:   cfg.StartWait,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("placement/natskv: %w", err)
	}
	return &Claims{home}, nil
}

// Check finds out whether the store still has all its claims: nil if it has, an error that wraps
// placement.ErrLost if it has not, and placement.ErrUnavailable if ctx ends before that is known. It is for
// probes; the other methods find out by themselves.
func (c *Claims) Check(ctx context.Context) error {
	return c.read(ctx, &placement.Error{Op: "check"}, c.home.Whole)
}

// Package check tries what a cluster needs of NATS. It changes nothing.
package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// DefaultSkew is how far clocks may be apart. Leases are not measured with wall clocks, but times in records and logs are.
const DefaultSkew = 500 * time.Millisecond

// State is how a check has ended.
type State string

// The states.
const (
	OK      State = "ok"
	Warned  State = "warning"
	Failed  State = "failed"
	Skipped State = "not tried"
)

// Result is what a check has found.
type Result struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"` // what to do
}

// Config says what is tried.
type Config struct {
	Cluster, User string
	Timeout       time.Duration
	Connect       func(...nats.Option) (*nats.Conn, error)
	RequireTLS    bool
	MaxSkew       time.Duration
	Now           func() time.Time // default time.Now

	Node        string          // whose permissions are tried; empty: nobody's
	Use         []string        // what Permissions are for, for people
	Permissions permissions.Set // what the connection's user must be allowed
}

// checks is one run of all checks.
type checks struct {
	Config
	nc      *nats.Conn
	js      jetstream.JetStream
	results []Result
}

func (c *checks) add(name string, state State, mend, found string, args ...any) {
	c.results = append(c.results, Result{name, state, fmt.Sprintf(found, args...), mend})
}

// Run tries everything. What cannot be tried because something else failed is Skipped.
func Run(ctx context.Context, cfg Config) []Result {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &checks{Config: cfg}
	if !c.connection() {
		for _, name := range []string{"tls", "jetstream", "clock", "registry", "streams", "nodes"} {
			c.add(name, Skipped, "", "there is no connection")
		}
		return c.results
	}
	defer c.nc.Close()
	c.tls()
	if c.jetstream(ctx) {
		c.registry(ctx)
		c.streams(ctx)
	} else {
		for _, name := range []string{"clock", "registry", "streams"} {
			c.add(name, Skipped, "", "there is no JetStream")
		}
	}
	if cfg.Node != "" {
		c.permissions()
	}
	c.nodes(ctx)
	return c.results
}

func (c *checks) connection() bool {
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // what is refused is found by who asks
	nc, err := c.Connect(quiet)
	if err != nil {
		mend := "look at the error"
		switch {
		case errors.Is(err, nats.ErrNoServers):
			mend = "start a NATS server there, or name another one with --server or --context; firewalls must let TCP through"
		case errors.Is(err, nats.ErrAuthorization):
			mend = "the server does not accept this user: set --creds, or the user in the context, to one of the server's configuration"
		case strings.Contains(err.Error(), "tls") || strings.Contains(err.Error(), "x509"):
			mend = "the certificates do not fit: set the CA in the context to that which has signed the server's certificate"
		}
		c.add("connection", Failed, mend, "%v", err)
		return false
	}
	c.nc = nc
	rtt, err := nc.RTT()
	if err != nil {
		c.add("connection", Failed, "the server is overloaded, or something between drops packets", "no answer to a ping: %v", err)
		nc.Close()
		return false
	}
	c.add("connection", OK, "", "%s, NATS %s, %v away", nc.ConnectedServerName(), nc.ConnectedServerVersion(), rtt.Round(10*time.Microsecond))
	return true
}

func (c *checks) tls() {
	_, err := c.nc.TLSConnectionState()
	switch {
	case err == nil:
		c.add("tls", OK, "", "the connection is encrypted")
	case c.RequireTLS:
		c.add("tls", Failed, "add a block tls { cert_file, key_file, ca_file } to nats-server.conf, and use tls:// in the URL", "the connection is not encrypted")
	default:
		c.add("tls", Warned, "fine on a network that you trust; otherwise add a block tls {} to nats-server.conf", "the connection is not encrypted")
	}
}

func (c *checks) jetstream(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	js, err := jetstream.New(c.nc)
	if err == nil {
		c.js = js
		var info *jetstream.AccountInfo
		if info, err = js.AccountInfo(ctx); err == nil {
			if most := info.Limits.MaxStore; most > 0 && float64(info.Store) > 0.9*float64(most) {
				c.add("jetstream", Failed, "raise max_file of the account, or delete streams that nobody needs: writes are refused when it is full", "%d of %d bytes are used", info.Store, most)
				return true
			}
			c.add("jetstream", OK, "", "%d streams, %d bytes", info.Streams, info.Store)
			return true
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		c.add("jetstream", Failed, "add jetstream: enabled to the account in nats-server.conf", "JetStream is off for this account")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		c.add("jetstream", Failed, "add a block jetstream { store_dir } to nats-server.conf, or start nats-server with -js", "JetStream is off")
	case errors.Is(err, context.DeadlineExceeded):
		c.add("jetstream", Failed, "the user may not publish to $JS.API.INFO or not subscribe to its inbox (`tandem perms` prints what it needs), or JetStream has no leader", "no answer within %v", c.Timeout)
	default:
		c.add("jetstream", Failed, "look at the error", "%v", err)
	}
	return false
}

// markerTTL is what the bucket of the registry needs at least.
const markerTTL = 10 * time.Minute

func (c *checks) registry(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	bucket := c.Cluster + "_nodes"
	before := c.Now()
	s, err := c.js.Stream(ctx, "KV_"+bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		c.add("clock", Skipped, "", "there is no stream that says the server's time")
		c.add("registry", Failed, "start a node that may create it, or check --cluster: it has to be that of actor.Config.Cluster and natskv.Config.Cluster", "there is no bucket %s", bucket)
		return
	}
	if err != nil {
		c.add("clock", Skipped, "", "no stream could be read")
		c.add("registry", Failed, "allow the user $JS.API.STREAM.INFO.KV_"+bucket+" (`tandem perms` prints it)", "%v", err)
		return
	}
	info := s.CachedInfo()
	c.clock(before, c.Now(), info.TimeStamp)
	cfg := info.Config
	switch {
	case !cfg.AllowMsgTTL || cfg.SubjectDeleteMarkerTTL < markerTTL:
		c.add("registry", Failed, fmt.Sprintf("create it with a LimitMarkerTTL of %v or more, or let a node create it", markerTTL), "the bucket %s does not keep leases: its records do not end", bucket)
	case c.nc.ConnectedClusterName() != "" && cfg.Replicas < 3 && len(c.nc.DiscoveredServers()) > 1:
		c.add("registry", Warned, "nats stream update KV_"+bucket+" --replicas 3", "the bucket %s has %d replica in a cluster of NATS servers: it is away when that server is", bucket, cfg.Replicas)
	default:
		c.add("registry", OK, "", "the bucket %s has %d records", bucket, info.State.Msgs)
	}
}

func (c *checks) clock(before, after, server time.Time) {
	if server.IsZero() {
		c.add("clock", Skipped, "", "the server does not say its time")
		return
	}
	skew := server.Sub(before.Add(after.Sub(before) / 2)) // give or take half of what the question took
	if doubt := after.Sub(before) / 2; skew.Abs()-doubt > c.MaxSkew {
		c.add("clock", Failed, "have both machines set their clocks (chrony, systemd-timesyncd)", "the server's clock is %v apart from this one", skew.Abs().Round(time.Millisecond))
		return
	}
	c.add("clock", OK, "", "less than %v apart", c.MaxSkew)
}

// streams looks at the other streams of the cluster that there are.
func (c *checks) streams(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	found := 0
	var wrong, mend []string
	for _, name := range []string{c.Cluster + "_records", c.Cluster + "_state", "KV_" + c.Cluster + "_claims", "KV_" + c.Cluster + "_settings", c.Cluster + "_reminders", c.Cluster + "_topics"} {
		s, err := c.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			wrong, mend = append(wrong, fmt.Sprintf("%s: %v", name, err)), append(mend, "allow the user $JS.API.STREAM.INFO."+name+", and see that the stream has a leader: nats stream report")
			continue
		}
		found++
		info := s.CachedInfo()
		cfg := info.Config
		switch {
		case info.Cluster != nil && info.Cluster.Leader == "":
			wrong, mend = append(wrong, name+" has no leader"), append(mend, "start the NATS servers that have its replicas")
		case cfg.Storage == jetstream.MemoryStorage:
			wrong, mend = append(wrong, name+" is in memory only"), append(mend, "create it again with file storage: what is in it does not outlive the server")
		case strings.HasSuffix(name, "_records") && cfg.Discard == jetstream.DiscardOld && (cfg.MaxBytes > 0 || cfg.MaxMsgs > 0 || cfg.MaxAge > 0):
			wrong, mend = append(wrong, name+" drops old records when it is full"), append(mend, "nats stream update "+name+" --discard new")
		case cfg.MaxBytes > 0 && float64(info.State.Bytes) > 0.9*float64(cfg.MaxBytes):
			wrong, mend = append(wrong, fmt.Sprintf("%s is nearly full: %d of %d bytes", name, info.State.Bytes, cfg.MaxBytes)), append(mend, "nats stream update "+name+" --max-bytes with more")
		}
	}
	if len(wrong) > 0 {
		c.add("streams", Failed, strings.Join(mend, "; "), "%s", strings.Join(wrong, "; "))
		return
	}
	c.add("streams", OK, "", "%d of the cluster's are there", found)
}

// nodes asks the nodes.
func (c *checks) nodes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cluster, err := natsadmin.Connect(c.nc, natsadmin.Client{Cluster: c.Cluster, User: c.User, Timeout: c.Timeout})
	if err != nil {
		c.add("nodes", Failed, "check --user and --cluster", "%v", err)
		return
	}
	names, err := cluster.Nodes(ctx)
	switch {
	case errors.Is(err, rpc.NotFound):
		c.add("nodes", Warned, "nodes that are to be seen call admin.Open in Config.Setup, and natsadmin.Serve", "no node of %s answers", c.Cluster)
		return
	case errors.Is(err, rpc.Denied):
		c.add("nodes", Failed, "name nats:"+c.User+" in admin.Config.Read", "%v", err)
		return
	case err != nil:
		c.add("nodes", Failed, "look at the error", "%v", err)
		return
	}
	var silent []string
	for _, a := range admin.All(ctx, cluster, admin.Node{}) {
		if a.Err != nil {
			silent = append(silent, a.Node)
		}
	}
	if len(silent) > 0 {
		c.add("nodes", Failed, "look whether these processes run (their probe /readyz), and whether they call natsadmin.Serve", "%s of %d do not answer", strings.Join(silent, ", "), len(names))
		return
	}
	c.add("nodes", OK, "", "%d answer", len(names))
}

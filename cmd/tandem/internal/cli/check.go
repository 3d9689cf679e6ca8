package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// finding is the result of one check.
type finding struct {
	Check string
	OK    bool
	Found string
	Mend  string `json:",omitempty"` // what to do about it
}

// Limits of what is right: by how much the clock of the NATS server may differ, and how long its certificate has to be good.
const (
	maxSkew = 2 * time.Second
	minLeft = 7 * 24 * time.Hour
)

func skewed(skew time.Duration) error {
	if skew.Abs() > maxSkew {
		return errors.New("clocks differ")
	}
	return nil
}

func expiring(left time.Duration) error {
	if left < minLeft {
		return errors.New("it ends in less than 7 days")
	}
	return nil
}

// check tries what a cluster needs, and says how to mend what is missing.
func (a *app) check() *cobra.Command {
	var node string
	var with []string
	c := &cobra.Command{Use: "check", Short: "Try what the cluster needs: NATS, TLS, JetStream, the registry, clocks, permissions, the nodes", Long: `check tries one thing after another, and says of each what it has found and what to do about it.
With --for NODE it tries the permissions of the user that it is connected as, as those of that node: subscriptions are made and ended
again, and messages are published that nobody takes: no stream, since they ask for another one, and not JetStream, since they are no requests.
Permissions to delete, purge or update are not tried.`,
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			found := a.checks(c.Context(), node, with)
			bad := 0
			for _, f := range found {
				if !f.OK {
					bad++
				}
			}
			err := a.show(found, func(t *table) {
				t.head = []string{"CHECK", "RESULT", "FOUND", "WHAT TO DO"}
				for _, f := range found {
					result := cell{"ok", green}
					if !f.OK {
						result = cell{"WRONG", red}
					}
					t.row(f.Check, result, f.Found, f.Mend)
				}
			})
			if err == nil && bad > 0 {
				return fmt.Errorf("%d of %d checks are wrong", bad, len(found))
			}
			return err
		}}
	c.Flags().StringVar(&node, "for", "", "try the permissions of this node's user")
	c.Flags().StringSliceVar(&with, "with", nil, "what else the node has, as in tandem perms")
	return c
}

func (a *app) checks(ctx context.Context, node string, with []string) (all []finding) {
	add := func(name string, err error, found, mend string) bool {
		f := finding{Check: name, OK: err == nil, Found: found}
		if err != nil {
			f.Found, f.Mend = strings.TrimSpace(found+" "+err.Error()), mend
		}
		all = append(all, f)
		return err == nil
	}
	nc, err := a.connect()
	if !add("nats", err, connected(nc), "Is the URL right, and does the server run? A nats context has to have the user's credentials: nats context ls, nats server check connection.") {
		return all
	}
	tlsState, err := nc.TLSConnectionState()
	switch {
	case err == nil:
		left := 365 * 24 * time.Hour
		for _, cert := range tlsState.PeerCertificates {
			left = min(left, time.Until(cert.NotAfter))
		}
		add("tls", expiring(left), fmt.Sprintf("the server's certificate is good for %d days", int(left.Hours()/24)), "Renew the server's certificate.")
	case loopback(nc):
		add("tls", nil, "none, on loopback", "")
	default:
		add("tls", errors.New("the connection is not encrypted"), "", "Set tls in the configuration of the NATS server, and use a URL that begins with tls://.")
	}
	js, err := jetstream.New(nc)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		var info *jetstream.AccountInfo
		if info, err = js.AccountInfo(ctx); err == nil {
			add("jetstream", storeLeft(info), fmt.Sprintf("%d streams, %d bytes of %s", info.Streams, info.Store, limitText(info.Limits.MaxStore)), "Raise the account's limit of the file store, or remove streams that nobody needs.")
		}
	}
	if err != nil {
		add("jetstream", err, "", "JetStream has to be on in the server (jetstream {store_dir: ...}) and for the account, and the user has to be allowed to publish $JS.API.INFO.")
	} else {
		a.checkRegistry(ctx, js, add)
	}
	a.checkNodes(ctx, add)
	if node != "" {
		set, err := permissionOf("node", node, a.cluster, permissions.Node{}, with, nil, false)
		if err != nil {
			add("permissions", err, "", "")
			return all
		}
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		all = append(all, tried(ctx, nc, set)...)
	}
	return all
}

func connected(nc *nats.Conn) string {
	if nc == nil {
		return ""
	}
	rtt, err := nc.RTT()
	if err != nil {
		return nc.ConnectedServerName()
	}
	return fmt.Sprintf("server %s, version %s, round trip %s", nc.ConnectedServerName(), nc.ConnectedServerVersion(), span(rtt))
}

func loopback(nc *nats.Conn) bool {
	at := nc.ConnectedAddr()
	return strings.HasPrefix(at, "127.") || strings.HasPrefix(at, "[::1]")
}

// storeLeft is an error if the account's store is nearly full.
func storeLeft(i *jetstream.AccountInfo) error {
	if most := i.Limits.MaxStore; most > 0 && i.Store > uint64(most)/10*9 {
		return errors.New("the store is nearly full")
	}
	return nil
}

func limitText(n int64) string {
	if n <= 0 {
		return "no limit"
	}
	return fmt.Sprint(n)
}

// checkRegistry looks at the bucket with the nodes' records, and at the clock of the server that keeps it.
func (a *app) checkRegistry(ctx context.Context, js jetstream.JetStream, add func(string, error, string, string) bool) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	cluster := a.cluster
	if cluster == "" {
		cluster = "tandem"
	}
	kv, err := js.KeyValue(ctx, cluster+"_nodes")
	if err != nil {
		add("registry", err, "bucket "+cluster+"_nodes:", "No node of this cluster has been started with registry/natskv here, or --cluster is wrong, or the user may not read the bucket.")
		return
	}
	status, err := kv.Status(ctx)
	if err != nil {
		add("registry", err, "", "The bucket has no leader: see nats stream report.")
		return
	}
	add("registry", leases(status), fmt.Sprintf("bucket %s has %d records", status.Bucket(), status.Values()), fmt.Sprintf("The leases of nodes do not end: create the bucket with a LimitMarkerTTL of %v or more, or let a node create it.", leastMarker))
	checkStreams(ctx, js, cluster, add)
	before := time.Now()
	s, err := js.Stream(ctx, "KV_"+cluster+"_nodes")
	if err != nil {
		add("clock", err, "", "The user has to be allowed to read the stream's state: $JS.API.STREAM.INFO.KV_"+cluster+"_nodes.")
		return
	}
	after := time.Now()
	skew := s.CachedInfo().TimeStamp.Sub(before.Add(after.Sub(before) / 2))
	add("clock", skewed(skew), fmt.Sprintf("the server's differs from this machine's by %s", span(skew.Round(time.Millisecond).Abs())), "Run NTP on this machine and on the servers: leases and deadlines are compared across machines.")
}

// checkNodes asks every node.
func (a *app) checkNodes(ctx context.Context, add func(string, error, string, string) bool) {
	c, err := a.asks()
	if err != nil {
		add("nodes", err, "", "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	for _, r := range admin.All(ctx, c, admin.Node{}) {
		if r.Node == "" {
			add("nodes", errors.New(text(r.Err)), "", "No node answers: each has to open its admin actor (admin.Open) and serve it (natsadmin.Serve), and admin.Config.Read has to name this user.")
			return
		}
		var err error
		if r.Err != nil {
			err = errors.New(text(r.Err))
		}
		add("node "+r.Node, err, map[bool]string{true: fmt.Sprintf("up for %s, %d actors", span(time.Since(r.Reply.Started)), r.Reply.Stats.Actors)}[err == nil], "It is in the registry, and does not answer over NATS: is natsadmin served there, and may it read?")
	}
}

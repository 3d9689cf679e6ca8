package natskv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/test/servers"
)

// A replicated bucket reports conflicts by another code, and its replicas may lag behind.
func TestConformanceReplicated(t *testing.T) {
	t.Parallel()
	three, clusters := servers.Three(t).Servers, 0
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, lease time.Duration) (a, b registry.Registry) {
			clusters++
			cfg := natskv.Config{Cluster: fmt.Sprintf("c%d", clusters), Lease: lease, Replicas: 3}
			return open(t, connect(t, three[1]), cfg), open(t, connect(t, three[2]), cfg)
		},
	})
}

// Claims are decided by what the leader of the bucket's stream has, whichever server the client is
// connected to. A replica may not know yet that a name is free, or held.
func TestClaimsReadFromLeader(t *testing.T) {
	t.Parallel()
	three := servers.Three(t).Servers
	ctx := within(t, time.Minute)
	js := connect(t, three[0])
	cfg := natskv.Config{Replicas: 3}
	regs := []*natskv.Registry{open(t, js, cfg), open(t, connect(t, three[1]), cfg), open(t, connect(t, three[2]), cfg)}
	direct, err := js.Conn().SubscribeSync("$JS.API.DIRECT.GET.KV_tandem_nodes.>")
	if err != nil {
		t.Fatal(err)
	}
	// A server reports a request to JetStream that it answers with an error, such as that for a
	// record that does not exist.
	const advisories = "$JS.EVENT.ADVISORY.API"
	reports, err := js.Conn().SubscribeSync(advisories)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range three { // until it knows of both subscriptions
		for nc := connect(t, server).Conn(); ; {
			if err := nc.Publish(advisories, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if _, err := reports.NextMsg(100 * time.Millisecond); err == nil {
				break
			} else if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	for i, r := range regs { // one of them is connected to the leader, two are not
		n := registrytest.Node("n", fmt.Sprintf("e%d", i), "x")
		if err := r.Register(ctx, n); err != nil {
			t.Fatal(err)
		}
		for _, other := range regs {
			if err := other.Register(ctx, registrytest.Node("n", "other", "y")); !errors.Is(err, registry.ErrTaken) {
				t.Fatal(err)
			}
		}
		if err := r.Deregister(ctx, "n", n.Epoch, nil); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(ctx, "KV_tandem_nodes")
	if err != nil {
		t.Fatal(err)
	}
	leader := stream.CachedInfo().Cluster.Leader
	for _, r := range regs {
		if _, err := r.Lookup(ctx, "nobody"); !errors.Is(err, registry.ErrNotFound) {
			t.Fatal(err)
		}
	}
	for reads := 0; reads < len(regs)+1; { // their reads, and that of the first claim
		m, err := reports.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatalf("%d reads were answered by anybody: %v", reads, err)
		}
		var report struct{ Server, Subject string }
		if err := json.Unmarshal(m.Data, &report); err != nil {
			t.Fatal(err)
		}
		if report.Subject != "$JS.API.STREAM.MSG.GET.KV_tandem_nodes" {
			continue
		}
		if reads++; report.Server != leader {
			t.Errorf("%s answered a read, and %s is the leader", report.Server, leader)
		}
	}
	if n, _, err := direct.Pending(); n > 0 || err != nil {
		t.Errorf("%d reads may have been answered by a replica, %v", n, err)
	}
}

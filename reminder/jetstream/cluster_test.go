package jetstream_test

import (
	"encoding/json"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/reminder/remindertest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// cluster starts three servers that know one another.
func cluster(t testing.TB) (servers []*embedded.Server, cfgs []embedded.Config) {
	t.Helper()
	ports, routes := make([]int, 3), make([]string, 3)
	held := make([]net.Listener, 3) // all at the same time, or the system may give a port twice
	for i := range held {
		var err error
		held[i], err = net.Listen("tcp", "127.0.0.1:0")
		ok(t, err)
		ports[i] = held[i].Addr().(*net.TCPAddr).Port
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", ports[i])
	}
	for _, l := range held {
		l.Close()
	}
	for i, port := range ports {
		cfg := embedded.Config{
			Name:     fmt.Sprintf("n%d", i),
			StoreDir: t.TempDir(),
			Cluster:  &embedded.ClusterConfig{Name: "c", Port: port, Routes: routes},
		}
		servers, cfgs = append(servers, start(t, cfg)), append(cfgs, cfg)
	}
	return servers, cfgs
}

// stepDown has the leader of a stream step down.
func stepDown(t testing.TB, js natsjs.JetStream, stream string) {
	t.Helper()
	for range 30 { // while there is no leader, nobody answers
		m, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, 2*time.Second)
		var said struct{ Error *natsjs.APIError }
		if err == nil && json.Unmarshal(m.Data, &said) == nil && said.Error == nil {
			return
		}
	}
	t.Fatal("it does not step down")
}

// stopLeader stops the server that leads a stream, and starts it again.
func stopLeader(t testing.TB, servers []*embedded.Server, cfgs []embedded.Config, stream string) {
	t.Helper()
	ctx, at := within(t, patience), 0
	for ; !servers[at].Server().JetStreamIsStreamLeader("$G", stream); at = (at + 1) % 3 {
		if ctx.Err() != nil {
			t.Fatal("no leader")
		}
		time.Sleep(time.Millisecond)
	}
	servers[at].Shutdown()
	servers[at] = start(t, cfgs[at])
	for !servers[at].Server().JetStreamIsStreamCurrent("$G", stream) { // or no majority might have everything after the next one
		if ctx.Err() != nil {
			t.Fatal("it does not catch up")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestConformanceReplicated(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	servers, _ := cluster(t)
	var clusters, stores atomic.Int32
	remindertest.Run(t, remindertest.Config{
		Open: func(t *testing.T) func() reminder.Store {
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters.Add(1)), Replicas: 3, Patience: 3 * slack}
			return func() reminder.Store {
				return open(t, connect(t, servers[stores.Add(1)%3]), cfg)
			}
		},
		Patience: 3 * slack,
		Slack:    2 * slack, // each case has streams and consumers that elect their leaders first
	})
}

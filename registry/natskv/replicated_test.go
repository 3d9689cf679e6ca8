package natskv_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A replicated bucket reports conflicts by another code, and its reads may be
// answered by a replica that lags behind.
func TestConformanceReplicated(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	ports, routes := make([]int, 3), make([]string, 3)
	held := make([]net.Listener, 3) // all at once, or one port may be given twice
	for i := range held {
		var err error
		if held[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		ports[i] = held[i].Addr().(*net.TCPAddr).Port
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", ports[i])
	}
	for _, l := range held {
		l.Close()
	}
	var servers []*embedded.Server
	for i, port := range ports {
		servers = append(servers, start(t, embedded.Config{
			Name:    fmt.Sprintf("n%d", i),
			Cluster: &embedded.ClusterConfig{Name: "c", Port: port, Routes: routes},
		}))
	}
	clusters := 0
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T) (a, b registry.Registry) {
			clusters++
			cfg := natskv.Config{Cluster: fmt.Sprintf("c%d", clusters), Lease: 2 * time.Second, Replicas: 3}
			return open(t, connect(t, servers[1]), cfg), open(t, connect(t, servers[2]), cfg)
		},
	})
}

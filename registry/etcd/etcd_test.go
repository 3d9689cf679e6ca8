package etcd_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/etcd"
	"github.com/tandem-go/tandem/registry/registrytest"
)

func TestConformance(t *testing.T) {
	s := startServer(t)
	clusters := 0
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, lease time.Duration) (a, b registry.Registry) {
			clusters++
			cfg := etcd.Config{Cluster: fmt.Sprintf("c%d", clusters), Lease: lease}
			return open(t, s.dial(), cfg), open(t, s.dial(), cfg)
		},
	})
}

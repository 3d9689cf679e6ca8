package memnet_test

import (
	"testing"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/transporttest"
)

func TestConformance(t *testing.T) {
	for road, direct := range map[string]bool{"direct": true, "bus": false} {
		for name, bubble := range map[string]bool{"bubble": true, "clock": false} {
			t.Run(road+"/"+name, func(t *testing.T) {
				transporttest.Run(t, transporttest.Config{
					Network: func(testing.TB) func() transport.Transport {
						n := memnet.New(memnet.Config{Seed: 1})
						return func() transport.Transport { return n.Transport("mem", direct) }
					},
					Backpressure: direct,
					Synctest:     bubble,
				})
			})
		}
	}
}

// A network that delays every message must pass as well.
func TestConformanceSlow(t *testing.T) {
	for _, direct := range []bool{true, false} {
		transporttest.Run(t, transporttest.Config{
			Network: func(testing.TB) func() transport.Transport {
				n := memnet.New(memnet.Config{Seed: 1})
				n.SetFaults("", "", "", memnet.Faults{MinDelay: 1e6, MaxDelay: 30e6})
				return func() transport.Transport { return n.Transport("mem", direct) }
			},
			Backpressure: direct,
			Synctest:     true,
		})
	}
}

// Package transporttest is the conformance suite of Tandem's roads. Every implementation of
// transport.Transport must pass [Run].
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, transporttest.Config{
//			Network: func(t testing.TB) func() transport.Transport {
//				return func() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }
//			},
//			Backpressure: true,
//		})
//	}
//
// Some cases need more than the contract of package transport. What they need is a field of
// [Config]; for a road that does not have it, the field stays empty and the case is skipped. The
// suite waits for what it expects, never for time to pass.
package transporttest

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
)

// Config says how to make the road under test and what it can do.
type Config struct {
	// Network is called once per case. It sets up what the transports of the case share, such
	// as a server or a network in memory. It returns a function that makes transports, not yet
	// started, which reach each other; the suite starts and closes them. Every case uses its
	// own cluster name, so all cases may share a server.
	Network func(t testing.TB) func() transport.Transport

	// Backpressure says that a receiver which does not return makes the sender's queue fill up
	// (ErrFull), and not a buffer between them.
	Backpressure bool

	// Greet sends h as it is, the way Dial sends its greeting, and returns the
	// answer. Without it the case that needs another wire version is skipped.
	Greet func(t testing.TB, to transport.Endpoint, h transport.Hello) transport.Welcome

	// Synctest runs every case in a bubble of testing/synctest. Network is then
	// called inside it, and nothing may use real sockets.
	Synctest bool

	// Leaks are goroutines that a case ignores when it looks for leaked ones, in addition to
	// those that ran before the transports were started.
	Leaks []goleak.Option
}

// maxMessage is the size of the largest message in the suite.
const maxMessage = 3 << 20

// patience is how long the suite waits for something before it fails.
const patience = 20 * time.Second

// Run runs the suite as subtests of t.
func Run(t *testing.T, cfg Config) {
	cases := []struct {
		name string
		run  func(t *testing.T, cfg Config)
	}{
		{"Identify", testIdentify},
		{"AnyEpoch", testAnyEpoch},
		{"WrongNode", testWrongNode},
		{"WrongEpoch", testWrongEpoch},
		{"WrongCluster", testWrongCluster},
		{"WrongVersion", testWrongVersion},
		{"NobodyThere", testNobodyThere},
		{"DialCancelled", testDialCancelled},
		{"Fields", testFields},
		{"EmptyBody", testEmptyBody},
		{"Limit", testLimit},
		{"LargeIntact", testLargeIntact},
		{"LargeIsPassed", testLargeIsPassed},
		{"LargeKeepsOrder", testLargeKeepsOrder},
		{"LargeCancelled", testLargeCancelled},
		{"LargeDiesWithItsLink", testLargeDiesWithItsLink},
		{"LargeHanded", testLargeHanded},
		{"LargeIsFlushed", testLargeIsFlushed},
		{"BodiesAreKept", testBodiesAreKept},
		{"BodyMayBeReused", testBodyMayBeReused},
		{"OrderBothWays", testOrderBothWays},
		{"RowsOfTells", testRowsOfTells},
		{"Row", testRow},
		{"ManySenders", testManySenders},
		{"ManyLinks", testManyLinks},
		{"ReplyFromReceive", testReplyFromReceive},
		{"FullAndDrained", testFullAndDrained},
		{"HandedReceived", testHandedReceived},
		{"HandedNeverWritten", testHandedNeverWritten},
		{"CloseSeenByPeer", testCloseSeenByPeer},
		{"OnlyFirstCloseCounts", testOnlyFirstCloseCounts},
		{"CloseFromCallbacks", testCloseFromCallbacks},
		{"TransportCloseFlushes", testTransportCloseFlushes},
		{"TransportCloseLeavesNothing", testTransportCloseLeavesNothing},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if cfg.Synctest {
				bubble.Test(t, func(t *testing.T) { c.run(t, cfg) })
				return
			}
			c.run(t, cfg)
		})
	}
}

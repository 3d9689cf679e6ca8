package main

import (
	"sync"
	"time"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A scenario is one row of the table of targets: something to do, and who does it.
type scenario struct {
	name  string
	about string
	peers []peer
}

// A peer is one way to do what a scenario asks for.
type peer struct {
	name  string
	role  role
	note  string // what the reader of the table must know
	start func(*env) (rig, error)
}

// role says how a peer's result is compared.
type role string

const (
	ours    role = "tandem"  // what the targets are about
	rival   role = "peer"    // the fastest of these is the best peer
	limit   role = "raw"     // what the machine can do at all
	variant role = "variant" // stands beside the others, not compared
)

// A rig is a peer that was started. It is measured several times, never concurrently,
// and closed in the end.
type rig interface {
	measure(d time.Duration) sample
	close()
}

// A sample is what one measurement of a rig found.
type sample struct {
	ops      uint64 // finished
	elapsed  time.Duration
	lat      histogram // of one operation; of a tell, of the call that sends
	sent     uint64
	executed uint64 // as the receiver counted
	errors   uint64
	err      error // the first
	costs

	values map[string]float64 // what only this scenario measures
}

// env is what the rigs of one run share.
type env struct {
	actors int // to spawn in scenario spawn

	mu  sync.Mutex // guards what follows
	srv *embedded.Server
}

// natsURL starts the NATS server if nobody has, and returns its address.
func (e *env) natsURL() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.srv == nil {
		srv, err := embedded.Start(embedded.Config{})
		if err != nil {
			return "", err
		}
		e.srv = srv
	}
	return e.srv.URL(), nil
}

func (e *env) close() {
	if e.srv != nil {
		e.srv.Shutdown()
	}
}

// scenarios are all rows, in the order in which they are run.
func scenarios() []scenario {
	var all []scenario
	for _, n := range []int{1, 8} {
		all = append(all, localTell(n))
	}
	for _, n := range []int{1, 64} {
		all = append(all, localAsk(n))
	}
	for _, n := range []int{1, 64, 512} {
		all = append(all, tcpAsk(n))
	}
	all = append(all, tcpAskSized(1<<10, "1KiB"), tcpAskSized(64<<10, "64KiB"), tcpAskSized(1<<20, "1MiB"),
		tcpAskActors(), tcpAskProcesses(), tcpTell())
	for _, n := range []int{1, 64, 512} {
		all = append(all, natsAsk(n))
	}
	return append(all, natsTell(), spawnScenario(), dedupScenario(), mixedScenario())
}

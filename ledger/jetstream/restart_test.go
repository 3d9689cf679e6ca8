package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// appender appends one change after the other until it is told to stop. A change that
// failed is appended again under a new number.
type appender struct {
	acked   []uint64 // changes whose Append succeeded
	unknown []uint64 // changes of which it is unknown whether they are stored
	err     error
}

// run appends on behalf of an appender; progress gets a token with each success.
func (a *appender) run(ctx context.Context, log ledger.Log, progress chan<- struct{}, stop <-chan struct{}) {
	for seq := uint64(1); ; seq++ {
		select {
		case <-stop:
			return
		default:
		}
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := log.Append(try, []ledger.Change{change(seq)})
		cancel()
		switch {
		case err == nil:
			a.acked = append(a.acked, seq)
			select {
			case progress <- struct{}{}:
			default:
			}
		case ctx.Err() != nil || errors.Is(err, ledger.ErrFenced):
			a.err = err
			return
		default:
			a.unknown = append(a.unknown, seq)
		}
	}
}

// check checks that every change that was acked is kept, once and in order.
func (a *appender) check(t *testing.T, kept []ledger.Change) {
	t.Helper()
	if a.err != nil {
		t.Fatal(a.err)
	}
	got := numbers(kept)
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("out of order, or doubled: %v", got)
	}
	have := map[uint64]bool{}
	for _, seq := range got {
		have[seq] = true
	}
	for _, seq := range a.acked {
		if !have[seq] {
			t.Errorf("change %d was acknowledged and is lost", seq)
		}
		delete(have, seq)
	}
	for seq := range have {
		if !slices.Contains(a.unknown, seq) {
			t.Errorf("change %d was never appended", seq)
		}
	}
	t.Logf("%d acknowledged, %d unknown, %d kept", len(a.acked), len(a.unknown), len(kept))
}

func await(t *testing.T, ctx context.Context, progress <-chan struct{}, n int) {
	t.Helper()
	for range n {
		select {
		case <-progress:
		case <-ctx.Done():
			t.Fatal("no progress")
		}
	}
}

// In the middle of appends, the server stops and is restarted with its folder.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir(), SyncAlways: true}
	s := start(t, cfg)
	cfg.Port = s.Port()
	ctx := within(t, 60*time.Second)
	store := jetstream.New(connect(t, s), jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	var a appender
	progress, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); a.run(ctx, log, progress, stop) }()
	for range 3 {
		await(t, ctx, progress, 50)
		s.Shutdown()
		s = start(t, cfg)
	}
	await(t, ctx, progress, 50)
	close(stop)
	<-ended
	_, kept := take(t, ctx, store, "e2")
	a.check(t, kept)
}

// cluster starts three servers that know one another.
func cluster(t *testing.T) (servers []*embedded.Server, cfgs []embedded.Config) {
	t.Helper()
	ports, routes := make([]int, 3), make([]string, 3)
	held := make([]net.Listener, 3) // all at the same time, or the system may give a port twice
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

func TestConformanceReplicated(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	servers, _ := cluster(t)
	clusters, stores := 0, 0
	storetest.Run(t, storetest.Config{
		Open: func(t *testing.T) func() ledger.Store {
			clusters++
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters), Replicas: 3}
			return func() ledger.Store {
				stores++
				return jetstream.New(connect(t, servers[stores%3]), cfg)
			}
		},
		TooLarge: 1 << 20,
	})
}

// The leader of a replicated stream is killed in the middle of appends. Nothing that was
// acknowledged is lost, and nothing is stored twice.
func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	servers, cfgs := cluster(t)
	ctx := within(t, 120*time.Second)
	js := connect(t, servers[0])
	store := jetstream.New(js, jetstream.Config{Replicas: 3})
	log, _ := take(t, ctx, store, "e1")
	var a appender
	progress, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); a.run(ctx, log, progress, stop) }()
	for range 2 {
		await(t, ctx, progress, 100)
		leader := leader(t, ctx, servers)
		cfg := cfgs[leader]
		cfg.Port = servers[leader].Port()
		servers[leader].Shutdown()
		await(t, ctx, progress, 100) // without it
		servers[leader] = start(t, cfg)
		for !current(servers[leader]) { // otherwise no majority might have everything after the next kill
			select {
			case <-ctx.Done():
				t.Fatal("the server did not catch up")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	await(t, ctx, progress, 100)
	close(stop)
	<-ended
	_, kept := take(t, ctx, store, "e2")
	a.check(t, kept)
	if err := log.Append(ctx, some(1, 1)); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v", err)
	}
}

// leader returns which server leads the stream.
func leader(t *testing.T, ctx context.Context, servers []*embedded.Server) int {
	t.Helper()
	for {
		for i, s := range servers {
			if s.Server().JetStreamIsStreamLeader("$G", "tandem_records") {
				return i
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("no leader")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// current reports whether a server has all that the stream's leader has.
func current(s *embedded.Server) bool {
	return s.Server().JetStreamIsStreamCurrent("$G", "tandem_records")
}

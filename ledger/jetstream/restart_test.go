package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/test/servers"
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
	s := servers.Start(t, cfg)
	cfg.Port = s.Port()
	ctx := servers.Within(t, 60*time.Second)
	store := jetstream.New(servers.Connect(t, s), jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	var a appender
	progress, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); a.run(ctx, log, progress, stop) }()
	for range 3 {
		await(t, ctx, progress, 50)
		s.Shutdown()
		s = servers.Start(t, cfg)
	}
	await(t, ctx, progress, 50)
	close(stop)
	<-ended
	_, kept := take(t, ctx, store, "e2")
	a.check(t, kept)
}

func TestConformanceReplicated(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	clusters, stores := 0, 0
	storetest.Run(t, storetest.Config{
		Open: func(t *testing.T) func() ledger.Store {
			clusters++
			cfg := jetstream.Config{Cluster: fmt.Sprintf("c%d", clusters), Replicas: 3}
			return func() ledger.Store {
				stores++
				return jetstream.New(servers.Connect(t, three.Servers[stores%3]), cfg)
			}
		},
		TooLarge: 1 << 20,
	})
}

// The leader of a replicated stream is killed in the middle of appends. Nothing that was
// acknowledged is lost, and nothing is stored twice.
func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	ctx := servers.Within(t, 120*time.Second)
	js := servers.Connect(t, three.Servers[0])
	store := jetstream.New(js, jetstream.Config{Replicas: 3})
	log, _ := take(t, ctx, store, "e1")
	var a appender
	progress, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); a.run(ctx, log, progress, stop) }()
	for range 2 {
		await(t, ctx, progress, 100)
		leader := three.Leader(ctx, "tandem_records")
		three.Stop(leader)
		await(t, ctx, progress, 100) // without it
		three.Again(ctx, leader, "tandem_records")
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

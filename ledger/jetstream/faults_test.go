package jetstream_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// faulty is a JetStream that injects faults into publishes and purges.
type faulty struct {
	servers.Faulty
	purge func() error // called instead of purges
}

func startFaulty(js natsjs.JetStream) *faulty { return &faulty{Faulty: servers.Faulty{JetStream: js}} }

func (f *faulty) Stream(ctx context.Context, name string) (natsjs.Stream, error) {
	s, err := f.JetStream.Stream(ctx, name)
	return faultyStream{s, f}, err
}

func (f *faulty) CreateStream(ctx context.Context, cfg natsjs.StreamConfig) (natsjs.Stream, error) {
	s, err := f.JetStream.CreateStream(ctx, cfg)
	return faultyStream{s, f}, err
}

type faultyStream struct {
	natsjs.Stream
	f *faulty
}

func (s faultyStream) Purge(ctx context.Context, opts ...natsjs.StreamPurgeOpt) error {
	if s.f.purge != nil {
		return s.f.purge()
	}
	return s.Stream.Purge(ctx, opts...)
}

// Each fault is injected at each publish of a Take and a few Appends. There is enough time
// for further attempts, so the caller notices nothing.
func TestFaultsAreHidden(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	for _, what := range []servers.Fault{servers.Lost, servers.AckLost, servers.Late, servers.LateAgain} {
		for at := range 4 {
			f := startFaulty(js)
			f.Plan(append(make([]servers.Fault, at), what, what)...)
			store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a'+what)) + string(rune('a'+at))})
			log, _ := take(t, ctx, store, "e1")
			for seq := range uint64(5) {
				if err := log.Append(ctx, some(2*seq, 2*seq+1)); err != nil {
					t.Fatalf("fault %d at %d: %v", what, at, err)
				}
			}
			log, kept := take(t, ctx, store, "e2")
			if !slices.Equal(numbers(kept), numbers(some(0, 9))) {
				t.Errorf("fault %d at %d: kept %v", what, at, numbers(kept))
			}
			if err := log.Append(ctx, some(10, 10)); err != nil {
				t.Error(err)
			}
		}
	}
}

// The ctx of an Append ends while it is unknown whether its changes are stored. The next
// Append works nevertheless, and nothing is stored twice.
func TestUnknown(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	for what, want := range map[servers.Fault][]uint64{ // by the fault of the second one
		servers.Lost:      {1, 3},
		servers.AckLost:   {1, 2, 3},
		servers.Late:      {1, 3},
		servers.LateAgain: {1, 2, 3},
	} {
		f := startFaulty(js)
		store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a' + what))})
		log, _ := take(t, ctx, store, "e1")
		if err := log.Append(ctx, some(1, 1)); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithCancel(ctx)
		f.Plan(what)
		f.After(cancel)
		if err := log.Append(short, some(2, 2)); err == nil || errors.Is(err, ledger.ErrFenced) {
			t.Fatalf("fault %d: %v", what, err)
		}
		if err := log.Append(ctx, some(3, 3)); err != nil {
			t.Fatal(err)
		}
		if _, kept := take(t, ctx, store, "e2"); !slices.Equal(numbers(kept), want) {
			t.Errorf("fault %d: kept %v, want %v", what, numbers(kept), want)
		}
	}
}

// Another start takes over while it is unknown whether an Append is stored. The Append
// succeeds if and only if the other start has loaded its changes.
func TestTakenOverInDoubt(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	for what := servers.Lost; what <= servers.LateAgain; what++ {
		for _, rewrite := range []bool{false, true} {
			f := startFaulty(js)
			name := string(rune('a' + what))
			if rewrite {
				name += "r"
			}
			store, other := jetstream.New(f, jetstream.Config{Cluster: name}), jetstream.New(js, jetstream.Config{Cluster: name})
			log, _ := take(t, ctx, store, "e1")
			if err := log.Append(ctx, some(1, 1)); err != nil {
				t.Fatal(err)
			}
			var kept []ledger.Change
			f.Plan(what)
			f.After(func() {
				var l ledger.Log
				if l, kept = take(t, ctx, other, "e2"); rewrite {
					if err := l.Rewrite(ctx, slices.Values(kept)); err != nil {
						t.Fatal(err)
					}
				}
			})
			err := log.Append(ctx, some(2, 2))
			stored := slices.Contains(numbers(kept), 2)
			switch {
			case err == nil && !stored:
				t.Errorf("fault %d: nil, and it was not stored", what)
			case errors.Is(err, ledger.ErrFenced) && stored:
				t.Errorf("fault %d: stored, and ErrFenced", what)
			case !rewrite && err != nil && !errors.Is(err, ledger.ErrFenced):
				t.Errorf("fault %d: %v", what, err)
			}
			if err := log.Append(ctx, some(3, 3)); !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("fault %d: then %v", what, err)
			}
			if _, again := take(t, ctx, other, "e3"); !slices.Equal(numbers(again), numbers(kept)) {
				t.Errorf("fault %d: kept %v, then %v", what, numbers(kept), numbers(again))
			}
		}
	}
}

// A Rewrite that fails at any publish, whether it is stored or not, or at its purge, loses
// nothing.
func TestRewriteFails(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 60*time.Second)
	changes := func(yield func(ledger.Change) bool) { // three messages
		for seq := range uint64(3) {
			c := change(100 + seq)
			c.Op, c.Outcome = ledger.Done, make([]byte, ledger.MaxBatch-100)
			if !yield(c) {
				return
			}
		}
	}
	const steps = 1 + 3 + 1 // mark, changes, commit
	for _, what := range []servers.Fault{servers.Lost, servers.AckLost} {
		for at := range steps + 1 {
			f := startFaulty(js)
			store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a'+what)) + string(rune('a'+at))})
			log, _ := take(t, ctx, store, "e1")
			if err := log.Append(ctx, some(1, 5)); err != nil {
				t.Fatal(err)
			}
			cut, cancel := context.WithCancel(ctx)
			if at == steps {
				f.purge = func() error { cancel(); return servers.ErrFault }
			}
			f.Plan(append(make([]servers.Fault, at), what)...)
			f.cut(at, cancel)
			err := log.Rewrite(cut, changes)
			cancel()
			if err == nil {
				t.Fatalf("fault %d at %d: no error", what, at)
			}

			_, kept := take(t, ctx, jetstream.New(js, jetstream.Config{Cluster: string(rune('a'+what)) + string(rune('a'+at))}), "e2")
			got := numbers(kept)
			whole := slices.Equal(got, []uint64{100, 101, 102})
			if old := len(got) >= 5 && slices.Equal(got[:5], numbers(some(1, 5))); !old && !whole {
				t.Errorf("fault %d at %d: kept %v", what, at, got)
			}
			if whole != (at == steps || at == steps-1 && what == servers.AckLost) {
				t.Errorf("fault %d at %d: kept %v", what, at, got)
			}
		}
	}
}

// cut makes cancel be called after the publish that follows the next n, or at the end.
func (f *faulty) cut(n int, cancel func()) {
	if n == 0 {
		f.After(cancel)
		return
	}
	f.After(func() { f.cut(n-1, cancel) })
}

// Random faults, takes and rewrites are compared with a plain list.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	ctx := servers.Within(t, 100*time.Second)
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		f := startFaulty(js)
		store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a' + seed))})
		log, _ := take(t, ctx, store, "e")
		var want []uint64
		var old ledger.Log
		for seq := range uint64(150) {
			for range rnd.IntN(3) {
				f.Add(servers.Fault(rnd.IntN(int(servers.LateAgain) + 1)))
			}
			switch rnd.IntN(12) {
			case 0:
				old = log
				var kept []ledger.Change
				if log, kept = take(t, ctx, store, "e"); !slices.Equal(numbers(kept), want) {
					t.Fatalf("seed %d: kept %v, want %v", seed, numbers(kept), want)
				}
			case 1:
				want = want[len(want)/2:]
				if err := log.Rewrite(ctx, func(yield func(ledger.Change) bool) {
					for _, seq := range want {
						if !yield(change(seq)) {
							return
						}
					}
				}); err != nil {
					t.Fatal(err)
				}
			case 2:
				if old != nil {
					err := old.Append(ctx, some(1000, 1000))
					if err != nil { // the first call may be unable to find out
						err = old.Append(ctx, some(1000, 1000))
					}
					if !errors.Is(err, ledger.ErrFenced) {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
			default:
				if err := log.Append(ctx, some(seq, seq)); err != nil {
					t.Fatal(err)
				}
				want = append(want, seq)
			}
		}
		if _, kept := take(t, ctx, store, "e"); !slices.Equal(numbers(kept), want) {
			t.Fatalf("seed %d: kept %v, want %v", seed, numbers(kept), want)
		}
	}
}

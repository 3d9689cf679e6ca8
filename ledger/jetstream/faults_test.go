package jetstream_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// fault is what happens to one publish.
type fault int

const (
	none      fault = iota
	lost            // it never arrives
	ackLost         // it is stored, and its answer does not arrive
	late            // it arrives behind the next publish
	lateAgain       // it arrives, and a second copy behind the next publish
)

var errFault = errors.New("test: no answer")

// faulty is a JetStream that injects faults into publishes and purges.
type faulty struct {
	natsjs.JetStream

	mu      sync.Mutex
	next    []fault      // the faults of the next publishes
	purge   func() error // called instead of the next purges
	sleeper []func()
}

func (f *faulty) plan(faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, faults...)
}

func (f *faulty) PublishMsg(ctx context.Context, m *nats.Msg, opts ...natsjs.PublishOpt) (*natsjs.PubAck, error) {
	kept := &nats.Msg{Subject: m.Subject, Data: slices.Clone(m.Data)}
	resend := func() { f.JetStream.PublishMsg(context.WithoutCancel(ctx), kept, opts...) }
	f.mu.Lock()
	now := none
	if len(f.next) > 0 {
		now, f.next = f.next[0], f.next[1:]
	}
	sleeper := f.sleeper
	f.sleeper = nil
	f.mu.Unlock()
	defer func() {
		for _, copy := range sleeper {
			copy()
		}
		if now == late || now == lateAgain {
			f.mu.Lock()
			f.sleeper = append(f.sleeper, resend)
			f.mu.Unlock()
		}
	}()
	switch now {
	case lost, late:
		return nil, errFault
	case ackLost, lateAgain:
		f.JetStream.PublishMsg(ctx, m, opts...)
		return nil, errFault
	}
	return f.JetStream.PublishMsg(ctx, m, opts...)
}

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
	s.f.mu.Lock()
	purge := s.f.purge
	s.f.mu.Unlock()
	if purge != nil {
		return purge()
	}
	return s.Stream.Purge(ctx, opts...)
}

// Each fault is injected at each publish of a Take and a few Appends. There is enough time
// for further attempts, so the caller notices nothing.
func TestFaultsAreHidden(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 60*time.Second)
	for _, what := range []fault{lost, ackLost, late, lateAgain} {
		for at := range 4 {
			f := &faulty{JetStream: js}
			f.plan(make([]fault, at)...)
			f.plan(what, what)
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
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 60*time.Second)
	for what, want := range map[fault][]uint64{ // by the fault of the second one
		lost:      {1, 3},
		ackLost:   {1, 2, 3},
		late:      {1, 3},
		lateAgain: {1, 2, 3},
	} {
		f := &faulty{JetStream: js}
		store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a' + what))})
		log, _ := take(t, ctx, store, "e1")
		if err := log.Append(ctx, some(1, 1)); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithCancel(ctx)
		f.plan(what)
		f.hook(cancel)
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
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 60*time.Second)
	for what := lost; what <= lateAgain; what++ {
		for _, rewrite := range []bool{false, true} {
			f := &faulty{JetStream: js}
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
			f.plan(what)
			f.hook(func() {
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

// hook makes do be called after the next publish, before its answer is there.
func (f *faulty) hook(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sleeper = append(f.sleeper, do)
}

// A Rewrite that fails at any publish, whether it is stored or not, or at its purge, loses
// nothing.
func TestRewriteFails(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 60*time.Second)
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
	for _, what := range []fault{lost, ackLost} {
		for at := range steps + 1 {
			f := &faulty{JetStream: js}
			store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a'+what)) + string(rune('a'+at))})
			log, _ := take(t, ctx, store, "e1")
			if err := log.Append(ctx, some(1, 5)); err != nil {
				t.Fatal(err)
			}
			cut, cancel := context.WithCancel(ctx)
			if at == steps {
				f.purge = func() error { cancel(); return errFault }
			}
			f.plan(make([]fault, at)...)
			f.plan(what)
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
			if whole != (at == steps || at == steps-1 && what == ackLost) {
				t.Errorf("fault %d at %d: kept %v", what, at, got)
			}
		}
	}
}

// cut makes cancel be called after the publish that follows the next n, or at the end.
func (f *faulty) cut(n int, cancel func()) {
	if n == 0 {
		f.hook(cancel)
		return
	}
	f.hook(func() { f.cut(n-1, cancel) })
}

// Random faults, takes and rewrites are compared with a plain list.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	ctx := within(t, 100*time.Second)
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		f := &faulty{JetStream: js}
		store := jetstream.New(f, jetstream.Config{Cluster: string(rune('a' + seed))})
		log, _ := take(t, ctx, store, "e")
		var want []uint64
		var old ledger.Log
		for seq := range uint64(150) {
			for range rnd.IntN(3) {
				f.plan(fault(rnd.IntN(int(lateAgain) + 1)))
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

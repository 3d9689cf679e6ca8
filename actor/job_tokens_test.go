package actor_test

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Doubling is a job that ends when the test says so.
type Doubling struct {
	actor.Returns[int]
	N int
}

// doublings is a kind whose jobs all run at the same time. Their answers are deferred; the
// Deferred values arrive on the channel in the order in which the jobs began.
func doublings(put func(n int, later *actor.Deferred[int])) *actor.Kind {
	return actor.Define("test.doublings", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Doubling) (int, error) {
			put(m.N, actor.Defer[int](ctx))
			return 0, nil
		}))
}

// By default a principal may have 1,024 tokens. One more is refused and did not run. A result
// that expires makes room.
func TestDefaultTokenLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		var mu sync.Mutex
		var waiting []*actor.Deferred[int]
		to := bind(spawn(t, b, "x", doublings(func(_ int, later *actor.Deferred[int]) {
			mu.Lock()
			defer mu.Unlock()
			waiting = append(waiting, later)
		})))
		one := func() error {
			_, err := actor.Submit(t.Context(), to, Doubling{N: 1}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			return err
		}
		for i := range actor.DefaultTokens {
			if err := one(); err != nil {
				t.Fatalf("token %d: %v", i+1, err)
			}
		}
		for range 3 {
			wantErr(t, "one beyond the limit", one(), rpc.Overloaded, rpc.NotRun)
		}
		synctest.Wait()
		mu.Lock()
		all := slices.Clone(waiting)
		mu.Unlock()
		if len(all) != actor.DefaultTokens {
			t.Errorf("%d ran", len(all))
		}
		time.Sleep(2 * actor.DefaultTokenLife) // jobs that have not ended do not expire
		wantErr(t, "one beyond the limit, later", one(), rpc.Overloaded, rpc.NotRun)
		if err := all[0].Answer(1); err != nil {
			t.Error(err)
		}
		time.Sleep(actor.DefaultTokenLife / 2)
		wantErr(t, "before the result expires", one(), rpc.Overloaded, rpc.NotRun)
		time.Sleep(actor.DefaultTokenLife)
		if err := one(); err != nil {
			t.Errorf("when one has expired: %v", err)
		}
		wantErr(t, "one beyond the limit again", one(), rpc.Overloaded, rpc.NotRun)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, later := range waiting[1:] {
			if err := later.Answer(1); err != nil {
				t.Error(err)
			}
		}
	})
}

var manyTokens = flag.Int("actor.tokens", 10_000, "how many tokens of a principal are outstanding at the same time; CI tries 100,000")

// As many tokens as the configuration allows may be outstanding at the same time, and each
// gets its own result.
func TestManyTokens(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		sys := newSystem(t, actor.Config{Tokens: *manyTokens})
		tryManyTokens(t, sys, sys, *manyTokens)
	})
	t.Run("TCP", func(t *testing.T) {
		n := *manyTokens / 5
		reg := static.New()
		start := func(name string) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: reg, Logger: quiet, Tokens: n,
				Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
		}
		tryManyTokens(t, start("a"), start("b"), n)
	})
}

// tryManyTokens submits n jobs, ends all of them, and checks each result.
func tryManyTokens(t *testing.T, a, b *actor.System, n int) {
	later := make([]*actor.Deferred[int], n)
	var begun sync.WaitGroup
	begun.Add(n)
	to := a.Ref(spawn(t, b, "x", doublings(func(i int, l *actor.Deferred[int]) {
		later[i] = l
		begun.Done()
	})).String())
	tokens := make([]rpc.Token[int], n)
	each := func(what string, do func(i int) error) {
		const callers = 256
		began := time.Now()
		var wg sync.WaitGroup
		for first := range callers {
			wg.Go(func() {
				for i := first; i < n; i += callers {
					if err := do(i); err != nil {
						t.Errorf("%s %d: %v", what, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%-9s %d in %v", what, n, time.Since(began).Round(time.Millisecond))
	}
	before := heap()
	each("submitted", func(i int) (err error) {
		tokens[i], err = actor.Submit(t.Context(), to, Doubling{N: i})
		return err
	})
	if t.Failed() { // some handlers will never begin
		t.FailNow()
	}
	begun.Wait()
	t.Logf("%d bytes for each outstanding token, with those of the handler that waits", (heap()-before)/n)
	for i := 0; i < n; i += n / 100 {
		if st, err := tokens[i].Poll(t.Context()); st.State != rpc.JobRunning || err != nil {
			t.Fatalf("token %d: %v, %v", i, st.State, err)
		}
	}
	_, err := actor.Submit(t.Context(), to, Doubling{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
	wantErr(t, "one beyond the limit", err, rpc.Overloaded, rpc.NotRun)
	for i, l := range later {
		if err := l.Answer(2 * i); err != nil {
			t.Fatal(err)
		}
	}
	clear(later)
	each("awaited", func(i int) error {
		got, err := tokens[i].Await(t.Context())
		if err == nil && got != 2*i {
			err = fmt.Errorf("the result is %d", got)
		}
		return err
	})
	t.Logf("%d bytes for each result that is kept", (heap()-before)/n)
}

// heap returns how many bytes of the heap are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Many callers who await jobs of one node leave room for other callers of that node.
func TestManyAwaits(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		var mu sync.Mutex
		later := map[int]*actor.Deferred[int]{}
		spawn(t, b, "x", doublings(func(n int, l *actor.Deferred[int]) {
			mu.Lock()
			defer mu.Unlock()
			later[n] = l
		}))
		spawn(t, b, "y", renderers(nil))
		const n = 6_000 // more than may be outstanding in one session
		var tokens []rpc.Token[int]
		for i := range n {
			tok, err := actor.Submit(t.Context(), a.Ref("x@b"), Doubling{N: i})
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, tok)
		}
		var wg sync.WaitGroup
		for i, tok := range tokens {
			wg.Go(func() {
				if v, err := tok.Await(t.Context()); v != 2*i || err != nil {
					t.Errorf("%d: %d, %v", i, v, err)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := tokens[0].Poll(ctx); err != nil {
			t.Errorf("a call beside %d awaits: %v", n, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a call beside %d awaits took %v", n, took)
		}
		for i, l := range later {
			if err := l.Answer(2 * i); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("results were there at once, and were awaited for %v", took)
		}
	}, func(c *actor.Config) { c.Tokens = 1 << 20 })
}

// Timed is a job whose result is the time at which it ended.
type Timed struct{ actor.Returns[time.Time] }

// BenchmarkAwaitLatency measures the time from the end of a job's handler to the return of an
// Await that waits for it, both in one process.
func BenchmarkAwaitLatency(b *testing.B) {
	for _, road := range []string{"local", "TCP", "NATS"} {
		b.Run(road, func(b *testing.B) {
			reg := static.New()
			roadOf := func() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }
			if road == "NATS" {
				srv, err := embedded.Start(embedded.Config{StoreDir: b.TempDir()})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { srv.Shutdown() })
				roadOf = func() transport.Transport {
					nc, err := natsbus.Connect(b.Context(), srv.URL())
					if err != nil {
						b.Fatal(err)
					}
					b.Cleanup(nc.Close)
					return natsbus.New(nc, natsbus.Config{})
				}
			}
			start := func(name string) *actor.System {
				return newSystem(b, actor.Config{Name: name, Registry: reg, Logger: quiet, Tokens: 1 << 30,
					Transports: []transport.Transport{roadOf()}})
			}
			client, server := start("client"), start("server")
			step := make(chan struct{})
			spawn(b, server, "x", actor.Define("bench.timed", func() int { return 0 },
				actor.Answer(func(int, *actor.Context, Timed) (time.Time, error) {
					<-step
					return time.Now(), nil
				})))
			if road == "local" {
				client = server
			}
			to := client.Ref("x@server")
			var took []time.Duration
			for b.Loop() {
				tok, err := actor.Submit(b.Context(), to, Timed{})
				if err != nil {
					b.Fatal(err)
				}
				time.AfterFunc(2*time.Millisecond, func() { step <- struct{}{} }) // when Await waits at the job server
				ended, err := tok.Await(b.Context())
				took = append(took, time.Since(ended))
				if err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-µs")
		})
	}
}

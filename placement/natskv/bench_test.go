package natskv

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// pass is how long one side of a comparison runs before the other one has its turn.
const pass = 200 * time.Millisecond

// side is one side of a comparison: its operations, in turn, each client with a key of its own.
type side struct {
	names []string
	do    func(client, op int) error
	took  [][]time.Duration // by operation
	spent time.Duration     // in passes
	cpu   time.Duration
}

func (s *side) run(b *testing.B, clients int) {
	began, used := time.Now(), cpuTime()
	var mu sync.Mutex
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			took := make([][]time.Duration, len(s.names))
			for time.Since(began) < pass {
				for op := range s.names {
					start := time.Now()
					if err := s.do(client, op); err != nil {
						b.Error(err)
						return
					}
					took[op] = append(took[op], time.Since(start))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for op := range took {
				s.took[op] = append(s.took[op], took[op]...)
			}
		})
	}
	all.Wait()
	s.spent, s.cpu = s.spent+time.Since(began), s.cpu+cpuTime()-used
}

// rate returns how many operations were done in a second, and the CPU time of each in µs.
func (s *side) rate() (each, cpu float64) {
	n := 0
	for _, took := range s.took {
		n += len(took)
	}
	return float64(n) / s.spent.Seconds(), float64(s.cpu.Microseconds()) / float64(n)
}

// BenchmarkClaims compares Create, Replace and Release, in turn, with Put and Update (which names the
// last revision) on a bucket that KeyValue has created: all sides in turn, in one run. The CPU time is that of the whole process, the
// servers included.
func BenchmarkClaims(b *testing.B) {
	one := servers.Start(b, embedded.Config{StoreDir: b.TempDir()})
	three := servers.Three(b)
	for _, replicas := range []int{1, 3} {
		s := one
		if replicas == 3 {
			s = three.Servers[0]
		}
		js := servers.Connect(b, s)
		c := open(b, js, Config{Replicas: replicas})
		kv, err := js.CreateKeyValue(b.Context(), natsjs.KeyValueConfig{Bucket: "bare", Replicas: replicas, Storage: natsjs.FileStorage})
		ok(b, err)
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("replicas=%d/clients=%d", replicas, clients), func(b *testing.B) {
				compare(b, c, kv, clients)
			})
		}
	}
}

func compare(b *testing.B, c *Claims, kv natsjs.KeyValue, clients int) {
	tokens := make([]placement.Token, clients)
	key := func(i int) placement.Key { return placement.Key{Kind: "bank.account", ID: fmt.Sprint(clients, "-", i)} }
	ours := side{names: []string{"create", "replace", "release"}, do: func(i, op int) (err error) {
		switch op {
		case 0:
			tokens[i], err = c.Create(b.Context(), key(i), by("node-1"))
		case 1:
			tokens[i], err = c.Replace(b.Context(), key(i), by("node-2"), tokens[i])
		default:
			err = c.Release(b.Context(), key(i), tokens[i])
		}
		return err
	}}
	text, err := encode(by("node-1"))
	ok(b, err)
	bare := side{names: []string{"put"}, do: func(i, _ int) error {
		_, err := kv.Put(b.Context(), fmt.Sprint("x.bank=2eaccount.", clients, "-", i), text)
		return err
	}}
	last := make([]uint64, clients)
	update := side{names: []string{"update"}, do: func(i, _ int) (err error) {
		last[i], err = kv.Update(b.Context(), fmt.Sprint("y.bank=2eaccount.", clients, "-", i), text, last[i])
		return err
	}}
	for _, s := range []*side{&ours, &bare, &update} {
		s.took = make([][]time.Duration, len(s.names))
	}
	for b.Loop() {
		ours.run(b, clients)
		bare.run(b, clients)
		update.run(b, clients)
	}
	rate, cpu := ours.rate()
	bareRate, bareCPU := bare.rate()
	b.ReportMetric(rate, "ours/s")
	b.ReportMetric(bareRate, "put/s")
	updateRate, updateCPU := update.rate()
	b.ReportMetric(updateRate, "update/s")
	b.ReportMetric(updateCPU, "update-cpu-µs")
	b.ReportMetric(cpu, "ours-cpu-µs")
	b.ReportMetric(bareCPU, "put-cpu-µs")
	for _, s := range []*side{&ours, &bare, &update} {
		for op, name := range s.names {
			slices.SortFunc(s.took[op], cmp.Compare[time.Duration])
			n := len(s.took[op])
			b.ReportMetric(float64(s.took[op][n/2].Microseconds()), name+"-p50-µs")
			b.ReportMetric(float64(s.took[op][n*99/100].Microseconds()), name+"-p99-µs")
		}
	}
}

var manyClaims = flag.Int("claims", 100_000, "how many claims BenchmarkManyClaims makes")

// BenchmarkManyClaims makes many claims, each of its own key, and has each replaced once. It reports
// what the server keeps of one on disk and in memory, also after a restart, which reads everything.
func BenchmarkManyClaims(b *testing.B) {
	const clients = 64
	many := *manyClaims
	for range b.N {
		cfg := embedded.Config{StoreDir: b.TempDir()}
		s := servers.Start(b, cfg)
		before := heap()
		c := open(b, servers.Connect(b, s), Config{})
		tokens := make([]placement.Token, many)
		all := func(what string, do func(i int) error) {
			began := time.Now()
			var wait sync.WaitGroup
			for client := range clients {
				wait.Go(func() {
					for i := client; i < many; i += clients {
						if err := do(i); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.ReportMetric(float64(many)/time.Since(began).Seconds(), what+"/s")
		}
		key := func(i int) placement.Key {
			return placement.Key{Kind: "bank.account", ID: fmt.Sprintf("customer-%07d", i)}
		}
		claim := func() placement.Claim { // as nodes have them
			return placement.Claim{Node: "node-1", Epoch: placement.NewID(), ID: placement.NewID()}
		}
		all("create", func(i int) (err error) {
			tokens[i], err = c.Create(b.Context(), key(i), claim())
			return err
		})
		b.ReportMetric(float64(heap()-before)/float64(many), "heap-B/claim")
		b.ReportMetric(float64(size(b, cfg.StoreDir))/float64(many), "disk-B/claim")
		all("replace", func(i int) (err error) {
			tokens[i], err = c.Replace(b.Context(), key(i), claim(), tokens[i])
			return err
		})
		b.ReportMetric(float64(size(b, cfg.StoreDir))/float64(many), "replaced-disk-B/claim")
		cfg.Port = s.Port()
		s.Shutdown()
		before = heap()
		began := time.Now()
		servers.Start(b, cfg)
		held, err := c.Get(b.Context(), key(many/2))
		if ok(b, err); held.Token != tokens[many/2] {
			b.Errorf("got %+v", held)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "restart-ms")
		b.ReportMetric(float64(heap()-before)/float64(many), "restarted-heap-B/claim")
		b.ReportMetric(float64(size(b, cfg.StoreDir))/float64(many), "restarted-disk-B/claim")
	}
}

// heap returns how many bytes the process has in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// size returns the bytes of all files below a folder.
func size(b *testing.B, dir string) (sum int64) {
	b.Helper()
	ok(b, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	}))
	return sum
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

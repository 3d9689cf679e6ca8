package actor_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	placements "github.com/tandem-go/tandem/placement/memory"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// BenchmarkStored compares requests to stored actors, each of which is a commit, or shares one, with bare publishes that
// name the sequence number of the last message of their subject; of as many bytes, by as many callers, and in turn in
// the same run. The servers are one; one that syncs each write; and a cluster of three, with three replicas.
func BenchmarkStored(b *testing.B) {
	single := func(cfg embedded.Config) func(testing.TB) (natsjs.JetStream, int) {
		return func(b testing.TB) (natsjs.JetStream, int) {
			cfg.StoreDir = b.TempDir()
			return servers.Connect(b, servers.Start(b, cfg)), 1
		}
	}
	for _, on := range []struct {
		name  string
		start func(testing.TB) (js natsjs.JetStream, replicas int)
	}{
		{"", single(embedded.Config{})},
		{"synced ", single(embedded.Config{SyncAlways: true})},
		{"three ", func(b testing.TB) (natsjs.JetStream, int) { return servers.Connect(b, servers.Three(b).Servers[0]), 3 }},
	} {
		for _, c := range []struct{ callers, actors int }{{1, 1}, {64, 64}, {64, 1}} {
			b.Run(fmt.Sprintf("%s%d callers of %d", on.name, c.callers, c.actors), func(b *testing.B) {
				js, replicas := on.start(b)
				store, err := states.Open(b.Context(), js, states.Config{Replicas: replicas, Logger: quiet})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := js.CreateStream(b.Context(), natsjs.StreamConfig{Name: "bare", Subjects: []string{"bare.*"}, MaxMsgsPerSubject: 1, Replicas: replicas}); err != nil {
					b.Fatal(err)
				}
				sys := newSystem(b, actor.Config{Kinds: []*actor.Kind{briefKind}, States: store, Logger: quiet})
				refs := make([]actor.Ref, c.actors)
				for i := range refs {
					refs[i] = sys.Virtual(briefKind, fmt.Sprint(i))
					if _, err := actor.Call(b.Context(), refs[i], total{}); err != nil {
						b.Fatal(err)
					}
				}
				last, body := make([]uint64, c.callers), make([]byte, 250)
				inTurn(b, c.callers, "requests/s", func(caller int) error {
					_, err := actor.Call(b.Context(), refs[caller%c.actors], total{})
					return err
				}, "publishes/s", func(caller int) error {
					ack, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: fmt.Sprint("bare.", caller), Data: body}, natsjs.WithExpectLastSequencePerSubject(last[caller]))
					if err == nil {
						last[caller] = ack.Sequence
					}
					return err
				})
			})
		}
	}
}

// BenchmarkStoredReads compares reads of stored actors of another node with calls of ordinary actors there, over the same link.
func BenchmarkStoredReads(b *testing.B) {
	for _, road := range []string{"tcp", "memory"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d callers", road, callers), func(b *testing.B) {
				net := memnet.New(memnet.Config{Seed: 1})
				claims, reg, records := placements.New(), newLeases(), memory.New(memory.Config{})
				node := func(name string, kinds ...*actor.Kind) *actor.System {
					on := overTCP()
					if road == "memory" {
						on = net.Transport("direct", true)
					}
					return newSystem(b, actor.Config{Name: name, Registry: reg.view(), Claims: claims, States: records, Kinds: kinds, Logger: quiet, Transports: []transport.Transport{on}})
				}
				there := node("there", briefKind, placedKind)
				here := node("here")
				plain, read, placed := make([]actor.Ref, callers), make([]actor.Ref, callers), make([]actor.Ref, callers)
				for i := range read {
					plain[i] = here.Ref(spawn(b, there, fmt.Sprint("plain", i), plainKind).String())
					placed[i] = here.Virtual(placedKind, fmt.Sprint(i))
					read[i] = here.Virtual(briefKind, fmt.Sprint(i))
					for _, ref := range []actor.Ref{plain[i], placed[i], read[i]} {
						if _, err := actor.Call(b.Context(), ref, read1{}); err != nil {
							b.Fatal(err)
						}
					}
				}
				of := func(refs []actor.Ref) func(int) error {
					return func(caller int) error {
						_, err := actor.Call(b.Context(), refs[caller], read1{})
						return err
					}
				}
				b.Run("stored", func(b *testing.B) { inTurn(b, callers, "reads/s", of(read), "calls/s", of(plain)) })
				b.Run("virtual", func(b *testing.B) { inTurn(b, callers, "virtual-calls/s", of(placed), "calls/s", of(plain)) })
			})
		}
	}
}

// turns is how often each side of a comparison has its turn.
const turns = 10

// inTurn has so many callers do both things b.N times in all, in turn, and reports how often each was done in a second, what
// an operation takes of the process's CPU time, and the ratios.
func inTurn(b *testing.B, callers int, oursName string, ours func(caller int) error, theirsName string, theirs func(caller int) error) {
	var took, cpu [2]time.Duration
	b.ResetTimer()
	for turn := range turns {
		for side, do := range []func(int) error{ours, theirs} {
			n := int64(b.N*(turn+1)/turns - b.N*turn/turns)
			began, used := time.Now(), processTime()
			var all sync.WaitGroup
			var i atomic.Int64
			for caller := range callers {
				all.Go(func() {
					for i.Add(1) <= n {
						if err := do(caller); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			took[side] += time.Since(began)
			cpu[side] += processTime() - used
		}
	}
	rate := func(side int) float64 { return float64(b.N) / took[side].Seconds() }
	each := func(side int) float64 { return float64(cpu[side].Nanoseconds()) / 1000 / float64(b.N) }
	b.ReportMetric(rate(0), oursName)
	b.ReportMetric(rate(1), theirsName)
	b.ReportMetric(rate(0)/rate(1), "ratio")
	b.ReportMetric(each(0), "cpu-µs")
	b.ReportMetric(each(1), "bare-cpu-µs")
	b.ReportMetric(0, "ns/op")
}

// processTime is the CPU time that the process has used.
func processTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// brief is a counter.
type brief struct{ N int }

func (s *brief) more(_ *actor.Context, _ total) (int, error) { s.N++; return s.N, nil }
func (s *brief) read(_ *actor.Context, _ read1) (int, error) { return s.N, nil }

// read1 asks for a counter's value.
type read1 struct{ actor.Returns[int] }

var (
	briefHandlers = []actor.Handler[*brief]{actor.Answer((*brief).more), actor.Read((*brief).read)}
	newBrief      = func() *brief { return new(brief) }

	plainKind  = actor.Define("plain", newBrief, briefHandlers...)
	placedKind = actor.Define("placed", newBrief, briefHandlers...).With(actor.Virtual())
	briefKind  = actor.Define("brief", newBrief, briefHandlers...).With(actor.Virtual(), actor.Stored(func(s *brief) *brief { return s }))
)

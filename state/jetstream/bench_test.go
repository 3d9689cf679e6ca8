package jetstream_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// benchState is the size of a state in bytes.
const benchState = 256

// pass is how long one side of a comparison runs before the other one has its turn.
const pass = 100 * time.Millisecond

// BenchmarkCommit compares commits with bare JetStream publishes of as many bytes that expect a
// sequence number, on a server with one replica: both sides in turn, in one run, each committer
// with a key of its own.
func BenchmarkCommit(b *testing.B) {
	srv := servers.Start(b, embedded.Config{StoreDir: b.TempDir()})
	js := servers.Connect(b, srv)
	_, err := js.CreateStream(b.Context(), natsjs.StreamConfig{Name: "BARE", Subjects: []string{"bare.>"}, MaxMsgsPerSubject: 1, Discard: natsjs.DiscardNew})
	ok(b, err)
	store := open(b, js, jetstream.Config{})
	for _, committers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("committers=", committers), func(b *testing.B) {
			key := func(i int) state.Key { return state.Key{Kind: "bank.account", ID: fmt.Sprint(committers, "-", i)} }
			revs, seqs := make([]state.Revision, committers), make([]uint64, committers)
			sample, err := state.Next(key(0), state.Record{State: make([]byte, benchState)}, state.Revision{})
			ok(b, err)
			body := make([]byte, sample.Size())
			compare(b, committers, func(ctx context.Context, i int) error {
				rev, err := store.Commit(ctx, key(i), state.Record{Token: 1, State: make([]byte, benchState)}, revs[i])
				revs[i] = rev
				return err
			}, func(ctx context.Context, i int) error {
				ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: "bare." + key(i).ID, Data: body}, natsjs.WithExpectLastSequencePerSubject(seqs[i]))
				if err == nil {
					seqs[i] = ack.Sequence
				}
				return err
			})
		})
	}
}

// BenchmarkLoad compares loads with bare reads of the last message of a subject from the stream's
// leader, and from any replica (direct).
func BenchmarkLoad(b *testing.B) {
	srv := servers.Start(b, embedded.Config{StoreDir: b.TempDir()})
	js := servers.Connect(b, srv)
	store := open(b, js, jetstream.Config{})
	bare, err := js.CreateStream(b.Context(), natsjs.StreamConfig{Name: "BARE", Subjects: []string{"bare.>"}, MaxMsgsPerSubject: 1, AllowDirect: true})
	ok(b, err)
	const keys = 512
	key := func(i int) state.Key { return state.Key{Kind: "bank.account", ID: fmt.Sprint(i % keys)} }
	for i := range keys {
		_, err := store.Commit(b.Context(), key(i), state.Record{Token: 1, State: make([]byte, benchState)}, state.Revision{})
		ok(b, err)
		_, err = js.Publish(b.Context(), "bare."+key(i).ID, make([]byte, benchState+100))
		ok(b, err)
	}
	for _, loaders := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("loaders=", loaders), func(b *testing.B) {
			compare(b, loaders, func(ctx context.Context, i int) error {
				_, _, err := store.Load(ctx, key(i))
				return err
			}, func(ctx context.Context, i int) error {
				_, err := bare.GetLastMsgForSubject(ctx, "bare."+key(i).ID)
				return err
			})
		})
	}
}

// compare runs both sides in turn, each with so many workers, and reports what both do in a second,
// the CPU time that an operation of each takes of the whole process, the server included, and the
// ratios.
func compare(b *testing.B, workers int, ours, bare func(ctx context.Context, i int) error) {
	var done [2]int
	var took, cpu [2]time.Duration
	for b.Loop() {
		for side, do := range []func(context.Context, int) error{ours, bare} {
			began, used := time.Now(), cpuTime()
			var n atomic.Int64
			var all sync.WaitGroup
			for i := range workers {
				all.Go(func() {
					for time.Since(began) < pass {
						if err := do(b.Context(), i); err != nil {
							b.Error(err)
							return
						}
						n.Add(1)
					}
				})
			}
			all.Wait()
			done[side] += int(n.Load())
			took[side] += time.Since(began)
			cpu[side] += cpuTime() - used
		}
	}
	rate := func(side int) float64 { return float64(done[side]) / took[side].Seconds() }
	each := func(side int) float64 { return float64(cpu[side].Microseconds()) / float64(done[side]) }
	b.ReportMetric(rate(0), "ours/s")
	b.ReportMetric(rate(1), "bare/s")
	b.ReportMetric(rate(0)/rate(1), "ratio")
	b.ReportMetric(each(0), "ours-cpu-µs")
	b.ReportMetric(each(1), "bare-cpu-µs")
	b.ReportMetric(each(1)/each(0), "cpu-ratio")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package jetstream_test

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// spread calls do for 0 to n-1, by so many goroutines.
func spread(b *testing.B, n, workers int, do func(ctx context.Context, i int) error) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(b.Context(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func of(i int) reminder.Reminder {
	r := note(fmt.Sprint("r", i%10), in(1000*time.Hour))
	r.Actor.ID = fmt.Sprint(i / 10)
	return r
}

// BenchmarkSet compares a Set, which is a read and a write, with a bare publish of as many bytes that expects a
// sequence number, by 64 callers, on a server with one replica, while nobody follows.
func BenchmarkSet(b *testing.B) {
	js := servers.Connect(b, servers.Start(b, embedded.Config{StoreDir: b.TempDir()}))
	s := open(b, js, jetstream.Config{})
	_, err := js.CreateStream(b.Context(), natsjs.StreamConfig{Name: "BARE", Subjects: []string{"bare.>"}, MaxMsgsPerSubject: 1, Discard: natsjs.DiscardNew})
	ok(b, err)
	e := set(b, s, of(0))
	body := make([]byte, e.Size())
	const each = 5000
	var took, cpu [2]time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		for side, do := range []func(ctx context.Context, i int) error{
			func(ctx context.Context, i int) error { _, err := s.Set(ctx, of(i), reminder.ID{}); return err },
			func(ctx context.Context, i int) error {
				_, err := js.PublishMsg(ctx, &nats.Msg{Subject: fmt.Sprint("bare.", rounds, ".", i), Data: body}, natsjs.WithExpectLastSequencePerSubject(0))
				return err
			},
		} {
			began, used := time.Now(), cpuTime()
			spread(b, each, 64, do)
			took[side] += time.Since(began)
			cpu[side] += cpuTime() - used
		}
	}
	rate := func(side int) float64 { return float64(rounds*each) / took[side].Seconds() }
	b.ReportMetric(rate(0), "sets/s")
	b.ReportMetric(rate(1), "bare/s")
	b.ReportMetric(float64(cpu[0].Microseconds())/float64(rounds*each), "set-cpu-µs")
	b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "cpu-ratio")
}

// BenchmarkFire measures the whole way of firings that are all due at once: alarms, handing out, answers.
func BenchmarkFire(b *testing.B) {
	js := servers.Connect(b, servers.Start(b, embedded.Config{StoreDir: b.TempDir()}))
	s := open(b, js, jetstream.Config{})
	const n = 3000
	var took, cpu time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		spread(b, n, 64, func(ctx context.Context, i int) error {
			r := of(i)
			r.When = in(0)
			_, err := s.Set(ctx, r, reminder.ID{})
			return err
		})
		began, used := time.Now(), cpuTime()
		var left atomic.Int64
		left.Store(n)
		done := make(chan struct{})
		stop := follow(b, s, func(context.Context, reminder.Firing) reminder.Outcome {
			if left.Add(-1) == 0 {
				close(done)
			}
			return reminder.Done()
		})
		<-done
		took += time.Since(began)
		cpu += cpuTime() - used
		stop()
	}
	b.ReportMetric(float64(rounds*n)/took.Seconds(), "firings/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(rounds*n), "cpu-µs")
}

// BenchmarkHundredThousand sets 100,000 reminders, ten of each actor, that are due in a thousand hours. It reports
// what they take on disk and in the memory of server and follower, how long a List takes, and what is sent
// while nothing is due.
func BenchmarkHundredThousand(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	srv := servers.Start(b, embedded.Config{StoreDir: dir})
	js := servers.Connect(b, srv)
	s := open(b, js, jetstream.Config{})
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		follow(b, s, newBook(b).done)
		began := time.Now()
		spread(b, n, 128, func(ctx context.Context, i int) error { _, err := s.Set(ctx, of(i), reminder.ID{}); return err })
		b.ReportMetric(n/time.Since(began).Seconds(), "sets/s")
		alarms, err := js.Stream(b.Context(), "tandem_alarms")
		ok(b, err)
		for info := alarms.CachedInfo(); info.State.Msgs < n; info, err = alarms.Info(b.Context()) {
			ok(b, err)
			time.Sleep(50 * time.Millisecond)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-until-armed")
		b.ReportMetric(float64(size(b, dir))/n, "disk-bytes")
		b.ReportMetric((heap()-before)/n, "heap-bytes")

		const lists = 200
		began = time.Now()
		for i := range lists {
			all, err := s.List(b.Context(), reminder.Actor{Kind: alice.Kind, ID: fmt.Sprint(i * (n / 10 / lists))})
			if err != nil || len(all) != 10 {
				b.Fatal(len(all), err)
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/lists, "µs/list")

		sent := func() int64 {
			v, err := srv.Server().Varz(&server.VarzOptions{})
			ok(b, err)
			return v.InMsgs + v.OutMsgs
		}
		from, used := sent(), cpuTime()
		time.Sleep(10 * time.Second)
		b.ReportMetric(float64(sent()-from)/10, "idle-msgs/s")
		b.ReportMetric(float64((cpuTime()-used).Milliseconds())/10, "idle-cpu-ms/s")
	}
}

// size returns how many bytes the files below a folder have.
func size(b *testing.B, dir string) (n int64) {
	ok(b, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file may go while we look
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	}))
	return n
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

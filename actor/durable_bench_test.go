package actor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// BenchmarkDurable makes requests over TCP to actors of a durable kind and of a plain kind.
// The records go to a JetStream stream on a disk that is synced for every write. With one
// caller each request waits for two writes of its own; with many callers the requests share
// writes.
func BenchmarkDurable(b *testing.B) {
	srv, err := embedded.Start(embedded.Config{StoreDir: b.TempDir(), SyncAlways: true})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Shutdown()
	nc, err := nats.Connect(srv.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	durable := AccountKind.With(actor.Durable())
	reg := static.New()
	far := newSystem(b, actor.Config{Name: "far", Transports: []transport.Transport{overTCP()}, Registry: reg, Logger: quiet,
		Kinds: []*actor.Kind{durable}, Store: jetstream.New(js, jetstream.Config{})})
	near := newSystem(b, actor.Config{Name: "near", Transports: []transport.Transport{overTCP()}, Registry: reg, Logger: quiet})
	const actors = 16
	for i := range actors {
		spawn(b, far, fmt.Sprint("durable", i), durable)
		spawn(b, far, fmt.Sprint("plain", i), AccountKind)
	}
	for _, kind := range []string{"plain", "durable"} {
		for _, row := range []struct{ callers, actors int }{{1, 1}, {64, 1}, {512, 1}, {512, actors}} {
			b.Run(fmt.Sprintf("%s/callers=%d/actors=%d", kind, row.callers, row.actors), func(b *testing.B) {
				if _, err := actor.Call(b.Context(), near.Ref(kind+"0@far"), Balance{}); err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				var wg sync.WaitGroup
				for i := range row.callers {
					to := near.Ref(fmt.Sprint(kind, i%row.actors, "@far"))
					wg.Go(func() {
						for n := i; n < b.N; n += row.callers {
							if _, err := actor.Call(context.Background(), to, Balance{}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
				b.ReportMetric(float64(b.Elapsed()/time.Microsecond)*float64(min(row.callers, b.N))/float64(b.N), "µs/request")
			})
		}
	}
}

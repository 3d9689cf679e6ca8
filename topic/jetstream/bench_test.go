package jetstream_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/topic"
)

// BenchmarkPublish is a Publish on a durable topic beside a bare publish to the same stream, by one
// publisher and by 64.
func BenchmarkPublish(b *testing.B) {
	js, _, sys := single(b)
	orders := Orders.Bind(sys).At("orders.a")
	body := []byte("0123456789")
	for _, callers := range []int{1, 64} {
		run := func(name string, do func() error) {
			b.Run(fmt.Sprintf("%s-%d", name, callers), func(b *testing.B) {
				b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := do(); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
		run("bare", func() error {
			_, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: "tandem_topics.bare", Data: body})
			return err
		})
		run("topic", func() error { return actor.Publish(b.Context(), orders, Order{1}) })
	}
}

// BenchmarkDelivery is how long a message takes that is in the stream already.
func BenchmarkDelivery(b *testing.B) {
	for _, row := range []struct {
		name string
		opts []topic.Option
	}{{"without a name", []topic.Option{topic.FromStart()}}, {"named", []topic.Option{topic.Named("n"), topic.FromStart()}}} {
		b.Run(row.name, func(b *testing.B) {
			_, _, sys := single(b)
			for n := range b.N {
				if err := actor.Publish(b.Context(), Orders.Bind(sys).At("orders.a"), Order{n}); err != nil {
					b.Fatal(err)
				}
			}
			seen := make(chan got, 1)
			b.ResetTimer()
			spawn(b, sys, "clerk", seen, nil, row.opts...)
			for range b.N {
				<-seen
			}
		})
	}
}

// BenchmarkSubscriptions is the memory of a subscription, with the client's part of NATS.
func BenchmarkSubscriptions(b *testing.B) {
	for _, named := range []bool{false, true} {
		b.Run(fmt.Sprint("named=", named), func(b *testing.B) {
			_, store, _ := single(b)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			sys := system(b, store)
			for n := range b.N {
				var opts []topic.Option
				if named {
					opts = append(opts, topic.Named(fmt.Sprint("n", n)))
				}
				spawn(b, sys, fmt.Sprint("clerk", n), nil, nil, opts...)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/float64(b.N), "B/subscription")
			b.ReportMetric(float64(runtime.NumGoroutine())/float64(b.N), "goroutines/subscription")
		})
	}
}

package actor_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// BenchmarkStored compares requests to stored actors, each of which is a commit, or shares one, with bare publishes that
// name the sequence number of the last message of their subject; of as many bytes, by as many callers, and in the same run.
func BenchmarkStored(b *testing.B) {
	for _, c := range []struct{ callers, actors int }{{1, 1}, {64, 64}, {64, 1}} {
		b.Run(fmt.Sprintf("%d callers of %d", c.callers, c.actors), func(b *testing.B) {
			srv, err := embedded.Start(embedded.Config{StoreDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Shutdown()
			nc, err := srv.Connect()
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			js, err := natsjs.New(nc)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := js.CreateStream(b.Context(), natsjs.StreamConfig{Name: "bare", Subjects: []string{"bare.*"}, MaxMsgsPerSubject: 1}); err != nil {
				b.Fatal(err)
			}
			store, err := states.Open(b.Context(), js, states.Config{})
			if err != nil {
				b.Fatal(err)
			}
			sys := newSystem(b, actor.Config{Kinds: []*actor.Kind{briefKind}, States: store, Logger: quiet})
			share := func(do func(caller, i int) error) {
				var all sync.WaitGroup
				var i atomic.Int64
				for caller := range c.callers {
					all.Go(func() {
						for n := int(i.Add(1)); n <= b.N; n = int(i.Add(1)) {
							if err := do(caller, n); err != nil {
								b.Error(err)
							}
						}
					})
				}
				all.Wait()
			}
			refs := make([]actor.Ref, c.actors)
			for i := range refs {
				refs[i] = sys.Virtual(briefKind, fmt.Sprint(i))
				if _, err := actor.Call(b.Context(), refs[i], total{}); err != nil {
					b.Fatal(err)
				}
			}
			last, body := make([]uint64, c.callers), make([]byte, 250)
			b.ResetTimer()
			share(func(caller, _ int) error {
				_, err := actor.Call(b.Context(), refs[caller%c.actors], total{})
				return err
			})
			b.StopTimer()
			commits := b.Elapsed()
			b.StartTimer()
			share(func(caller, _ int) error {
				ack, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: fmt.Sprint("bare.", caller), Data: body}, natsjs.WithExpectLastSequencePerSubject(last[caller]))
				if err == nil {
					last[caller] = ack.Sequence
				}
				return err
			})
			b.StopTimer()
			bare := b.Elapsed() - commits
			b.ReportMetric(float64(b.N)/commits.Seconds(), "requests/s")
			b.ReportMetric(float64(b.N)/bare.Seconds(), "publishes/s")
			b.ReportMetric(bare.Seconds()/commits.Seconds(), "ratio")
		})
	}
}

// briefKind is a stored counter.
var briefKind = actor.Define("brief", func() *struct{ N int } { return new(struct{ N int }) },
	actor.Answer(func(s *struct{ N int }, _ *actor.Context, _ total) (int, error) { s.N++; return s.N, nil })).
	With(actor.Virtual(), actor.Stored(func(s *struct{ N int }) *struct{ N int } { return s }))

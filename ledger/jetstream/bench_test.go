package jetstream_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// BenchmarkAppend shows what a group commit gains: changes per second and the latency of
// an Append, by the number of changes that share it, with a server that syncs every write.
// The ratio compares with batches of one change in the same run.
func BenchmarkAppend(b *testing.B) {
	s := servers.Start(b, embedded.Config{StoreDir: b.TempDir(), SyncAlways: true})
	log, err := jetstream.New(servers.Connect(b, s), jetstream.Config{}).Take(context.Background(), "n", "e1", func(ledger.Change) {})
	if err != nil {
		b.Fatal(err)
	}
	single := 0.0
	for _, batch := range []int{1, 16, 64, 512} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			changes := some(1, uint64(batch))
			var took []time.Duration
			began := time.Now()
			for b.Loop() {
				at := time.Now()
				if err := log.Append(context.Background(), changes); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(at))
			}
			perSecond := float64(batch*len(took)) / time.Since(began).Seconds()
			if batch == 1 {
				single = perSecond
			}
			slices.Sort(took)
			b.ReportMetric(perSecond, "changes/s")
			b.ReportMetric(perSecond/single, "ratio")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

package mailbox_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/mailbox"
)

type payload struct{ _ [64]byte }

// Each benchmark first times a buffered channel of the same capacity with the
// same producers and one consumer, and reports the ratio as x-chan.

func BenchmarkTell1(b *testing.B) { benchmarkTell(b, 1) }
func BenchmarkTell8(b *testing.B) { benchmarkTell(b, 8) }

func benchmarkTell(b *testing.B, producers int) {
	b.ReportAllocs()
	b.StopTimer()
	runtime.GC()
	limit := tellChan(b.N, producers)
	runtime.GC()
	b.StartTimer()
	took := tellBox(b.N, producers)
	b.StopTimer()
	b.ReportMetric(float64(limit)/float64(took), "x-chan")
}

// produce splits n sends among the producers and waits for them.
func produce(n, producers int, send func()) {
	var wg sync.WaitGroup
	for p := range producers {
		share := n / producers
		if p < n%producers {
			share++
		}
		wg.Go(func() {
			for range share {
				send()
			}
		})
	}
	wg.Wait()
}

func tellChan(n, producers int) time.Duration {
	start := time.Now()
	c, done := make(chan *payload, mailbox.DefaultCapacity), make(chan struct{})
	go func() {
		defer close(done)
		for range c {
		}
	}()
	m := new(payload)
	produce(n, producers, func() { c <- m })
	close(c)
	<-done
	return time.Since(start)
}

// tellBox starts a consumer whenever a put asks for one, as a run loop would.
func tellBox(n, producers int) time.Duration {
	start := time.Now()
	ctx := context.Background()
	var box mailbox.Box[*payload]
	box.Init(nil)
	var seen int // owned by the consumer; consumers follow one another under the box's lock
	done := make(chan struct{})
	consume := func() {
		for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
			seen += len(batch.Messages())
			if seen == n {
				close(done)
				return
			}
			if batch.IsLast() {
				runtime.Gosched()
			}
		}
	}
	m := new(payload)
	produce(n, producers, func() {
		put, err := box.Put(ctx, m)
		if err != nil {
			panic(err)
		}
		if put.Wake {
			go consume()
		}
	})
	<-done
	return time.Since(start)
}

// BenchmarkOffer is one message at a time through a box that goes idle after
// each, without a second goroutine.
func BenchmarkOffer(b *testing.B) {
	b.ReportAllocs()
	var box mailbox.Box[*payload]
	box.Init(nil)
	m := new(payload)
	for b.Loop() {
		if _, err := box.Offer(m); err != nil {
			b.Fatal(err)
		}
		box.Take(box.Take(nil))
	}
}

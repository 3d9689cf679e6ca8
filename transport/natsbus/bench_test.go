package natsbus_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

const payloadSize = 64

// BenchmarkAsk is request and reply with a number of callers at once on one link,
// without anything above the road, beside nats.go's Request on the same server. The
// ratio is what counts.
func BenchmarkAsk(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		name := map[int]string{1: "1", 64: "64", 512: "512"}[callers]
		b.Run(name+"/natsbus", func(b *testing.B) { benchAsk(b, callers) })
		b.Run(name+"/nats.Request", func(b *testing.B) { benchRequest(b, callers) })
	}
}

func benchAsk(b *testing.B, callers int) {
	x, y := pair(b)
	y.prepare = func(e *end) {
		e.on = func(env *transport.Envelope) {
			if _, err := e.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: env.Seq, Body: env.Body}); err != nil {
				b.Error(err)
			}
		}
	}
	answers := make([]chan struct{}, callers)
	for i := range answers {
		answers[i] = make(chan struct{}, 1)
	}
	x.prepare = func(e *end) { e.on = func(env *transport.Envelope) { answers[env.Seq] <- struct{}{} } }
	from, _ := link(b, x, y)
	body := make([]byte, payloadSize)
	before := x.Stats().PacketsOut
	inParallel(b, callers, func(caller int) {
		if _, err := from.Send(&transport.Envelope{Verb: transport.VerbRequest, Seq: uint64(caller), TypeID: 1, Target: "alice", Body: body}); err != nil {
			b.Error(err)
		}
		<-answers[caller]
	})
	b.ReportMetric(float64(b.N)/float64(x.Stats().PacketsOut-before), "asks/packet")
}

func benchRequest(b *testing.B, callers int) {
	srv := startServer(b, embedded.Config{})
	nc, server := connect(b, srv.URL()), connect(b, srv.URL())
	if _, err := server.Subscribe("echo", func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	server.Flush()
	body := make([]byte, payloadSize)
	inParallel(b, callers, func(int) {
		if _, err := nc.Request("echo", body, patience); err != nil {
			b.Error(err)
		}
	})
}

// inParallel runs b.N operations by a number of goroutines.
func inParallel(b *testing.B, callers int, op func(caller int)) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	var done atomic.Int64
	for i := range callers {
		wg.Go(func() {
			for done.Add(1) <= int64(b.N) {
				op(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkTell has one producer and one receiver, which grants the producer a window, so that nothing
// is dropped.
func BenchmarkTell(b *testing.B) {
	b.Run("natsbus", benchTell)
	b.Run("nats.Publish", benchPublish)
}

// window lets a producer be a number of messages ahead of its receiver. They are so few that nothing is
// dropped and no queue is full, and so many that neither waits.
type window struct {
	n    int
	got  int           // owned by the receiver
	room chan struct{} // gets a token for every half window that was received
	all  chan struct{} // closed when all n were received
}

const halfWindow = 8 << 10

func newWindow(b *testing.B) *window {
	w := &window{n: b.N, room: make(chan struct{}, 3), all: make(chan struct{})}
	w.room <- struct{}{}
	w.room <- struct{}{}
	return w
}

func (w *window) send(i int) {
	if i%halfWindow == 0 {
		<-w.room
	}
}

func (w *window) received() {
	if w.got++; w.got%halfWindow == 0 {
		w.room <- struct{}{}
	}
	if w.got == w.n {
		close(w.all)
	}
}

func benchTell(b *testing.B) {
	x, y := pair(b)
	w := newWindow(b)
	y.prepare = func(e *end) { e.on = func(*transport.Envelope) { w.received() } }
	from, _ := link(b, x, y)
	body := make([]byte, payloadSize)
	e := transport.Envelope{Verb: transport.VerbReply, TypeID: 1, Target: "alice", Body: body}
	before := x.Stats().PacketsOut
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.send(i)
		e.Seq = uint64(i)
		if _, err := from.Send(&e); err != nil {
			b.Fatal(err)
		}
	}
	<-w.all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.N)/float64(x.Stats().PacketsOut-before), "tells/packet")
}

func benchPublish(b *testing.B) {
	srv := startServer(b, embedded.Config{})
	nc, server := connect(b, srv.URL()), connect(b, srv.URL())
	w := newWindow(b)
	if _, err := server.Subscribe("tell", func(*nats.Msg) { w.received() }); err != nil {
		b.Fatal(err)
	}
	server.Flush()
	body := make([]byte, payloadSize)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.send(i)
		if err := nc.Publish("tell", body); err != nil {
			b.Fatal(err)
		}
	}
	<-w.all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

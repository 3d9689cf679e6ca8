package natsapi_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/test/turns"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// spent is the processor time of this process.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAsk compares asks of 16 clients through a gateway with those to a micro service that answers at once. Clients, NATS
// and the service are in this process, and the processor time is that of all together.
func BenchmarkAsk(b *testing.B) {
	r := newRig(b, embedded.Config{})
	r.serve(natsapi.Config{})
	echo, err := micro.AddService(r.connect(), micro.Config{Name: "echo", Version: "1.0.0", Endpoint: &micro.EndpointConfig{
		Subject: "echo", Handler: micro.HandlerFunc(func(m micro.Request) { _ = m.Respond(m.Data()) }),
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer echo.Stop()
	conns := make(chan *nats.Conn, 64)
	for range cap(conns) {
		conns <- r.connect()
	}
	for _, c := range []struct {
		name string
		m    *nats.Msg
	}{
		{"micro", message("echo", `{"Amount": 1}`)},
		{"actor", message("tandem.api.ann.desk.Deposit", `{"Amount": 1}`)},
		{"stored", message("tandem.api.ann.account.7.Deposit", `{"Amount": 1}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			begun := spent(b)
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				nc := <-conns
				defer func() { conns <- nc }()
				for p.Next() {
					m, err := nc.RequestMsg(&nats.Msg{Subject: c.m.Subject, Data: c.m.Data}, 30*time.Second)
					if err != nil || m.Header.Get("Nats-Service-Error") != "" {
						b.Error(m, err)
						return
					}
				}
			})
			b.ReportMetric(float64((spent(b)-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkBesideEcho compares asks of one client, and of 64, with those to a micro service that answers at once. Both take
// turns of a few hundred asks, so that what else the machine does falls on both. It prints the medians of the turns, and the
// asks per second of the actor in those of the echo; cpu-ratio is the same of asks per second of processor time.
func BenchmarkBesideEcho(b *testing.B) {
	r := newRig(b, embedded.Config{})
	r.serve(natsapi.Config{})
	echo, err := micro.AddService(r.connect(), micro.Config{Name: "echo", Version: "1.0.0", Endpoint: &micro.EndpointConfig{
		Subject: "echo", Handler: micro.HandlerFunc(func(m micro.Request) { _ = m.Respond(m.Data()) }),
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer echo.Stop()
	conns := make([]*nats.Conn, 64)
	for i := range conns {
		conns[i] = r.connect()
	}
	ask := func(subject string) func(client int) error {
		return func(client int) error {
			m, err := conns[client].Request(subject, []byte(`{"Amount":1}`), 30*time.Second)
			if err == nil && m.Header.Get("Nats-Service-Error") != "" {
				err = errors.New(m.Header.Get("Nats-Service-Error"))
			}
			return err
		}
	}
	turns.Compare(b, []int{1, 64}, ask("echo"), ask("tandem.api.ann.desk.Deposit"))
}

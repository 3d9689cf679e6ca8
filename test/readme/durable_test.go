// What the README says of records that outlive a process, and of long jobs, run.
package main_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

type Pay struct {
	actor.Returns[int64]
	Amount int64
}

type Till struct{ paid int64 }

func (t *Till) Pay(ctx *actor.Context, m Pay) (int64, error) { t.paid += m.Amount; return t.paid, nil }

var TillKind = actor.Define("shop.till", func() *Till { return new(Till) },
	actor.Answer((*Till).Pay)).With(actor.Durable())

// durable starts a node whose tills keep records of their requests in NATS.
func durable(ctx context.Context, name string, nc *nats.Conn) (*actor.System, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, err
	}
	nodes, err := natskv.New(ctx, js, natskv.Config{})
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name:       name,
		Transports: []transport.Transport{natsbus.New(nc, natsbus.Config{})},
		Registry:   nodes,
		Kinds:      []*actor.Kind{TillKind},
		Store:      jetstream.New(js, jetstream.Config{}), // ledger/jetstream
	})
}

// pay pays once, however often it is called with one order: here, again after the
// process was restarted, or in another one.
func pay(ctx context.Context, till actor.Ref, order string, amount int64) (int64, error) {
	return actor.Call(ctx, till, Pay{Amount: amount}, rpc.Key(order))
}

type Report struct {
	actor.Returns[string]
	Pages int64
}

type Printer struct{}

func (Printer) Report(ctx *actor.Context, m Report) (string, error) {
	for page := range m.Pages {
		ctx.Progress(page+1, m.Pages)
	}
	return "printed", nil
}

var PrinterKind = actor.Define("shop.printer", func() Printer { return Printer{} }, actor.Answer(Printer.Report))

func TestOutlivesTheProcess(t *testing.T) {
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := func(name string) *actor.System {
		nc, err := natsbus.Connect(ctx, srv.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		sys, err := durable(ctx, name, nc)
		if err != nil {
			t.Fatal(err)
		}
		return sys
	}
	shop, office := start("shop"), start("office")
	if _, err := shop.Spawn("till", TillKind); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := pay(ctx, office.Ref("till@shop"), "order-17", 40); n != 40 || err != nil {
			t.Fatal(n, err)
		}
	}
	for _, sys := range []*actor.System{office, shop} { // both are started anew
		if err := sys.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
	shop, office = start("shop"), start("office")
	if _, err := shop.Spawn("till", TillKind); err != nil { // the till is empty now: it keeps no state of its own
		t.Fatal(err)
	}
	if n, err := pay(ctx, office.Ref("till@shop"), "order-17", 40); n != 40 || err != nil {
		t.Errorf("paid before: %d, %v", n, err)
	}
	if n, err := pay(ctx, office.Ref("till@shop"), "order-18", 2); n != 2 || err != nil {
		t.Errorf("a new order: %d, %v", n, err)
	}
	if _, err := pay(ctx, office.Ref("till@shop"), "order-17", 41); rpc.CodeOf(err) != rpc.IDReused {
		t.Errorf("another amount: %v", err)
	}

	if _, err := shop.Spawn("printer", PrinterKind); err != nil {
		t.Fatal(err)
	}
	token, err := actor.Submit(ctx, office.Ref("printer@shop"), Report{Pages: 3})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := actor.Redeem[string](shop, token.String())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := elsewhere.Await(ctx); v != "printed" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if st, err := token.Poll(ctx); st.State != rpc.JobDone || st.Done != 3 || err != nil {
		t.Errorf("%+v, %v", st, err)
	}
	for _, sys := range []*actor.System{office, shop} {
		if err := sys.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
}

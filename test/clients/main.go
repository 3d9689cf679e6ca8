// Clients starts gateways for the tests of the clients in other languages: a NATS server, a node with a desk and stored
// accounts, and gateways for NATS and HTTP to them. It prints their URLs as a line of JSON, and ends with its standard input.
package main

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func main() {
	if err := run(); err != nil {
		log.Fatal("clients: ", err)
	}
}

func run() error {
	ctx := context.Background()
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		return err
	}
	defer srv.Shutdown()
	sys, err := actor.NewSystem(actor.Config{Name: "bank", Kinds: []*actor.Kind{accountKind, deskKind}, States: memory.New(memory.Config{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer sys.Shutdown(ctx)
	desk, err := sys.Spawn("desk", deskKind)
	if err != nil {
		return err
	}
	table, err := gateway.New(sys, gateway.Actor("desk", desk, deskKind), gateway.Virtual("account", accountKind))
	if err != nil {
		return err
	}
	api, err := natsapi.Serve(ctx, natsapi.Config{Table: table, Connect: func(context.Context) (*nats.Conn, error) { return srv.Connect() }})
	if err != nil {
		return err
	}
	defer api.Close(ctx)
	handler, err := httpapi.New(table, httpapi.Config{})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	defer web.Close()
	go func() { _ = web.Serve(listener) }() // until web is closed
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"nats": srv.URL(), "http": "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// The messages, of desks and accounts.
type (
	deposit struct {
		actor.Returns[int]
		Amount int
	}
	slow struct {
		actor.Returns[int]
		Seconds int
	}
	note  struct{ Text string }
	count struct {
		actor.Streams[int]
		To   int
		Fail bool
	}
)

func (deposit) WireName() string { return "bank.Deposit" }
func (slow) WireName() string    { return "bank.Slow" }
func (note) WireName() string    { return "bank.Note" }
func (count) WireName() string   { return "bank.Count" }

var errPoor = rpc.NewError("bank.poor", "not enough money")

type account struct{ Sum int }

func (a *account) deposit(_ *actor.Context, m deposit) (int, error) {
	if a.Sum+m.Amount < 0 {
		return 0, errPoor
	}
	a.Sum += m.Amount
	return a.Sum, nil
}

// slow deposits 1 after that many seconds. If it is to take less than 10, it does not look at its context.
func (a *account) slow(ctx *actor.Context, m slow) (int, error) {
	over := ctx.Done()
	if m.Seconds < 10 {
		over = nil
	}
	select {
	case <-time.After(time.Duration(m.Seconds) * time.Second):
		return a.deposit(ctx, deposit{Amount: 1})
	case <-over:
		return 0, ctx.Err()
	}
}

func (a *account) note(*actor.Context, note) error { return nil }

func (a *account) count(_ *actor.Context, m count) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for n := range m.To {
			if !yield(n, nil) {
				return
			}
		}
		if m.Fail {
			yield(0, errPoor)
		}
	}, nil
}

func create() *account { return new(account) }

var (
	accountKind = actor.Define("account", create, actor.Answer((*account).deposit), actor.Answer((*account).slow)).
			With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
	deskKind = actor.Define("desk", create, actor.Answer((*account).deposit), actor.Answer((*account).slow), actor.Handle((*account).note), actor.Produce((*account).count))
)

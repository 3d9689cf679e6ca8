package natstool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/natsapi"
	claims "github.com/tandem-go/tandem/placement/natskv"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// bankEnv has the address of the bank's HTTP server, for a process that is to be the bank of the transcripts.
const bankEnv = "TANDEM_BANK"

func TestMain(m *testing.M) {
	if addr := os.Getenv(bankEnv); addr != "" {
		if err := bank(os.Getenv("NATS_URL"), addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// stored is an account whose state is in NATS.
type stored struct{ Sum int }

var storedKind = actor.Define("account", func() *stored { return new(stored) }, actor.Answer(func(a *stored, _ *actor.Context, m deposit) (int, error) {
	if a.Sum+m.Amount < 0 {
		return 0, errPoor
	}
	a.Sum += m.Amount
	return a.Sum, nil
})).With(actor.Virtual(), actor.Stored(func(a *stored) *stored { return a }))

// bank is a node with stored accounts, which opens them over NATS, and over HTTP at an address. It ends when NATS
// does, as with the test that has started both.
func bank(url, addr string) error {
	ctx := context.Background()
	gone := make(chan struct{})
	nc, err := nats.Connect(url, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	reg, noReg := nodes.New(ctx, js, nodes.Config{Lease: 2 * time.Second})
	holders, noClaims := claims.Open(ctx, js, claims.Config{})
	store, noStates := states.Open(ctx, js, states.Config{})
	if err := errors.Join(noReg, noClaims, noStates); err != nil {
		return err
	}
	sys, err := actor.NewSystem(actor.Config{Name: "bank", Registry: reg, Claims: holders, States: store, Kinds: []*actor.Kind{storedKind},
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	table, err := gateway.New(sys, gateway.Virtual("account", storedKind))
	if err != nil {
		return err
	}
	if _, err := natsapi.Serve(ctx, natsapi.Config{Table: table, Connect: func(context.Context) (*nats.Conn, error) { return nats.Connect(url) }}); err != nil {
		return err
	}
	handler, err := httpapi.New(table, httpapi.Config{RequireKey: true})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, handler) }()
	fmt.Println("the bank is open")
	<-gone
	return nil
}

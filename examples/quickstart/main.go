// Quickstart runs two Tandem systems in one process, connected by TCP and by a NATS server that it
// starts itself. It shows the three basic patterns, and then the promise: it sends 10,000 deposits
// that must not run twice, and cuts the TCP link when handlers have run and their replies are still
// in flight. The requests are sent again over NATS, where the bank answers from its records instead
// of running them again.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal("quickstart: ", err)
	}
}

func run(out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// A NATS server inside this process. In your program, use the URL of your own server.
	nats, err := embedded.Start(embedded.Config{})
	if err != nil {
		return err
	}
	defer nats.Shutdown()

	// Between the two nodes is a relay that can hold back replies and cut the link.
	relay, err := newRelay()
	if err != nil {
		return err
	}
	defer relay.Close()

	// The nodes find each other in a registry. This one is in memory; natskv has one in NATS.
	nodes := static.New()
	join := func(name string, direct *tcp.Transport) (*actor.System, error) {
		nc, err := natsbus.Connect(ctx, nats.URL())
		if err != nil {
			return nil, err
		}
		return actor.NewSystem(actor.Config{
			Name:       name,
			Transports: []transport.Transport{direct, natsbus.New(nc, natsbus.Config{})},
			Registry:   nodes,
			Logger:     slog.New(slog.DiscardHandler),
		})
	}
	server := tcp.New(tcp.Config{Listen: "127.0.0.1:0", Advertise: relay.Addr()})
	bank, err := join("bank", server)
	if err != nil {
		return err
	}
	defer bank.Shutdown(ctx)
	relay.Forward(server.Addr().String())
	shop, err := join("shop", tcp.New(tcp.Config{Listen: "127.0.0.1:0"}))
	if err != nil {
		return err
	}
	defer shop.Shutdown(ctx)

	if err := patterns(ctx, out, bank, shop); err != nil {
		return err
	}
	return deposits(ctx, out, bank, shop, relay)
}

// patterns shows one-way, request-response and futures, from one node to the other.
func patterns(ctx context.Context, out io.Writer, bank, shop *actor.System) error {
	if _, err := bank.Spawn("alice", AccountKind); err != nil {
		return err
	}
	alice := shop.Ref("alice@bank")

	if err := actor.Tell(ctx, alice, Greet{"good morning"}); err != nil { // one-way
		return err
	}
	balance, err := actor.Call(ctx, alice, Deposit{ID: 1, Amount: 40}) // request-response; balance is an int64
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Call:  a deposit of 40, the balance is", balance)

	first := actor.Ask(ctx, alice, Deposit{ID: 2, Amount: 1}) // futures: both are outstanding
	second := actor.Ask(ctx, alice, Deposit{ID: 3, Amount: 1})
	both, err := rpc.All(first, second).Await(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Ask:   two deposits of 1, the balances are", both)

	_, err = actor.Call(ctx, alice, Deposit{ID: 4, Amount: -100}) // an error says whether it ran
	fmt.Fprintf(out, "Error: a deposit of -100: %v (is ErrAmount: %t; ran: %v)\n", err, errors.Is(err, ErrAmount), rpc.Ran(err))
	_, err = actor.Call(ctx, shop.Ref("nobody@bank"), Deposit{})
	fmt.Fprintf(out, "Error: a deposit to nobody: ran: %v\n\n", rpc.Ran(err))
	return nil
}

const (
	total     = 10_000 // deposits
	holdAfter = 3_000  // deposits that have run when replies are held back
)

// deposits keeps a whole window of deposits outstanding, and cuts the link in the middle.
func deposits(ctx context.Context, out io.Writer, bank, shop *actor.System, relay *relay) error {
	ledger := &Ledger{runs: map[int]int{}}
	vault, err := bank.Spawn("vault", VaultKind(ledger))
	if err != nil {
		return err
	}
	before := shop.Stats().RPC
	start := time.Now()
	fmt.Fprintf(out, "Sending %d deposits over TCP ...\n", total)

	// Hold back the replies after a while. Cut the link once the window is full of requests
	// that have run, and whose callers do not know that.
	hold := func() bool { return ledger.Count() >= holdAfter }
	allRan := func() bool {
		now := shop.Stats().RPC
		return now.Outstanding == rpc.DefaultWindow && ledger.Count() == int(now.Replies-before.Replies)+now.Outstanding
	}
	cut := make(chan error, 1)
	go func() { cut <- relay.HoldAndCut(ctx, hold, allRan) }()
	remote := shop.Ref(vault.String())
	futures := make([]*rpc.Future[int64], total)
	for i := range futures { // Ask waits while the window of 4,096 outstanding requests is full
		futures[i] = actor.Ask(ctx, remote, Deposit{ID: i, Amount: 1})
	}
	if _, err := rpc.All(futures...).Await(ctx); err != nil {
		return err
	}
	if err := <-cut; err != nil {
		return err
	}
	took := time.Since(start)

	balance, executed, wrong := ledger.Sum()
	client, server := shop.Stats().RPC, bank.Stats().RPC
	requests, resent := client.Requests-before.Requests, client.Resent-before.Resent
	fmt.Fprintf(out, "The link was cut with replies on the way; the rest went over NATS. %d deposits in %v.\n\n", total, took.Round(time.Millisecond))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "requests\tresent\treplayed from the table\texecuted\tbalance expected\tbalance found\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t\n", requests, resent, server.Replayed, executed, total, balance)
	w.Flush()
	switch {
	case wrong > 0 || executed != total || balance != total:
		return fmt.Errorf("%d deposits did not run once, as they should", wrong)
	case resent < 1000 || server.Replayed < 100:
		return fmt.Errorf("the cut came too early or too late to show anything: %d resent, %d replayed", resent, server.Replayed)
	}
	fmt.Fprintln(out, "\nEvery deposit ran exactly as often as it should: once.")
	return nil
}

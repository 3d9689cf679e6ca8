// Livefeed streams prices from a market to three consumers on another node, over TCP and, after the
// TCP link is cut in the middle, over NATS. One consumer is slow: it also gets every price, and does
// not delay the others. The market never makes more prices for a consumer than its credit allows.
//
//	go run ./examples/livefeed
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal("livefeed: ", err)
	}
}

const (
	fastWants = 200_000 // prices that each fast consumer reads
	slowWants = 20_000  // prices that the slow consumer reads
	slowEvery = 50      // prices after which the slow consumer pauses
	slowPause = 10 * time.Millisecond
	maxAhead  = 4_096 // prices that may lie between the market and a consumer
)

func run(out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nats, err := embedded.Start(embedded.Config{})
	if err != nil {
		return err
	}
	defer nats.Shutdown()
	wire, err := newWire()
	if err != nil {
		return err
	}
	defer wire.Close()

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
	server := tcp.New(tcp.Config{Listen: "127.0.0.1:0", Advertise: wire.Addr()})
	exchange, err := join("exchange", server)
	if err != nil {
		return err
	}
	defer exchange.Shutdown(ctx)
	wire.Forward(server.Addr().String())
	desk, err := join("desk", tcp.New(tcp.Config{Listen: "127.0.0.1:0"}))
	if err != nil {
		return err
	}
	defer desk.Shutdown(ctx)

	consumers := []*consumer{
		{name: "fast one", wants: fastWants},
		{name: "fast two", wants: fastWants},
		{name: "slow", wants: slowWants, slow: true},
	}
	made := map[string]*atomic.Int64{} // both nodes are in one process, so each consumer can see how far ahead the market is
	for _, c := range consumers {
		made[c.name] = &c.made
	}
	if _, err := exchange.Spawn("market", MarketKind(made)); err != nil {
		return err
	}
	market := desk.Ref("market@exchange")
	var wg sync.WaitGroup
	for _, c := range consumers {
		wg.Go(func() { c.read(ctx, market) })
	}
	for consumers[0].received.Load() < fastWants/2 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if wire.Cut() == 0 {
		return errors.New("there was no TCP link to cut")
	}
	fmt.Fprintf(out, "The TCP link was cut when %q had read %d prices.\n", consumers[0].name, consumers[0].received.Load())
	wg.Wait()
	roads := desk.Stats().RPC.RoadChanges
	if roads < 2 {
		return errors.New("no other road was taken after the cut")
	}
	fmt.Fprintf(out, "The road was changed %d times meanwhile.\n\n", roads)
	return report(out, consumers)
}

// consumer is one reader of the feed, with its results.
type consumer struct {
	name     string
	wants    int64
	slow     bool
	made     atomic.Int64 // prices that the market made for it
	received atomic.Int64
	gaps     int
	ahead    int64 // the most prices that the market was ahead of it
	took     time.Duration
	err      error
}

// read reads as many prices as the consumer wants, and ends the stream.
func (c *consumer) read(ctx context.Context, market actor.Ref) {
	began := time.Now()
	for p, err := range actor.Stream(ctx, market, Watch{Consumer: c.name}) {
		if err != nil {
			c.err = err
			break
		}
		n := c.received.Add(1)
		if p.N != n {
			c.gaps++
		}
		c.ahead = max(c.ahead, c.made.Load()-n)
		if c.slow && n%slowEvery == 0 {
			time.Sleep(slowPause)
		}
		if n == c.wants {
			break // this ends the stream on the market's side, too
		}
	}
	c.took = time.Since(began)
}

// report prints the results of the consumers. The error says what is not as promised.
func report(out io.Writer, consumers []*consumer) error {
	var errs []error
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "consumer\tmade\treceived\tgaps\tmost on their way\ttook\t")
	slow := consumers[len(consumers)-1]
	for _, c := range consumers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%v\t\n", c.name, c.made.Load(), c.received.Load(), c.gaps, c.ahead, c.took.Round(time.Millisecond))
		switch {
		case c.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", c.name, c.err))
		case c.received.Load() != c.wants || c.gaps != 0:
			errs = append(errs, fmt.Errorf("%s: %d of %d prices, %d gaps", c.name, c.received.Load(), c.wants, c.gaps))
		case c.ahead > maxAhead:
			errs = append(errs, fmt.Errorf("%s: the market was %d prices ahead", c.name, c.ahead))
		case !c.slow && c.took > slow.took:
			errs = append(errs, fmt.Errorf("%s was no faster than the slow one", c.name))
		}
	}
	w.Flush()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nEvery price came once and in order, and the slow consumer held up nobody.")
	return nil
}

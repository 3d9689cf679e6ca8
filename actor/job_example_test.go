package actor_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"sync"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// PrintReport is a long job. It says how far it is.
type PrintReport struct {
	actor.Returns[string]
	Pages int64
}

var ReportKind = actor.Define("example.report", func() int { return 0 },
	actor.Answer(func(_ int, ctx *actor.Context, m PrintReport) (string, error) {
		for page := range m.Pages {
			ctx.Progress(page+1, m.Pages)
		}
		return fmt.Sprintf("%d pages printed", m.Pages), nil
	}))

// Submit returns once the job is accepted. Its result is fetched by the token, any number
// of times, until it expires.
func ExampleSubmit() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	token, err := actor.Submit(ctx, must(sys.Spawn("reports", ReportKind)), PrintReport{Pages: 3})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Await(ctx))
	status, err := token.Poll(ctx)
	fmt.Println(status.State, err)
	// Output:
	// 3 pages printed <nil>
	// done <nil>
}

// The text of a token is good in another process of the same principal.
func ExampleRedeem() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	token := must(actor.Submit(ctx, must(sys.Spawn("reports", ReportKind)), PrintReport{Pages: 3}))
	text := token.String() // keep it like a password

	again, err := actor.Redeem[string](sys, text)
	if err != nil {
		log.Fatal(err) // this is no token's text
	}
	fmt.Println(again.Await(ctx))
	// Output: 3 pages printed <nil>
}

// A durable kind has its requests recorded. Here its node is started anew, and a request
// under a key that has run before the restart gets the recorded reply: it is not counted
// again. Programs keep the records in NATS, with package ledger/jetstream.
func ExampleDurable() {
	kind := actor.Define("example.orders", func() *Orders { return new(Orders) },
		actor.Answer((*Orders).Place)).With(actor.Durable())
	records := new(storetest.Memory)
	ctx, client, start := clientAndServer(kind, func(c *actor.Config) { c.Store = records })
	defer client.Shutdown(ctx)
	for range 2 {
		server := start()
		fmt.Println(actor.Call(ctx, client.Ref("orders@server"), PlaceOrder{}, rpc.Key("order 17")))
		if err := server.Shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// order 1 <nil>
	// order 1 <nil>
}

type PlaceOrder struct{ actor.Returns[string] }

// Orders counts what was ordered since it was made.
type Orders struct{ n int }

func (o *Orders) Place(ctx *actor.Context, m PlaceOrder) (string, error) {
	o.n++
	return fmt.Sprintf("order %d", o.n), nil
}

// clientAndServer starts one node, and returns a function that starts another one, with an
// actor "orders".
func clientAndServer(kind *actor.Kind, change func(*actor.Config)) (ctx context.Context, client *actor.System, start func() *actor.System) {
	network, nodes := memnet.New(memnet.Config{}), static.New()
	config := func(name string) actor.Config {
		return actor.Config{Name: name, Registry: nodes, Logger: slog.New(slog.DiscardHandler),
			Transports: []transport.Transport{network.Transport("tcp", true)}}
	}
	return context.Background(), must(actor.NewSystem(config("client"))), func() *actor.System {
		c := config("server")
		c.Kinds = []*actor.Kind{kind}
		c.Setup = func(sys *actor.System) error { _, err := sys.Spawn("orders", kind); return err }
		change(&c)
		return must(actor.NewSystem(c))
	}
}

// Database is the application's own: what a handler changes and what it has completed are
// committed together.
type Database struct {
	mu          sync.Mutex // guards what follows
	orders      int
	completions map[string][]byte // empty: void
}

// Commit adds an order and its completion, or neither.
func (d *Database) Commit(id string, record []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.completions[id]; taken {
		return fmt.Errorf("there is a record under %s", id)
	}
	d.orders++
	d.completions[id] = record
	return nil
}

func (d *Database) Completed(ctx context.Context, id string) (record []byte, found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	record = d.completions[id]
	return record, len(record) > 0, nil
}

func (d *Database) Void(ctx context.Context, id string) (record []byte, found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.completions[id]; !taken {
		d.completions[id] = nil
	}
	return d.completions[id], len(d.completions[id]) > 0, nil
}

// The handler of a transactional kind commits its effect and its completion together.
func ExampleCompletion() {
	db := &Database{completions: map[string][]byte{}}
	kind := actor.Define("example.orders", func() *Database { return db },
		actor.Answer(func(db *Database, ctx *actor.Context, m PlaceOrder) (string, error) {
			reply := "ordered"
			id, record, err := actor.Completion(ctx, reply)
			if err != nil {
				return "", err
			}
			return reply, db.Commit(id, record) // if it fails, nothing has happened
		})).With(actor.Transactional(db))
	ctx, client, start := clientAndServer(kind, func(*actor.Config) {})
	defer client.Shutdown(ctx)
	for range 2 { // the node is started anew in between
		server := start()
		fmt.Println(actor.Call(ctx, client.Ref("orders@server"), PlaceOrder{}, rpc.Key("order 17")))
		if err := server.Shutdown(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(db.orders)
	// Output:
	// ordered <nil>
	// ordered <nil>
	// 1
}

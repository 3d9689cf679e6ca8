package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/topic"
)

// Bill is what is published on Bills, and kept.
type Bill struct{ Cents int }

// Bills are all bills.
var Bills = actor.NewTopic[Bill]("bills.>").Durable()

// Bookkeeper enters bills. Under the name "books" the store keeps how far it has come.
type Bookkeeper struct{ entered chan string }

func (b *Bookkeeper) Started(ctx *actor.Context) error {
	return ctx.Subscribe(Bills, topic.Named("books"), topic.FromStart())
}

func (b *Bookkeeper) OnBill(ctx *actor.Context, m Bill) error {
	d, _ := ctx.Delivery()
	b.entered <- fmt.Sprintf("%s at position %d: %d cents", d.Topic, d.Position, m.Cents)
	return nil // otherwise it comes again
}

func ExampleTopic_Durable() {
	store := new(actortest.Topics) // in a program, that of package topic/jetstream
	sys, err := actor.NewSystem(actor.Config{Topics: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	bills := Bills.Bind(sys)
	fmt.Println(actor.Publish(ctx, bills.At("bills.eu"), Bill{1250}))

	entered := make(chan string)
	_, _ = sys.Spawn("books", actor.Define("example.bookkeeper", func() *Bookkeeper { return &Bookkeeper{entered} },
		actor.Handle((*Bookkeeper).OnBill)))
	fmt.Println(<-entered)
	fmt.Println(actor.Publish(ctx, bills.At("bills.us"), Bill{990}))
	fmt.Println(<-entered)
	// Output:
	// <nil>
	// bills.eu at position 1: 1250 cents
	// <nil>
	// bills.us at position 2: 990 cents
}

// Auditor looks at bills, and has no time at the first attempt.
type Auditor struct{ done chan bool }

func (a *Auditor) Started(ctx *actor.Context) error { return ctx.Subscribe(Bills, topic.FromStart()) }

func (a *Auditor) OnBill(ctx *actor.Context, m Bill) error {
	d, stored := ctx.Delivery()
	fmt.Println(d.Topic, "attempt", d.Attempt, stored)
	if d.Attempt == 1 {
		return errors.New("no time") // it comes again, see topic.Backoff
	}
	close(a.done)
	return nil
}

func ExampleContext_Delivery() {
	sys, err := actor.NewSystem(actor.Config{Topics: new(actortest.Topics), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer sys.Shutdown(ctx)
	a := &Auditor{make(chan bool)}
	_, _ = sys.Spawn("auditor", actor.Define("example.auditor", func() *Auditor { return a }, actor.Handle((*Auditor).OnBill)))
	_ = actor.Publish(ctx, Bills.Bind(sys).At("bills.eu"), Bill{1250})
	<-a.done
	// Output:
	// bills.eu attempt 1 true
	// bills.eu attempt 2 true
}

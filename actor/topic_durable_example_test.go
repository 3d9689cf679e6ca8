package actor_test

import (
	"context"
	"fmt"

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

func ExampleContext_Delivery() {
	h := actor.Handle(func(b *Bookkeeper, ctx *actor.Context, m Bill) error {
		if d, stored := ctx.Delivery(); stored && d.Attempt > 1 {
			fmt.Println("it may have been entered before:", d.ID)
		}
		return nil
	})
	_ = h
}

package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A reminder fires in the next process, and reminders that an operator has deleted are not taken for none.
func ExampleOpen() {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown()
	nc, err := srv.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg := jetstream.Config{Cluster: "shop", Logger: slog.New(slog.DiscardHandler)}

	store, err := jetstream.Open(ctx, js, cfg)
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Set(ctx, reminder.Reminder{
		Actor: reminder.Actor{Kind: "bank.account", ID: "alice"}, Name: "interest", When: reminder.At(time.Now()),
		Message: reminder.Message{Type: "bank.AddInterest"},
	}, reminder.ID{})
	if err != nil {
		log.Fatal(err)
	}

	store, err = jetstream.Open(ctx, js, cfg) // in the next process
	if err != nil {
		log.Fatal(err)
	}
	until, stop := context.WithCancel(ctx)
	err = store.Follow(until, func(_ context.Context, f reminder.Firing) reminder.Outcome {
		fmt.Println(f.Actor, f.Name, f.Number)
		stop()
		return reminder.Done()
	})
	fmt.Println(err, store.Check(ctx))

	if err := js.DeleteStream(ctx, "shop_reminders"); err != nil {
		log.Fatal(err)
	}
	_, err = jetstream.Open(ctx, js, cfg)
	fmt.Println(errors.Is(err, reminder.ErrLost))
	// Output:
	// bank.account/alice interest 1
	// <nil> <nil>
	// true
}

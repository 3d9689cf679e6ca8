package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Two operators change the level of the log. The second one has not seen what the first one did.
func ExampleStore_Put() {
	ctx := context.Background()
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown()
	nc, err := srv.Connect()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		fmt.Println(err)
		return
	}
	bucket, err := natskv.Create(ctx, js, natskv.Config{Cluster: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := settings.Key{Section: settings.LogSection}
	revision, err := bucket.Put(ctx, key, settings.Log{Level: slog.LevelDebug}, 0, "ann")
	fmt.Println(revision, err)
	_, err = bucket.Put(ctx, key, settings.Log{Level: slog.LevelWarn}, 0, "bob")
	fmt.Println(errors.Is(err, natskv.ErrConflict))
	_, err = bucket.Delete(ctx, key, revision, "bob")
	fmt.Println(err)
	history, _ := bucket.History(ctx, key)
	for _, v := range history {
		fmt.Println(v.Revision, v.Author, v.Value, v.Deleted)
	}
	// Output:
	// 1 <nil>
	// true
	// <nil>
	// 1 ann {DEBUG} false
	// 2 bob <nil> true
}

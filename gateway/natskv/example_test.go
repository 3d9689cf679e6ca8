package natskv_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/gateway/natskv"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Two gateways bind the same name. The second one gets the address that the first one has given.
func ExampleOpen() {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown()
	ctx := context.Background()
	for _, address := range []string{"mailer@east", "mailer@west"} {
		nc, err := srv.Connect()
		if err != nil {
			log.Fatal(err)
		}
		defer nc.Close()
		js, err := natsjs.New(nc)
		if err != nil {
			log.Fatal(err)
		}
		binds, err := natskv.Open(ctx, js, natskv.Config{Cluster: "shop", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(binds.Bind(ctx, "order 17", address)) // a gateway does this, with gateway.Config.Bindings
	}
	// Output:
	// mailer@east <nil>
	// mailer@east <nil>
}

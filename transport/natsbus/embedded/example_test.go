package embedded_test

import (
	"fmt"
	"log"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// When this server is restarted, it has the same store and the same port.
func ExampleStart() {
	srv, err := embedded.Start(embedded.Config{}) // a real server has a StoreDir
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown()
	nc, err := srv.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	fmt.Println(nc.ConnectedUrl() == srv.URL(), srv.Port() > 0, srv.Server().JetStreamEnabled())
	// Output: true true true
}

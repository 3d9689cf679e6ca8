package tcp_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Stats says how many connections a listener has refused, and by which limit.
func ExampleTransport_Stats() {
	tr := tcp.New(tcp.Config{Listen: "127.0.0.1:0", MaxConnsPerIP: 256}) // many nodes behind one address
	defer tr.Close()
	local := transport.Local{Cluster: "shop", Node: "b", Epoch: "e1", Logger: slog.New(slog.DiscardHandler)}
	if _, err := tr.Start(context.Background(), local, nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tr.Addr().Network())
	s := tr.Stats()
	fmt.Println(s.Links, s.Accepted, s.RefusedPerIP, s.RefusedPending, s.RefusedConns)
	// Output:
	// tcp
	// 0 0 0 0 0
}

package natsbus_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Connect waits for a server until its ctx ends.
func ExampleConnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := natsbus.Connect(ctx, "nats://127.0.0.1:1")
	fmt.Println(errors.Is(err, natsbus.ErrNotConnected))
	// Output: true
}

// If the key is configured, and not made at start, it can be in a static list of nodes.
func ExampleAddress() {
	key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{7}, 32)) // from a secret file
	if err != nil {
		fmt.Println(err)
		return
	}
	road := natsbus.New(nil, natsbus.Config{Key: key}) // nil stands for a connection
	reg := static.New(registry.Node{Name: "till", Addrs: map[string]string{natsbus.Road: natsbus.Address(key.PublicKey())}})
	n, err := reg.Lookup(context.Background(), "till")
	fmt.Println(n.Addrs[natsbus.Road] == road.Addr(), err)
	// Output: true <nil>
}

// The road has its own counters, in addition to those of the system.
func ExampleTransport_Stats() {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown()
	ctx := context.Background()
	nc, err := natsbus.Connect(ctx, srv.URL())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	road := natsbus.New(nc, natsbus.Config{})
	defer road.Close() // nc stays open, because it belongs to the program
	local := transport.Local{Cluster: "shop", Node: "till", Epoch: "e1", Logger: slog.New(slog.DiscardHandler)}
	addr, err := road.Start(ctx, local, nil)
	fmt.Println(addr == road.Addr(), err)
	st := road.Stats()
	fmt.Println(st.Links, "links,", st.Forged, "forged packets")
	// Output:
	// true <nil>
	// 0 links, 0 forged packets
}

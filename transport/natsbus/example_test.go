package natsbus_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport/natsbus"
)

// Connect waits for a server until its ctx ends.
func ExampleConnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := natsbus.Connect(ctx, "nats://127.0.0.1:1")
	fmt.Println(errors.Is(err, natsbus.ErrNotConnected))
	// Output: true
}

// A key that is given, rather than made at start, can stand in a list of nodes.
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

package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

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

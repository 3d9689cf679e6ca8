package servers_test

import (
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// The only stream of a server is created again as soon as it is deleted, time after time.
func TestRecreate(t *testing.T) {
	js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, time.Minute)
	if _, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := servers.Recreate(ctx, js, "S", nil); err != nil {
			t.Fatal(err)
		}
	}
}

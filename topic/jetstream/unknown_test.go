package jetstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// The connection is cut when the server has stored the message, and before the publisher has the answer.
// If the connection comes back, Publish learns that the message is stored, once; otherwise its verdict is
// Unknown.
func TestAnswerLost(t *testing.T) {
	for _, back := range []bool{true, false} {
		name := map[bool]string{true: "the connection comes back", false: "it does not"}[back]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, embedded.Config{})
			direct := connect(t, server)
			r := servers.Between(t, server)
			sys := system(t, open(t, r.Connect(t), jetstream.Config{}))
			publish(t, sys, "orders.a", 1)

			r.Mute()
			result := make(chan error)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { result <- actor.Publish(ctx, Orders.Bind(sys).At("orders.a"), Order{2}) }()
			for streamOf(t, direct).CachedInfo().State.Msgs < 2 {
				time.Sleep(time.Millisecond)
			}
			r.Cut()
			if back {
				r.Speak()
				ok(t, <-result)
			} else {
				cancel()
				if err := <-result; rpc.Ran(err) != rpc.Unknown || rpc.CodeOf(err) != rpc.Canceled {
					t.Errorf("%v, verdict %v", err, rpc.Ran(err))
				}
				r.Speak()
			}
			if n := streamOf(t, direct).CachedInfo().State.Msgs; n != 2 {
				t.Errorf("%d messages are stored, want 2", n)
			}
			seen := make(chan got, 4)
			spawn(t, sys, "clerk", seen, nil, topic.FromStart())
			want(t, "orders", take(t, seen, 2), upTo(2))
		})
	}
}

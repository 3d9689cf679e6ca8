package jetstream_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// The permissions that package permissions lists are sufficient.
func TestPermissions(t *testing.T) {
	may := permissions.Node{Cluster: "tandem"}.Topics()
	s := start(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: may.Publish},
			Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
		}}}
	}})
	var mu sync.Mutex // guards what follows
	var violations []error
	nc, err := s.Connect(nats.UserInfo("u", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		violations = append(violations, err)
	}))
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	for range 2 { // the second one updates the stream
		sys := system(t, open(t, js, jetstream.Config{}))
		for i, opts := range [][]topic.Option{nil, {topic.Named("billing")}} {
			seen := make(chan got, 4)
			ref := spawn(t, sys, fmt.Sprint("clerk", i), seen, nil, opts...)
			publish(t, sys, "orders.a", 1)
			want(t, "orders", take(t, seen, 1), []int{1})
			_, err := actor.Call(t.Context(), ref, Quit{})
			ok(t, err)
		}
		shutdown(t, sys)
	}
	ok(t, nc.Flush())
	mu.Lock()
	defer mu.Unlock()
	for _, err := range violations {
		t.Error(err)
	}
}

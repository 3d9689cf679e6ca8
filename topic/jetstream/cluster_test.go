package jetstream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// startCluster starts three servers, and returns their configurations and what stops each.
func startCluster(t testing.TB) (cfgs [3]embedded.Config, servers [3]*embedded.Server, urls string) {
	t.Helper()
	var routes, clients []string
	for i := range cfgs {
		client, route := ports.Free(), ports.Free()
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", route))
		clients = append(clients, fmt.Sprintf("nats://127.0.0.1:%d", client))
		cfgs[i] = embedded.Config{Name: fmt.Sprint("n", i), Port: client, StoreDir: t.TempDir(),
			Cluster: &embedded.ClusterConfig{Name: "topics-test", Port: route}}
	}
	for i := range cfgs {
		cfgs[i].Cluster.Routes = routes
		s, err := embedded.Start(cfgs[i])
		ok(t, err)
		servers[i] = s
	}
	return cfgs, servers, strings.Join(clients, ",")
}

// While the stream and the consumers get new leaders, and each server in turn is restarted, what was
// confirmed is stored once, and subscribers lose nothing and get it in order.
func TestLeaderChange(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers")
	}
	t.Parallel()
	cfgs, servers, urls := startCluster(t)
	t.Cleanup(func() {
		for _, s := range servers {
			s.Shutdown()
		}
	})
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	sys := system(t, open(t, js, jetstream.Hasty(jetstream.Config{Replicas: 3, StartWait: time.Minute}, 4*time.Second)))
	named, plain := make(chan got, 4096), make(chan got, 4096)
	spawn(t, sys, "named", named, nil, topic.Named("billing"))
	spawn(t, sys, "plain", plain, nil)

	done, confirmed := make(chan bool), []int(nil)
	over := make(chan bool)
	go func() {
		defer close(over)
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := actor.Publish(ctx, Orders.Bind(sys).At("orders.a"), Order{n})
			cancel()
			if err != nil {
				t.Log(n, err, rpc.Ran(err))
			} else {
				confirmed = append(confirmed, n)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for i := range servers {
		for _, subject := range []string{"$JS.API.STREAM.LEADER.STEPDOWN.tandem_topics"} {
			_, _ = nc.Request(subject, nil, 2*time.Second)
		}
		time.Sleep(300 * time.Millisecond)
		servers[i].Shutdown()
		time.Sleep(300 * time.Millisecond)
		servers[i], err = embedded.Start(cfgs[i])
		ok(t, err)
		time.Sleep(500 * time.Millisecond)
	}
	close(done)
	<-over
	last := confirmed[len(confirmed)-1]
	for _, seen := range []chan got{named, plain} {
		have, at := map[int]int{}, uint64(0)
		for have[last] == 0 {
			g := next(t, seen)
			if g.Position < at {
				t.Errorf("position %d after %d", g.Position, at)
			}
			if g.Position != at {
				have[g.n]++
			}
			at = g.Position
		}
		for _, n := range confirmed {
			if have[n] != 1 {
				t.Errorf("order %d was delivered at %d positions", n, have[n])
			}
		}
	}
	t.Log(len(confirmed), "were confirmed")
}

package actor

import (
	"log/slog"
	"testing"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// What the system's own actors are asked from other nodes, they are asked by requests: a
// one-way message has no principal that a job could belong to.
func TestSystemActorsTakeRequestsAlone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string) *System {
			sys, err := NewSystem(Config{Name: name, Registry: reg, Logger: slog.New(slog.DiscardHandler), Transports: []transport.Transport{net.Transport("one", true)}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
			return sys
		}
		a, b := start("a"), start("b")
		if _, err := b.Spawn("q", QueueKind[int]("numbers", queue.Config{})); err != nil {
			t.Fatal(err)
		}
		dead := b.DeadLetters(t.Context())
		for _, c := range []struct {
			to  string
			msg any
		}{
			{"$jobs@b", submitJob{Target: "q"}},
			{"$jobs@b", cancelJob{ID: "x"}},
			{"q@b", Enqueue[int]{Item: 1}},
			{"q@b", Oversee[int]{Op: OpPurge}},
		} {
			if err := Tell(t.Context(), a.Ref(c.to), c.msg); err != nil {
				t.Fatal(err)
			}
			if d := <-dead; d.Reason != error(errAsked) {
				t.Errorf("%T told to %s: %v", c.msg, c.to, d.Reason)
			}
		}
		if items, err := WaitingItems[int](t.Context(), a.Ref("q@b"), Max(10)); len(items) != 0 || err != nil {
			t.Errorf("the queue has %d items, %v", len(items), err)
		}
	})
}

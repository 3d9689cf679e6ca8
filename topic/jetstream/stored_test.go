package jetstream_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// tally is the state of a stored actor that subscribes to Orders.
type tally struct {
	Sum  int
	Seen []int
}

// summed is answered with what a tally has seen.
type summed struct{ actor.Returns[[]int] }

func (t *tally) Started(ctx *actor.Context) error { return ctx.Subscribe(Orders, topic.FromStart()) }

// A stored actor has handled a message of a durable topic when the effect is stored, and then gets the next one.
func TestStoredSubscriber(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	kind := actor.Define("tally", func() *tally { return new(tally) },
		actor.Handle(func(s *tally, _ *actor.Context, m Order) error {
			s.Sum += m.N
			s.Seen = append(s.Seen, m.N)
			return nil
		}),
		actor.Read(func(s *tally, _ *actor.Context, _ summed) ([]int, error) { return s.Seen, nil })).
		With(actor.Virtual(), actor.Stored(func(s *tally) *tally { return s }))
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler), Topics: open(t, js, jetstream.Config{}), Kinds: []*actor.Kind{kind}, States: memory.New(memory.Config{})})
	ok(t, err)
	t.Cleanup(func() { shutdown(t, sys) })
	publish(t, sys, "orders.eu", 1, 2, 3)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		seen, err := actor.Call(t.Context(), sys.Virtual(kind, "x"), summed{})
		ok(t, err)
		if len(seen) >= 3 {
			if seen[0] != 1 || seen[1] != 2 || seen[2] != 3 || len(seen) > 3 {
				t.Errorf("got %v", seen)
			}
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("got only %v", seen)
		}
	}
}

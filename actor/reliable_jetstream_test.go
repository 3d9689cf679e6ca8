package actor_test

// Durable outboxes in a real JetStream stream.

import (
	"errors"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
)

// A start of a node goes on with what the earlier one has left in NATS. An earlier start that still lives
// can keep nothing any more, and what both send is handled once.
func TestReliableInJetStream(t *testing.T) {
	url := natsURL(t)
	start := func(name string, reg *static.Registry, durable bool) *actor.System {
		nc, err := natsbus.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := natsjs.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		cfg := actor.Config{Name: name, Registry: reg, Logger: quiet, Transports: []transport.Transport{natsbus.New(nc, natsbus.Config{})}}
		if durable {
			cfg.Store = jetstream.New(js, jetstream.Config{Logger: quiet})
			cfg.Outbox.Durable = true
		}
		return newSystem(t, cfg)
	}
	reg := static.New()
	b, book := start("b", reg, false), newBook()
	a := start("a", reg, true)
	write(t, a, "b", 1, 2)
	if err := a.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	a = start("a", reg, true)
	wantOutbox(t, a, 2, 0, 0)
	write(t, a, "b", 3)

	other := static.New() // in which the name is free: only the store tells the two apart
	there, err := reg.Lookup(t.Context(), "b")
	if err == nil {
		err = other.Register(t.Context(), there)
	}
	if err != nil {
		t.Fatal(err)
	}
	second := start("a", other, true)
	wantOutbox(t, second, 3, 0, 0)
	if err := actor.TellReliably(t.Context(), a.Ref("k@b"), Entry{99}); err == nil {
		t.Error("the earlier start has kept a message")
	}
	<-a.Done()
	if !errors.Is(a.Err(), actor.ErrFenced) {
		t.Errorf("the earlier start: %v", a.Err())
	}
	spawn(t, b, "k", book.kind())
	write(t, second, "b", 4)
	for until := time.Now().Add(time.Minute); second.Stats().Outbox.Waiting > 0 && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	book.has(t, upTo(4)...)
	wantOutbox(t, second, 0, 4, 0)
}

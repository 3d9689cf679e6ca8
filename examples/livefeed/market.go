package main

import (
	"iter"
	"sync/atomic"

	"github.com/tandem-go/tandem/actor"
)

// Watch asks for prices, from now on and without an end.
type Watch struct {
	actor.Streams[Price]
	Consumer string
}

// Price is one price, numbered from 1 for each consumer.
type Price struct {
	N     int64
	Cents int64
}

// Types of package main need names to be sent.
func (Watch) WireName() string { return "livefeed.watch" }
func (Price) WireName() string { return "livefeed.price" }

// Market is the state of the actor.
type Market struct {
	opening int64                    // price in cents
	made    map[string]*atomic.Int64 // by consumer; shared, and never changed
}

// MarketKind makes markets that count the prices that they make for each consumer.
func MarketKind(made map[string]*atomic.Int64) *actor.Kind {
	return actor.Define("livefeed.market", func() *Market { return &Market{opening: 10_000, made: made} },
		actor.Produce((*Market).Watch))
}

// Watch runs in the actor's turn, so it may read the actor's state. The sequence that it returns
// runs concurrently with the actor, one for each consumer, as fast as that consumer reads.
func (m *Market) Watch(_ *actor.Context, w Watch) (iter.Seq2[Price, error], error) {
	price, made := m.opening, m.made[w.Consumer]
	return func(yield func(Price, error) bool) {
		for n := int64(1); ; n++ {
			price += n%7 - 3
			made.Add(1)
			if !yield(Price{n, price}, nil) {
				return
			}
		}
	}, nil
}

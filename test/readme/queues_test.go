// What the README says of queues and streams, run.
package main_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

type Page struct{ URL string }

func (Page) WireName() string { return "readme.Page" }

var PagesKind = actor.QueueKind[Page]("pages", queue.Config{Lease: time.Minute})

// work fetches pages until ctx ends. Those of a worker that dies are handed out again
// when their lease is over.
func work(ctx context.Context, pages actor.Ref, fetch func(Page) error) error {
	for {
		batch, err := actor.Pull[Page](ctx, pages, actor.Max(16))
		if err != nil {
			return err
		}
		for _, d := range batch {
			if fetch(d.Message) == nil {
				err = d.Ack(ctx)
			} else {
				err = d.Nack(ctx, time.Second) // again, a second from now
			}
			if err != nil {
				return err
			}
		}
	}
}

type Prices struct{ actor.Streams[int64] } // a message that is answered with a stream
type Market struct{ prices []int64 }

func (m *Market) Prices(ctx *actor.Context, _ Prices) (iter.Seq2[int64, error], error) {
	prices := slices.Clone(m.prices) // the stream is produced beside the actor
	return func(yield func(int64, error) bool) {
		for _, p := range prices {
			if !yield(p, nil) {
				return // the reader has left
			}
		}
	}, nil
}

var MarketKind = actor.Define("market", func() *Market { return &Market{prices: []int64{3, 1, 2}} },
	actor.Produce((*Market).Prices))

func sum(ctx context.Context, market actor.Ref) (total int64, err error) {
	for price, err := range actor.Stream(ctx, market, Prices{}) {
		if err != nil {
			return 0, err
		}
		total += price
	}
	return total, nil
}

func (Prices) WireName() string { return "readme.Prices" }

func TestQueuesAndStreams(t *testing.T) {
	shop, office := two(t)
	if _, err := office.Spawn("pages", PagesKind); err != nil {
		t.Fatal(err)
	}
	if _, err := office.Spawn("market", MarketKind); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pages := shop.Ref("pages@office")
	for _, url := range []string{"a", "b", "a"} {
		if err := actor.Push(ctx, pages, Page{url}, actor.PushID(url)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	failed := false
	err := work(ctx, pages, func(p Page) error {
		if p.URL == "b" && !failed {
			failed = true
			return errors.New("try again")
		}
		got = append(got, p.URL)
		if len(got) == 2 {
			cancel()
		}
		return nil
	})
	if !slices.Equal(got, []string{"a", "b"}) || !failed || rpc.CodeOf(err) != rpc.Canceled {
		t.Errorf("fetched %v: %v", got, err)
	}
	if n, err := sum(t.Context(), shop.Ref("market@office")); n != 6 || err != nil {
		t.Errorf("the stream: %d, %v", n, err)
	}
}

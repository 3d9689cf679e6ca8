package actor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
)

// ballast is a one-way message.
type ballast struct{ Data [64]byte }

// BenchmarkTellOrder sends one-way messages, as a pointer, from one and from eight goroutines to an
// actor with the usual mailbox, and with each of the orders. An operation is a message, from Tell to
// the end of its handler.
func BenchmarkTellOrder(b *testing.B) {
	for _, order := range []struct {
		name    string
		classes []actor.KindOption
		fair    bool
	}{
		{"none", nil, false},
		{"classes", []actor.KindOption{actor.PriorityOf[*ballast](mailbox.High)}, false},
		{"fair", nil, true},
	} {
		for _, senders := range []int{1, 8} {
			b.Run(fmt.Sprint(order.name, "/", senders), func(b *testing.B) {
				var left sync.WaitGroup
				kind := actor.Define("test.sink", func() *sync.WaitGroup { return &left },
					actor.Handle(func(left *sync.WaitGroup, _ *actor.Context, _ *ballast) error { left.Done(); return nil })).With(order.classes...)
				sys := newSystem(b, actor.Config{Logger: quiet})
				ref := spawn(b, sys, "x", kind, actor.Mailbox(mailbox.Config{Fair: order.fair}))
				left.Add(b.N)
				b.ReportAllocs()
				b.ResetTimer()
				for s := range senders {
					go func() {
						m := new(ballast)
						for n := s; n < b.N; n += senders {
							if err := actor.Tell(context.Background(), ref, m); err != nil {
								b.Error(err)
							}
						}
					}()
				}
				left.Wait()
			})
		}
	}
}

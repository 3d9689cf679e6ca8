package actor

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// Items that other nodes have pushed into a queue in memory count in the account of memory
// until they are done. Dead letters count, too. Beyond the share of a principal, a Push is
// refused and did not run, while consumers are still served. All bytes are released: when
// items are done and their ids forgotten, and when the queue ends or is restarted.
func TestItemsOfQueuesCount(t *testing.T) {
	pushes := func(t *testing.T, q Ref) (n int) {
		t.Helper()
		for ; ; n++ {
			if err := Push(t.Context(), q, weight{make([]byte, wideItem)}, PushID(fmt.Sprint(n))); err != nil {
				if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
					t.Error(err)
				}
				break
			}
		}
		time.Sleep(time.Second)
		if most := (5 << 19) / wideItem; n < most-3 || n > most {
			t.Errorf("%d items were taken, want about %d", n, most)
		}
		return n
	}
	for _, c := range []struct {
		name string
		cfg  queue.Config
		end  func(t *testing.T, a, b *System, q, local Ref, n int)
	}{
		{"done", queue.Config{}, func(t *testing.T, _, b *System, q, _ Ref, n int) {
			for range n {
				got, err := Pull[weight](t.Context(), q)
				if err != nil || len(got) != 1 || len(got[0].Message.Pad) != wideItem {
					t.Fatal(len(got), err)
				}
				if err := got[0].Ack(t.Context()); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(10 * time.Second)
			if got, want := b.held(), int64(n*pastSize); got < want || got > want+int64(n*8) {
				t.Errorf("%d bytes are held for the ids of what is done, want %d", got, want)
			}
			if err := Push(t.Context(), q, weight{}, PushID("1")); err != nil { // a duplicate
				t.Error(err)
			}
		}},
		{"purged", queue.Config{}, func(t *testing.T, _, _ *System, q, _ Ref, n int) {
			if purged, err := PurgeQueue[weight](t.Context(), q); err != nil || purged != n {
				t.Error(purged, err)
			}
		}},
		{"dead", queue.Config{Attempts: 1}, func(t *testing.T, _, b *System, q, _ Ref, n int) {
			for range n {
				got, err := Pull[weight](t.Context(), q)
				if err != nil || len(got) != 1 {
					t.Fatal(err)
				}
				if err := got[0].Nack(t.Context(), 0); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(10 * time.Second)
			if got := b.held(); got < int64(n*wideItem) {
				t.Errorf("%d bytes are held for %d dead letters", got, n)
			}
			for range n {
				dead, err := DeadItems[weight](t.Context(), q)
				if err != nil || len(dead) != 1 {
					t.Fatal(err)
				}
				if err := dead[0].Discard(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}},
		{"pushed out", queue.Config{Capacity: 3, Policy: queue.DropOldest}, nil},
		{"stopped", queue.Config{}, func(_ *testing.T, _, b *System, _, local Ref, _ int) { Halt(b, local) }},
		{"panicked", queue.Config{}, func(t *testing.T, a, _ *System, q, _ Ref, _ int) {
			if _, err := Ask(t.Context(), q, weigh{}).Await(t.Context()); rpc.CodeOf(err) != rpc.Panicked {
				t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			weighed(t, func(t *testing.T, a, b *System, _ *Kind, _ chan struct{}) {
				self := func(o *Offer[weight]) *Offer[weight] { return o }
				local, err := b.Spawn("q", Define("test.weighed.queue", func() *Offer[weight] { return NewOffer[weight](c.cfg) }, ServePull(self), ServePush(self),
					Answer(func(*Offer[weight], *Context, weigh) (int, error) { panic("anew") })))
				if err != nil {
					t.Fatal(err)
				}
				if c.end == nil {
					for range 10 {
						if err := Push(t.Context(), a.Ref("q@b"), weight{make([]byte, wideItem)}); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Second)
					}
					if n := b.held(); n < 3*wideItem || n > 4*wideItem {
						t.Errorf("%d bytes are held for three items", n)
					}
					Halt(b, local)
				} else {
					c.end(t, a, b, a.Ref("q@b"), local, pushes(t, a.Ref("q@b")))
				}
				time.Sleep(5 * time.Minute)
				if n := b.held(); n != 0 {
					t.Errorf("%d bytes are held when all is over", n)
				}
			})
		})
	}
}

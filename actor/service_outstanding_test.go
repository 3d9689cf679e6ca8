package actor_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// However a request to a service ends, the picker learns that it has ended.
func TestNothingStaysOutstanding(t *testing.T) {
	withCrew(t, func(t *testing.T, c *crew) {
		step := make(chan string, 1000)
		kind := actor.Define("test.all", func() Renderer { return Renderer{step} }, actor.Answer(Renderer.Render),
			actor.Handle(func(Renderer, *actor.Context, Deposit) error { return nil }),
			actor.Produce(func(_ Renderer, _ *actor.Context, m Items) (iter.Seq2[Item, error], error) {
				return func(yield func(Item, error) bool) {
					for i := 0; yield(Item{N: i}, nil); i++ {
					}
				}, nil
			}))
		for i, sys := range append(c.nodes, c.client) {
			spawn(t, sys, fmt.Sprint("all", i), kind, actor.Expose("all"), small(2, mailbox.Refuse))
		}
		synctest.Wait()
		svc := c.client.Service("all")
		once := rpc.WithRetry(rpc.Retry{Attempts: 1})
		under := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if n, instances := actor.Outstanding(c.client, "all"); n != want || instances != 5 {
				t.Errorf("%s: %d under way at %d instances, want %d", what, n, instances, want)
			}
		}
		for range 20 {
			step <- "!"
			if _, err := actor.Call(t.Context(), svc, Render{}); err != nil {
				t.Fatal(err)
			}
		}
		under("calls", 0)
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
			_, err := actor.Call(ctx, svc, Render{}, once)
			if err == nil {
				t.Error("nobody answered")
			}
			cancel()
		}
		under("calls that ended with their contexts", 0)
		time.Sleep(time.Minute)
		for i := range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*100*time.Microsecond)
			f := actor.Ask(ctx, svc, Render{}) // some are refused
			if i%2 == 0 {
				f.Cancel()
			}
			time.Sleep(time.Duration(i%3) * time.Millisecond)
			cancel()
		}
		time.Sleep(time.Minute)
		under("asks that were cancelled, refused, or ended with their contexts", 0)
		for range 20 {
			if err := actor.Tell(t.Context(), svc, Deposit{}); err != nil {
				t.Error(err)
			}
			if err := actor.Tell(t.Context(), svc, Deposit{}, rpc.Acked()); err != nil {
				t.Error(err)
			}
			wantErr(t, "a key", actor.Tell(t.Context(), svc, Deposit{}, rpc.Acked(), rpc.Key("k")), rpc.Invalid, rpc.NotRun)
			time.Sleep(time.Millisecond)
		}
		under("tells", 0)
		for range 5 {
			token, err := actor.Submit(t.Context(), svc, Render{})
			if err != nil {
				t.Fatal(err)
			}
			step <- "!"
			if _, err := token.Await(t.Context()); err != nil {
				t.Error(err)
			}
		}
		under("jobs", 0)
		var ends []func()
		for range 5 {
			next, stop := iter.Pull2(actor.Stream(t.Context(), svc, Items{}))
			if _, err, ok := next(); err != nil || !ok {
				t.Fatal(err)
			}
			ends = append(ends, stop)
		}
		under("streams that are open", 5)
		for _, end := range ends {
			end()
		}
		time.Sleep(time.Minute)
		under("streams that were left", 0)
		for _, sys := range c.nodes {
			actor.Halt(sys, sys.Ref("all0")) // one of the instances
		}
		c.net.Partition("", "s1", "")
		for range 20 {
			_ = actor.Tell(t.Context(), svc, Deposit{})
			step <- "!"
			_, _ = actor.Call(t.Context(), svc, Render{})
		}
		time.Sleep(time.Minute)
		if n, instances := actor.Outstanding(c.client, "all"); n != 0 || instances != 4 {
			t.Errorf("after failures: %d under way at %d instances", n, instances)
		}
	})
}

// Items asks for a stream without end.
type Items struct{ actor.Streams[Item] }

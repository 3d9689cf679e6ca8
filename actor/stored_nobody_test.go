package actor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	statemem "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// While no node hosts a stored kind, because all of them have died, requests wait, those that may have run as well as
// new ones; and each of them has its effect once.
func TestStoredWithoutHosts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const callers = 6
		net, first, claims := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New()
		store := &slowStates{Store: statemem.New(statemem.Config{}), rand: rand.New(rand.NewPCG(1, 1))}
		reg := map[string]leases{"host": first.view(), "caller": first.view()}
		start := func(name string, kinds ...*actor.Kind) *actor.System {
			s, err := actor.NewSystem(actor.Config{Name: name, Registry: reg[name], Claims: claims, States: store, Kinds: kinds, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true)}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		caller, host := start("caller"), start("host", ledgerKind)
		var all sync.WaitGroup
		over := make(chan struct{})
		var mu sync.Mutex
		var names []string
		for i := range callers {
			all.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-over:
						return
					case <-time.After(3 * time.Millisecond):
					}
					name := fmt.Sprint(i, ".", n)
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					m := transfer{Name: name, To: caller.Virtual(ledgerKind, "bob"), Amount: 1}
					if _, err := actor.Call(ctx, caller.Virtual(ledgerKind, "alice"), m, rpc.WithRetry(rpc.Retry{Attempts: 1000})); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					cancel()
					mu.Lock()
					names = append(names, name)
					mu.Unlock()
				}
			})
		}
		for range 4 {
			time.Sleep(time.Second)
			reg["host"].cut.off() // it dies: nobody hears of it any more
			net.Partition("direct", "host", "caller")
			store.cut(true)
			gone, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = host.Shutdown(gone)
			cancel()
			time.Sleep(2 * leaseTime)
			reg["host"].cut.on()
			net.Heal("direct", "host", "caller")
			store.cut(false)
			host = start("host", ledgerKind)
		}
		time.Sleep(10 * time.Second)
		close(over)
		all.Wait()
		time.Sleep(10 * leaseTime)
		alice, err := actor.Call(t.Context(), caller.Virtual(ledgerKind, "alice"), audit{})
		if err != nil {
			t.Fatal(err)
		}
		bob, err := actor.Call(t.Context(), caller.Virtual(ledgerKind, "bob"), audit{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if alice.Gave[name] != 1 || bob.Got[name] != 1 {
				t.Errorf("transfer %s has had its effect %d times, and arrived %d times", name, alice.Gave[name], bob.Got[name])
			}
		}
		if len(names) < 100 {
			t.Errorf("only %d transfers", len(names))
		}
		t.Log(len(names), "transfers")
		_ = host.Shutdown(t.Context())
		_ = caller.Shutdown(t.Context())
	})
}

package actor_test

import (
	"context"
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

// A request to a stored actor whose node has been stopped is answered by another node within a second of the end of the
// node's lease, at whatever moment the caller's node has begun to dial the one that does not answer.
func TestStoredHolderStopped(t *testing.T) {
	for after := 100 * time.Millisecond; after < leaseTime/3; after += 700 * time.Millisecond {
		bubble.Test(t, func(t *testing.T) {
			net, first, claims, store := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New(), statemem.New(statemem.Config{})
			start := func(name string, kinds ...*actor.Kind) (*actor.System, leases) {
				view := first.view()
				return newSystem(t, actor.Config{Name: name, Registry: view, Claims: claims, States: store, Kinds: kinds, Logger: quiet,
					Transports: []transport.Transport{net.Transport("direct", true), net.Transport("bus", false)}}), view
			}
			_, holder := start("holder", ledgerKind)
			caller, _ := start("caller")
			ask := func(name string) error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := actor.Call(ctx, caller.Virtual(ledgerKind, "alice"), transfer{Name: name, To: caller.Virtual(ledgerKind, "bob"), Amount: 1},
					rpc.WithRetry(rpc.Retry{Attempts: 1000, MaxPause: 200 * time.Millisecond}))
				return err
			}
			if err := ask("before"); err != nil {
				t.Fatal(err)
			}
			start("heir", ledgerKind)
			time.Sleep(leaseTime + after) // after the latest renewal
			holder.cut.off()
			for _, road := range []string{"direct", "bus"} {
				net.Partition(road, "holder", "caller")
				net.Partition(road, "holder", "heir")
			}
			stopped := time.Now()
			if err := ask("after"); err != nil {
				t.Fatal(err)
			}
			if took, left := time.Since(stopped), leaseTime-after; took > left+time.Second {
				t.Errorf("the answer came %v after the stop, when %v of the lease were left", took, left)
			}
			holder.cut.on()
		})
	}
}

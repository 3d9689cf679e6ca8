package actor_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	statemem "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A request to a stored actor whose node has been stopped, or has died unseen, is answered by another node as soon as the
// node's lease is over, at whatever moment the caller's node has begun to dial the one that does not answer.
func TestStoredHolderStopped(t *testing.T) {
	for _, dead := range []bool{false, true} {
		for after := 100 * time.Millisecond; after < leaseTime/3; after += 700 * time.Millisecond {
			bubble.Test(t, func(t *testing.T) {
				net, first, claims, store := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New(), statemem.New(statemem.Config{})
				roads := []string{"direct", "bus"}
				config := func(name string, reg leases, kinds ...*actor.Kind) actor.Config {
					return actor.Config{Name: name, Registry: reg, Claims: claims, States: store, Kinds: kinds, Logger: quiet,
						Transports: []transport.Transport{net.Transport(roads[0], true), net.Transport(roads[1], false)}}
				}
				lease := first.view()
				holder, err := actor.NewSystem(config("holder", lease, ledgerKind))
				if err != nil {
					t.Fatal(err)
				}
				caller := newSystem(t, config("caller", first.view()))
				ask := func(name string) error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					_, err := actor.Call(ctx, caller.Virtual(ledgerKind, "alice"), transfer{Name: name, To: caller.Virtual(ledgerKind, "bob"), Amount: 1})
					return err
				}
				if err := ask("before"); err != nil {
					t.Fatal(err)
				}
				newSystem(t, config("heir", first.view(), ledgerKind))
				time.Sleep(leaseTime + after) // after the latest renewal
				lease.cut.off()
				for _, road := range roads { // connections to one that is stopped are taken, and get no answer
					net.Partition(road, "holder", "caller")
					net.Partition(road, "holder", "heir")
				}
				stopped := time.Now()
				over, cancel := context.WithCancel(t.Context())
				cancel()
				if dead { // connections to one that has died are refused
					_ = holder.Shutdown(over)
					for _, road := range roads {
						net.Heal(road, "holder", "caller")
						net.Heal(road, "holder", "heir")
					}
				}
				if err := ask("after"); err != nil {
					t.Fatal(err)
				}
				if took, left := time.Since(stopped), leaseTime-after; took > left+100*time.Millisecond {
					t.Errorf("dead: %v; the answer came %v after the stop, when %v of the lease were left", dead, took, left)
				}
				lease.cut.on()
				_ = holder.Shutdown(over)
			})
		}
	}
}

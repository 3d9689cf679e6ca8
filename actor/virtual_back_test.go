package actor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	statemem "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// dwell is counted after a while.
type dwell struct {
	actor.Returns[int]
	For time.Duration
}

type dweller struct{ N int }

func (d *dweller) Dwell(_ *actor.Context, m dwell) (int, error) {
	time.Sleep(m.For)
	d.N++
	return d.N, nil
}

var (
	dwellerKind = actor.Define("virtual.dweller", func() *dweller { return new(dweller) }, actor.Answer((*dweller).Dwell)).With(actor.Virtual())
	lodgerKind  = actor.Define("stored.dweller", func() *dweller { return new(dweller) }, actor.Answer((*dweller).Dwell)).
			With(actor.Virtual(), actor.Stored(func(d *dweller) *dweller { return d }))
)

// A node dies while it runs requests to virtual actors, and is back at once. Nothing is recorded of these where it keeps
// records of other requests, so the next start can say that it does not know, and need not wait until all its actors are
// there: a request to a stored actor is made again and answered, and others learn at once that nobody knows.
func TestVirtualHolderBackAtOnce(t *testing.T) {
	for _, records := range []bool{false, true} {
		t.Run(fmt.Sprint("records: ", records), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				net, first, claims, states := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New(), statemem.New(statemem.Config{})
				config := func(name string, reg leases, kinds ...*actor.Kind) actor.Config {
					cfg := actor.Config{Name: name, Registry: reg, Claims: claims, States: states, Kinds: kinds, Logger: quiet,
						Transports: []transport.Transport{net.Transport("direct", true)}}
					if records {
						cfg.Store = new(storetest.Memory)
					}
					return cfg
				}
				lease := first.view()
				holder, err := actor.NewSystem(config("holder", lease, dwellerKind, lodgerKind))
				if err != nil {
					t.Fatal(err)
				}
				caller := newSystem(t, config("caller", first.view()))
				type outcome struct {
					n    int
					err  error
					took time.Duration
				}
				var died time.Time
				ask := func(kind *actor.Kind, m dwell) chan outcome {
					got := make(chan outcome, 1)
					go func() {
						n, err := actor.Call(t.Context(), caller.Virtual(kind, "x"), m)
						got <- outcome{n, err, time.Since(died)}
					}()
					return got
				}
				for _, kind := range []*actor.Kind{dwellerKind, lodgerKind} {
					if o := <-ask(kind, dwell{}); o.n != 1 || o.err != nil {
						t.Fatal(o)
					}
				}
				plain, stored := ask(dwellerKind, dwell{For: 2 * time.Second}), ask(lodgerKind, dwell{For: 2 * time.Second})
				time.Sleep(time.Second)
				lease.cut.off()
				net.Partition("direct", "holder", "caller")
				died = time.Now()
				over, cancel := context.WithCancel(t.Context())
				cancel()
				_ = holder.Shutdown(over)
				if err := first.Evict(t.Context(), "holder", holder.Epoch()); err != nil { // the supervisor of the process knows
					t.Fatal(err)
				}
				net.Heal("direct", "holder", "caller")
				newSystem(t, config("holder", first.view(), dwellerKind, lodgerKind))
				if o := <-stored; o.n != 2 || o.err != nil || o.took > 5*time.Second {
					t.Errorf("a stored actor: %+v", o)
				}
				if o := <-plain; rpc.Ran(o.err) != rpc.Unknown || rpc.CodeOf(o.err) != rpc.OutcomeUnknown || o.took > 3*time.Second {
					t.Errorf("another virtual actor: %+v", o)
				}
				lease.cut.on()
			})
		})
	}
}

package rpc

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// However many requests wait for a link when their session is lost, each of them ends:
// with its reply, if the server comes back, and by its deadline if it does not.
func TestAllEndWhenTheirSessionIsLost(t *testing.T) {
	for _, back := range []bool{true, false} {
		for _, n := range []int{span, span + 1, 3 * span} {
			t.Run(fmt.Sprint(n, back), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					a := r.start("a", "a1", twoRoads)
					b := r.start("b", "b1", twoRoads)
					a.echoes("b", "first")
					b.crash(false)
					r.net.Partition("", "b", "") // so that they wait
					began := time.Now()
					futures := make([]*Future[string], n)
					for i := range futures {
						futures[i], _ = a.send(request("b", fmt.Sprint(i), patience))
					}
					if back {
						time.Sleep(time.Second)
						r.net.Heal("", "b", "")
						r.start("b", "b2", twoRoads)
					} else {
						r.mu.Lock()
						r.places["b"] = Place{Epoch: "b2", Addrs: r.places["b"].Addrs} // it is where nobody answers
						r.mu.Unlock()
						r.net.Heal("", "b", "")
					}
					for i, f := range futures {
						got, err := f.Await(context.Background())
						if took := time.Since(began); took > patience {
							t.Fatalf("request %d ended after %v", i, took)
						}
						if back && (err != nil || got != fmt.Sprint(i)) {
							t.Fatalf("request %d: %q, %v", i, got, err)
						}
						if !back && Ran(err) != NotRun {
							t.Fatalf("request %d: %q, %v", i, got, err)
						}
					}
				})
			})
		}
	}
}

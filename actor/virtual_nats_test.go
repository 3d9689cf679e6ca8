package actor_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claims "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
)

// startOnNATS starts a node that hosts a kind, or else counters, with what users run: registry and claims in NATS, traffic over TCP.
func startOnNATS(t *testing.T, url, name string, kinds ...*actor.Kind) *actor.System {
	t.Helper()
	if kinds == nil {
		kinds = []*actor.Kind{counterKind}
	}
	nc, err := natsbus.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := natskv.New(t.Context(), js, natskv.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	held, err := claims.Open(t.Context(), js, claims.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return newSystem(t, actor.Config{Name: name, Registry: reg, Claims: held, Kinds: kinds, Logger: quiet,
		Transports: []transport.Transport{overTCP()}, Tokens: 1 << 12}) // a node that has most of the actors keeps the results of that many jobs
}

// With everything real, three nodes reach the same 200 actors by all verbs, also when one of them has left, and
// when it has come back. An actor whose node stays keeps its state.
func TestVirtualOnNATS(t *testing.T) {
	const ids = 200
	url := natsURL(t)
	sys := map[string]*actor.System{}
	for _, name := range []string{"a", "b", "c"} {
		sys[name] = startOnNATS(t, url, name)
	}
	bumps, at := make([]int, ids), make([]string, ids)
	// round uses all actors by all verbs from all nodes, and checks that each is at one node, with all that it was told there.
	round := func(what string) {
		t.Helper()
		var all sync.WaitGroup
		for id := range ids {
			all.Go(func() {
				name, place := fmt.Sprint("n", id), ""
				for from, s := range sys {
					ref := s.Virtual(counterKind, name)
					node, err := actor.Call(t.Context(), ref, where{})
					if place == "" {
						place = node
					}
					if err != nil || node != place {
						t.Errorf("%s: %s from %s: on %q, and on %q before, %v", what, name, from, node, place, err)
						return
					}
					if place != at[id] { // it is a new activation
						at[id], bumps[id] = place, 0
					}
					for _, opts := range [][]rpc.Option{nil, {rpc.Acked()}} {
						if err := actor.Tell(t.Context(), ref, bump{}, opts...); err != nil {
							t.Errorf("%s: a message to %s from %s: %v", what, name, from, err)
						}
						bumps[id]++
					}
					if n, err := actor.Ask(t.Context(), ref, total{}).Await(t.Context()); n != bumps[id] || err != nil {
						t.Errorf("%s: %s has counted %d of %d for %s, %v", what, name, n, bumps[id], from, err)
					}
					tok, err := actor.Submit(t.Context(), ref, where{})
					if err == nil {
						node, err = tok.Await(t.Context())
					}
					if node != place || err != nil {
						t.Errorf("%s: a job of %s from %s: on %q, %v", what, name, from, node, err)
					}
				}
			})
		}
		all.Wait()
	}
	count := func() map[string]int {
		n := map[string]int{}
		for _, node := range at {
			n[node]++
		}
		return n
	}
	round("all are there")
	if n := count(); len(n) != 3 {
		t.Errorf("they are at %v", n)
	}
	began := time.Now()
	before := append([]string(nil), at...)
	if err := sys["b"].Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	delete(sys, "b")
	round("b has left")
	for id, node := range at {
		if node == "b" || before[id] != "b" && node != before[id] {
			t.Errorf("n%d was on %s, and is on %s", id, before[id], node)
		}
	}
	sys["b"] = startOnNATS(t, url, "b")
	copy(before, at)
	round("b is back")
	for id, node := range at {
		if node != before[id] {
			t.Errorf("n%d has moved from %s to %s", id, before[id], node)
		}
	}
	t.Logf("a leave and a comeback in %v", time.Since(began))
	total := uint64(0)
	for _, s := range sys {
		total += s.Stats().Virtual.Begun
	}
	if total < ids {
		t.Errorf("%d activations", total)
	}
}

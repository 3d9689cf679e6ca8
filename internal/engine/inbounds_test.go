package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The memory of a request is reused only after its client has acked it and its handler is done
// with it, in either order.
func TestReuseOfRequests(t *testing.T) {
	for _, freedFirst := range []bool{true, false} {
		withRig(t, func(t *testing.T, r *rig) {
			b := r.start("b", "b1", direct)
			var first, latest atomic.Pointer[server.Inbound]
			b.serve = func(in *server.Inbound) {
				first.CompareAndSwap(nil, in)
				latest.Store(in)
				echo(in)
			}
			c := r.dialRaw("c", "direct", "b")
			grant, seq := c.open(t, 1), uint64(0)
			ask := func() {
				seq++
				one(t, c.say(t, requestIn(grant, seq, "x")))
			}
			spare := func() bool { // reports whether the next request has the same memory
				ask()
				return latest.Load() == first.Load()
			}
			free := func() { first.Load().Free() }
			ack := func() {
				c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 2}})
			}
			ask()
			steps := []func(){ack, free}
			if freedFirst {
				slices.Reverse(steps)
			}
			steps[0]()
			if spare() {
				t.Errorf("freed first: %v: used again after one of two", freedFirst)
				return
			}
			steps[1]()
			if !spare() {
				t.Errorf("freed first: %v: not used again after both", freedFirst)
			}
		})
	}
}

// If an ack comes on one road while a copy of the request is answered on another, the memory of
// the outcome is not reused in the meantime.
func TestReplayBesideItsAck(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", twoRoads)
		b.instead = answersAtOnce{}
		var grant transport.Grant
		var roads []*conn
		for _, road := range []string{"direct", "bus"} {
			c := r.dialRaw("c", road, "b")
			grant = one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: grant})).Grant
		}
		for _, road := range []string{"direct", "bus"} {
			for _, k := range b.liveConns() {
				if k.Road() == road {
					roads = append(roads, k)
				}
			}
		}
		for seq := uint64(1); seq <= 2000; seq++ {
			request := requestIn(grant, seq, "x")
			roads[0].Receive(&request)
			copied, probe := requestIn(grant, seq, "x"), transport.Envelope{Verb: transport.VerbProbe, Grant: grant, Seq: seq}
			ack := transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: seq + 1}}
			var both sync.WaitGroup
			both.Go(func() {
				roads[0].Receive(&copied)
				roads[0].Receive(&probe)
			})
			both.Go(func() { roads[1].Receive(&ack) })
			both.Wait()
		}
	})
}

// answersAtOnce answers requests in their links' readers, and is done with them at once.
type answersAtOnce struct{}

func (answersAtOnce) HandleRequest(in *server.Inbound) {
	in.Start()
	in.Reply(1, 1, in.Body())
	in.Free()
}
func (answersAtOnce) HandleTells([]*server.Inbound)           {}
func (answersAtOnce) LoseTells([]*server.Inbound, *rpc.Error) {}
func (answersAtOnce) Durability(string) server.Durability     { return server.Durability{} }

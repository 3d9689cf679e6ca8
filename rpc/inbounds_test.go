package rpc

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// The memory of a request serves another one when its client has acked it and its handler
// is through with it, whichever comes first, and not before.
func TestReuseOfRequests(t *testing.T) {
	for _, freedFirst := range []bool{true, false} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
			var first atomic.Pointer[Inbound]
			b.serve = func(in *Inbound) {
				first.CompareAndSwap(nil, in)
				echo(in)
			}
			spare := func() bool {
				synctest.Wait()
				for _, s := range b.sessions {
					s.mu.Lock()
					defer s.mu.Unlock()
					return slices.Contains(s.stock, first.Load())
				}
				return false
			}
			free := func() { first.Load().Free() }
			ack := func() { time.Sleep(2 * ackIdle) }
			a.echoes("b", "x")
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

// An ack that comes on one road while a copy of the request is answered on another does
// not take the outcome's memory away meanwhile.
func TestReplayBesideItsAck(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", twoRoads)
		b.cfg.Handler = answersAtOnce{}
		var grant transport.Grant
		var roads []*conn
		for _, road := range []string{"direct", "bus"} {
			c := r.dialRaw("c", road, "b")
			grant = one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: grant})).Grant
		}
		for _, road := range []string{"direct", "bus"} {
			for _, k := range b.liveConns() {
				if k.link.Road() == road {
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

// answersAtOnce handles requests in their links' readers, and is through with them then.
type answersAtOnce struct{}

func (answersAtOnce) HandleRequest(in *Inbound) {
	in.Start()
	in.Reply(1, 1, in.Body())
	in.Free()
}
func (answersAtOnce) HandleTells([]*Inbound)       {}
func (answersAtOnce) LoseTells([]*Inbound, *Error) {}
func (answersAtOnce) Durability(string) Durability { return Durability{} }

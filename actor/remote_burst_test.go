package actor_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// Numbered is a one-way message of a burst.
type Numbered struct{ N int }

func (Numbered) WireName() string { return "test.Numbered" }

// gate is an actor that handles its first message only when the test says so.
type gate struct {
	open   chan struct{}
	got    []int
	stopAt int
}

func (g *gate) take(ctx *actor.Context, m Numbered) error {
	<-g.open
	g.got = append(g.got, m.N)
	if m.N == g.stopAt {
		ctx.Stop()
	}
	return nil
}

// A burst is larger than the mailbox. Every message is handled or becomes a dead letter, and
// the handled ones keep their order.
func TestBurstsBeyondTheMailbox(t *testing.T) {
	const burst = 300
	for _, policy := range []mailbox.Policy{mailbox.Block, mailbox.Refuse, mailbox.DropNewest, mailbox.DropOldest} {
		for _, plugged := range []bool{true, false} {
			t.Run(policy.String(), func(t *testing.T) {
				eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
					g := &gate{open: make(chan struct{})}
					if !plugged {
						close(g.open)
					}
					kind := actor.Define("test.gate", func() *gate { return g }, actor.Handle((*gate).take))
					spawn(t, b, "x", kind, small(20, policy))
					for n := range burst {
						if err := actor.Tell(t.Context(), a.Ref("x@b"), Numbered{n + 1}); err != nil {
							t.Fatal(err)
						}
						if n == 0 {
							synctest.Wait() // until it is out of the mailbox
						}
					}
					synctest.Wait()
					if plugged {
						close(g.open)
					}
					synctest.Wait()
					if dead := b.Stats().DeadLetters; len(g.got)+int(dead) != burst {
						t.Errorf("%d handled, %d dead letters, %d sent", len(g.got), dead, burst)
					}
					if !slices.IsSorted(g.got) || len(slices.Compact(slices.Clone(g.got))) != len(g.got) {
						t.Errorf("order: %v", g.got)
					}
					if plugged {
						handled, last := 21, 21
						switch policy {
						case mailbox.Block: // it is bounded by the sender's credit
							handled, last = burst, burst
						case mailbox.DropOldest:
							last = burst
						}
						if n := len(g.got); n != handled || g.got[n-1] != last {
							t.Errorf("handled %v; want %d up to %d", g.got, handled, last)
						}
					}
				})
			})
		}
	}
}

// If an actor stops while another node sends to it, every message is handled or becomes a
// dead letter.
func TestStopAmongTells(t *testing.T) {
	const burst = 1000
	for _, at := range []int{1, 15, 64, 500, burst} {
		eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
			g := &gate{open: make(chan struct{}), stopAt: at}
			close(g.open)
			kind := actor.Define("test.gate", func() *gate { return g }, actor.Handle((*gate).take))
			spawn(t, b, "x", kind)
			sent := 0
			for n := range burst {
				if err := actor.Tell(t.Context(), a.Ref("x@b"), Numbered{n + 1}); err != nil {
					if rpc.Ran(err) != rpc.NotRun {
						t.Fatal(err)
					}
					continue
				}
				sent++
			}
			synctest.Wait()
			if dead := b.Stats().DeadLetters; len(g.got) != at || len(g.got)+int(dead) != sent {
				t.Errorf("stopped at %d: %d handled, %d dead letters, %d sent", at, len(g.got), dead, sent)
			}
		})
	}
}

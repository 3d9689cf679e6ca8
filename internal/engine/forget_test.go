package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

func (n *Node) known() int { return len(n.Client.View()) + n.Server.View().Clients }

// Names of peers that come and go are forgotten. A peer that only sent requests is forgotten
// with its sessions and links; one that received requests, a lease after its last word.
func TestNamesAreForgotten(t *testing.T) {
	const many = 300
	for _, principal := range []string{transport.Anonymous, "tls:mallory"} {
		withRig(t, func(t *testing.T, r *rig) {
			b := r.start("b", "b1", bus)
			for i := range many {
				c := r.rawAs(fmt.Sprint("n", i), "e", principal, "bus", "b")
				one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1}))
				if i%2 == 0 {
					c.link.Close(transport.ErrClosed)
				}
			}
			if n := b.known(); n > 2*many {
				t.Errorf("%d are known", n)
			}
			time.Sleep(rpc.DefaultSessionLease + 2*(DeadAfter+1)*rpc.DefaultHeartbeat) // until the other nodes count as silent
			if n := b.known(); n > 0 {
				t.Errorf("%d are known when all have left", n)
			}
		})
	}
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", twoRoads)
		for i := range 10 {
			a := r.start(fmt.Sprint("a", i), "a1", twoRoads)
			b.echoes(a.name, "x")
			a.echoes("b", "x")
			a.crash(false)
		}
		b.ask("nobody", "x")
		time.Sleep(rpc.DefaultSessionLease / 2)
		if n := b.known(); n < 10 {
			t.Errorf("%d are known within a lease", n)
		}
		time.Sleep(rpc.DefaultSessionLease)
		if n := b.known(); n > 0 {
			t.Errorf("%d are known", n)
		}
		if s := b.Stats(); s.Requests != 11 || s.Replies != 10 {
			t.Errorf("%d requests and %d replies are counted", s.Requests, s.Replies)
		}
	})
}

// A peer that was forgotten can be reached again, and the order of its one-way messages is
// kept, also if the server still remembers the client.
func TestForgottenAndAskedAgain(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", bus)
		b := r.start("b", "b1", bus, func(c *Config) { c.SessionLease = time.Hour })
		live := a.Client.Liveness("b")
		a.echoes("b", "x")
		_, _ = b.connOf(t, "a").Post(&transport.Envelope{Verb: transport.VerbReply, Code: uint16(rpc.SessionLost), Grant: b.Server.View().Sessions[0]}) // the reply is about its second session
		time.Sleep(time.Second)
		a.echoes("b", "y")
		if a.saw(rpc.SessionGone) != 1 {
			t.Fatal("the first session was not lost")
		}
		var want []string
		for i := range 3 {
			body := fmt.Sprint(i)
			if err := a.Client.Tell(t.Context(), request("b", body, patience)); err != nil {
				t.Fatal(err)
			}
			want = append(want, body)
			a.echoes("b", body)
			if !live.Linked() {
				t.Error("not linked")
			}
			r.net.Partition("", "a", "b")
			r.net.Reset("", "a", "b")
			time.Sleep(2*rpc.DefaultSessionLease + 2*rpc.DefaultHeartbeat)
			if n := a.known(); n > 0 || live.Linked() || live.Heard() != 0 {
				t.Errorf("%d are known, linked: %v", n, live.Linked())
			}
			r.net.Heal("", "a", "b")
			time.Sleep(10 * time.Second)
		}
		if got := b.received(); !slices.Equal(got, want) {
			t.Errorf("arrived: %q, want %q", got, want)
		}
	})
}

package rpc

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

func (n *Node) known() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.peers) + len(n.clients)
}

// Names that come and go are forgotten: those of peers that only asked with their sessions
// and links, those that were asked a lease after the last word.
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
			time.Sleep(DefaultSessionLease + 2*(DeadAfter+1)*DefaultHeartbeat) // the others fall silent
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
		time.Sleep(DefaultSessionLease / 2)
		if n := b.known(); n < 10 {
			t.Errorf("%d are known within a lease", n)
		}
		time.Sleep(DefaultSessionLease)
		if n := b.known(); n > 0 {
			t.Errorf("%d are known", n)
		}
		if s := b.Stats(); s.Requests != 11 || s.Replies != 10 {
			t.Errorf("%d requests and %d replies are counted", s.Requests, s.Replies)
		}
	})
}

// What was forgotten is reached again, and its order of one-way messages goes on, also where
// the server remembers for longer.
func TestForgottenAndAskedAgain(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", bus)
		b := r.start("b", "b1", bus, func(c *Config) { c.SessionLease = time.Hour })
		vital := a.Vital("b")
		a.echoes("b", "x")
		p := a.lockPeer("b") // its second session is the one that is told
		p.lose("to begin with", false)
		p.mu.Unlock()
		var want []string
		for i := range 3 {
			told := fmt.Sprint(i)
			if err := a.Tell(t.Context(), request("b", told, patience)); err != nil {
				t.Fatal(err)
			}
			want = append(want, told)
			a.echoes("b", told)
			if !vital.Linked() {
				t.Error("not linked")
			}
			r.net.Partition("", "a", "b")
			r.net.Reset("", "a", "b")
			time.Sleep(2*DefaultSessionLease + 2*DefaultHeartbeat)
			if n := a.known(); n > 0 || vital.Linked() || vital.Heard() != 0 {
				t.Errorf("%d are known, linked: %v", n, vital.Linked())
			}
			r.net.Heal("", "a", "b")
			time.Sleep(10 * time.Second)
		}
		if got := b.told(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

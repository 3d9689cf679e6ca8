// One-way messages whose numbers were lent to the link's queue keep the promises of all others.

package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Several senders tell two actors, alone and at once, while requests end the loans at any time.
// Everything arrives once, in the order of each sender, and is counted.
func TestLentNumbersAreUsedOnce(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		r.lends = true
		const senders, each = 3, 1500
		tell := func(s, i int) {
			req := request("b", fmt.Sprintf("%d:%d", s, i), patience)
			if s == 2 {
				req.Target = "u"
			}
			if err := a.Client.Tell(t.Context(), req); err != nil {
				t.Errorf("tell %s: %v", req.Body, err)
			}
		}
		for i := range each { // alone, so that most numbers are lent
			tell(0, i)
		}
		var all sync.WaitGroup
		for s := 1; s < senders; s++ {
			all.Go(func() {
				for i := range each {
					tell(s, i)
				}
			})
		}
		all.Go(func() {
			for i := range 100 {
				if got, err := a.ask("b", fmt.Sprint(i)); err != nil || got != fmt.Sprint(i) {
					t.Errorf("ask %d: %q, %v", i, got, err)
				}
			}
		})
		all.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		var next [senders]int
		for _, body := range b.received() {
			var s, i int
			if _, err := fmt.Sscanf(body, "%d:%d", &s, &i); err != nil || i != next[s] {
				t.Fatalf("sender %d: %s came, want %d: %v", s, body, next[s], err)
			}
			next[s]++
		}
		if next != [senders]int{each, each, each} {
			t.Errorf("arrived: %v", next)
		}
		if n := a.Stats().Tells; n != senders*each {
			t.Errorf("%d one-way messages were counted, want %d", n, senders*each)
		}
		if s := b.Stats(); s.TellsDropped != 0 || s.TellsMissed != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// While the answers to receipts are held back, no more messages are sent to an actor than its
// credit allows, although their numbers are lent.
func TestLentNumbersKeepTheCredit(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.lends = true
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		if err := a.tell("b", "first"); err != nil {
			t.Fatal(err)
		}
		r.setTap(func(h hop) fate {
			if h.from == "b" && h.Verb == transport.VerbReply {
				return drop
			}
			return pass
		})
		req := request("b", strings.Repeat("x", 10), time.Second)
		sent := 1
		for ; a.Client.Tell(t.Context(), req) == nil && sent < 5000; sent++ {
		}
		if most := 5 * 256; sent != most {
			t.Errorf("%d messages were sent without a receipt, want %d", sent, most)
		}
		synctest.Wait()
		if got := len(b.received()); got != sent {
			t.Errorf("%d of %d arrived", got, sent)
		}
	})
}

package engine

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/transport"
)

// A one-way message that lay in the buffers of a link that died is not delivered after a
// request that its sender sent later on another link.
func TestNoTellAfterALaterRequest(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		c, grant := r.openRaw("c", "bus")
		tell := func(seq uint64, body string) {
			c.say(t, transport.Envelope{Verb: transport.VerbTell, Grant: grant, Seq: seq, Target: "t", TypeID: 1, Codec: 1, Body: []byte(body)})
		}
		tell(1, "first")
		later := requestIn(grant, 1, "later")
		later.After = 3
		for range 2 { // a copy of it changes nothing
			if e := one(t, c.say(t, later)); e.Code != 0 {
				t.Fatalf("the request: %+v", e)
			}
		}
		tell(2, "second")
		tell(3, "third")
		tell(4, "fourth")
		if got := b.received(); !slices.Equal(got, []string{"first", "fourth"}) {
			t.Errorf("arrived: %v", got)
		}
		if s := b.Stats(); s.TellsMissed != 2 || s.TellsDropped != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A client says in its requests that the link of its last one-way message has died, until it
// has sent another one-way message.
func TestRequestsSayWhatWasCutOff(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		a.echoes("b", "warm up")
		synctest.Wait()
		var after []uint64
		r.setTap(func(h hop) fate {
			if h.from == "a" && h.Verb == transport.VerbRequest {
				after = append(after, h.After)
			}
			return pass
		})
		step := func(what string, want uint64) {
			t.Helper()
			after = nil
			a.echoes("b", what)
			if !slices.Equal(after, []uint64{want}) {
				t.Errorf("%s: %v, want %d", what, after, want)
			}
		}
		tell := func() {
			t.Helper()
			if err := a.tell("b", "told"); err != nil {
				t.Fatal(err)
			}
		}
		step("nothing was told", 0)
		tell()
		tell()
		step("on the same link", 0)
		r.net.Partition("direct", "a", "b")
		r.net.Reset("direct", "a", "b")
		synctest.Wait()
		step("the link is gone", 2)
		step("and still", 2)
		tell()
		step("a later one was told", 0)
		r.net.Heal("direct", "a", "b")
	})
}

// The parts of large messages are counted. A message that found no room arrives without its
// body (Cut).

package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The parts that have come are counted, for all links of a principal together; the announced
// size is not. A message for which there is no room is refused at once.
func TestPartsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		var links []*raw
		before := heapBytes()
		const each = 20
		refused := 0
		for i := range each { // each of these links begins 20 messages of 5 MiB, so there are 400
			c := r.dialRaw(fmt.Sprint("c", i), "bus", "b")
			links = append(links, c)
			grant := c.open(t, 1)
			for _, e := range c.flood(t, each, func(n int) transport.Envelope {
				first := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: uint64(n) + 1, Target: "t", Body: make([]byte, 100), Timeout: time.Hour}
				part, _ := first.Append(nil)
				return transport.Envelope{Verb: transport.VerbChunk, Seq: uint64(n) + 1, Mark: transport.Mark{Below: 5 << 20}, Body: part}
			}) {
				if rpc.Code(e.Code) == rpc.Overloaded && e.Flags == transport.FlagNotRun {
					refused++
				}
			}
		}
		if s := b.Stats(); refused < each*each-48 || refused > each*each-47 || s.HeldBytes > 3<<20+256<<10 { // 48 of 64 KiB, and records of refusals
			t.Errorf("%d bytes are held, refused %d", s.HeldBytes, refused)
		}
		if took := heapBytes() - before; took > 16<<20 {
			t.Errorf("the heap grew by %d bytes", took)
		}
		honest.echoes("b", strings.Repeat("x", 300_000))
		m := r.start("m", "m1", bus)
		_, err := m.ask("b", strings.Repeat("x", 300_000))
		wantErr(t, "another link of the same principal", err, rpc.Overloaded, rpc.NotRun)
		m.echoes("b", strings.Repeat("x", 3_000))
		for _, c := range links {
			c.link.Close(nil)
		}
		synctest.Wait()
		m.echoes("b", strings.Repeat("x", 300_000))
		time.Sleep(rpc.DefaultSessionLease + 10*time.Second)
		if s := b.Stats(); s.HeldBytes != 0 {
			t.Errorf("at rest %d bytes are held", s.HeldBytes)
		}
	})
}

// If there is no room for a reply, its caller gets an error. If there is no room for a one-way
// message, it is counted as lost.
func TestPartsOfOtherKinds(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		body := strings.Repeat("x", 4<<20)
		if err := honest.Client.Tell(t.Context(), request("b", body, patience)); err != nil {
			t.Fatal(err)
		}
		if err := honest.Client.Tell(t.Context(), request("b", "small", patience)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := b.received(); len(got) != 1 || got[0] != "small" || b.lost != 1 {
			t.Errorf("%d arrived, %d lost", len(got), b.lost)
		}
		if s := b.Stats(); s.TellsMissed != 0 || s.TellsRefused != 1 {
			t.Errorf("%d missed, %d refused", s.TellsMissed, s.TellsRefused)
		}
		honest.handle(func(*server.Inbound, string) string { return body })
		_, err := b.ask("a", "x")
		wantErr(t, "a reply", err, rpc.ReplyDropped, rpc.HasRun)
		_, err = honest.ask("b", body)
		wantErr(t, "a request", err, rpc.Overloaded, rpc.NotRun)
		honest.echoes("b", body[:1<<20])
	})
}

// If nothing more of a message comes, its link is closed, but not before its time is over.
func TestPartsThatStandStill(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, b := attacked(r)
		part := func(n, from uint64) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbChunk, Seq: n, Mark: transport.Mark{Below: 1 << 20}, TypeID: from, Body: make([]byte, 100)}
		}
		for _, busy := range []bool{false, true} { // another message goes on meanwhile
			c := r.dialRaw(fmt.Sprint("c", busy), "bus", "b")
			var at uint64
			c.say(t, part(1, 0))
			beat := func() {
				c.answerPings(t)
				if busy {
					c.say(t, part(2, at))
					at += 100
				}
				time.Sleep(time.Second)
			}
			links := b.Stats().Links
			for range int(transport.PartPatience/time.Second) - 5 {
				beat()
			}
			if s := b.Stats(); s.Links != links || s.HeldBytes == 0 {
				t.Fatalf("busy %v: %d links, %d bytes", busy, s.Links, s.HeldBytes)
			}
			for range 12 {
				if b.Stats().Links == links {
					beat()
				}
			}
			if s := b.Stats(); s.Links != links-1 || s.HeldBytes != 0 {
				t.Errorf("busy %v: %d links of %d, %d bytes", busy, s.Links, links, s.HeldBytes)
			}
		}
	})
}

// If one copy of a request was refused for lack of room, other copies get the same answer.
func TestCopiesOfWhatWasCut(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, b := attacked(r)
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		on := b.connOf(t, "c")
		whole := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Body: []byte("x"), Timeout: time.Minute}
		cut := whole
		cut.Body, cut.Cut = nil, true
		for i, first := range []bool{true, false} {
			whole.Seq, cut.Seq = uint64(i)+1, uint64(i)+1
			copies := []*transport.Envelope{&cut, &whole, &cut}
			if !first {
				copies = []*transport.Envelope{&whole, &cut, &whole}
			}
			c.got = nil
			for _, e := range copies {
				on.Receive(e)
				synctest.Wait()
			}
			if len(c.got) != 3 {
				t.Fatalf("%d answers", len(c.got))
			}
			for _, e := range c.got {
				if refused := rpc.Code(e.Code) == rpc.Overloaded && e.Flags == transport.FlagNotRun; refused != first || !refused && e.Code != 0 {
					t.Errorf("cut first %v: %+v", first, e)
				}
			}
		}
	})
}

// An ack whose exceptions found no room is ignored: without them it would drop records that its
// client still needs.
func TestAckWithoutItsExceptions(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, b := attacked(r)
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		on := b.connOf(t, "c")
		on.Receive(&transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Body: []byte("x"), Timeout: time.Minute})
		synctest.Wait()
		on.Receive(&transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 5}, Cut: true})
		if st := b.Stats(); st.Records != 1 || st.BadMarks != 1 {
			t.Errorf("%d records, %d bad marks; want the record kept and one bad mark", st.Records, st.BadMarks)
		}
		on.Receive(&transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 5}})
		if st := b.Stats(); st.Records != 0 {
			t.Errorf("%d records after a whole ack", st.Records)
		}
	})
}

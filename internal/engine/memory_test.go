package engine

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Requests that wait for a slow actor are counted with their bodies. Those beyond the
// principal's share are refused at once and do not run, others are served meanwhile, and when
// all are answered nothing is counted any more.
func TestWaitingRequestsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		gate := make(chan struct{})
		b.serve = func(in *server.Inbound) {
			if in.Principal() == "mallory" {
				<-gate
			}
			echo(in)
		}
		before := heapBytes()
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		body := make([]byte, 60_000)
		const count = 500 // 30 MB
		got := c.flood(t, count, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: uint64(i) + 1, Target: "t", Body: body, Timeout: time.Hour}
		})
		fit := count - len(got)
		if most := 4 << 20 / (len(body) + 2*account.Record); fit != most {
			t.Errorf("%d requests of %d bytes wait, want %d", fit, len(body), most)
		}
		for _, e := range got {
			if rpc.Code(e.Code) != rpc.Overloaded || e.Flags != transport.FlagNotRun {
				t.Fatalf("refused: %+v", e)
			}
		}
		if s := b.Stats(); s.HeldBytes > 4<<20+256<<10 || s.HoldsRefused == 0 { // the records of refusals may go a little beyond the share
			t.Errorf("%d bytes are held, refused %d times", s.HeldBytes, s.HoldsRefused)
		}
		if took := heapBytes() - before; took > 16<<20 {
			t.Errorf("the heap grew by %d bytes", took)
		}
		if n := b.saw(rpc.MemoryFull); n != 1 {
			t.Errorf("%d events of a full share", n)
		}
		honest.echoes("b", strings.Repeat("x", 60_000))
		for range fit { // one by one: a link with 2 MiB of unread answers ends when there is no room
			gate <- struct{}{}
			synctest.Wait()
		}
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: count + 1}})
		time.Sleep(time.Second)
		if s := b.Stats(); s.HeldBytes != 0 || s.Records != 0 {
			t.Errorf("at rest %d bytes are held, %d records", s.HeldBytes, s.Records)
		}
	})
}

// One-way messages that wait are counted, too. Those for which there is no room are lost, and
// their number is reported.
func TestWaitingTellsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		b.keepTells = true
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		body := make([]byte, 60_000)
		const count = 500
		c.flood(t, count, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbTell, Grant: grant, Seq: uint64(i) + 1, Target: "t", Body: body}
		})
		b.mu.Lock()
		fit, waiting := 4<<20/(len(body)+account.Record), b.waiting
		if len(waiting) != fit || b.lost != count-fit {
			t.Errorf("%d wait and %d are lost, want %d and %d", len(waiting), b.lost, fit, count-fit)
		}
		b.keepTells, b.waiting = false, nil
		b.mu.Unlock()
		if s := b.Stats(); s.HeldBytes > 4<<20 || s.TellsRefused != uint64(count-fit) || s.TellsMissed != 0 {
			t.Errorf("%+v", s)
		}
		honest.echoes("b", "beside it")
		for _, in := range waiting {
			in.Drop()
		}
		c.say(t, transport.Envelope{Verb: transport.VerbTell, Grant: grant, Seq: count + 1, Target: "t", Body: body})
		if b.lost != count-fit {
			t.Error("lost although there is room again")
		}
		time.Sleep(10 * time.Second)
		if s := b.Stats(); s.HeldBytes != 0 {
			t.Errorf("at rest %d bytes are held", s.HeldBytes)
		}
	})
}

// Of a frame of one-way messages for which there is not enough room, those are taken that fit.
func TestWaitingRowsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, b := attacked(r)
		b.keepTells = true
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		const frames, each, size = 100, 50, 1000
		var row []byte
		for range each {
			row = framed(row, make([]byte, size))
		}
		c.flood(t, frames, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbTells, Grant: grant, Seq: uint64(i*each) + 1, Target: "t", Body: row}
		})
		b.mu.Lock()
		fit, got, waiting := 4<<20/(len(row)/each+account.Record), len(b.tells), b.waiting
		b.mu.Unlock()
		if got != fit || b.lost != frames*each-fit {
			t.Errorf("%d came and %d are lost, want %d and %d", got, b.lost, fit, frames*each-fit)
		}
		if s := b.Stats(); s.HeldBytes > 4<<20 || s.TellsRefused != uint64(frames*each-fit) || s.TellsServed != uint64(fit) || s.TellsMissed != 0 {
			t.Errorf("%+v", s)
		}
		for _, in := range waiting {
			in.Drop()
		}
		time.Sleep(10 * time.Second)
		if s := b.Stats(); s.HeldBytes != 0 {
			t.Errorf("at rest %d bytes are held", s.HeldBytes)
		}
	})
}

// Headers are counted, and so are the texts of errors, which are cut: at the end of a rune,
// both where they are made and where they are received.
func TestErrorTextsAreCut(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		text := strings.Repeat("ä", 30_000)
		b.serve = func(in *server.Inbound) {
			if in.Start() {
				in.Fail(rpc.Errorf(rpc.Failed, rpc.HasRun, "%w: %s", errors.New(text), text))
			}
		}
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		const count = 1000 // 60 MB of texts
		before := heapBytes()
		got := c.flood(t, count, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: uint64(i) + 1, Target: "t", Body: []byte("x"), Timeout: time.Hour}
		})
		if len(got) != count {
			t.Fatalf("%d answers", len(got))
		}
		e := got[0]
		if len(e.Message) > wire.MaxText || len(e.Message) < wire.MaxText-4 || !utf8.ValidString(e.Message) || !strings.HasSuffix(e.Message, "ä…") {
			t.Errorf("text of %d bytes, valid: %v", len(e.Message), utf8.ValidString(e.Message))
		}
		if s := b.Stats(); s.HeldBytes != count*int64(account.Record+len(e.Message)) {
			t.Errorf("%d bytes are held for %d records with such a text", s.HeldBytes, count)
		}
		got = nil
		if took := heapBytes() - before; took > 4<<20 {
			t.Errorf("the heap grew by %d bytes", took)
		}
		_, err := honest.ask("b", "x")
		if e := new(rpc.Error); !errors.As(err, &e) || len(e.Message) > wire.MaxText || e.Code != rpc.Failed {
			t.Errorf("the caller has %v", err)
		}
	})
	for n := range 8 { // texts of a peer that does not cut them
		text := strings.Repeat("x", wire.MaxText-4+n) + "äöü"
		got := wire.ErrorOf(&transport.Envelope{Code: 1, Message: text}, "n").Message
		if len(got) > wire.MaxText || !utf8.ValidString(got) || len(text) <= wire.MaxText && got != text || len(text) > wire.MaxText && len(got) < wire.MaxText-4 {
			t.Errorf("%d bytes become %d: %q", len(text), len(got), got[wire.MaxText-8:])
		}
	}
}

// An ack frame with more exceptions than a window has requests is not accepted, and takes no
// memory. One with as many is accepted.
func TestAckListsAreBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, b := attacked(r)
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		list := func(n int) []byte {
			seqs := make([]uint64, n)
			for i := range seqs {
				seqs[i] = uint64(2*i + 1)
			}
			return transport.AppendSeqBytes(nil, seqs)
		}
		ack := transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 1 << 40}}
		ack.Body = list(2*rpc.DefaultWindow + 1)
		c.say(t, ack)
		if s := b.Stats(); s.BadMarks != 1 || s.HeldBytes != 0 {
			t.Errorf("one more than a window: %d bad marks, %d bytes", s.BadMarks, s.HeldBytes)
		}
		ack.Body = list(2 * rpc.DefaultWindow)
		c.say(t, ack)
		if s := b.Stats(); s.BadMarks != 1 || s.HeldBytes != 8*(2*rpc.DefaultWindow-64) {
			t.Errorf("as many as a window: %d bad marks, %d bytes", s.BadMarks, s.HeldBytes)
		}
		before := heapBytes()
		on := b.connOf(t, "c")
		huge := transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 1 << 40}, Body: make([]byte, 60<<20)}
		held := heapBytes()
		for range 20 {
			on.Receive(&huge)
		}
		if took := heapBytes() - held; took > 1<<20 || held < before {
			t.Errorf("20 of them take %d bytes", took)
		}
		runtime.KeepAlive(huge)
	})
}

// What the sessions of one principal note about acked and cancelled numbers counts, up to the
// principal's share.
func TestListsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r, func(c *Config) { c.MemoryBytes = 1 << 20 })
		var links []*raw
		for i := range 20 { // sessions that each want 64 KiB
			c := r.dialRaw(fmt.Sprint("c", i), "bus", "b")
			links = append(links, c)
			grant := c.open(t, 1)
			seqs := make([]uint64, 2*rpc.DefaultWindow)
			for i := range seqs {
				seqs[i] = uint64(2*i + 1)
			}
			c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 1 << 40}, Body: transport.AppendSeqBytes(nil, seqs)})
			c.flood(t, 100, func(i int) transport.Envelope {
				return transport.Envelope{Verb: transport.VerbCancel, Grant: grant, Seq: 1<<41 + 2*uint64(i)}
			})
		}
		s := b.Stats()
		if s.HeldBytes > 512<<10 || s.HeldBytes < 448<<10 || s.BadMarks < 12 {
			t.Errorf("%d bytes, %d bad marks", s.HeldBytes, s.BadMarks)
		}
		honest.echoes("b", "beside it")
		for _, c := range links {
			c.link.Close(nil)
		}
		time.Sleep(rpc.DefaultSessionLease + 10*time.Second)
		if s := b.Stats(); s.HeldBytes != 0 {
			t.Errorf("%d bytes are held for sessions that have ended", s.HeldBytes)
		}
	})
}

// Bytes that are counted for a link while it ends are given back, in whatever order that
// happens.
func TestCountingMeetsTheEndOfTheLink(t *testing.T) {
	a := account.New(host.New(host.Config{}), 1<<40, 1<<10, 1<<10)
	for range 20_000 {
		c := &holding{share: a.Share("x")}
		var wg sync.WaitGroup
		wg.Go(func() { c.Force(3) })
		wg.Go(func() {
			if c.Hold(5) {
				c.Free(2)
			}
		})
		wg.Go(c.release)
		wg.Wait()
		if n := a.Held(); n != 0 {
			t.Fatalf("%d bytes are counted for a link that is no more", n)
		}
		c.share.Leave()
	}
}

// Replies over the limit are sent once, and not kept. A principal whose records and replies
// fill its share is refused, and acks make room again.
func TestKeptReplies(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus, func(c *Config) { c.Keep, c.MemoryBytes = 100, 4000 })
		b.handle(func(_ *server.Inbound, body string) string {
			if body == "large" {
				return strings.Repeat("x", 101)
			}
			return strings.Repeat("x", 60)
		})
		c := r.dialRaw("c", "bus", "b")
		grant := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
		req := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Body: []byte("large"), Timeout: time.Minute}
		if e := one(t, c.say(t, req)); e.Code != 0 || len(e.Body) != 101 {
			t.Errorf("a large reply: %+v", e)
		}
		if e := one(t, c.say(t, req)); rpc.Code(e.Code) != rpc.ReplyDropped || e.Flags&transport.FlagRan == 0 {
			t.Errorf("a large reply again: %+v", e)
		}
		for _, row := range []struct {
			seq  uint64
			code rpc.Code
			kept int64
		}{{2, 0, 2*account.Record + 60}, {3, 0, 3*account.Record + 120}, {4, 0, 4*account.Record + 180}, {5, rpc.Overloaded, 5*account.Record + 180}} { // a principal that is alone may have half
			req.Seq, req.Body = row.seq, []byte("small")
			e := one(t, c.say(t, req))
			if refused := e.Flags&transport.FlagNotRun != 0; rpc.Code(e.Code) != row.code || refused != (row.code != 0) {
				t.Errorf("%d: %+v", row.seq, e)
			}
			if got := b.Stats().HeldBytes; got != row.kept+int64(len(e.Message)) {
				t.Errorf("%d: %d bytes kept, want %d", row.seq, got, row.kept+int64(len(e.Message)))
			}
		}
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 6}, Body: transport.AppendSeqBytes(nil, []uint64{3, 4})})
		c.say(t, transport.Envelope{Verb: transport.VerbAck, Grant: grant, Mark: transport.Mark{Below: 2}})
		if got := b.Stats().HeldBytes; got != 2*(account.Record+60) {
			t.Errorf("%d bytes kept after the acks", got)
		}
		req.Seq = 6
		if e := one(t, c.say(t, req)); e.Code != 0 {
			t.Errorf("after the acks: %+v", e)
		}
		if s := b.Stats(); s.Records != 3 || s.BadMarks != 0 {
			t.Errorf("after the acks: %+v", s)
		}
	})
}

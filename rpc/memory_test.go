package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tandem-go/tandem/transport"
)

// attacked starts a node that is attacked on the bus, where everybody is mallory, while an
// honest client has a session over the direct road. Its limit for one that is alone is half
// of 8 MiB.
func attacked(r *rig, change ...func(*Config)) (honest, b *site) {
	change = append([]func(*Config){func(c *Config) {
		c.MemoryBytes = 8 << 20
		c.Principals = func(road string, _ transport.Peer) string {
			return map[string]string{"bus": "mallory", "direct": "honest"}[road]
		}
	}}, change...)
	b = r.start("b", "b1", twoRoads, change...)
	b.handle(func(_ *Inbound, body string) string { return body })
	honest = r.start("a", "a1", direct)
	honest.echoes("b", "hello")
	time.Sleep(time.Second) // and is acked
	return honest, b
}

// open returns the grant of a new session.
func (c *raw) open(t *testing.T, seq uint64) transport.Grant {
	t.Helper()
	return one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: seq})).Grant
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flood sends and lets what it causes happen now and then.
func (c *raw) flood(t *testing.T, n int, e func(i int) transport.Envelope) (got []transport.Envelope) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	c.got = nil
	c.mu.Unlock()
	for i := range n {
		c.send(t, e(i))
		if i%16 == 15 {
			synctest.Wait()
		}
	}
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.got), func(e transport.Envelope) bool { return e.Verb == transport.VerbPing })
}

func (c *raw) send(t *testing.T, e transport.Envelope) {
	t.Helper()
	if _, err := c.link.Send(&e); err != nil {
		t.Fatal(err)
	}
}

// Requests that wait for a slow actor count with their bodies: what is beyond the share is
// refused at once and did not run, others are served meanwhile, and nothing is counted once
// all have their answers.
func TestWaitingRequestsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		gate := make(chan struct{})
		b.serve = func(in *Inbound) {
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
		if most := 4 << 20 / (len(body) + 2*recordSize); fit != most {
			t.Errorf("%d requests of %d bytes wait, want %d", fit, len(body), most)
		}
		for _, e := range got {
			if Code(e.Code) != Overloaded || e.Flags != transport.FlagNotRun {
				t.Fatalf("refused: %+v", e)
			}
		}
		if s := b.Stats(); s.HeldBytes > 4<<20+256<<10 || s.HoldsRefused == 0 { // records of refusals have a little more
			t.Errorf("%d bytes are held, refused %d times", s.HeldBytes, s.HoldsRefused)
		}
		if took := heapBytes() - before; took > 16<<20 {
			t.Errorf("the heap grew by %d bytes", took)
		}
		if n := b.saw(MemoryFull); n != 1 {
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

// One-way messages that wait count as well; those for which there is no room are lost, and
// counted.
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
		fit, waiting := 4<<20/(len(body)+recordSize), b.waiting
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

// Headers count, and so do large texts that come as errors: they are cut, at the end of a
// rune, where they are made and where they are received.
func TestErrorTextsAreCut(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		text := strings.Repeat("ä", 30_000)
		b.serve = func(in *Inbound) {
			if in.Start() {
				in.Fail(HandlerError(fmt.Errorf("%w: %s", errors.New(text), text)))
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
		if len(e.Message) > maxText || len(e.Message) < maxText-4 || !utf8.ValidString(e.Message) || !strings.HasSuffix(e.Message, "ä…") {
			t.Errorf("text of %d bytes, valid: %v", len(e.Message), utf8.ValidString(e.Message))
		}
		if s := b.Stats(); s.HeldBytes != count*int64(recordSize+len(e.Message)) {
			t.Errorf("%d bytes are held for %d records with such a text", s.HeldBytes, count)
		}
		got = nil
		if took := heapBytes() - before; took > 4<<20 {
			t.Errorf("the heap grew by %d bytes", took)
		}
		_, err := honest.ask("b", "x")
		if e := new(Error); !errors.As(err, &e) || len(e.Message) > maxText || e.Code != Failed {
			t.Errorf("the caller has %v", err)
		}
	})
	for n := range 8 { // what a peer sends that does not cut
		text := strings.Repeat("x", maxText-4+n) + "äöü"
		got := errorOf(&transport.Envelope{Code: 1, Message: text}, "n").Message
		if len(got) > maxText || !utf8.ValidString(got) || len(text) <= maxText && got != text || len(text) > maxText && len(got) < maxText-4 {
			t.Errorf("%d bytes become %d: %q", len(text), len(got), got[maxText-8:])
		}
	}
}

// An ack frame with more exceptions than a window has requests is no mark, and takes no
// memory; one with as many is.
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
		ack.Body = list(2*DefaultWindow + 1)
		c.say(t, ack)
		if s := b.Stats(); s.BadMarks != 1 || s.HeldBytes != 0 {
			t.Errorf("one more than a window: %d bad marks, %d bytes", s.BadMarks, s.HeldBytes)
		}
		ack.Body = list(2 * DefaultWindow)
		c.say(t, ack)
		if s := b.Stats(); s.BadMarks != 1 || s.HeldBytes != 8*(2*DefaultWindow-freeList) {
			t.Errorf("as many as a window: %d bad marks, %d bytes", s.BadMarks, s.HeldBytes)
		}
		before := heapBytes()
		s := b.session(grant)
		huge := transport.Envelope{Mark: transport.Mark{Below: 1 << 40}, Body: make([]byte, 60<<20)}
		held := heapBytes()
		for range 20 {
			s.ack(&huge)
		}
		if took := heapBytes() - held; took > 1<<20 || held < before {
			t.Errorf("20 of them take %d bytes", took)
		}
		runtime.KeepAlive(huge)
	})
}

// Sessions of one principal list what they were told by themselves up to its share.
func TestListsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r, func(c *Config) { c.MemoryBytes = 1 << 20 })
		var links []*raw
		for i := range 20 { // sessions that each want 64 KiB
			c := r.dialRaw(fmt.Sprint("c", i), "bus", "b")
			links = append(links, c)
			grant := c.open(t, 1)
			seqs := make([]uint64, 2*DefaultWindow)
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
		time.Sleep(DefaultSessionLease + 10*time.Second)
		if s := b.Stats(); s.HeldBytes != 0 {
			t.Errorf("%d bytes are held for sessions that have ended", s.HeldBytes)
		}
	})
}

// What has come of large messages counts, from all links of a principal together, and not
// what was announced. What there is no room for is refused at once.
func TestPartsCount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		var links []*raw
		before := heapBytes()
		const each = 20
		refused := 0
		for i := range each { // of which each begins as many messages: 400 of 5 MiB
			c := r.dialRaw(fmt.Sprint("c", i), "bus", "b")
			links = append(links, c)
			grant := c.open(t, 1)
			for _, e := range c.flood(t, each, func(n int) transport.Envelope {
				first := transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: uint64(n) + 1, Target: "t", Body: make([]byte, 100), Timeout: time.Hour}
				part, _ := first.Append(nil)
				return transport.Envelope{Verb: transport.VerbChunk, Seq: uint64(n) + 1, Mark: transport.Mark{Below: 5 << 20}, Body: part}
			}) {
				if Code(e.Code) == Overloaded && e.Flags == transport.FlagNotRun {
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
		wantErr(t, "another link of the same principal", err, Overloaded, NotRun)
		m.echoes("b", strings.Repeat("x", 3_000))
		for _, c := range links {
			c.link.Close(nil)
		}
		synctest.Wait()
		m.echoes("b", strings.Repeat("x", 300_000))
		time.Sleep(DefaultSessionLease + 10*time.Second)
		if s := b.Stats(); s.HeldBytes != 0 {
			t.Errorf("at rest %d bytes are held", s.HeldBytes)
		}
	})
}

// A reply that there is no room for, and a one-way message, end so that somebody knows.
func TestPartsOfOtherKinds(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		honest, b := attacked(r)
		body := strings.Repeat("x", 4<<20)
		if err := honest.Tell(t.Context(), request("b", body, patience)); err != nil {
			t.Fatal(err)
		}
		if err := honest.Tell(t.Context(), request("b", "small", patience)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := b.told(); len(got) != 1 || got[0] != "small" || b.lost != 1 {
			t.Errorf("%d were told, %d lost", len(got), b.lost)
		}
		if s := b.Stats(); s.TellsMissed != 0 || s.TellsRefused != 1 {
			t.Errorf("%d missed, %d refused", s.TellsMissed, s.TellsRefused)
		}
		honest.handle(func(*Inbound, string) string { return body })
		_, err := b.ask("a", "x")
		wantErr(t, "a reply", err, ReplyDropped, HasRun)
		_, err = honest.ask("b", body)
		wantErr(t, "a request", err, Overloaded, NotRun)
		honest.echoes("b", body[:1<<20])
	})
}

// A message of which nothing more comes ends its link after a time, not before.
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

// answerPings has the link live.
func (c *raw) answerPings(t *testing.T) {
	t.Helper()
	c.send(t, transport.Envelope{Verb: transport.VerbPing, Seq: 1})
}

// Many sessions of one principal take nothing ahead from each other: before that, the 257th
// client was refused everything.
func TestManySessionsOfOnePrincipal(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.start("b", "b1", bus, func(c *Config) { c.MemoryBytes = 8 << 20 })
		for i := range 1000 {
			c := r.dialRaw(fmt.Sprint("c", i), "bus", "b")
			grant := c.open(t, 1)
			got := one(t, c.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Body: []byte("x"), Timeout: time.Minute}))
			if got.Code != 0 {
				t.Fatalf("client %d: %+v", i, got)
			}
		}
	})
}

// One principal's opens are bounded, at once and in a second, and its sessions leave room
// for others'.
func TestOpensAreBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		honest, b := attacked(r, d.config, func(c *Config) { c.MaxSessions = 400 })
		c := r.dialRaw("c", "bus", "b")
		const count = 20_000
		got := c.flood(t, count, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbOpen, Seq: uint64(i) + 1}
		})
		refused := 0
		for _, e := range got {
			if Code(e.Code) == Overloaded {
				refused++
			}
		}
		s := b.Stats()
		if len(got) != count || count-refused != 100 || s.SessionsOpened != 100+1 || s.OpensRefused != count-100 {
			t.Errorf("%d answers, %d of them refuse; %d opened, %d refused", len(got), refused, s.SessionsOpened, s.OpensRefused)
		}
		honest.Close()
		r.start("h", "h1", direct).echoes("b", "opens one beside it")
		before := b.Stats().SessionsOpened
		time.Sleep(time.Second)
		c = r.dialRaw("d", "bus", "b")
		c.flood(t, 100, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbOpen, Seq: uint64(i) + 1}
		})
		if n := b.Stats().SessionsOpened - before; n < 6 || n > 8 {
			t.Errorf("a second later %d are opened, want 400/64", n)
		}
	})
	withRig(t, func(t *testing.T, r *rig) { // sessions that are not empty, so that they stay
		honest, b := attacked(r, func(c *Config) { c.MaxSessions = 64 })
		b.serve = func(in *Inbound) {
			if in.Principal() == "honest" {
				echo(in)
			}
		}
		c := r.dialRaw("c", "bus", "b")
		for i := range uint64(64) {
			e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: i + 1}))
			if most := uint64(48); (e.Code == 0) != (i < most) {
				t.Fatalf("session %d: %+v", i+1, e)
			}
			c.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: e.Grant, Seq: 1, Target: "t", Timeout: time.Hour})
		}
		honest.Close()
		for i := range 5 {
			r.start(fmt.Sprint("h", i), "h1", direct).echoes("b", "opens one beside it")
		}
	})
}

// Who has no session asks in vain after requests of an earlier start, and leaves no trace;
// one with a session leaves so many at once, and then so many a second.
func TestQuestionsOfStrangers(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d, rows := new(disk), new(countVoids)
		_, b := attacked(r, d.config, func(c *Config) { c.Kinds = []string{"test"} })
		b.mu.Lock()
		b.durability = Durability{Known: true, Kind: "test", Completions: rows}
		b.mu.Unlock()
		c := r.dialRaw("c", "bus", "b")
		ask := func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbRequest, Flags: transport.FlagRecover, Grant: transport.Grant{1}, Seq: uint64(i) + 1, Target: "t", Message: "test"}
		}
		for _, e := range c.flood(t, 500, ask) {
			if Code(e.Code) != SessionLost || e.Flags != 0 {
				t.Fatalf("%+v", e)
			}
		}
		if n := rows.n.Load(); n != 0 {
			t.Errorf("a stranger has left %d rows", n)
		}
		c.open(t, 1)
		c.flood(t, voidBurst+1000, ask)
		if n := rows.n.Load(); n != voidBurst {
			t.Errorf("%d rows, want %d at once", n, voidBurst)
		}
		time.Sleep(time.Second)
		c.flood(t, 1000, ask)
		if n := rows.n.Load(); n != voidBurst+voidRate {
			t.Errorf("%d rows a second later", n-voidBurst)
		}
	})
}

// A copy of a request whose other copy was refused for want of room gets what that got.
func TestCopiesOfWhatWasCut(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, b := attacked(r)
		c := r.dialRaw("c", "bus", "b")
		grant := c.open(t, 1)
		s := b.session(grant)
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
				s.request(on, e)
				synctest.Wait()
			}
			if len(c.got) != 3 {
				t.Fatalf("%d answers", len(c.got))
			}
			for _, e := range c.got {
				if refused := Code(e.Code) == Overloaded && e.Flags == transport.FlagNotRun; refused != first || !refused && e.Code != 0 {
					t.Errorf("cut first %v: %+v", first, e)
				}
			}
		}
	})
}

func (s *site) connOf(t *testing.T, node string) *conn {
	t.Helper()
	for _, c := range s.liveConns() {
		if c.id.Node == node {
			return c
		}
	}
	t.Fatal("no link from " + node)
	return nil
}

// countVoids has no record of anything, and counts what it was asked to bar.
type countVoids struct {
	noCompletions
	n atomic.Int64
}

func (c *countVoids) Void(context.Context, string) ([]byte, bool, error) {
	c.n.Add(1)
	return nil, false, nil
}

// What is counted for a link while it ends is given back, whoever is first.
func TestCountingMeetsTheEndOfTheLink(t *testing.T) {
	var a account
	a.init(1<<40, 1<<10, 1<<10)
	for range 20_000 {
		c := &conn{share: a.of("x")}
		var wg sync.WaitGroup
		wg.Go(func() { c.Force(3) })
		wg.Go(func() {
			if c.Hold(5) {
				c.Free(2)
			}
		})
		wg.Go(c.release)
		wg.Wait()
		if n := a.all.Load(); n != 0 {
			t.Fatalf("%d bytes are counted for a link that is no more", n)
		}
		c.share.leave()
	}
}

package rpc

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// disk is a store that outlives the nodes of a rig.
type disk struct {
	mu     sync.Mutex // guards what follows
	kept   []dedup.Change
	epoch  string
	writes int
	fail   error // of the next writes
	anyway bool  // they store all the same
}

type diskLog struct {
	*disk
	mine string
}

func (d *disk) Take(_ context.Context, _, epoch string, load func(dedup.Change)) (dedup.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch = epoch
	for _, c := range d.kept {
		load(c)
	}
	return diskLog{d, epoch}, nil
}

func (l diskLog) Append(_ context.Context, changes []dedup.Change) error {
	time.Sleep(time.Millisecond) // a disk takes its time: what comes meanwhile is written together
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch != l.mine {
		return dedup.ErrFenced
	}
	l.writes++
	if l.fail == nil || l.anyway {
		l.kept = append(l.kept, changes...)
	}
	return l.fail
}

func (l diskLog) Rewrite(_ context.Context, changes iter.Seq[dedup.Change]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = slices.Collect(changes)
	return nil
}

func (l diskLog) Close() error { return nil }

func (d *disk) breaks(err error, anyway bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.anyway = err, anyway
}

// ledger is what the disk's changes amount to.
func (d *disk) ledger() *dedup.Ledger {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := dedup.NewLedger()
	for _, c := range d.kept {
		l.Apply(c)
	}
	return l
}

// unplug has nothing more of the present owner arrive.
func (d *disk) unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch = ""
}

func (d *disk) config(c *Config) { c.Store, c.Kinds = d, []string{"test"} }

// durably makes fn the handler of a durable actor.
func (s *site) durably(fn func(in *Inbound, body string) string) {
	s.handle(fn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durability = Durability{Known: true, Kind: "test", Durable: true}
	serve := s.serve
	s.serve = func(in *Inbound) {
		s.Begin([]*Inbound{in})
		serve(in)
	}
}

func same(_ *Inbound, body string) string { return "got " + body }

// lostReply has a send body to b, which runs it, and loses the reply and then b.
func (r *rig) lostReply(a, b *site, body string, change ...func(*Request)) *Future[string] {
	r.setTap(func(h hop) fate {
		if h.Verb == transport.VerbReply {
			return drop
		}
		return pass
	})
	req := request("b", body, patience)
	for _, fn := range change {
		fn(&req)
	}
	f, _ := a.send(req)
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	if d, ok := b.cfg.Store.(*disk); ok {
		d.unplug()
	}
	b.crash(false)
	r.setTap(nil)
	return f
}

// A request that was done when its server was lost gets its stored reply from the next
// start, and the store forgets it once it was acked.
func TestReplayAfterRestart(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(disk)
			a, b := r.start("a", "a1", roads), r.start("b", "b1", roads, d.config)
			b.durably(same)
			a.echoesAs(t, "b", "warm up", "got warm up")
			f := r.lostReply(a, b, "x")
			b2 := r.start("b", "b2", roads, d.config)
			b2.durably(same)
			if got, err := f.Await(t.Context()); got != "got x" || err != nil {
				t.Errorf("%v: %q, %v", roads, got, err)
			}
			if b.ran("x") != 1 || b2.ran("x") != 0 {
				t.Errorf("ran %d times, and %d after the restart", b.ran("x"), b2.ran("x"))
			}
			if s := b2.Stats(); s.Recovered != 1 || s.Replayed != 1 {
				t.Errorf("%+v", s)
			}
			a.echoesAs(t, "b", "y", "got y")
			time.Sleep(time.Second) // the ack
			a.Close()
			time.Sleep(DefaultSessionLease + DefaultKeyLife + 3*time.Minute)
			if n := d.ledger().Bytes(); n != 0 {
				t.Errorf("%v: %d bytes are still kept: %v", roads, n, slices.Collect(d.ledger().All()))
			}
		})
	}
}

func (s *site) echoesAs(t *testing.T, to, body, want string) {
	t.Helper()
	if got, err := s.ask(to, body); got != want || err != nil {
		t.Errorf("%s asked %s %q: %q, %v", s.name, to, body, got, err)
	}
}

// What had started and was not done is OutcomeUnknown; what had not started is NotRun,
// and may be made anew.
func TestUnfinishedAtRestart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, d.config)
		b.durably(func(_ *Inbound, body string) string {
			if body == "slow" {
				<-b.ctx.Done()
			}
			return body
		})
		a.echoes("b", "warm up")
		b.mu.Lock()
		serve := b.serve
		b.serve = func(in *Inbound) {
			if string(in.body) != "queued" { // that stays in the mailbox
				serve(in)
			}
		}
		b.mu.Unlock()
		slow, _ := a.send(request("b", "slow", patience))
		queued, _ := a.send(request("b", "queued", patience))
		again := request("b", "queued", patience)
		again.Retry = &Retry{}
		anew, _ := a.send(again)
		acked := request("b", "queued", patience)
		acked.Acked = true
		unsure, _ := a.send(acked)
		time.Sleep(100 * time.Millisecond)
		d.unplug()
		b.crash(false)
		b2 := r.start("b", "b2", twoRoads, d.config)
		b2.durably(same)
		_, err := slow.Await(t.Context())
		wantErr(t, "started", err, OutcomeUnknown, Unknown)
		_, err = queued.Await(t.Context())
		wantErr(t, "queued", err, Unavailable, NotRun)
		_, err = unsure.Await(t.Context())
		wantErr(t, "perhaps accepted", err, OutcomeUnknown, Unknown)
		if got, err := anew.Await(t.Context()); got != "got queued" || err != nil {
			t.Errorf("made anew: %q, %v", got, err)
		}
		if b2.ran("slow") != 0 || b2.ran("queued") != 1 {
			t.Errorf("ran %d and %d times", b2.ran("slow"), b2.ran("queued"))
		}
	})
}

// A start without a store cannot know; a session's stranger is told nothing; and an
// actor that is not there yet is waited for.
func TestWhoMayAskAfterRestart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		r.start("b", "b2", bus).handle(same)
		_, err := f.Await(t.Context())
		wantErr(t, "no store any more", err, OutcomeUnknown, Unknown)
	})
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		var lost transport.Grant
		for g := range b.sessions {
			lost = g
		}
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, d.config)
		c := r.dialRaw("c", "bus", "b")
		ask := transport.Envelope{Verb: transport.VerbRequest, Flags: transport.FlagRecover, Grant: lost, Seq: 2, Target: "t", TypeID: 1, Codec: 1, Body: []byte("x")}
		if e := one(t, c.say(t, ask)); Code(e.Code) != SessionLost || e.Flags != 0 {
			t.Errorf("without a session on the link: %+v", e)
		}
		c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})
		if e := one(t, c.say(t, ask)); Code(e.Code) != Denied || e.Flags != 0 {
			t.Errorf("a stranger gets %+v", e)
		}
		if got, err := f.Await(t.Context()); got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		ask.Grant[0]++
		if said := c.say(t, ask); len(said) != 0 {
			t.Errorf("an unknown session while the actor may still come: %+v", said)
		}
		time.Sleep(startPatience)
		c = r.dialRaw("c", "bus", "b")
		c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})
		if e := one(t, c.say(t, ask)); Code(e.Code) != OutcomeUnknown || e.Flags != 0 {
			t.Errorf("an unknown session: %+v", e)
		}
		if b2.ran("x") != 0 {
			t.Error("it ran")
		}
	})
}

// A start that another one has followed begins nothing more.
func TestFencedStart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		if _, err := d.Take(t.Context(), "b", "b2", func(dedup.Change) {}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := a.ask("b", "x")
			wantErr(t, "fenced", err, Unavailable, NotRun)
		}
		if b.ran("x") != 0 {
			t.Error("it ran")
		}
	})
}

// A store that fails before a request begins has it refused; one that fails after it
// is done loses no reply.
func TestStoreFails(t *testing.T) {
	for _, anyway := range []bool{false, true} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(disk)
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
			b.durably(func(_ *Inbound, body string) string {
				if body == "breaks" {
					d.breaks(errors.New("disk full"), anyway)
				}
				return body
			})
			a.echoes("b", "warm up")
			a.echoes("b", "breaks")
			_, err := a.ask("b", "x")
			wantErr(t, "while the store fails", err, Unavailable, NotRun)
			d.breaks(nil, false)
			time.Sleep(5 * time.Second)
			a.echoes("b", "y")
			if b.ran("x") != 0 {
				t.Error("what was refused ran")
			}
			time.Sleep(time.Second)
			for c := range d.ledger().All() {
				if c.Op != dedup.Opened {
					t.Errorf("stored anyway %v: left over after all was acked: %+v", anyway, c)
				}
			}
		})
	}
}

// All requests that wait share a write.
func TestGroupCommit(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		before := d.writes
		var fs []*Future[string]
		for range 1000 {
			f, _ := a.send(request("b", "x", patience))
			fs = append(fs, f)
		}
		for _, f := range fs {
			if _, err := f.Await(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.writes - before; n > 10 {
			t.Errorf("1000 requests at once took %d writes", n)
		}
	})
}

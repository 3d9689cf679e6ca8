package engine

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A client gets the stored reply of a request that was done when its server was lost from the
// server's next start. When the reply is acked, the store drops it.
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
			time.Sleep(rpc.DefaultSessionLease + rpc.DefaultKeyLife + 3*time.Minute)
			if n := d.ledger().Bytes(); n != 0 {
				t.Errorf("%v: %d bytes are still kept: %v", roads, n, slices.Collect(d.ledger().All()))
			}
		})
	}
}

// After a restart, a request that had started and was not done is OutcomeUnknown. One that had
// not started is NotRun, and may be retried.
func TestUnfinishedAtRestart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, d.config)
		b.durably(func(_ *server.Inbound, body string) string {
			if body == "slow" {
				<-b.host.Context().Done()
			}
			return body
		})
		a.echoes("b", "warm up")
		b.mu.Lock()
		serve := b.serve
		b.serve = func(in *server.Inbound) {
			if string(in.Body()) != "queued" { // that stays in the mailbox
				serve(in)
			}
		}
		b.mu.Unlock()
		slow, _ := a.send(request("b", "slow", patience))
		queued, _ := a.send(request("b", "queued", patience))
		again := request("b", "queued", patience)
		again.Retry = &rpc.Retry{}
		anew, _ := a.send(again)
		acked := request("b", "queued", patience)
		acked.Confirm = true
		unsure, _ := a.send(acked)
		time.Sleep(100 * time.Millisecond)
		d.unplug()
		b.crash(false)
		b2 := r.start("b", "b2", twoRoads, d.config)
		b2.durably(same)
		_, err := slow.Await(t.Context())
		wantErr(t, "started", err, rpc.OutcomeUnknown, rpc.Unknown)
		_, err = queued.Await(t.Context())
		wantErr(t, "queued", err, rpc.Unavailable, rpc.NotRun)
		_, err = unsure.Await(t.Context())
		wantErr(t, "perhaps accepted", err, rpc.OutcomeUnknown, rpc.Unknown)
		if got, err := anew.Await(t.Context()); got != "got queued" || err != nil {
			t.Errorf("made anew: %q, %v", got, err)
		}
		if b2.ran("slow") != 0 || b2.ran("queued") != 1 {
			t.Errorf("ran %d and %d times", b2.ran("slow"), b2.ran("queued"))
		}
	})
}

// A server that was restarted without a store cannot know what became of requests. A principal
// that does not own the session is told nothing. If the actor is not spawned yet, the server
// waits for it.
func TestWhoMayAskAfterRestart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		r.start("b", "b2", bus).handle(same)
		_, err := f.Await(t.Context())
		wantErr(t, "no store any more", err, rpc.OutcomeUnknown, rpc.Unknown)
	})
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		lost := b.Server.View().Sessions[0]
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, d.config)
		c := r.dialRaw("c", "bus", "b")
		ask := transport.Envelope{Verb: transport.VerbRequest, Flags: transport.FlagRecover, Grant: lost, Seq: 2, Target: "t", TypeID: 1, Codec: 1, Body: []byte("x")}
		if e := one(t, c.say(t, ask)); rpc.Code(e.Code) != rpc.SessionLost || e.Flags != 0 {
			t.Errorf("without a session on the link: %+v", e)
		}
		c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})
		if e := one(t, c.say(t, ask)); rpc.Code(e.Code) != rpc.Denied || e.Flags != 0 {
			t.Errorf("a stranger gets %+v", e)
		}
		if got, err := f.Await(t.Context()); got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		ask.Grant[0]++
		if said := c.say(t, ask); len(said) != 0 {
			t.Errorf("an unknown session while the actor may still come: %+v", said)
		}
		time.Sleep(10 * time.Second)
		c = r.dialRaw("c", "bus", "b")
		c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})
		if e := one(t, c.say(t, ask)); rpc.Code(e.Code) != rpc.OutcomeUnknown || e.Flags != 0 {
			t.Errorf("an unknown session: %+v", e)
		}
		if b2.ran("x") != 0 {
			t.Error("it ran")
		}
	})
}

// After a newer start of the node has begun, the older one begins no more requests.
func TestFencedStart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		if _, err := d.Take(t.Context(), "b", "b2", func(ledger.Change) {}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := a.ask("b", "x")
			wantErr(t, "fenced", err, rpc.Unavailable, rpc.NotRun)
		}
		if b.ran("x") != 0 {
			t.Error("it ran")
		}
	})
}

// If the store fails before a request begins, the request is refused. If it fails after the
// request is done, no reply is lost.
func TestStoreFails(t *testing.T) {
	for _, anyway := range []bool{false, true} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(disk)
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
			b.durably(func(_ *server.Inbound, body string) string {
				if body == "breaks" {
					d.breaks(errors.New("disk full"), anyway)
				}
				return body
			})
			a.echoes("b", "warm up")
			a.echoes("b", "breaks")
			_, err := a.ask("b", "x")
			wantErr(t, "while the store fails", err, rpc.Unavailable, rpc.NotRun)
			d.breaks(nil, false)
			time.Sleep(5 * time.Second)
			a.echoes("b", "y")
			if b.ran("x") != 0 {
				t.Error("what was refused ran")
			}
			time.Sleep(time.Second)
			for c := range d.ledger().All() {
				if c.Op != ledger.Opened {
					t.Errorf("stored anyway %v: left over after all was acked: %+v", anyway, c)
				}
			}
		})
	}
}

// All requests that wait for the store share one write.
func TestGroupCommit(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		before := d.writes
		var fs []*rpc.Future[string]
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

package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A question about a request is answered only if it describes the same request.
func TestQuestionAfterAnotherRequest(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		b := r.start("b", "b1", bus, d.config)
		b.durably(same)
		c := r.dialRaw("c", "bus", "b")
		opened := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1}))
		plain := transport.Envelope{Verb: transport.VerbRequest, Grant: opened.Grant, Seq: 1, Target: "t", TypeID: 1, Codec: 1, Body: []byte("x")}
		keyed := plain
		keyed.Seq, keyed.Key = 2, "k"
		for _, e := range []transport.Envelope{plain, keyed} {
			c.say(t, e)
			time.Sleep(100 * time.Millisecond) // the store takes some of this time
		}
		d.unplug()
		b.crash(false)
		b2 := r.start("b", "b2", bus, d.config)
		b2.durably(same)
		c = r.dialRaw("c", "bus", "b")
		c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})
		for _, e := range []transport.Envelope{plain, keyed} {
			e.Flags, e.Message = transport.FlagRecover, opened.Message
			if got := one(t, c.say(t, e)); got.Code != 0 || string(got.Body) != "got x" || got.Seq != e.Seq {
				t.Errorf("key %q: %+v", e.Key, got)
			}
			for what, change := range map[string]func(*transport.Envelope){
				"body":  func(e *transport.Envelope) { e.Body = []byte("y") },
				"type":  func(e *transport.Envelope) { e.TypeID++ },
				"codec": func(e *transport.Envelope) { e.Codec++ },
			} {
				other := e
				change(&other)
				if got := one(t, c.say(t, other)); rpc.Code(got.Code) != rpc.IDReused || got.Flags != 0 {
					t.Errorf("key %q, another %s: %+v", e.Key, what, got)
				}
			}
		}
		never := plain
		never.Seq, never.Flags, never.Message = 9, transport.FlagRecover, opened.Message
		if got := one(t, c.say(t, never)); rpc.Code(got.Code) != rpc.Unavailable || got.Flags != transport.FlagNotRun {
			t.Errorf("a number that was never used: %+v", got)
		}
		never.Key = "never"
		for what, ask := range map[string]func(*transport.Envelope){
			"of unknown age":     func(*transport.Envelope) {},
			"too old":            func(e *transport.Envelope) { e.Age = rpc.DefaultKeyLife },
			"as old as can be":   func(e *transport.Envelope) { e.Age = 1<<63 - 1 },
			"of an unknown life": func(e *transport.Envelope) { e.Age, e.Message = 1, "test" },
			"of a broken life":   func(e *transport.Envelope) { e.Age, e.Message = 1, "test\n\x00soon" },
		} {
			old := never
			ask(&old)
			if got := one(t, c.say(t, old)); rpc.Code(got.Code) != rpc.OutcomeUnknown || got.Flags != 0 {
				t.Errorf("a key that was never used, of a request %s: %+v", what, got)
			}
		}
		young := never
		young.Age = time.Minute
		if got := one(t, c.say(t, young)); rpc.Code(got.Code) != rpc.Unavailable || got.Flags != transport.FlagNotRun {
			t.Errorf("a key that was never used: %+v", got)
		}
		never.Key = ""
		never.Message = "" // the session was opened when the kind kept no records
		if got := one(t, c.say(t, never)); rpc.Code(got.Code) != rpc.OutcomeUnknown || got.Flags != 0 {
			t.Errorf("a kind that kept no records: %+v", got)
		}
		reopened := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1}))
		live := plain
		live.Grant, live.Flags = reopened.Grant, transport.FlagRecover
		if got := one(t, c.say(t, live)); rpc.Code(got.Code) != rpc.SessionLost || got.Flags != 0 {
			t.Errorf("a session of this start: %+v", got)
		}
		if b2.ran("x")+b2.ran("y") != 0 {
			t.Error("a question was run")
		}
	})
}

// If a server dies again before it has answered a question, its next start is asked.
func TestTwoRestartsWhileUnresolved(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, d, f, _ := lostOutcome(t, r, patience)
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbReply && h.from == "b" {
				return drop
			}
			return pass
		})
		for i := range 2 {
			b := r.start("b", fmt.Sprint("b", i+2), bus, d.config)
			b.durably(same)
			until(t, "a question", func() bool { return b.Stats().Recovered > 0 })
			a.unresolved(t, 1)
			d.unplug()
			b.crash(false)
		}
		r.setTap(nil)
		b := r.start("b", "b4", bus, d.config)
		b.durably(same)
		if got, err := f.Await(t.Context()); got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if b.ran("x") != 0 {
			t.Error("it ran again")
		}
		a.unresolved(t, 0)
	})
}

// An unresolved request ends like any other: at its deadline, when its caller cancels, and when
// its node closes. Whether it ran is unknown.
func TestUnresolvedEnd(t *testing.T) {
	for _, back := range []bool{false, true} { // whether there is a next start, which does not answer
		start := func(t *testing.T, r *rig, d *disk) {
			if !back {
				r.mu.Lock()
				delete(r.places, "b") // the registry knows that the node has left
				r.mu.Unlock()
			} else {
				r.setTap(func(h hop) fate {
					if isQuestion(h) {
						return drop
					}
					return pass
				})
				r.start("b", "b2", bus, d.config).durably(same)
			}
		}
		withRig(t, func(t *testing.T, r *rig) {
			began := time.Now()
			a, d, f, _ := lostOutcome(t, r, 20*time.Second)
			start(t, r, d)
			a.unresolved(t, 1)
			_, err := f.Await(t.Context())
			wantErr(t, "past its deadline", err, rpc.Expired, rpc.Unknown)
			if took := time.Since(began); took < 20*time.Second || took > 20*time.Second+10*time.Millisecond {
				t.Errorf("after %v", took)
			}
			a.unresolved(t, 0)
		})
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, call := lostOutcome(t, r, patience, func(q *client.Request) { q.Retry = &rpc.Retry{} })
			start(t, r, d)
			a.unresolved(t, 1)
			call.GiveUp(rpc.Canceled, "enough")
			_, err := f.Await(t.Context())
			wantErr(t, "given up", err, rpc.Canceled, rpc.Unknown)
			a.unresolved(t, 0)
		})
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, _ := lostOutcome(t, r, patience)
			start(t, r, d)
			a.unresolved(t, 1)
			a.Close()
			_, err := f.Await(t.Context())
			wantErr(t, "closed", err, rpc.Unavailable, rpc.Unknown)
		})
	}
}

// A node that has left the registry may come back, and is asked when it does.
func TestLeavesAndComesBack(t *testing.T) {
	for _, back := range []bool{true, false} {
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, _ := lostOutcome(t, r, patience)
			r.mu.Lock()
			delete(r.places, "b")
			r.mu.Unlock()
			time.Sleep(10 * time.Second)
			a.unresolved(t, 1)
			_, err := a.ask("b", "y")
			wantErr(t, "what was not sent", err, rpc.NotFound, rpc.NotRun)
			if !back {
				_, err := f.Await(t.Context())
				wantErr(t, "it stays away", err, rpc.Expired, rpc.Unknown)
				return
			}
			r.start("b", "b2", bus, d.config).durably(same)
			if got, err := f.Await(t.Context()); got != "got x" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A question is repeated if the bus has lost it or its answer.
func TestQuestionsAreRepeated(t *testing.T) {
	for what, lost := range map[string]func(hop) bool{
		"questions": isQuestion,
		"answers":   func(h hop) bool { return h.Verb == transport.VerbReply && h.from == "b" },
	} {
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, _ := lostOutcome(t, r, patience)
			left := 3
			r.setTap(func(h hop) fate {
				if lost(h) && left > 0 {
					left--
					return drop
				}
				return pass
			})
			b := r.start("b", "b2", bus, d.config)
			b.durably(same)
			if got, err := f.Await(t.Context()); got != "got x" || err != nil || left != 0 {
				t.Errorf("%s: %q, %v", what, got, err)
			}
			a.unresolved(t, 0)
			if b.ran("x") != 0 {
				t.Error("it ran again")
			}
		})
	}
}

// If an answer comes twice, it ends one call, once.
func TestAnswerComesTwice(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, d, f, _ := lostOutcome(t, r, patience)
		r.setTap(func(h hop) fate {
			if isQuestion(h) {
				return twice
			}
			return pass
		})
		r.start("b", "b2", bus, d.config).durably(same)
		if got, err := f.Await(t.Context()); got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		time.Sleep(time.Second)
		if late := a.Stats().RepliesLate; late != 1 {
			t.Errorf("%d late replies", late)
		}
		a.echoesAs(t, "b", "y", "got y")
	})
}

// If a record cannot be read, the outcome is unknown.
func TestBrokenRecord(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, d, f, _ := lostOutcome(t, r, patience)
		d.mu.Lock()
		for i := range d.kept {
			if d.kept[i].Op == ledger.Done {
				d.kept[i].Outcome = []byte("garbage")
			}
		}
		d.mu.Unlock()
		r.start("b", "b2", bus, d.config).durably(same)
		_, err := f.Await(t.Context())
		wantErr(t, "broken", err, rpc.OutcomeUnknown, rpc.Unknown)
	})
}

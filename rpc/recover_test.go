package rpc

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// inDoubt has b run "x" for a and die before its reply arrives. The next start of b is
// still to come.
func inDoubt(t *testing.T, r *rig, timeout time.Duration, change ...func(*Request)) (a *site, d *disk, f *Future[string], call *Call) {
	t.Helper()
	d = new(disk)
	a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
	b.durably(same)
	a.echoesAs(t, "b", "warm up", "got warm up")
	r.setTap(func(h hop) fate {
		if h.Verb == transport.VerbReply {
			return drop
		}
		return pass
	})
	req := request("b", "x", timeout)
	for _, fn := range change {
		fn(&req)
	}
	f, call = a.send(req)
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	d.unplug()
	b.crash(false)
	r.setTap(nil)
	if b.ran("x") != 1 {
		t.Fatalf("it ran %d times", b.ran("x"))
	}
	return a, d, f, call
}

func isQuestion(h hop) bool {
	return h.Verb == transport.VerbRequest && h.Flags&transport.FlagRecover != 0
}

// doubting waits until a has that many calls in doubt.
func (s *site) doubting(t *testing.T, want int) {
	t.Helper()
	p := s.peer("b")
	doubts, bytes := -1, 0
	for range 10_000 {
		synctest.Wait()
		p.mu.Lock()
		doubts, bytes = len(p.doubts), p.kept.bytes[0]
		p.mu.Unlock()
		if doubts == want {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if doubts != want {
		t.Fatalf("%d calls are in doubt, want %d", doubts, want)
	}
	if want == 0 && bytes != 0 {
		t.Errorf("%d bytes of bodies are counted, and none is kept", bytes)
	}
}

// until waits until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 100_000 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// What is asked for under the name of a request must be that request.
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
			time.Sleep(100 * time.Millisecond) // of which the store takes some
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
				if got := one(t, c.say(t, other)); Code(got.Code) != IDReused || got.Flags != 0 {
					t.Errorf("key %q, another %s: %+v", e.Key, what, got)
				}
			}
		}
		never := plain
		never.Seq, never.Flags, never.Message = 9, transport.FlagRecover, opened.Message
		if got := one(t, c.say(t, never)); Code(got.Code) != Unavailable || got.Flags != transport.FlagNotRun {
			t.Errorf("a number that was never used: %+v", got)
		}
		never.Key = "never"
		for what, ask := range map[string]func(*transport.Envelope){
			"of unknown age":     func(*transport.Envelope) {},
			"too old":            func(e *transport.Envelope) { e.Age = DefaultKeyLife },
			"as old as can be":   func(e *transport.Envelope) { e.Age = 1<<63 - 1 },
			"of an unknown life": func(e *transport.Envelope) { e.Age, e.Message = 1, "test" },
			"of a broken life":   func(e *transport.Envelope) { e.Age, e.Message = 1, "test\n\x00soon" },
		} {
			old := never
			ask(&old)
			if got := one(t, c.say(t, old)); Code(got.Code) != OutcomeUnknown || got.Flags != 0 {
				t.Errorf("a key that was never used, of a request %s: %+v", what, got)
			}
		}
		young := never
		young.Age = time.Minute
		if got := one(t, c.say(t, young)); Code(got.Code) != Unavailable || got.Flags != transport.FlagNotRun {
			t.Errorf("a key that was never used: %+v", got)
		}
		never.Key = ""
		never.Message = "" // the session was opened when the kind kept no records
		if got := one(t, c.say(t, never)); Code(got.Code) != OutcomeUnknown || got.Flags != 0 {
			t.Errorf("a kind that kept no records: %+v", got)
		}
		reopened := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1}))
		live := plain
		live.Grant, live.Flags = reopened.Grant, transport.FlagRecover
		if got := one(t, c.say(t, live)); Code(got.Code) != SessionLost || got.Flags != 0 {
			t.Errorf("a session of this start: %+v", got)
		}
		if b2.ran("x")+b2.ran("y") != 0 {
			t.Error("a question was run")
		}
	})
}

// A start that dies before it has answered leaves the doubt to its successor.
func TestTwoRestartsInDoubt(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, d, f, _ := inDoubt(t, r, patience)
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
			a.doubting(t, 1)
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
		a.doubting(t, 0)
	})
}

// A doubt ends as any request does: at its deadline, when its caller gives up, and when
// its node closes. Nobody knows whether it ran.
func TestDoubtEnds(t *testing.T) {
	for _, back := range []bool{false, true} { // the next start is there, and silent
		start := func(t *testing.T, r *rig, d *disk) {
			if !back {
				r.mu.Lock()
				delete(r.places, "b") // the registry knows that it has gone
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
			a, d, f, _ := inDoubt(t, r, 20*time.Second)
			start(t, r, d)
			a.doubting(t, 1)
			_, err := f.Await(t.Context())
			wantErr(t, "past its deadline", err, Expired, Unknown)
			if took := time.Since(began); took < 20*time.Second || took > 20*time.Second+10*time.Millisecond {
				t.Errorf("after %v", took)
			}
			a.doubting(t, 0)
		})
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, call := inDoubt(t, r, patience, func(q *Request) { q.Retry = &Retry{} })
			start(t, r, d)
			a.doubting(t, 1)
			call.GiveUp(Canceled, "enough")
			_, err := f.Await(t.Context())
			wantErr(t, "given up", err, Canceled, Unknown)
			a.doubting(t, 0)
		})
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, _ := inDoubt(t, r, patience)
			start(t, r, d)
			a.doubting(t, 1)
			a.Close()
			_, err := f.Await(t.Context())
			wantErr(t, "closed", err, Unavailable, Unknown)
		})
	}
}

// A node that leaves the registry may come back, and is asked when it does.
func TestLeavesAndComesBack(t *testing.T) {
	for _, back := range []bool{true, false} {
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, _ := inDoubt(t, r, patience)
			r.mu.Lock()
			delete(r.places, "b")
			r.mu.Unlock()
			time.Sleep(10 * time.Second)
			a.doubting(t, 1)
			_, err := a.ask("b", "y")
			wantErr(t, "what was not sent", err, NotFound, NotRun)
			if !back {
				_, err := f.Await(t.Context())
				wantErr(t, "it stays away", err, Expired, Unknown)
				return
			}
			r.start("b", "b2", bus, d.config).durably(same)
			if got, err := f.Await(t.Context()); got != "got x" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A question, and an answer, that the bus has lost are repeated.
func TestQuestionsAreRepeated(t *testing.T) {
	for what, lost := range map[string]func(hop) bool{
		"questions": isQuestion,
		"answers":   func(h hop) bool { return h.Verb == transport.VerbReply && h.from == "b" },
	} {
		withRig(t, func(t *testing.T, r *rig) {
			a, d, f, _ := inDoubt(t, r, patience)
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
			a.doubting(t, 0)
			if b.ran("x") != 0 {
				t.Error("it ran again")
			}
		})
	}
}

// An answer that comes twice ends one call, once.
func TestAnswerComesTwice(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, d, f, _ := inDoubt(t, r, patience)
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

// archive is an application's records, which answers when its gate is open.
type archive struct {
	gate chan struct{}

	mu            sync.Mutex // guards what follows
	busy, most    int
	voided, asked map[string]int
}

func newArchive() *archive {
	return &archive{gate: make(chan struct{}), voided: map[string]int{}, asked: map[string]int{}}
}

func (a *archive) wait(ctx context.Context, seen map[string]int, id string) error {
	a.mu.Lock()
	a.busy++
	seen[id]++
	a.most = max(a.most, a.busy)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.busy--
		a.mu.Unlock()
	}()
	select {
	case <-a.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *archive) Void(ctx context.Context, id string) ([]byte, bool, error) {
	return nil, false, a.wait(ctx, a.voided, id)
}

func (a *archive) Completed(ctx context.Context, id string) ([]byte, bool, error) {
	return nil, false, a.wait(ctx, a.asked, id)
}

var _ dedup.Completions = (*archive)(nil)

// transactional makes the site's actor one that commits its own records.
func (s *site) transactional(c dedup.Completions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durability = Durability{Known: true, Kind: "test", Completions: c}
}

func testKind(c *Config) { c.Kinds = []string{"test"} }

// Many questions at once reach a slow application a few at a time, and none of them
// twice at once. All are answered.
func TestSlowApplication(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		const calls = 200
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, testKind)
		b.handle(func(_ *Inbound, body string) string {
			if body == "x" {
				<-b.ctx.Done()
			}
			return body
		})
		a.echoes("b", "warm up")
		var fs []*Future[string]
		for i := range calls {
			req := request("b", "x", patience)
			if i%2 == 1 {
				req.Rare = &Rare{Key: fmt.Sprint(i)}
			}
			f, _ := a.send(req)
			fs = append(fs, f)
		}
		time.Sleep(100 * time.Millisecond)
		b.crash(false)
		files := newArchive()
		b2 := r.start("b", "b2", bus, testKind)
		b2.transactional(files)
		a.doubting(t, calls)
		until(t, "all places are taken", func() bool { files.mu.Lock(); defer files.mu.Unlock(); return files.busy == maxSettles })
		time.Sleep(2 * askAfter) // they are asked again
		files.mu.Lock()
		if files.busy != maxSettles || files.most != maxSettles {
			t.Errorf("%d questions at once, %d at most, want %d", files.busy, files.most, maxSettles)
		}
		files.mu.Unlock()
		close(files.gate)
		for i, f := range fs {
			_, err := f.Await(t.Context())
			if i%2 == 1 {
				wantErr(t, "keyed", err, OutcomeUnknown, Unknown)
			} else {
				wantErr(t, "plain", err, Unavailable, NotRun)
			}
		}
		for _, seen := range []map[string]int{files.voided, files.asked} {
			if len(seen) != calls/2 {
				t.Errorf("%d were asked for", len(seen))
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s was asked for %d times", id, n)
				}
			}
		}
		a.doubting(t, 0)
	})
}

// An application that does not answer at all is not waited for for ever.
func TestSilentApplication(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, testKind)
		b.handle(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, testKind)
		files := newArchive()
		b2.transactional(files)
		until(t, "it is asked", func() bool { files.mu.Lock(); defer files.mu.Unlock(); return files.busy == 1 })
		began := time.Now()
		_, err := f.Await(t.Context())
		wantErr(t, "no answer", err, OutcomeUnknown, Unknown)
		if took := time.Since(began); took < settleTimeout-10*time.Millisecond || took > settleTimeout+10*time.Millisecond {
			t.Errorf("after %v", took)
		}
		for id, n := range files.voided {
			if n != 1 {
				t.Errorf("%s was asked for %d times at once", id, n)
			}
		}
	})
	withRig(t, func(t *testing.T, r *rig) { // and Close does not wait for it either
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, testKind)
		b.handle(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, testKind)
		files := newArchive()
		b2.transactional(files)
		until(t, "it is asked", func() bool { files.mu.Lock(); defer files.mu.Unlock(); return files.busy == 1 })
		began := time.Now()
		b2.crash(false)
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		b3 := r.start("b", "b3", bus, testKind)
		b3.transactional(noCompletions{})
		_, err := f.Await(t.Context())
		wantErr(t, "asked again", err, Unavailable, NotRun)
	})
}

// A record that cannot be read is an outcome that nobody knows.
func TestBrokenRecord(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		_, d, f, _ := inDoubt(t, r, patience)
		d.mu.Lock()
		for i := range d.kept {
			if d.kept[i].Op == dedup.Done {
				d.kept[i].Outcome = []byte("garbage")
			}
		}
		d.mu.Unlock()
		r.start("b", "b2", bus, d.config).durably(same)
		_, err := f.Await(t.Context())
		wantErr(t, "broken", err, OutcomeUnknown, Unknown)
	})
}

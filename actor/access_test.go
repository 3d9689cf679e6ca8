package actor

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of the actors that are guarded.
type (
	openDoor struct{ Returns[string] }
	ringDoor struct{ Returns[string] }
	knock    struct{ N int }
	slowJob  struct{ Returns[string] }
	touchy   struct {
		Returns[string]
		Secret secret
	}
	secret struct{ text string }
)

func (openDoor) WireName() string { return "test.door.Open" }
func (ringDoor) WireName() string { return "test.door.Ring" }
func (touchy) WireName() string   { return "test.door.Touchy" }

// decoded counts the secrets that were decoded.
var decoded struct {
	sync.Mutex
	n int
}

func (s secret) MarshalText() ([]byte, error) { return []byte(s.text), nil }
func (s *secret) UnmarshalText(b []byte) error {
	decoded.Lock()
	defer decoded.Unlock()
	decoded.n++
	s.text = string(b)
	return nil
}

// door notes who came.
type door struct {
	mu     sync.Mutex
	came   []string
	finish chan struct{}
}

func (d *door) enter(ctx *Context, what string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.came = append(d.came, what+" by "+ctx.Principal()+" of "+ctx.Node())
	return what
}

func (d *door) visits() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	came := d.came
	d.came = nil
	return came
}

func doorKind(d *door) *Kind {
	return Define("door", func() *door { return d },
		Answer(func(d *door, ctx *Context, _ openDoor) (string, error) { return d.enter(ctx, "open"), nil }),
		Answer(func(d *door, ctx *Context, _ ringDoor) (string, error) { return d.enter(ctx, "ring"), nil }),
		Answer(func(d *door, ctx *Context, m touchy) (string, error) { return d.enter(ctx, m.Secret.text), nil }),
		Answer(func(d *door, ctx *Context, _ slowJob) (string, error) { <-d.finish; return d.enter(ctx, "slow"), nil }),
		Handle(func(d *door, ctx *Context, m knock) error { d.enter(ctx, "knock"); return nil }),
		Produce(func(d *door, ctx *Context, _ ticks) (iter.Seq2[int, error], error) {
			d.enter(ctx, "stream")
			return func(yield func(int, error) bool) {
				for n := 0; yield(n, nil); n++ {
					select {
					case <-ctx.Done():
						return
					case <-time.After(time.Second):
					}
				}
			}, nil
		}))
}

// guests are three nodes: b has the actors, a is principal "by one" there and c "by two".
type guests struct {
	a, b, c *System
	door    *door
	log     *lineLog
}

// lineLog keeps the lines of a log.
type lineLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *lineLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *lineLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lineLog) WithGroup(string) slog.Handler            { return l }
func (l *lineLog) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// with returns the lines with some text in them.
func (l *lineLog) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func withGuests(t *testing.T, run func(t *testing.T, g guests), change ...func(*Config)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string, log slog.Handler, roads ...string) *System {
			cfg := Config{Name: name, Registry: reg, Logger: slog.New(log), Principals: func(road string, _ transport.Peer) string { return "by " + road }}
			for _, road := range roads {
				cfg.Transports = append(cfg.Transports, net.Transport(road, true))
			}
			if name == "b" {
				for _, fn := range change {
					fn(&cfg)
				}
			}
			sys, err := NewSystem(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
			return sys
		}
		g := guests{door: &door{finish: make(chan struct{}, 100)}, log: new(lineLog)}
		g.a, g.b, g.c = start("a", slog.DiscardHandler, "one"), start("b", g.log, "one", "two"), start("c", slog.DiscardHandler, "two")
		if _, err := g.b.Spawn("door", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		if _, err := g.b.Spawn("jobs", QueueKind[int]("jobs", queue.Config{})); err != nil {
			t.Fatal(err)
		}
		run(t, g)
	})
}

func (g guests) setAccess(t *testing.T, r access.Rules) {
	t.Helper()
	if err := g.b.SetAccess(r); err != nil {
		t.Fatal(err)
	}
}

func wantDenied(t *testing.T, what string, err error) {
	t.Helper()
	if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun {
		t.Errorf("%s: %v, want denied, not run", what, err)
	}
}

// byOne allows everything to a's principal and nothing to others.
var byOne = access.Rules{List: []access.Rule{{Effect: access.Allow, Principals: []string{"by one"}}}, Default: access.Deny}

// verbs are one attempt of each operation.
var verbs = map[access.Op]func(ctx context.Context, s *System) error{
	access.Call: func(ctx context.Context, s *System) error {
		_, err := Call(ctx, s.Ref("door@b"), openDoor{})
		return err
	},
	access.Send: func(ctx context.Context, s *System) error { return Tell(ctx, s.Ref("door@b"), knock{}, rpc.Acked()) },
	access.Stream: func(ctx context.Context, s *System) error {
		for _, err := range Stream(ctx, s.Ref("door@b"), ticks{}) {
			return err
		}
		return nil
	},
	access.Push: func(ctx context.Context, s *System) error { return Push(ctx, s.Ref("jobs@b"), 1) },
	access.Pull: func(ctx context.Context, s *System) error {
		_, err := Pull[int](ctx, s.Ref("jobs@b"), Wait(0))
		return err
	},
	access.Manage: func(ctx context.Context, s *System) error {
		_, err := PurgeQueue[int](ctx, s.Ref("jobs@b"))
		return err
	},
	access.Submit: func(ctx context.Context, s *System) error {
		_, err := Submit(ctx, s.Ref("door@b"), openDoor{})
		return err
	},
}

func TestWhoMayDoWhat(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		for op := range verbs {
			// One operation is allowed to everybody: of c's, that one passes, and no other.
			g.setAccess(t, access.Rules{Default: access.Deny, List: []access.Rule{
				{Effect: access.Allow, Principals: []string{"by one"}},
				{Effect: access.Allow, Ops: op},
			}})
			for other, do := range verbs {
				if err := do(t.Context(), g.a); err != nil {
					t.Errorf("who may do everything: %v: %v", other, err)
				}
				synctest.Wait()
				g.door.visits()
				before, err := g.b.Stats().Denied, do(t.Context(), g.c)
				denied := g.b.Stats().Denied - before
				if other == op {
					if err != nil || denied != 0 {
						t.Errorf("who may %v: %v, %d denied", op, err, denied)
					}
					continue
				}
				if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun || denied != 1 {
					t.Errorf("who may %v and does %v: %v, ran %v, %d denied", op, other, err, rpc.Ran(err), denied)
				}
				synctest.Wait()
				if came := g.door.visits(); len(came) > 0 {
					t.Errorf("who may %v and does %v: %v", op, other, came)
				}
			}
		}
	})
}

// By message, name, kind and service; the node's own actors are not asked about.
func TestAccessByMessage(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		if _, err := g.b.Spawn("porch", doorKind(g.door), Expose("bells")); err != nil {
			t.Fatal(err)
		}
		g.setAccess(t, access.Rules{Default: access.Deny, List: []access.Rule{
			{Effect: access.Deny, Actors: []string{"porch"}, Messages: []string{"test.door.O*"}},
			{Effect: access.Allow, Services: []string{"bells"}},
			{Effect: access.Allow, Kinds: []string{"door"}, Messages: []string{"test.door.Ring"}},
		}})
		time.Sleep(time.Second)
		ring := func(s *System, to string) error { _, err := Call(t.Context(), s.Ref(to), ringDoor{}); return err }
		open := func(s *System, to string) error { _, err := Call(t.Context(), s.Ref(to), openDoor{}); return err }
		for what, err := range map[string]error{"by message": ring(g.a, "door@b"), "by service": ring(g.a, "porch@b"),
			"from the node itself": open(g.b, "door@b"), "and under a key": func() error {
				_, err := Call(t.Context(), g.b.Ref("door@b"), openDoor{}, rpc.Key("k"))
				return err
			}()} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		wantDenied(t, "another message", open(g.a, "door@b"))
		wantDenied(t, "an exception of a service", open(g.a, "porch@b"))
		wantDenied(t, "who does not exist is not told from who may not be asked", open(g.a, "nobody@b"))
		// What one may not do takes nobody else's instance away, nor one's own.
		ejected := g.a.Events(t.Context(), InstanceEjected)
		defer func() {
			synctest.Wait()
			if n := len(ejected); n > 0 {
				t.Errorf("%d instances were left out for refusals", n)
			}
		}()
		for range 20 {
			_, err := Call(t.Context(), g.a.Service("bells"), openDoor{})
			wantDenied(t, "at a service", err)
		}
		if _, err := Call(t.Context(), g.a.Service("bells"), ringDoor{}); err != nil {
			t.Errorf("after denials the service is %v", err)
		}
	})
}

// Nothing of a denied message is decoded, and it is in no mailbox: a full one does not hold
// the refusal up.
func TestDeniedBeforeTheBody(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, byOne)
		block := func() error { _, err := Call(t.Context(), g.a.Ref("door@b"), slowJob{}); return err }
		done := make(chan error, 1)
		go func() { done <- block() }()
		synctest.Wait()
		decoded.Lock()
		decoded.n = 0
		decoded.Unlock()
		_, err := Call(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}})
		wantDenied(t, "while the actor is busy", err)
		dead := g.b.DeadLetters(t.Context())
		if err := Tell(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if d := <-dead; rpc.CodeOf(d.Reason) != rpc.Denied || d.To != "door@b" {
			t.Errorf("a one-way message: %+v", d)
		}
		if _, err := Submit(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}}); rpc.CodeOf(err) != rpc.Denied {
			t.Error(err)
		}
		decoded.Lock()
		if decoded.n != 0 {
			t.Errorf("%d bodies were decoded", decoded.n)
		}
		decoded.Unlock()
		g.door.finish <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Rules change while the system runs: for stored replies, tokens, streams and consumers in line.
func TestAccessChangesAtOnce(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx, s := t.Context(), g.c
		if _, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("k")); err != nil {
			t.Fatal(err)
		}
		done, err := Submit(ctx, s.Ref("door@b"), openDoor{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := done.Await(ctx); err != nil {
			t.Fatal(err)
		}
		g.door.visits()
		running, err := Submit(ctx, s.Ref("door@b"), slowJob{})
		if err != nil {
			t.Fatal(err)
		}
		awaited, pulled := make(chan error, 1), make(chan error, 1)
		go func() { _, err := running.Await(ctx); awaited <- err }()
		go func() { _, err := Pull[int](ctx, s.Ref("jobs@b")); pulled <- err }()
		if _, err := g.b.Spawn("other door", nil); err == nil {
			t.Fatal("no kind")
		}
		if _, err := g.b.Spawn("second", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		next, stop := iter.Pull2(Stream(ctx, s.Ref("second@b"), ticks{}))
		defer stop()
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		if err := g.b.SetAccess(access.Rules{List: []access.Rule{{}}}); err == nil {
			t.Error("rules that make no sense were set")
		}
		g.setAccess(t, byOne)
		synctest.Wait()
		if n := len(g.b.streams.all); n != 0 {
			t.Errorf("%d streams are open, though nothing more was asked of them", n)
		}
		for err == nil {
			_, err, _ = next()
		}
		if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.HasRun {
			t.Errorf("the stream: %v", err)
		}
		_, err = Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("k"))
		wantDenied(t, "the stored reply of a key", err)
		_, err = done.Poll(ctx)
		wantDenied(t, "a token's state", err)
		if _, err := done.Await(ctx); rpc.CodeOf(err) != rpc.Denied {
			t.Errorf("a token's result: %v", err)
		}
		_, err = running.Cancel(ctx)
		wantDenied(t, "to cancel a job", err)
		if err := Push(ctx, g.a.Ref("jobs@b"), 7); err != nil {
			t.Fatal(err)
		}
		wantDenied(t, "a consumer in line", <-pulled)
		if items, err := Pull[int](ctx, g.a.Ref("jobs@b"), Wait(0)); err != nil || len(items) != 1 || items[0].Attempt != 1 {
			t.Errorf("the item that it did not get: %v, %v", items, err)
		}
		g.door.finish <- struct{}{}
		if err := <-awaited; rpc.CodeOf(err) != rpc.Denied {
			t.Errorf("a result that was waited for: %v", err)
		}

		// The desk as such may be asked then, but not about the jobs of that actor.
		g.setAccess(t, access.Rules{List: []access.Rule{{Effect: access.Deny, Principals: []string{"by two"}, Actors: []string{"door"}}}})
		_, err = done.Poll(ctx)
		wantDenied(t, "a token's state, by its actor", err)
		_, err = running.Cancel(ctx)
		wantDenied(t, "to cancel a job, by its actor", err)

		g.setAccess(t, access.Rules{})
		if v, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("k")); err != nil || v != "open" {
			t.Errorf("%q, %v", v, err)
		}
		if v, err := running.Await(ctx); err != nil || v != "slow" {
			t.Errorf("%q, %v", v, err)
		}
		if came := g.door.visits(); len(came) != 2 { // the stream and the slow job
			t.Errorf("%v", came)
		}
	})
}

// Actors that are kept from other nodes are, without any rules; and those alone that are
// exposed can be reached, if the rules say so.
func TestLocalAndExposedActors(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		for name, spawned := range map[string]func() (Ref, error){
			"mine": func() (Ref, error) { return g.b.Spawn("mine", doorKind(g.door), LocalOnly()) },
			"kept": func() (Ref, error) { return g.b.Spawn("kept", doorKind(g.door).With(KeptLocal())) },
		} {
			ref, err := spawned()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Call(t.Context(), ref, openDoor{}); err != nil {
				t.Errorf("%s from its own node: %v", name, err)
			}
			if _, err := Call(t.Context(), ref, openDoor{}, rpc.Key("k")); err != nil {
				t.Errorf("%s from its own node: %v", name, err)
			}
			_, err = Call(t.Context(), g.a.Ref(name+"@b"), openDoor{})
			wantDenied(t, name, err)
			_, err = Call(t.Context(), g.a.Ref(name+"@b"), openDoor{}, rpc.Key("k"))
			wantDenied(t, name+" under a key", err)
			_, err = Submit(t.Context(), g.a.Ref(name+"@b"), openDoor{})
			wantDenied(t, name+" by a job", err)
			wantDenied(t, name+" one-way", Tell(t.Context(), g.a.Ref(name+"@b"), knock{}, rpc.Acked()))
		}
		for what, try := range map[string]func() (Ref, error){
			"an option": func() (Ref, error) { return g.b.Spawn("both", doorKind(g.door), LocalOnly(), Expose("s")) },
			"the kind":  func() (Ref, error) { return g.b.Spawn("both", doorKind(g.door).With(KeptLocal()), Expose("s")) },
		} {
			if _, err := try(); rpc.CodeOf(err) != rpc.Invalid {
				t.Errorf("exposed and kept local, by %s: %v", what, err)
			}
		}
		if _, err := g.b.Spawn("shown", doorKind(g.door), Expose("s")); err != nil {
			t.Fatal(err)
		}
		g.setAccess(t, access.Rules{ExposedOnly: true})
		if _, err := Call(t.Context(), g.a.Ref("shown@b"), openDoor{}); err != nil {
			t.Error(err)
		}
		_, err := Call(t.Context(), g.a.Ref("door@b"), openDoor{})
		wantDenied(t, "not exposed", err)
	})
}

// A node that may not expose a service gets no calls to it, from the moment when the rules
// say so; one line says why.
func TestWhoMayExpose(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		other := &door{finish: make(chan struct{})}
		for sys, d := range map[*System]*door{g.a: g.door, g.c: other} {
			if _, err := sys.Spawn("gate", doorKind(d), Expose("gates")); err != nil {
				t.Fatal(err)
			}
		}
		calls := func() {
			t.Helper()
			synctest.Wait()
			for range 40 {
				if _, err := Call(t.Context(), g.b.Service("gates"), openDoor{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		calls()
		if len(other.visits()) == 0 {
			t.Error("an instance that everybody may expose was not called")
		}
		g.setAccess(t, access.Rules{List: []access.Rule{{Name: "gates are a's", Effect: access.Deny, Principals: []string{rpc.NodePrincipal("c")}, Services: []string{"gates"}, Ops: access.Expose}}})
		calls()
		if n := len(other.visits()); n != 0 {
			t.Errorf("%d calls went where the service may not be exposed", n)
		}
		if lines := g.log.with("gates are a's"); len(lines) != 1 || !strings.Contains(lines[0], "gate@c") {
			t.Errorf("%q", lines)
		}
		if n := g.b.Stats().Denied; n == 0 {
			t.Error("it is not counted")
		}
	})
}

// The system's own actors take what they declare, as requests: a one-way message cancels
// nobody's job, takes no tokens, and closes no stream.
func TestSystemActorsTakeRequestsOnly(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx := t.Context()
		tok, err := Submit(ctx, g.a.Ref("door@b"), slowJob{})
		if err != nil {
			t.Fatal(err)
		}
		own, err := Submit(ctx, g.b.Ref("door@b"), slowJob{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.b.Spawn("second", doorKind(g.door)); err != nil {
			t.Fatal(err)
		}
		next, stop := iter.Pull2(Stream(ctx, g.a.Ref("second@b"), ticks{}))
		next()
		var hiddenStream string
		for st := range g.b.streams.all {
			hiddenStream = st.self.self.addr.String()
		}
		dead := g.b.DeadLetters(ctx)
		told := 0
		tell := func(to string, m any) {
			t.Helper()
			told++
			if err := Tell(ctx, g.c.Ref(to), m); err != nil {
				t.Fatal(err)
			}
			if err := Tell(ctx, g.c.Ref(to), m, rpc.Acked()); rpc.CodeOf(err) != rpc.Unhandled || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%T, acked: %v", m, err)
			}
		}
		for _, token := range []string{tok.String(), own.String()} {
			_, id, _ := splitToken(token)
			tell("$jobs@b", cancelJob{ID: id})
			tell("$jobs@b", pollJob{ID: id})
			tell("$jobs@b", awaitJob{ID: id})
		}
		job, err := g.c.jobOf(g.c.Ref("door@b").to, openDoor{}, reflect.TypeFor[openDoor](), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			tell("$jobs@b", job)
		}
		tell(hiddenStream, streamSign{Stop: true})
		tell(hiddenStream, streamNext{N: 2})
		tell("jobs@b", Enqueue[int]{Item: 1})
		tell("jobs@b", Dequeue[int]{Op: OpPull})
		tell("jobs@b", Oversee[int]{Op: OpPurge})
		synctest.Wait()
		for range told {
			if d := <-dead; rpc.CodeOf(d.Reason) != rpc.Unhandled {
				t.Errorf("%+v", d)
			}
		}
		if mine := g.b.jobs.mine; len(mine) != 2 || mine["by one"] != 1 || mine[g.b.node.OwnPrincipal()] != 1 {
			t.Errorf("tokens: %v", mine)
		}
		if _, err, _ := next(); err != nil {
			t.Errorf("the stream: %v", err)
		}
		stop()
		// Nor do they take what they do not declare, which ends before it is in a mailbox.
		synctest.Wait()
		handled := g.b.Stats().Handled
		_, err = Call(ctx, g.c.Ref("$jobs@b"), openDoor{}, rpc.WithCodec(g.c.control))
		if now := g.b.Stats().Handled; now != handled {
			t.Errorf("%d messages went through the desk's mailbox", now-handled)
		}
		if rpc.CodeOf(err) != rpc.Unhandled || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("what the desk does not declare: %v", err)
		}
		g.door.finish <- struct{}{}
		g.door.finish <- struct{}{}
		for _, tok := range []rpc.Token[string]{tok, own} {
			if v, err := tok.Await(ctx); err != nil || v != "slow" {
				t.Errorf("a job that was told to be cancelled: %q, %v", v, err)
			}
		}
	})
}

// Refusals are one line and one event a second for each principal and actor, with their
// number; and all of them are counted.
func TestRefusalsAreAuditedInSum(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, byOne)
		events := g.b.Events(t.Context(), AccessDenied)
		for n := range 1000 {
			_, err := Call(t.Context(), g.c.Ref("door@b"), openDoor{})
			wantDenied(t, "a call", err)
			if strings.Contains(err.Error(), "default") {
				t.Fatal("its caller learns of the rule: ", err)
			}
			if n == 0 {
				_, err := Call(t.Context(), g.c.Ref("jobs@b"), openDoor{})
				wantDenied(t, "of another actor", err)
			}
		}
		time.Sleep(2 * faultPause)
		if got := g.b.Stats().Denied; got != 1001 {
			t.Errorf("%d denied", got)
		}
		lines := g.log.with("access denied")
		if len(lines) < 3 || len(lines) > 8 {
			t.Errorf("%d lines: %s", len(lines), strings.Join(lines, "\n"))
		}
		for _, want := range []string{"principal=by two", "peer=c", "actor=door@b", "op=call", "rule=default", "last=test.door.Open", "count=1"} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("no %s in %s", want, lines[0])
			}
		}
		total := uint64(0)
		for n := 0; n < len(lines); n++ {
			e := <-events
			total += e.Count
			if e.Peer != "c" || rpc.CodeOf(e.Err) != rpc.Denied {
				t.Errorf("%+v", e)
			}
		}
		if total != 1001 || len(events) != 0 {
			t.Errorf("%d refusals in %d events", total, len(lines))
		}
	})
}

// Who sent a message is known for requests, one-way messages, jobs and streams, and remains
// so when the handler has returned.
func TestPrincipalOfAMessage(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx := t.Context()
		for _, s := range []*System{g.a, g.c, g.b} {
			for op, do := range verbs {
				if op == access.Stream {
					continue // it lasts
				}
				if err := do(ctx, s); err != nil {
					t.Errorf("%v: %v", op, err)
				}
			}
			if err := verbs[access.Stream](ctx, s); err != nil {
				t.Error(err)
			}
			_, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("key of "+s.Name()))
			if err != nil {
				t.Error(err)
			}
			synctest.Wait()
			who := map[*System]string{g.a: "by one of a", g.b: "by loopback of b", g.c: "by two of c"}[s]
			got := g.door.visits()
			slices.Sort(got)
			if want := []string{"knock by " + who, "open by " + who, "open by " + who, "open by " + who, "stream by " + who}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		// One-way messages of several principals in one batch.
		var entered, leave = make(chan struct{}), make(chan struct{})
		var kept []*Context
		var got []string
		kind := Define("keeper", func() int { return 0 },
			Handle(func(_ int, ctx *Context, m knock) error {
				if m.N == 0 {
					close(entered)
					<-leave
				}
				kept = append(kept, ctx)
				got = append(got, fmt.Sprint(m.N, " ", ctx.Principal()))
				return nil
			}),
			Answer(func(_ int, ctx *Context, _ openDoor) (string, error) { kept = append(kept, ctx); return "", nil }))
		if _, err := g.b.Spawn("keeper", kind); err != nil {
			t.Fatal(err)
		}
		if err := Tell(ctx, g.b.Ref("keeper"), knock{}); err != nil {
			t.Fatal(err)
		}
		<-entered
		want := []string{"0 by loopback"}
		for n := 1; n < 10; n++ {
			s, who := g.a, " by one"
			if n%3 == 0 {
				s, who = g.c, " by two"
			}
			if n%4 == 0 {
				s, who = g.b, " by loopback"
			}
			if err := Tell(ctx, s.Ref("keeper@b"), knock{N: n}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			want = append(want, fmt.Sprint(n, who))
		}
		close(leave)
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if _, err := Call(ctx, g.c.Ref("keeper@b"), openDoor{}); err != nil {
			t.Fatal(err)
		}
		for i, c := range kept {
			who := "by two"
			if i < len(want) {
				_, who, _ = strings.Cut(want[i], " ")
			}
			if c.Principal() != who {
				t.Errorf("kept context %d: %s, want %s", i, c.Principal(), who)
			}
		}
	})
}

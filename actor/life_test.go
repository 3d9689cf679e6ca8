package actor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Panic and Goexit answer the caller, restart the actor with fresh state, and take no
// other message with them.
func TestHandlersThatDoNotReturn(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		for _, told := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " told ", told), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					sys := newSystem(t, actor.Config{Logger: quiet})
					events := sys.Events(t.Context())
					ref := spawn(t, sys, "x", PuppetKind)
					unplug := plug(t, ref)
					var kept context.Context
					if told {
						if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { end() })); err != nil {
							t.Fatal(err)
						}
					} else {
						f := actor.Ask(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { kept = ctx; _ = ctx.Err(); end(); return "", nil }))
						defer func() {
							_, err := f.Await(t.Context())
							wantErr(t, name, err, rpc.Panicked, rpc.HasRun)
							if kept.Err() == nil {
								t.Error("its context did not end")
							}
						}()
					}
					after := actor.Ask(t.Context(), ref, Count{})
					unplug()
					if n, err := after.Await(t.Context()); n != 0 || err != nil {
						t.Errorf("state after the restart: %d, %v", n, err)
					}
					if e := <-events; e.Type != actor.ActorRestarted || e.Actor != "x@local" || rpc.CodeOf(e.Err) != rpc.Panicked {
						t.Errorf("event %+v", e)
					}
					synctest.Wait() // whole batches are counted
					if s := sys.Stats(); s.Panics != 1 || s.Handled != 3 {
						t.Errorf("stats %+v", s)
					}
				})
			})
		}
	}
}

// Stop hands back what waits, lets the handler finish, and frees the name.
func TestStopHandsBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		dead := letters(t, sys)
		ref := spawn(t, sys, "x", PuppetKind, small(2, mailbox.Block))
		unplug := plug(t, ref)
		asked := actor.Ask(t.Context(), ref, Count{})
		if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { t.Error("ran") })); err != nil {
			t.Fatal(err)
		}
		blocked := make(chan error, 1)
		go func() { _, err := actor.Call(t.Context(), ref, Count{}); blocked <- err }()
		synctest.Wait()
		sys.Stop(ref)
		_, err := asked.Await(t.Context())
		wantErr(t, "what waited", err, rpc.Unavailable, rpc.NotRun)
		wantErr(t, "who waited for room", <-blocked, rpc.NotFound, rpc.NotRun)
		if _, err := sys.Spawn("x", PuppetKind); !errors.Is(err, actor.ErrNameTaken) {
			t.Errorf("the name is free while the handler runs: %v", err)
		}
		unplug()
		synctest.Wait()
		_, err = actor.Call(t.Context(), ref, Count{})
		wantErr(t, "call to a stopped actor", err, rpc.NotFound, rpc.NotRun)
		for _, to := range []actor.Ref{ref, sys.Ref("never")} {
			if err := actor.Tell(t.Context(), to, Deposit{1}); err != nil {
				t.Errorf("tell to %v: %v", to, err)
			}
		}
		if err := actor.Tell(t.Context(), sys.Service("none"), Deposit{1}); err != nil {
			t.Errorf("tell to no service: %v", err)
		}
		want := []struct {
			to   string
			code rpc.Code
		}{{"x@local", rpc.Unavailable}, {"x@local", rpc.NotFound}, {"never@local", rpc.NotFound}, {"none@*", rpc.NotFound}}
		got := dead()
		if len(got) != len(want) {
			t.Fatalf("dead letters: %v", got)
		}
		for i, d := range got {
			if d.To != want[i].to || d.Time.IsZero() {
				t.Errorf("dead letter %d: %+v", i, d)
			}
			wantErr(t, "dead letter to "+d.To, d.Reason, want[i].code, rpc.NotRun)
		}
		if s := sys.Stats(); s.DeadLetters != 4 || s.Actors != 0 {
			t.Errorf("stats %+v", s)
		}
		spawn(t, sys, "x", PuppetKind) // one that stops itself
		if _, err := actor.Call(t.Context(), ref, run(func(ctx *actor.Context) (string, error) { ctx.Stop(); ctx.Stop(); return "", nil })); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s := sys.Stats(); s.Actors != 0 {
			t.Errorf("stats after an actor stopped itself %+v", s)
		}
	})
}

func TestShutdownDrains(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		events := sys.Events(t.Context())
		x, y := spawn(t, sys, "x", PuppetKind), spawn(t, sys, "y", PuppetKind)
		unplug := plug(t, x)
		done := 0
		f := actor.Ask(t.Context(), x, run(func(ctx *actor.Context) (string, error) { // causes more work
			return "caused", actor.Tell(ctx, y, note(func(*actor.Context) { done++ }))
		}))
		ended := make(chan error, 2)
		for range 2 {
			go func() { ended <- sys.Shutdown(t.Context()) }()
		}
		synctest.Wait()
		wantErr(t, "tell from outside", actor.Tell(t.Context(), x, note(func(*actor.Context) {})), rpc.Unavailable, rpc.NotRun)
		_, err := actor.Call(t.Context(), x, Count{})
		wantErr(t, "call from outside", err, rpc.Unavailable, rpc.NotRun)
		_, err = sys.Spawn("z", PuppetKind)
		wantErr(t, "spawn", err, rpc.Unavailable, rpc.NotRun)
		unplug()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("shutdown: %v", err)
			}
		}
		if v, err := f.Await(t.Context()); v != "caused" || err != nil || done != 1 {
			t.Errorf("accepted work: %q, %v; what it caused ran %d times", v, err, done)
		}
		for range events { // closed by the shutdown
		}
	})
}

func TestShutdownRunsOutOfTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem(actor.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		x := spawn(t, sys, "x", PuppetKind)
		running := actor.Ask(t.Context(), x, run(func(ctx *actor.Context) (string, error) { <-ctx.Done(); return "", context.Cause(ctx) }))
		synctest.Wait()
		waiting := actor.Ask(t.Context(), x, Count{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := sys.Shutdown(ctx); rpc.CodeOf(err) != rpc.Expired || time.Since(began) != time.Second {
			t.Errorf("shutdown: %v after %v", err, time.Since(began))
		}
		_, err = waiting.Await(t.Context())
		wantErr(t, "what never started", err, rpc.Unavailable, rpc.NotRun)
		_, err = running.Await(t.Context())
		wantErr(t, "what ran", err, rpc.Failed, rpc.HasRun)
	})
}

func TestContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "x", PuppetKind)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var kept *actor.Context
		var fired bool
		_, err := actor.Call(ctx, ref, run(func(c *actor.Context) (string, error) {
			kept = c
			if at, ok := c.Deadline(); !ok || time.Until(at) != time.Minute {
				t.Errorf("deadline %v, %v", at, ok)
			}
			before := runtime.NumGoroutine()
			for range 10 {
				inner, stop := context.WithTimeout(c, time.Second)
				defer stop()
				_ = inner
			}
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("context.WithTimeout started %d goroutines", n-before)
			}
			c.AfterFunc(func() { fired = true })
			if c.Err() != nil || c.Self() != ref || c.System() != sys || !c.Sender().IsZero() || c.Value("key") != nil {
				t.Error("what the context knows is wrong")
			}
			return "", nil
		}))
		cancel()
		synctest.Wait()
		if err != nil || kept.Err() == nil || !fired {
			t.Errorf("%v; after the handler: %v, AfterFunc ran %v", err, kept.Err(), fired)
		}
		wantErr(t, "reply after the handler", kept.Reply("x"), rpc.Invalid, rpc.HasRun)

		// The caller gives up, before or after the handler first looks at its context.
		for _, late := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			look := make(chan struct{})
			saw := make(chan error, 1)
			f := actor.Ask(ctx, ref, run(func(c *actor.Context) (string, error) {
				if late {
					<-look
				}
				<-c.Done()
				saw <- context.Cause(c)
				return "", nil
			}))
			synctest.Wait()
			cancel()
			_, err := f.Await(t.Context())
			wantErr(t, "given up", err, rpc.Canceled, rpc.Unknown)
			close(look)
			if err := <-saw; rpc.CodeOf(err) != rpc.Canceled {
				t.Errorf("late %v: the handler's context ended with %v", late, err)
			}
		}

		// A cancel before its turn: it never runs.
		unplug := plug(t, ref)
		ctx, cancel = context.WithCancel(t.Context())
		f := actor.Ask(ctx, ref, run(func(*actor.Context) (string, error) { t.Error("ran"); return "", nil }))
		cancel()
		_, err = f.Await(t.Context())
		wantErr(t, "given up before its turn", err, rpc.Canceled, rpc.NotRun)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = actor.Call(ctx, ref, run(func(*actor.Context) (string, error) { t.Error("ran"); return "", nil }))
		wantErr(t, "expired before its turn", err, rpc.Expired, rpc.NotRun)
		unplug()
	})
}

// A context that escaped its handler to other goroutines stays usable.
func TestContextEscapes(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref, other := spawn(t, sys, "x", PuppetKind), spawn(t, sys, "y", PuppetKind)
	var all sync.WaitGroup
	for range 50 {
		f := func(c *actor.Context) {
			for range 4 {
				all.Go(func() {
					_, _ = c.Deadline()
					_ = c.Err()
					_, _ = c.Trace(), c.Sender()
					if err := actor.Tell(context.WithoutCancel(c), other, Note{F: func(*actor.Context) error { return nil }}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		if err := actor.Tell(t.Context(), ref, note(f)); err != nil {
			t.Fatal(err)
		}
		if _, err := actor.Call(t.Context(), ref, run(func(c *actor.Context) (string, error) { f(c); return "", nil })); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
}

// One sender's messages arrive in its order, whatever others send.
func TestOrderPerSender(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref := spawn(t, sys, "x", PuppetKind, small(16, mailbox.Block))
	got := make([][]int, 8)
	var all sync.WaitGroup
	for g := range got {
		all.Go(func() {
			for i := range 500 {
				if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { got[g] = append(got[g], i) })); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, err := actor.Call(t.Context(), ref, Count{}); n != 8*500 || err != nil {
		t.Fatalf("%d handled, %v", n, err)
	}
	for g := range got {
		if len(got[g]) != 500 || !slices.IsSorted(got[g]) {
			t.Errorf("sender %d: %v", g, got[g])
		}
	}
}

func TestDefinePanics(t *testing.T) {
	tell := actor.Handle((*Account).Deposit)
	for name, define := range map[string]func(){
		"two handlers": func() { actor.Define("k", func() *Account { return nil }, tell, tell) },
		"no name":      func() { actor.Define("", func() *Account { return nil }) },
		"bad name":     func() { actor.Define("a b@c", func() *Account { return nil }) },
		"no state":     func() { actor.Define[*Account]("k", nil) },
		"no reply": func() {
			actor.Define("k", func() int { return 0 }, actor.Handle(func(int, *actor.Context, Balance) error { return nil }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "actor.Define") {
					t.Errorf("recovered %v", r)
				}
			}()
			define()
		})
	}
}

// Tree spawns its own kind, by name.
type Tree struct{}
type Grow struct {
	actor.Returns[int]
	Depth int
}

func (t *Tree) Grow(ctx *actor.Context, m Grow) (int, error) {
	if m.Depth == 0 {
		return 1, nil
	}
	child, err := ctx.System().Spawn("", actor.KindNamed("test.tree"))
	if err != nil {
		return 0, err
	}
	n, err := actor.Call(ctx, child, Grow{Depth: m.Depth - 1})
	return n + 1, err
}

var TreeKind = actor.Define("test.tree", func() *Tree { return new(Tree) }, actor.Answer((*Tree).Grow))

func TestKindNamed(t *testing.T) {
	sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{TreeKind}})
	if n, err := actor.Call(t.Context(), spawn(t, sys, "", TreeKind), Grow{Depth: 5}); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_, err := sys.Spawn("x", actor.KindNamed("nobody"))
	wantErr(t, "unknown kind", err, rpc.NotFound, rpc.NotRun)
	_, err = sys.Spawn("x", nil)
	wantErr(t, "no kind", err, rpc.Invalid, rpc.NotRun)
}

func TestConfigErrors(t *testing.T) {
	road := memnet.New(memnet.Config{})
	_, err := actor.NewSystem(actor.Config{Name: "a b", Cluster: "c.d", Roads: 9, Timeout: -1, SendWait: -1, Linger: -1,
		Transports: []transport.Transport{nil, road.Transport("x", true), road.Transport("x", true)},
		Kinds:      []*actor.Kind{nil, TreeKind, TreeKind, actor.KindNamed("k")}})
	for _, want := range []string{"Config.Name", "Config.Cluster", "without Config.Registry", "Transports[0] is nil", `two roads named "x"`, "Config.Roads", "Timeout", "SendWait",
		"Linger", "Kinds[0] is nil", `two kinds named "test.tree"`, `KindNamed("k")`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := actor.NewSystem(actor.Config{Registry: static.New()}); err == nil {
		t.Error("a registry without a road")
	}
}

// Chat is a Receiver with one message that other nodes may send.
type Chat struct{}
type Say struct {
	actor.Returns[string]
	Text string
}

func (*Chat) Receive(ctx *actor.Context) error {
	switch m := ctx.Message().(type) {
	case Say:
		switch m.Text {
		case "silence":
			return nil
		case "error":
			return io.EOF
		case "number":
			return ctx.Reply(7)
		}
		if err := ctx.Reply(m.Text); err != nil {
			return err
		}
		if err := ctx.Reply("again"); rpc.CodeOf(err) != rpc.Invalid {
			return fmt.Errorf("second reply: %v", err)
		}
		return nil
	}
	return rpc.Errorf(rpc.Invalid, rpc.HasRun, "what is a %T", ctx.Message())
}

var ChatKind = actor.Define("test.chat", func() *Chat { return new(Chat) }, actor.Accepts[*Chat, Say]())

func TestReceiver(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		here, there := spawn(t, a, "chat", ChatKind), spawn(t, b, "chat", ChatKind)
		for _, ref := range []actor.Ref{here, a.Bind(there)} {
			if got, err := actor.Call(t.Context(), ref, Say{Text: "hi"}); got != "hi" || err != nil {
				t.Errorf("%v: %q, %v", ref, got, err)
			}
			_, err := actor.Call(t.Context(), ref, Say{Text: "silence"})
			wantErr(t, "no reply", err, rpc.Failed, rpc.HasRun)
			_, err = actor.Call(t.Context(), ref, Say{Text: "error"})
			wantErr(t, "error", err, rpc.Failed, rpc.HasRun)
			_, err = actor.Call(t.Context(), ref, Say{Text: "number"})
			wantErr(t, "wrong reply", err, rpc.WrongReply, rpc.HasRun)
		}
		_, err := actor.Call(t.Context(), a.Bind(there), Balance{})
		wantErr(t, "a type it does not accept", err, rpc.Unhandled, rpc.NotRun)
	})
}

// Post is a message with all that travels well, and headers beside it.
type Post struct {
	actor.Returns[Post]
	Ref  actor.Ref
	Refs map[string]actor.Ref
	Text string
}

var PostKind = actor.Define("test.post", func() int { return 0 },
	actor.Answer(func(_ int, ctx *actor.Context, m Post) (Post, error) {
		if m.Ref.Bound() {
			return m, errors.New("a decoded ref is bound")
		}
		if !m.Ref.IsZero() {
			if err := actor.Tell(ctx, m.Ref, Deposit{1}); err != nil { // unbound is enough in a handler
				return m, err
			}
		}
		m.Text += " from " + ctx.Sender().String()
		return m, nil
	}))

func TestRefs(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		x := spawn(t, a, "x", AccountKind)
		spawn(t, b, "post", PostKind)
		for _, opts := range [][]rpc.Option{nil, {rpc.WithCodec(codec.JSON(codec.Limits{}))}} {
			got, err := actor.Call(t.Context(), a.Ref("post@b"), Post{Ref: x, Refs: map[string]actor.Ref{"none": {}, "x": x}}, opts...)
			if err != nil || !got.Ref.Equal(x) || got.Ref == x || a.Bind(got.Ref) != x || !got.Refs["x"].Equal(x) || !got.Refs["none"].IsZero() {
				t.Errorf("came back as %+v, %v", got, err)
			}
			wantErr(t, "unbound", actor.Tell(t.Context(), got.Ref, Deposit{1}), rpc.Invalid, rpc.NotRun)
			if _, err := actor.Call(t.Context(), got.Ref, Balance{}); !errors.Is(err, actor.ErrUnbound) {
				t.Errorf("call of an unbound ref: %v", err)
			}
		}
		synctest.Wait()
		if n, err := actor.Call(t.Context(), x, Balance{}); n != 2 || err != nil {
			t.Errorf("%d deposits came back through the ref, %v", n, err)
		}
		byRef := map[actor.Ref]int{x: 1}
		if byRef[a.Ref("x")] != 1 || byRef[a.Ref("x@a")] != 1 || byRef[b.Ref("x@a")] != 0 {
			t.Error("refs as map keys")
		}
		for _, bad := range []string{"", "a b", "@b", "x@", "x@b c", "x@b@c", strings.Repeat("x", 256), "\xff"} {
			if ref := a.Ref(bad); !ref.IsZero() && bad != "" {
				t.Errorf("address %q is %v", bad, ref)
			}
		}
		wantErr(t, "the zero ref", actor.Tell(t.Context(), actor.Ref{}, Deposit{1}), rpc.Invalid, rpc.NotRun)
		text, err := json.Marshal(struct{ R, Z actor.Ref }{R: x})
		if string(text) != `{"R":"x@a","Z":""}` || err != nil {
			t.Errorf("JSON: %s, %v", text, err)
		}
		var back struct{ R, Z actor.Ref }
		if err := json.Unmarshal(text, &back); err != nil || back.R.String() != "x@a" || !back.Z.IsZero() {
			t.Errorf("JSON: %v, %v", back, err)
		}
		if json.Unmarshal([]byte(`{"R":"x y"}`), &back) == nil {
			t.Error("a bad address was decoded")
		}
	})
}

// The trace, and with it a handler's own span, and the sender travel.
func TestTraceAndSender(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		type seen struct {
			trace  rpc.Trace
			sender string
		}
		got := make(chan seen, 1)
		echo := actor.Define("test.echo", func() int { return 0 },
			actor.Answer(func(_ int, ctx *actor.Context, m Say) (string, error) {
				got <- seen{rpc.TraceOf(ctx), ctx.Sender().String()}
				return "", nil
			}))
		spawn(t, a, "echo", echo)
		spawn(t, b, "echo", echo)
		x := spawn(t, a, "x", PuppetKind)
		first, span := rpc.Trace{1}, rpc.Trace{2}
		for _, to := range []string{"echo@a", "echo@b"} {
			ref := a.Ref(to)
			outside := rpc.WithTrace(t.Context(), first)
			if _, err := actor.Call(outside, ref, Say{}); err != nil {
				t.Fatal(err)
			}
			if s := <-got; s != (seen{first, ""}) {
				t.Errorf("%s from outside: %v", to, s)
			}
			for _, row := range []struct {
				name string
				from func(context.Context) context.Context
				want rpc.Trace
			}{
				{"from a handler", func(c context.Context) context.Context { return c }, first},
				{"under a time-out", func(c context.Context) context.Context {
					c, cancel := context.WithTimeout(c, time.Minute)
					t.Cleanup(cancel)
					return c
				}, first},
				{"in a span of the handler's", func(c context.Context) context.Context { return rpc.WithTrace(c, span) }, span},
			} {
				if _, err := actor.Call(outside, x, run(func(ctx *actor.Context) (string, error) {
					return actor.Call(row.from(ctx), ref, Say{})
				})); err != nil {
					t.Fatal(err)
				}
				if s := <-got; s != (seen{row.want, "x@a"}) {
					t.Errorf("%s %s: %v", to, row.name, s)
				}
			}
		}
	})
}

// Odd is the same type on the wire as Say, with a body that Say cannot be.
type Odd struct {
	actor.Returns[string]
	Text []int
}

func (Odd) WireName() string { return "github.com/tandem-go/tandem/actor_test.Say" }

// Other is it too, and its answer is not what Say's callers expect.
type Other struct{ actor.Returns[int] }

func (Other) WireName() string { return "github.com/tandem-go/tandem/actor_test.Say" }

func TestRemoteRefusals(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		spawn(t, b, "chat", ChatKind)
		chat := a.Ref("chat@b")
		_, err := actor.Call(t.Context(), chat, Odd{Text: []int{1}})
		wantErr(t, "undecodable", err, rpc.Undecodable, rpc.NotRun)
		_, err = actor.Call(t.Context(), chat, Run{})
		wantErr(t, "unhandled", err, rpc.Unhandled, rpc.NotRun)
		spawn(t, b, "other", actor.Define("o", func() int { return 0 }, actor.Answer(func(int, *actor.Context, Other) (int, error) { return 1, nil })))
		_, err = actor.Call(t.Context(), a.Ref("other@b"), Say{})
		wantErr(t, "wrong reply", err, rpc.WrongReply, rpc.HasRun)
		_, err = actor.Call(t.Context(), a.Ref("nobody@b"), Say{})
		wantErr(t, "no such actor", err, rpc.NotFound, rpc.NotRun)
		wantErr(t, "acked tell to nobody", actor.Tell(t.Context(), a.Ref("nobody@b"), Deposit{1}, rpc.Acked()), rpc.NotFound, rpc.NotRun)
		wantErr(t, "acked tell, unhandled", actor.Tell(t.Context(), chat, Deposit{1}, rpc.Acked()), rpc.Unhandled, rpc.NotRun)

		dead := letters(t, b)
		for _, to := range []actor.Ref{a.Ref("nobody@b"), chat} {
			if err := actor.Tell(t.Context(), to, Deposit{1}); err != nil {
				t.Error(err)
			}
		}
		got := dead()
		if len(got) != 2 || got[0].To != "nobody@b" || got[0].From != "@a" || rpc.CodeOf(got[0].Reason) != rpc.NotFound ||
			got[1].To != "chat@b" || rpc.CodeOf(got[1].Reason) != rpc.Unhandled {
			t.Errorf("dead letters: %v", got)
		}
	})
}

// Two systems of one process share no names.
func TestTwoSystems(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		here, there := spawn(t, a, "x", AccountKind), spawn(t, b, "x", AccountKind)
		if here == there || here.Equal(there) {
			t.Error("refs of two systems are one")
		}
		for ref, n := range map[actor.Ref]int64{here: 1, there: 2, a.Ref("x@b"): 4, b.Ref("x@a"): 8} {
			if err := actor.Tell(t.Context(), ref, Deposit{n}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for ref, want := range map[actor.Ref]int64{here: 9, a.Ref("x@b"): 6} {
			if n, err := actor.Call(t.Context(), ref, Balance{}); n != want || err != nil {
				t.Errorf("%v: %d, %v; want %d", ref, n, err, want)
			}
		}
	})
}

// A service reaches every instance in turn, and none that has stopped.
func TestService(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		hits := map[string]int{}
		kind := actor.Define("test.mailer", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Say) (string, error) {
			return ctx.Self().String(), nil
		}))
		svc := a.Service("mailer")
		_, err := actor.Call(t.Context(), svc, Say{})
		wantErr(t, "no instance", err, rpc.NotFound, rpc.NotRun)
		var refs []actor.Ref
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 4 { // at once: every one of them must get into the registry
			all.Go(func() {
				ref, err := []*actor.System{a, b}[i%2].Spawn(fmt.Sprint("m", i), kind, actor.Expose("mailer"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				refs = append(refs, ref)
			})
		}
		all.Wait()
		spawn(t, a, "plain", kind)
		ask := func(n int) map[string]int {
			synctest.Wait()
			clear(hits)
			for range n {
				who, err := actor.Call(t.Context(), svc, Say{})
				if err != nil {
					t.Fatal(err)
				}
				hits[who]++
			}
			return hits
		}
		if got := ask(40); len(got) != 4 || got["m0@a"] != 10 || got["m3@b"] != 10 {
			t.Errorf("hits: %v", got)
		}
		a.Stop(a.Ref("m0"))
		b.Stop(b.Ref("m1"))
		if got := ask(40); len(got) != 2 || got["m2@a"] != 20 || got["m3@b"] != 20 {
			t.Errorf("hits after two stopped: %v", got)
		}
	})
}

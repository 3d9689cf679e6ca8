package actortest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

type (
	Hello struct{ N int }
	Other struct{ Text string }
	Ask   struct {
		actor.Returns[int]
		N int
	}
)

// fake is a test of which the test looks at what it is told.
type fake struct {
	testing.TB
	said  []string
	fatal bool
}

func (f *fake) Helper() {}
func (f *fake) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}
func (f *fake) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	f.fatal = true
	runtime.Goexit()
}

// try runs something that may end the test.
func (f *fake) try(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}

// wants checks what the test was told.
func (f *fake) wants(t *testing.T, fatal bool, parts ...string) {
	t.Helper()
	text := strings.Join(f.said, "\n")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it says %q, want %q in it", text, part)
		}
	}
	if fatal != f.fatal || len(f.said) != 1 {
		t.Errorf("the test ends: %v, it is told %d things; want %v, 1", f.fatal, len(f.said), fatal)
	}
}

// pair starts two systems on roads in memory; only in a bubble.
func pair(t *testing.T, roads ...string) (a, b *actor.System) {
	net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
	start := func(name string) *actor.System {
		var all []transport.Transport
		for _, road := range roads {
			all = append(all, net.Transport(road, road == "direct"))
		}
		return actortest.NewSystem(t, actor.Config{Name: name, Registry: reg, Transports: all})
	}
	return start("a"), start("b")
}

// A probe takes messages of actors of its own node and of others, keeps their order, answers,
// and knows the senders.
func TestProbe(t *testing.T) {
	for _, where := range []string{"local", "direct", "bus"} {
		t.Run(where, func(t *testing.T) {
			actortest.Bubble(t, func(t *testing.T) {
				road := where
				if where == "local" {
					road = "direct"
				}
				a, b := pair(t, road)
				if where == "local" {
					a = b
				}
				p := actortest.NewProbe(t, b, "p", actortest.Accepts[Hello](), actortest.Answers(func(m Ask) (int, error) { return m.N + 1, nil }))
				ref := a.Ref(p.String())
				for i := range 3 {
					if err := actor.Tell(t.Context(), ref, Hello{i}); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 3 {
					if m := actortest.Expect[Hello](p); m.N != i {
						t.Errorf("got %v, want %d", m, i)
					}
				}
				if n, err := actor.Call(t.Context(), ref, Ask{N: 4}); n != 5 || err != nil {
					t.Errorf("answered with %d, %v", n, err)
				}
				if m := actortest.Expect[Ask](p); m.N != 4 {
					t.Errorf("got %v", m)
				}
				teller := actortest.Spawn(t, a, "teller", tellerKind)
				if err := actor.Tell(t.Context(), teller, Go{To: p.Ref}); err != nil {
					t.Fatal(err)
				}
				if m, from := actortest.ExpectFrom[Hello](p); m.N != 7 || !from.Equal(teller) {
					t.Errorf("got %v from %v, want 7 from %v", m, from, teller)
				}
				p.ExpectNothing(time.Hour)
			})
		})
	}
}

// Go has a teller send something.
type Go struct{ To actor.Ref }

type teller struct{}

func (teller) send(ctx *actor.Context, m Go) error { return actor.Tell(ctx, m.To, Hello{7}) }

var tellerKind = actor.Define("actortest.teller", func() teller { return teller{} }, actor.Handle(teller.send))

// What a failed expectation says.
func TestProbeFailures(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(p *actortest.Probe)
		fatal bool
		says  []string
	}{
		"none":       {func(p *actortest.Probe) { actortest.Expect[Hello](p) }, true, []string{"probe p@local", "actortest_test.Hello", "none came within 2s"}},
		"of another": {func(p *actortest.Probe) { send(p, Other{"x"}); actortest.Expect[Hello](p) }, true, []string{"want a message of type actortest_test.Hello, got {Text:x} (actortest_test.Other)"}},
		"and behind": {func(p *actortest.Probe) {
			for i := range 8 {
				send(p, Hello{i})
			}
			synctest.Wait()
			actortest.Expect[Other](p)
		}, true, []string{"got {N:0}", "behind it:\n\t{N:1}", "and 2 more"}},
		"something waits": {func(p *actortest.Probe) { send(p, Hello{3}); p.ExpectNothing(time.Second) }, false, []string{"want no message, got {N:3}"}},
		"something comes": {func(p *actortest.Probe) {
			time.AfterFunc(time.Second, func() { send(p, Hello{3}) })
			p.ExpectNothing(2 * time.Second)
		}, false, []string{"want no message, got {N:3}"}},
	} {
		t.Run(name, func(t *testing.T) {
			actortest.Bubble(t, func(t *testing.T) {
				sys := actortest.NewSystem(t, actor.Config{})
				f := &fake{TB: t}
				p := actortest.NewProbe(f, sys, "p", actortest.Within(2*time.Second))
				f.try(func() { c.do(p) })
				f.wants(t, c.fatal, c.says...)
			})
		})
	}
}

func send[M any](p *actortest.Probe, m M) { _ = actor.Tell(context.Background(), p.Ref, m) }

// Messages that came before the probe's system ended can still be expected; others cannot come,
// and nothing waits for them.
func TestProbeOfSystemThatEnded(t *testing.T) {
	sys := actortest.NewSystem(t, actor.Config{})
	f := &fake{TB: t}
	p := actortest.NewProbe(f, sys, "p", actortest.Within(time.Hour))
	send(p, Hello{1})
	if m := actortest.Expect[Hello](p); m.N != 1 {
		t.Errorf("got %v", m)
	}
	if err := sys.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.try(func() { actortest.Expect[Hello](p) })
	f.wants(t, true, "system has ended")
	f.said, f.fatal = nil, false
	f.try(func() { p.ExpectNothing(time.Hour) })
	f.wants(t, false, "system has ended")
}

// A probe that nobody expects anything of keeps so many messages, and says once that it has
// no room.
func TestProbeIsFull(t *testing.T) {
	f := &fake{TB: t}
	p := actortest.NewProbe(f, actortest.NewSystem(t, actor.Config{}), "p", actortest.Answers(func(m Ask) (int, error) { return 0, nil }))
	for i := range actortest.ProbeRoom + 2 {
		send(p, Hello{i})
	}
	if _, err := actor.Call(t.Context(), p.Ref, Ask{}); err != nil { // all before it is handled
		t.Fatal(err)
	}
	f.wants(t, false, "there is room for no more", "dropped: {N:65536}")
	for i := range actortest.ProbeRoom {
		if m := actortest.Expect[Hello](p); m.N != i {
			t.Fatalf("got %v, want %d", m, i)
		}
	}
}

// A request that the probe was not told to answer fails, and can be expected.
func TestProbeIsAskedWhatItDoesNotAnswer(t *testing.T) {
	p := actortest.NewProbe(t, actortest.NewSystem(t, actor.Config{}), "")
	if _, err := actor.Call(t.Context(), p.Ref, Ask{N: 1}); rpc.CodeOf(err) != rpc.Failed || rpc.Ran(err) != rpc.HasRun {
		t.Errorf("the caller gets %v", err)
	}
	if m := actortest.Expect[any](p); m != (Ask{N: 1}) {
		t.Errorf("got %v", m)
	}
}

// A system that cannot start, and an actor that cannot, end the test and say why.
func TestStartFailures(t *testing.T) {
	f := &fake{TB: t}
	f.try(func() { actortest.NewSystem(f, actor.Config{Name: "a b"}) })
	f.wants(t, true, "starting a system", "a b")
	sys := actortest.NewSystem(t, actor.Config{})
	f = &fake{TB: t}
	f.try(func() { actortest.Spawn(f, sys, "a@b", tellerKind) })
	f.wants(t, true, `spawning "a@b" on local`)
	f = &fake{TB: t}
	f.try(func() { actortest.NewProbe(f, sys, "a@b") })
	f.wants(t, true, `spawning "a@b" on local`)
}

// A system is shut down with its test, what it logs is the test's, and what it logs later goes
// nowhere.
func TestSystemEndsWithItsTest(t *testing.T) {
	var sys *actor.System
	t.Run("its test", func(t *testing.T) {
		sys = actortest.NewSystem(t, actor.Config{})
	})
	select {
	case <-sys.Done():
	default:
		t.Error("it still runs")
	}
	sys.Ref("no@good@address") // logs a warning
}

package actor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// phased is an actor whose behaviours handle every kind of message in their own way.
func phased(d *Diary) *actor.Kind {
	own := func(name string) []actor.Handler[int] {
		return []actor.Handler[int]{
			actor.Answer(func(_ int, ctx *actor.Context, m Ticket) (string, error) { return name, nil }),
			actor.Handle(func(_ int, ctx *actor.Context, m Walk) error { d.note("%s walk", name); return nil }),
			actor.Produce(func(_ int, ctx *actor.Context, m Series) (iter.Seq2[int, error], error) {
				return func(yield func(int, error) bool) { yield(len(name), nil) }, nil
			}),
			actor.Handle(func(_ int, ctx *actor.Context, m actor.Terminated) error {
				d.note("%s heard of %s", name, m.Ref.Name())
				return nil
			}),
		}
	}
	runs := actor.Answer(func(_ int, ctx *actor.Context, m Run) (string, error) { return m.F(ctx) })
	return actor.Define("test.phased", func() int { return 0 },
		append(own("own"), runs, actor.Behaviour("one", own("one")...), actor.Behaviour("two", own("two")...), actor.Behaviour[int]("bare"),
			actor.Behaviour("toll", actor.Answer(func(int, *actor.Context, Toll) (string, error) { return "paid", nil })))...)
}

// Requests, one-way messages, jobs, streams, timers and watches go through the behaviour on top.
// What it does not handle goes to the kind's own handlers.
func TestBehaviours(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		d := new(Diary)
		near := spawn(t, b, "x", phased(d))
		to := bind(near)
		check := func(name string) {
			t.Helper()
			if r, err := actor.Call(t.Context(), to, Ticket{}); r != name || err != nil {
				t.Errorf("in %s, Call gives %q, %v", name, r, err)
			}
			tell(t, to, Walk{})
			tok, err := actor.Submit(t.Context(), to, Ticket{})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := tok.Await(t.Context()); r != name || err != nil {
				t.Errorf("in %s, a job gives %q, %v", name, r, err)
			}
			for n, err := range actor.Stream(t.Context(), to, Series{}) {
				if n != len(name) || err != nil {
					t.Errorf("in %s, a stream gives %d, %v", name, n, err)
				}
			}
			inside(t, near, func(ctx *actor.Context) error {
				_, err := actor.After(ctx, time.Second, Walk{})
				return errors.Join(err, ctx.Watch(b.Ref("nobody")))
			})
			time.Sleep(2 * time.Second)
			d.want(t, name+" walk", name+" heard of nobody", name+" walk")
			behaviour := name
			if name == "own" {
				behaviour = ""
			}
			if a := inspected(t, b, "x"); a.Behaviour != behaviour && a.Behaviour != "bare" {
				t.Errorf("in %s, it is seen as %+v", name, a)
			}
		}
		become := func(name string) {
			inside(t, near, func(ctx *actor.Context) error { return ctx.Become(name) })
		}
		un := func(want bool) {
			t.Helper()
			inside(t, near, func(ctx *actor.Context) error {
				if got := ctx.Unbecome(); got != want {
					t.Errorf("Unbecome: %v", got)
				}
				return nil
			})
		}
		check("own")
		become("one")
		check("one")
		become("two")
		check("two")
		become("bare")
		check("own")
		un(true)
		un(true)
		check("one")
		un(true)
		un(false)
		check("own")
	})
}

// What no handler is for now is unhandled, as if the kind had none.
func TestUnhandledInABehaviour(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		dead := letters(t, b)
		near := spawn(t, b, "x", phased(new(Diary)))
		to := bind(near)
		_, err := actor.Call(t.Context(), to, Toll{})
		wantErr(t, "a request", err, rpc.Unhandled, rpc.NotRun)
		tell(t, to, Toll{})
		inside(t, near, func(ctx *actor.Context) error {
			_, err := actor.After(ctx, time.Second, Toll{})
			return err
		})
		time.Sleep(2 * time.Second)
		if got := dead(); len(got) != 2 || rpc.CodeOf(got[0].Reason) != rpc.Unhandled || rpc.CodeOf(got[1].Reason) != rpc.Unhandled {
			t.Errorf("dead letters: %+v", got)
		}
		inside(t, near, func(ctx *actor.Context) error { return ctx.Become("toll") })
		if r, err := actor.Call(t.Context(), to, Toll{}); r != "paid" || err != nil {
			t.Errorf("%q, %v", r, err)
		}
	})
}

// The number of behaviours is bounded, and a Become that fails changes nothing.
func TestBecomeFails(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		to := spawn(t, sys, "x", phased(new(Diary)))
		var kept *actor.Context
		inside(t, to, func(ctx *actor.Context) error {
			kept = ctx
			for n := range actor.MaxBehaviours {
				if err := ctx.Become("one"); err != nil {
					t.Errorf("number %d: %v", n+1, err)
				}
			}
			for name, want := range map[string]error{"two": actor.ErrBehaviours, "none": actor.ErrNoBehaviour, "": actor.ErrNoBehaviour} {
				if err := ctx.Become(name); !errors.Is(err, want) {
					t.Errorf("%q: %v, want %v", name, err, want)
				}
			}
			return nil
		})
		if err := kept.Become("two"); rpc.CodeOf(err) != rpc.Invalid || kept.Unbecome() {
			t.Errorf("after the handler: %v", err)
		}
		if a := inspected(t, sys, "x"); a.Behaviour != "one" {
			t.Errorf("seen as %+v", a)
		}
		n := 0
		inside(t, to, func(ctx *actor.Context) error {
			for ctx.Unbecome() {
				n++
			}
			return nil
		})
		if n != actor.MaxBehaviours {
			t.Errorf("there were %d", n)
		}
		plain := spawn(t, sys, "plain", PuppetKind)
		inside(t, plain, func(ctx *actor.Context) error {
			if err := ctx.Become("one"); !errors.Is(err, actor.ErrNoBehaviour) || ctx.Unbecome() {
				t.Errorf("in a kind without behaviours: %v", err)
			}
			return nil
		})
	})
}

// A restart begins with the kind's own handlers; Started may change that.
func TestRestartForgetsBehaviours(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, d := newSystem(t, actor.Config{Logger: quiet}), new(Diary)
		to := spawn(t, sys, "gate", gateKind(d, 0))
		tell(t, to, Walk{Does: "shut"})
		tell(t, to, Walk{Does: "shut"})
		tell(t, to, Walk{Does: "crash"})
		tell(t, to, Walk{N: 1})
		d.want(t, "1")
		inside(t, to, func(ctx *actor.Context) error {
			if ctx.Unbecome() {
				t.Error("a behaviour was left")
			}
			return nil
		})
		starts := spawn(t, sys, "starts", actor.Define("test.starts", func() beginner { return beginner{} },
			actor.Answer(beginner.Run), actor.Behaviour("two", actor.Answer(func(beginner, *actor.Context, Ticket) (string, error) { return "two", nil }))))
		for range 2 {
			if r, err := actor.Call(t.Context(), starts, Ticket{}); r != "two" || err != nil {
				t.Errorf("%q, %v", r, err)
			}
			_, err := actor.Call(t.Context(), starts, run(func(*actor.Context) (string, error) { panic("on purpose") }))
			wantErr(t, "a panic", err, rpc.Panicked, rpc.HasRun)
		}
	})
}

// beginner begins with a behaviour.
type beginner struct{}

func (beginner) Started(ctx *actor.Context) error              { return ctx.Become("two") }
func (beginner) Run(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }

// Each worker of a pool has behaviours of its own.
func TestBehavioursOfWorkers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		to := spawn(t, sys, "x", phased(new(Diary)), actor.Pool(2, route.RoundRobin()))
		inside(t, to, func(ctx *actor.Context) error { return ctx.Become("one") })
		var got []string
		for range 4 {
			r, err := actor.Call(t.Context(), to, Ticket{})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		slices.Sort(got)
		if want := []string{"one", "one", "own", "own"}; !slices.Equal(got, want) {
			t.Errorf("the workers answer %q", got)
		}
	})
}

// What Define finds wrong with behaviours.
func TestWrongBehaviours(t *testing.T) {
	none := func() int { return 0 }
	toll := actor.Answer(func(int, *actor.Context, Toll) (string, error) { return "", nil })
	for _, row := range []struct {
		about string
		parts []actor.Handler[int]
	}{
		{"two behaviours named", []actor.Handler[int]{actor.Behaviour("a", toll), actor.Behaviour("a", toll)}},
		{"one without a name", []actor.Handler[int]{actor.Behaviour("", toll)}},
		{"a behaviour within a behaviour", []actor.Handler[int]{actor.Behaviour("a", actor.Behaviour("b", toll))}},
		{`behaviour "a": two handlers`, []actor.Handler[int]{actor.Behaviour("a", toll, toll)}},
		{"use Answer", []actor.Handler[int]{actor.Behaviour("a", actor.Handle(func(int, *actor.Context, Toll) error { return nil }))}},
	} {
		t.Run(row.about, func(t *testing.T) {
			defer func() {
				wantText(t, fmt.Errorf("%v", recover()), row.about)
			}()
			actor.Define("test.wrong", none, row.parts...)
		})
	}
	defer func() { wantText(t, fmt.Errorf("%v", recover()), "negative") }()
	actor.Stash(-1)
}

// An actor that puts messages aside, brings them back and is restarted handles the messages that a
// plain list would: each once, in the same order.
func TestStashModel(t *testing.T) {
	type step struct {
		do string
		n  int
	}
	rapid.Check(t, func(rt *rapid.T) {
		bound := rapid.IntRange(1, 6).Draw(rt, "bound")
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.SampledFrom([]string{"tell", "tell", "ask", "shut", "shut", "open", "crash", "open and crash", "wait"}).Draw(t, "do"), 0}
		}), 1, 60).Draw(rt, "steps")
		end := rapid.SampledFrom([]string{"stop", "stop now"}).Draw(rt, "end")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			sys, d := newSystem(t, actor.Config{Logger: quiet}), new(Diary)
			lost := letters(t, sys)
			to := spawn(t, sys, "gate", gateKind(d, bound))
			var handled, aside, dead []string // the model
			depth := 0
			answers := map[int]*rpc.Future[string]{}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
			defer cancel()
			asked := map[string]string{} // what an ask must come to
			for i, s := range steps {
				name := fmt.Sprint(i)
				switch s.do {
				case "tell", "ask":
					if s.do == "tell" {
						tell(t, to, Walk{N: i})
					} else {
						answers[i] = actor.Ask(ctx, to, Ticket{N: i})
					}
					switch {
					case depth == 0:
						handled = append(handled, name)
						asked[name] = name
					case len(aside) == bound:
						handled = append(handled, name+": the actor's stash is full")
						asked[name] = "full"
					default:
						aside = append(aside, name)
					}
				case "shut":
					tell(t, to, Walk{Does: "shut"})
					depth++
				case "open":
					tell(t, to, Walk{Does: "open"})
					handled = append(handled, fmt.Sprint(len(aside), " back"))
					depth = max(depth-1, 0)
					back := aside
					aside = nil
					for _, name := range back {
						if depth > 0 {
							aside = append(aside, name)
						} else {
							handled = append(handled, name)
							asked[name] = name
						}
					}
				case "crash", "open and crash":
					if s.do == "crash" {
						tell(t, to, Walk{Does: "crash"})
					} else {
						tell(t, to, note(func(ctx *actor.Context) { ctx.Unbecome(); ctx.Unstash(); panic("on purpose") }))
					}
					for _, name := range aside {
						handled = append(handled, name)
						asked[name] = name
					}
					depth, aside = 0, nil
				case "wait":
					time.Sleep(time.Minute)
				}
				if depth > actor.MaxBehaviours {
					t.Fatal("too deep")
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			stop := sys.Stop
			if end == "stop now" {
				stop = sys.StopNow
			}
			if err := stop(t.Context(), to); err != nil {
				wrong = err
			}
			handled = append(handled, "stops")
			if got := d.read(); !slices.Equal(got, handled) {
				wrong = fmt.Errorf("handled %q, want %q", got, handled)
			}
			for i, f := range answers {
				r, err := f.Await(t.Context())
				switch want := asked[fmt.Sprint(i)]; {
				case want == "" && (rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) != rpc.Unavailable):
					wrong = fmt.Errorf("%d, which was left: %q, %v", i, r, err)
				case want == "full" && !errors.Is(err, actor.ErrStashFull):
					wrong = fmt.Errorf("%d, which did not fit: %q, %v", i, r, err)
				case want == fmt.Sprint(i) && (err != nil || r != want):
					wrong = fmt.Errorf("%d: %q, %v", i, r, err)
				}
			}
			for _, name := range aside {
				var i int
				_, _ = fmt.Sscan(name, &i)
				if answers[i] == nil {
					dead = append(dead, name)
				}
			}
			if got := lost(); len(got) != len(dead) {
				wrong = fmt.Errorf("%d dead letters, want those of %q", len(got), dead)
			}
		})
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

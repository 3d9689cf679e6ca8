package actor_test

// One-way messages of one frame, which are one item of the mailbox.

import (
	"bytes"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/rpc"
)

// LooselyNumbered is a Numbered of which N may be anything.
type LooselyNumbered struct{ N any }

func (LooselyNumbered) WireName() string { return "test.Numbered" }

// rowOf sends the numbers from 1 to n to x@b, so many at once that most of them share a frame.
// bad, if it is not 0, is sent as a text.
func rowOf(t *testing.T, a *actor.System, n, bad int) {
	t.Helper()
	to := a.Ref("x@b")
	for i := 1; i <= n; i++ {
		m := LooselyNumbered{i}
		if i == bad {
			m.N = "many"
		}
		if err := actor.Tell(t.Context(), to, m); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
}

// wantNothingHeld fails if b still counts memory for messages.
func wantNothingHeld(t *testing.T, b *actor.System) {
	t.Helper()
	time.Sleep(10 * time.Second)
	if s := b.Stats().RPC; s.HeldBytes != 0 {
		t.Errorf("%d bytes are held", s.HeldBytes)
	}
}

// What becomes of one message of a frame does not concern the others: they are handled, in order.
func TestRowGoesOn(t *testing.T) {
	const n = 50
	for _, c := range []struct {
		name  string
		at    int // the message to which it happens
		do    func(ctx *actor.Context)
		dead  uint64
		panic bool
	}{
		{"nothing", 0, func(*actor.Context) {}, 0, false},
		{"panic at the first", 1, func(*actor.Context) { panic("no") }, 0, true},
		{"panic within", 20, func(*actor.Context) { panic("no") }, 0, true},
		{"panic at the last", n, func(*actor.Context) { panic("no") }, 0, true},
		{"end of the goroutine", 20, func(*actor.Context) { runtime.Goexit() }, 0, true},
		{"end of the goroutine at the last", n, func(*actor.Context) { runtime.Goexit() }, 0, true},
		{"detached", 20, func(ctx *actor.Context) { ctx.Detached() }, 0, false},
		{"stopped", 20, func(ctx *actor.Context) { ctx.Stop() }, n - 20, false},
		{"stopped at the last", n, func(ctx *actor.Context) { ctx.Stop() }, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
				var got []int
				kind := actor.Define("test.row", func() *struct{} { return nil }, actor.Handle(func(_ *struct{}, ctx *actor.Context, m Numbered) error {
					if got = append(got, m.N); m.N == c.at {
						c.do(ctx)
					}
					return nil
				}))
				spawn(t, b, "x", kind)
				rowOf(t, a, n, 0)
				want := upTo(n - int(c.dead))
				if s := b.Stats(); !slices.Equal(got, want) || s.DeadLetters != c.dead || (s.Panics > 0) != c.panic {
					t.Errorf("got %v; %d dead letters, %d panics", got, s.DeadLetters, s.Panics)
				}
				if s := b.Stats(); c.dead == 0 && s.Handled != n {
					t.Errorf("%d handled, want %d", s.Handled, n)
				}
				wantNothingHeld(t, b)
			})
		})
	}
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

// A message that cannot be decoded is the only dead letter of its frame.
func TestUndecodableInARow(t *testing.T) {
	for _, bad := range []int{1, 20, 50} {
		eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
			dead := letters(t, b)
			g := &gate{open: make(chan struct{})}
			close(g.open)
			spawn(t, b, "x", actor.Define("test.gate", func() *gate { return g }, actor.Handle((*gate).take)))
			rowOf(t, a, 50, bad)
			want := slices.Delete(upTo(50), bad-1, bad)
			if d := dead(); !slices.Equal(g.got, want) || len(d) != 1 || rpc.CodeOf(d[0].Reason) != rpc.Undecodable || d[0].From != "@a" || d[0].Type != "test.Numbered" {
				t.Errorf("got %v, dead letters %v", g.got, d)
			}
			wantNothingHeld(t, b)
		})
	}
}

// All messages of a frame that nobody takes become dead letters, and each is counted.
func TestRowThatIsNotTaken(t *testing.T) {
	const n = 50
	for _, c := range []struct {
		name string
		code rpc.Code
		opts []actor.SpawnOption // nil: there is no such actor
		deny bool
	}{
		{"no actor", rpc.NotFound, nil, false},
		{"no handler", rpc.Unhandled, []actor.SpawnOption{}, false},
		{"local only", rpc.Denied, []actor.SpawnOption{actor.LocalOnly()}, false},
		{"no rule", rpc.Denied, []actor.SpawnOption{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
				dead := letters(t, b)
				if c.opts != nil {
					spawn(t, b, "x", PuppetKind, c.opts...)
				}
				if c.deny {
					if err := b.SetAccess(access.Rules{Default: access.Deny}); err != nil {
						t.Fatal(err)
					}
				}
				rowOf(t, a, n, 0)
				d := dead()
				if len(d) != n || slices.ContainsFunc(d, func(d actor.DeadLetter) bool { return rpc.CodeOf(d.Reason) != c.code }) {
					t.Errorf("%d dead letters: %v", len(d), d[:min(len(d), 3)])
				}
				if s := b.Stats(); c.code == rpc.Denied && s.Denied != n {
					t.Errorf("%d denied", s.Denied)
				}
				wantNothingHeld(t, b)
			})
		})
	}
}

// Each message of a frame that nobody handles is kept as a letter of its own, with its own body, and
// each can be sent again.
func TestRowOfLetters(t *testing.T) {
	const n = 50
	stops := func(_ *struct{}, ctx *actor.Context, m Numbered) error {
		if m.N == 20 {
			ctx.Stop()
		}
		return nil
	}
	for _, c := range []struct {
		name  string
		kind  *actor.Kind // nil: there is no such actor
		bad   int         // the message that cannot be decoded; 0: none
		from  int         // the first that is not handled
		count int         // how many are not
	}{
		{"no actor", nil, 0, 1, n},
		{"no handler", PuppetKind, 0, 1, n},
		{"stopped within", actor.Define("test.stops", func() *struct{} { return nil }, actor.Handle(stops)), 0, 21, n - 20},
		{"one cannot be decoded", actor.Define("test.takes", func() *struct{} { return nil }, actor.Handle(func(*struct{}, *actor.Context, Numbered) error { return nil })), 20, 20, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
				if c.kind != nil {
					spawn(t, b, "x", c.kind)
				}
				rowOf(t, a, n, c.bad)
				kept := b.KeptLetters(deadletter.Filter{Actor: "x"})
				if len(kept) != c.count {
					t.Fatalf("%d letters are kept, want %d", len(kept), c.count)
				}
				var got []int
				spawn(t, b, "y", actor.Define("test.again", func() *struct{} { return nil }, actor.Handle(func(_ *struct{}, ctx *actor.Context, m Numbered) error {
					got = append(got, m.N)
					return nil
				})))
				for _, l := range kept {
					if l.From != "@a" || l.Size < 512+len(l.Encoded.Body) {
						t.Errorf("%v", l)
					}
					if c.bad != 0 && !bytes.Contains(l.Encoded.Body, []byte("many")) {
						t.Errorf("the body is %q", l.Encoded.Body)
					}
					if err := b.ResendLetter(t.Context(), l.ID, b.Ref("y")); err != nil {
						t.Error(err)
					}
				}
				synctest.Wait()
				if want := upTo(n)[c.from-1:]; c.bad == 0 && !slices.Equal(got, want) {
					t.Errorf("sent again: %v, want %v", got, want)
				}
				wantNothingHeld(t, b)
			})
		})
	}
}

// The messages of a frame have a sender if they have one, also for a Receiver. Their contexts are
// not kept for others.
func TestRowsHaveSenders(t *testing.T) {
	const n = 50
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		var got []int
		senders := map[string]int{}
		kept := map[*actor.Context]string{}
		take := func(ctx *actor.Context, m Numbered) {
			got = append(got, m.N)
			senders[ctx.Sender().String()]++
			kept[ctx] = ctx.Sender().String()
		}
		spawn(t, b, "x", actor.Define("test.typed", func() *struct{} { return nil }, actor.Handle(func(_ *struct{}, ctx *actor.Context, m Numbered) error { take(ctx, m); return nil })))
		spawn(t, b, "y", actor.Define("test.untyped", func() *untyped { return &untyped{take} }, actor.Accepts[*untyped, Numbered]()))
		for _, from := range []string{"p", "q"} {
			spawn(t, a, from, PuppetKind)
		}
		for _, to := range []string{"x@b", "y@b"} {
			for _, from := range []string{"p@a", "q@a", "p@a"} {
				_, err := actor.Call(t.Context(), a.Ref(from), run(func(ctx *actor.Context) (string, error) {
					for i := range n {
						if err := actor.Tell(ctx, a.Ref(to), Numbered{i}); err != nil {
							return "", err
						}
					}
					return "", nil
				}))
				if err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		if len(got) != 6*n || len(senders) != 2 || senders["p@a"] != 4*n || senders["q@a"] != 2*n {
			t.Errorf("%d messages, by sender %v", len(got), senders)
		}
		for ctx, sender := range kept {
			if ctx.Sender().String() != sender {
				t.Errorf("the context of a message of %s is now that of %v", sender, ctx.Sender())
			}
		}
		wantNothingHeld(t, b)
	})
}

// untyped is a Receiver.
type untyped struct {
	take func(*actor.Context, Numbered)
}

func (u *untyped) Receive(ctx *actor.Context) error {
	u.take(ctx, ctx.Message().(Numbered))
	return nil
}

package actor_test

// Messages and replies by value are kept in memory that is reused. These tests look for
// messages that are mixed up, and for values that are retained.

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Sheet and Leaf differ as much as two messages can. Both name their sender.
type Sheet struct {
	actor.Returns[Sheet]
	Sender, N int
	Text      string
	More      []string
}

type Leaf struct {
	actor.Returns[[]string]
	N    int
	Text *string
}

// sheet returns the sheet of number n of a sender.
func sheet(sender, n int) Sheet {
	text := fmt.Sprint(sender, " ", n)
	return Sheet{Sender: sender, N: n, Text: text, More: slices.Repeat([]string{text}, n%4)}
}

// Binder keeps everything that it is sent, so that a test can check it later.
type Binder struct {
	sheets []Sheet
	leaves []Leaf
}

func (b *Binder) sheet(ctx *actor.Context, m Sheet) (Sheet, error) {
	if ctx.Message() != nil {
		return m, fmt.Errorf("the context has the message too: %v", ctx.Message())
	}
	b.sheets = append(b.sheets, m)
	return m, nil
}
func (b *Binder) leaf(_ *actor.Context, m Leaf) ([]string, error) {
	b.leaves = append(b.leaves, m)
	if m.N%7 == 0 {
		panic("leaf " + *m.Text)
	}
	return []string{*m.Text}, nil
}

// Folder does the same as Binder, as a Receiver.
type Folder struct{ kept []any }

func (f *Folder) Receive(ctx *actor.Context) error {
	f.kept = append(f.kept, ctx.Message())
	switch m := ctx.Message().(type) {
	case Sheet:
		_ = ctx.Reply(m) // an error for a one-way message
		return nil
	case Leaf:
		return ctx.Reply([]string{*m.Text})
	}
	return fmt.Errorf("a %T", ctx.Message())
}

// Many goroutines send messages of two types to one actor, some from its own node and some
// from another. All messages that arrive, and all replies, must be the right ones.
func TestReusedMessagesAreNotMixedUp(t *testing.T) {
	const senders, each = 8, 200
	send := func(t *testing.T, refs ...actor.Ref) {
		var all sync.WaitGroup
		for s := range senders {
			ref := refs[s%len(refs)]
			all.Go(func() {
				for n := range each {
					want := sheet(s, n)
					got, err := actor.Call(t.Context(), ref, want)
					if err != nil || got.Text != want.Text || !slices.Equal(got.More, want.More) || got.N != n || got.Sender != s {
						t.Errorf("%v came back as %v, %v", want, got, err)
					}
					for i := range 3 {
						if err := actor.Tell(t.Context(), ref, sheet(s, each+3*n+i)); err != nil {
							t.Error(err)
						}
					}
					leaf, err := actor.Ask(t.Context(), ref, Leaf{N: n, Text: &want.Text}).Await(t.Context())
					switch {
					case err == nil && (len(leaf) != 1 || leaf[0] != want.Text):
						t.Errorf("leaf %s came back as %v", want.Text, leaf)
					case err != nil && !strings.Contains(err.Error(), "actor_test.Leaf panicked: leaf "+want.Text):
						t.Errorf("leaf %s came back as %v", want.Text, err)
					}
				}
			})
		}
		all.Wait()
		synctest.Wait()
	}
	check := func(t *testing.T, sheets []Sheet, leaves []Leaf) {
		seen := map[string]bool{}
		for _, m := range sheets {
			if want := sheet(m.Sender, m.N); m.Text != want.Text || !slices.Equal(m.More, want.More) || seen[m.Text] {
				t.Errorf("kept %v", m)
			}
			seen[m.Text] = true
		}
		for _, m := range leaves {
			if !strings.HasSuffix(*m.Text, fmt.Sprint(" ", m.N)) || seen["leaf "+*m.Text] {
				t.Errorf("kept leaf %d %s", m.N, *m.Text)
			}
			seen["leaf "+*m.Text] = true
		}
		if len(seen) != 5*senders*each {
			t.Errorf("kept %d messages of %d", len(seen), 5*senders*each)
		}
	}
	t.Run("handlers", func(t *testing.T) {
		world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
			var binders []*Binder // all states of one actor: each panic adds one
			kind := actor.Define("test.binder", func() *Binder { b := new(Binder); binders = append(binders, b); return b },
				actor.Answer((*Binder).sheet), actor.Answer((*Binder).leaf)).With(actor.Supervise(actor.Strategy{Max: supervise.MaxRestarts, Backoff: 1}))
			send(t, spawn(t, b, "binder", kind), a.Ref("binder@b"))
			var sheets []Sheet
			var leaves []Leaf
			for _, b := range binders {
				sheets, leaves = append(sheets, b.sheets...), append(leaves, b.leaves...)
			}
			check(t, sheets, leaves)
		}, func(c *actor.Config) { c.PanicTexts = true })
	})
	t.Run("a Receiver", func(t *testing.T) {
		world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
			folder := new(Folder)
			kind := actor.Define("test.folder", func() *Folder { return folder },
				actor.Accepts[*Folder, Sheet](), actor.Accepts[*Folder, Leaf]())
			send(t, spawn(t, b, "folder", kind), a.Ref("folder@b"))
			var sheets []Sheet
			var leaves []Leaf
			for _, m := range folder.kept {
				switch m := m.(type) {
				case Sheet:
					sheets = append(sheets, m)
				case Leaf:
					leaves = append(leaves, m)
				}
			}
			check(t, sheets, leaves)
		})
	})
}

// Load is held by a message and by its reply.
type Load struct {
	actor.Returns[*[]byte]
	Data *[]byte
}

// Messages that were handled, refused, dropped or replied are not retained.
func TestReusedMessagesRetainNothing(t *testing.T) {
	const stale = 4 // values to which a stack may still refer
	var mu sync.Mutex
	var held []weak.Pointer[[]byte]
	load := func() *[]byte {
		data := make([]byte, 1<<10)
		mu.Lock()
		defer mu.Unlock()
		held = append(held, weak.Make(&data))
		return &data
	}
	kind := actor.Define("test.carrier", func() *Puppet { return new(Puppet) },
		actor.Answer(func(_ *Puppet, _ *actor.Context, m Load) (*[]byte, error) {
			mu.Lock()
			held = append(held, weak.Make(m.Data))
			mu.Unlock()
			return load(), nil
		}),
		actor.Handle(func(_ *Puppet, ctx *actor.Context, m Note) error { return m.F(ctx) }))
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		here := spawn(t, b, "carrier", kind)
		tiny := spawn(t, b, "tiny", kind, small(2, mailbox.DropOldest))
		there := a.Ref("carrier@b")
		ctx := context.Background()
		for range 200 {
			for _, ref := range []actor.Ref{here, there} {
				reply, err := actor.Call(ctx, ref, Load{Data: load()})
				if err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				held = append(held, weak.Make(reply))
				mu.Unlock()
				for range 10 { // they have memory of their own
					if err := actor.Tell(ctx, ref, Load{Data: load()}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		unplug := plug(t, tiny)
		for range 5 { // three of them are dropped
			if err := actor.Tell(ctx, tiny, Load{Data: load()}); err != nil {
				t.Fatal(err)
			}
		}
		unplug()
		synctest.Wait()
		for range 3 { // the second collection empties the pools' victims
			runtime.GC()
		}
		retained := 0
		for _, p := range held {
			if p.Value() != nil {
				retained++
			}
		}
		if retained > stale {
			t.Errorf("%d of %d are retained", retained, len(held))
		}
		runtime.KeepAlive([]any{a, b})
	})
}

// A dead letter names the type of the message, even if the message was in memory that is
// reused.
func TestDeadLetterOfAReusedMessage(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		dead := letters(t, b)
		ref := spawn(t, b, "tiny", PuppetKind, small(1, mailbox.DropOldest))
		unplug := plug(t, ref)
		for n := range 2 { // the first is dropped
			if err := actor.Tell(t.Context(), ref, sheet(0, n)); err != nil {
				t.Fatal(err)
			}
		}
		unplug() // nobody handles the second
		got := dead()
		if len(got) != 2 || got[0].Type != "actor_test.Sheet" || got[1].Type != "actor_test.Sheet" {
			t.Errorf("dead letters: %v", got)
		}
	})
}

// The refusal of such a message that nobody handles names its type, too.
func TestNoHandlerForAReusedMessage(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	_, err := actor.Call(t.Context(), spawn(t, sys, "puppet", PuppetKind), sheet(1, 2))
	wantErr(t, "a sheet", err, rpc.Unhandled, rpc.NotRun)
	if err == nil || !strings.Contains(err.Error(), "no handler for actor_test.Sheet") {
		t.Errorf("the error is %v", err)
	}
}

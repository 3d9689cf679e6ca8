package actor_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// Spawn checks whether the system has what a kind needs. With does not change the kind that
// it is called on.
func TestKindWith(t *testing.T) {
	plain := newShop().workers("a1")
	durable, transactional := plain.With(actor.Durable()), plain.With(actor.Transactional(newBooks()))
	if durable == plain || durable.Name() != plain.Name() {
		t.Errorf("%p, %s", durable, durable.Name())
	}
	for _, kinds := range [][]*actor.Kind{nil, {plain}, {durable}, {transactional}} {
		for _, store := range []ledger.Store{nil, new(disk)} {
			sys := newSystem(t, actor.Config{Kinds: kinds, Store: store})
			spawn(t, sys, "plain", plain)
			listed := len(kinds) > 0 && kinds[0] != plain
			_, err := sys.Spawn("durable", durable)
			switch {
			case store == nil:
				wantText(t, err, "Config.Store")
			case !listed:
				wantText(t, err, "Config.Kinds")
			case err != nil:
				t.Error(err)
			}
			if _, err = sys.Spawn("transactional", transactional); !listed {
				wantText(t, err, "Config.Kinds")
			} else if err != nil {
				t.Error(err)
			}
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

// Tree spawns actors of its own kind, which it finds by name.
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

// Chat is a Receiver that accepts one message from other nodes.
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

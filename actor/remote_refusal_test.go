package actor_test

import (
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Odd has the same type name on the wire as Say, but a body that does not fit Say.
type Odd struct {
	actor.Returns[string]
	Text []int
}

func (Odd) WireName() string { return "github.com/tandem-go/tandem/actor_test.Say" }

// Other has that type name too, and its answer has another type than callers of Say expect.
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

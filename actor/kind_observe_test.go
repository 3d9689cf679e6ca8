package actor_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// hearer is a Receiver.
type hearer struct{}

func (hearer) Receive(*actor.Context) error { return nil }

var hearerKind = actor.Define("test.hearer", func() hearer { return hearer{} }, actor.Accepts[hearer, Note]())

// second is the error of a function that returns something else, too.
func second[T any](_ T, err error) error { return err }

// An observer sees each message once, before its handler, with the context of the handler; of
// all kinds of handlers, local or not. The kind that it was made of has none.
func TestObserve(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		var seen []string
		see := func(ctx *actor.Context) { seen = append(seen, ctx.Self().Name()+" "+ctx.Header("no")) }
		account := spawn(t, b, "account", AccountKind.With(actor.Observe(see)))
		chat := spawn(t, b, "chat", hearerKind.With(actor.Observe(see)))
		plain := spawn(t, b, "plain", AccountKind)
		for _, sys := range []*actor.System{a, b} {
			seen = nil
			for _, err := range []error{
				actor.Tell(t.Context(), sys.Bind(account), Deposit{Amount: 1}, rpc.WithHeader("no", "1"), rpc.Acked()),
				second(actor.Call(t.Context(), sys.Bind(account), Balance{}, rpc.WithHeader("no", "2"))),
				actor.Tell(t.Context(), sys.Bind(chat), Note{}, rpc.WithHeader("no", "3"), rpc.Acked()),
				second(actor.Call(t.Context(), sys.Bind(plain), Balance{})),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if want := []string{"account 1", "account 2", "chat 3"}; !slices.Equal(seen, want) {
				t.Errorf("from %s: seen %q, want %q", sys.Name(), seen, want)
			}
		}
	})
}

// What an observer panics with is a panic of the handler.
func TestObserverPanics(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	ref := spawn(t, sys, "a", AccountKind.With(actor.Observe(func(*actor.Context) { panic("no") })))
	if _, err := actor.Call(t.Context(), ref, Balance{}); rpc.CodeOf(err) != rpc.Panicked || rpc.Ran(err) != rpc.HasRun {
		t.Errorf("the caller gets %v", err)
	}
}

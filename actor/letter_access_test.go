package actor

// Letters of other nodes: who may send them, and what they take.

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A message that its sender may not send is kept, and is refused again when it is sent again, until
// the rules allow it. The actor learns who its sender was.
func TestLetterOfWhoMayNot(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		rules := byOne
		g.setAccess(t, rules)
		for _, s := range []*System{g.a, g.c} {
			if err := Tell(t.Context(), s.Ref("door@b"), knock{}); err != nil {
				t.Fatal(err)
			}
			if err := Tell(t.Context(), s.Ref("nobody@b"), knock{}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		g.door.visits()
		refused := g.b.KeptLetters(deadletter.Filter{Code: rpc.Denied})
		if len(refused) != 2 || g.b.Stats().LettersKept != 3 {
			t.Fatalf("%+v", g.b.KeptLetters(deadletter.Filter{}))
		}
		before := g.b.Stats().Denied
		wantDenied(t, "who may not", g.b.ResendLetter(t.Context(), refused[0].ID, Ref{}))
		wantDenied(t, "who may not, elsewhere", g.b.ResendLetter(t.Context(), refused[1].ID, g.b.Ref("door")))
		if n := g.b.Stats().Denied - before; n != 2 {
			t.Errorf("%d refusals are counted", n)
		}
		if _, err := g.b.Spawn("own", doorKind(g.door), LocalOnly()); err != nil {
			t.Fatal(err)
		}
		gone := g.b.KeptLetters(deadletter.Filter{Code: rpc.NotFound})
		wantDenied(t, "an actor that is kept local", g.b.ResendLetter(t.Context(), gone[0].ID, g.b.Ref("own")))
		if err := g.b.ResendLetter(t.Context(), gone[0].ID, g.b.Ref("door")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if came := g.door.visits(); len(came) != 1 || !strings.Contains(came[0], "by by one of a") {
			t.Errorf("%q", came)
		}
		g.setAccess(t, access.Rules{})
		if err := g.b.ResendLetter(t.Context(), refused[0].ID, Ref{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if came := g.door.visits(); len(came) != 1 || !strings.Contains(came[0], "by by two of c") {
			t.Errorf("%q", came)
		}
		if err := Tell(t.Context(), g.a.Ref(jobServerName+"@b"), submitJob{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		hidden := g.b.KeptLetters(deadletter.Filter{Actor: jobServerName})
		if len(hidden) != 1 {
			t.Fatalf("%+v", hidden)
		}
		if err := g.b.ResendLetter(t.Context(), hidden[0].ID, Ref{}); rpc.CodeOf(err) != rpc.Unhandled || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("what the system's own actors take as a request only: %v", err)
		}
	})
}

// Messages that a principal's share has no room for are letters within their bound. One whose body
// did not even come is not kept. Sent again, a message counts in its principal's share once more.
func TestLettersAndTheAccount(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string, change func(*Config)) *System {
			cfg := Config{Name: name, Registry: reg, Transports: []transport.Transport{net.Transport("direct", true)}, Logger: slog.New(slog.DiscardHandler)}
			change(&cfg)
			sys, err := NewSystem(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
			return sys
		}
		const limit = 1 << 20
		a := start("a", func(*Config) {})
		b := start("b", func(c *Config) { c.RPC.MemoryBytes = limit })
		w := weighing{make(chan struct{})}
		kind := Define("weighing", func() weighing { return w }, Handle(weighing.told), Answer(weighing.asked))
		tellAll := func(n, size int) {
			for range n {
				if err := Tell(t.Context(), a.Ref("x@b"), weight{make([]byte, size)}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		tellAll(20, 10<<10) // to nobody
		kept := b.KeptLetters(deadletter.Filter{})
		if len(kept) != 20 || b.Stats().RPC.HeldBytes > 20_000 {
			t.Fatalf("%d letters, %d bytes are held beside them", len(kept), b.Stats().RPC.HeldBytes)
		}
		x, err := b.Spawn("x", kind)
		if err != nil {
			t.Fatal(err)
		}
		f := Ask(t.Context(), x, weigh{}) // keeps the actor busy
		synctest.Wait()
		for _, l := range kept {
			if err := b.ResendLetter(t.Context(), l.ID, Ref{}); err != nil {
				t.Fatal(err)
			}
		}
		if held := b.Stats().RPC.HeldBytes; held < 200<<10 {
			t.Errorf("%d bytes are held for what waits in the mailbox", held)
		}
		tellAll(40, 10<<10) // beyond the share
		over := b.KeptLetters(deadletter.Filter{Code: rpc.Overloaded})
		if len(over) == 0 {
			t.Fatal("there was room for everything")
		}
		err = b.ResendLetter(t.Context(), over[0].ID, Ref{})
		if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun || b.KeptLetters(deadletter.Filter{ID: over[0].ID})[0].State != deadletter.Undelivered {
			t.Errorf("without room: %v", err)
		}
		before := b.Stats()
		tellAll(1, 300<<10)
		if after := b.Stats(); after.DeadLetters != before.DeadLetters+1 || after.LettersKept != before.LettersKept {
			t.Errorf("without its body: %+v, before %+v", after, before)
		}
		close(w.gate)
		if _, err := f.Await(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := b.ResendLetter(t.Context(), over[0].ID, Ref{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if held := b.Stats().RPC.HeldBytes; held > 20_000 {
			t.Errorf("%d bytes are held after all was handled", held)
		}
	})
}

package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
)

// Card is a message that may become a dead letter.
type Card struct {
	N    int
	Text string
}

// Forward makes an actor send a Card.
type Forward struct {
	To   string
	Card Card
}

// cards notes the Cards that actors have handled, on all nodes.
type cards struct {
	mu   sync.Mutex // guards what follows
	came []arrived
}

// arrived is a Card with what its context says.
type arrived struct {
	Card
	at, sender, lang, principal, node string
}

// kind returns the kind of an actor that takes Cards.
func (c *cards) kind() *actor.Kind {
	return actor.Define("test.cards", func() *struct{} { return new(struct{}) },
		actor.Handle(func(_ *struct{}, ctx *actor.Context, m Card) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.came = append(c.came, arrived{m, ctx.Self().String(), ctx.Sender().String(), ctx.Header("lang"), ctx.Principal(), ctx.Node()})
			return nil
		}),
		actor.Handle(func(_ *struct{}, ctx *actor.Context, m Note) error { return m.F(ctx) }),
		actor.Handle(func(_ *struct{}, ctx *actor.Context, m Forward) error {
			return actor.Tell(ctx, ctx.System().Ref(m.To), m.Card, rpc.WithHeader("lang", "en"))
		}),
		actor.Answer(func(_ *struct{}, ctx *actor.Context, m Count) (int, error) { return 0, nil }))
}

// all returns the Cards that came until now.
func (c *cards) all() []arrived {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.came)
}

// tell sends a one-way message.
func tell[M any](t testing.TB, to actor.Ref, m M, opts ...rpc.Option) {
	t.Helper()
	if err := actor.Tell(t.Context(), to, m, opts...); err != nil {
		t.Fatal(err)
	}
}

// onlyLetter returns the one letter that a system keeps.
func onlyLetter(t testing.TB, sys *actor.System) deadletter.Kept {
	t.Helper()
	all := sys.KeptLetters(deadletter.Filter{})
	if len(all) != 1 {
		t.Fatalf("%d letters are kept: %+v", len(all), all)
	}
	return all[0]
}

// wantLetterErr checks an error about a letter.
func wantLetterErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || rpc.Ran(err) != rpc.Unknown {
		t.Errorf("%s: %v, ran: %v; want %v", what, err, rpc.Ran(err), want)
	}
}

// A letter of this node keeps the message with its headers and its sender. It is sent again once,
// to where it was addressed or to another actor.
func TestLetterIsSentAgain(t *testing.T) {
	for _, copied := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			log := new(actor.LineLog)
			sys, c := newSystem(t, actor.Config{Logger: slog.New(log), CopyLocal: copied}), new(cards)
			stream := letters(t, sys)
			from := spawn(t, sys, "from", c.kind())
			for n := range 2 {
				tell(t, from, Forward{"x", Card{n, "secret"}})
			}
			synctest.Wait()
			all, dead := sys.KeptLetters(deadletter.Filter{Actor: "x"}), stream()
			if len(all) != 2 || len(dead) != 2 {
				t.Fatalf("%+v, %+v", all, dead)
			}
			l := all[1]
			if l.ID != dead[1].ID || l.To != "x@local" || l.From != "from@local" || l.Type != "actor_test.Card" || rpc.CodeOf(l.Reason) != rpc.NotFound ||
				l.Size < 512 || l.State != deadletter.Undelivered || l.Message != (Card{1, "secret"}) || l.Encoded != nil || !strings.HasPrefix(l.ID, sys.Epoch()[:8]) {
				t.Errorf("%+v", l)
			}
			err := sys.ResendLetter(t.Context(), l.ID, actor.Ref{})
			wantErr(t, "to nobody", err, rpc.NotFound, rpc.NotRun)
			if got := sys.KeptLetters(deadletter.Filter{ID: l.ID}); len(got) != 1 || got[0].State != deadletter.Undelivered {
				t.Errorf("after it was not sent: %+v", got)
			}
			err = sys.ResendLetter(t.Context(), l.ID, spawn(t, sys, "p", AccountKind))
			wantErr(t, "to an actor that does not handle it", err, rpc.Unhandled, rpc.NotRun)
			spawn(t, sys, "x", c.kind())
			for i, to := range []actor.Ref{sys.Ref("from"), {}} {
				if err := sys.ResendLetter(t.Context(), all[i].ID, to); err != nil {
					t.Error(err)
				}
				wantLetterErr(t, "again", sys.ResendLetter(t.Context(), all[i].ID, to), deadletter.ErrGone)
			}
			got := c.all()
			slices.SortFunc(got, func(a, b arrived) int { return a.N - b.N })
			want := []arrived{{Card{0, "secret"}, "from@local", "from@local", "en", transport.Anonymous, "local"}, {Card{1, "secret"}, "x@local", "from@local", "en", transport.Anonymous, "local"}}
			if !slices.Equal(got, want) {
				t.Errorf("came %+v, want %+v", got, want)
			}
			if s := sys.Stats(); s.LettersKept != 0 || s.LetterBytes != 0 || s.LettersDropped != 0 || s.DeadLetters != 2 {
				t.Errorf("%+v", s)
			}
			slog.New(log).Info("of a user", "letter", l)
			if got := log.About("secret"); len(got) > 0 {
				t.Errorf("a message is in the log: %q", got)
			}
		})
	}
}

// Messages that wait in mailboxes lie in memory that is used again. The kept ones are copies.
func TestLetterIsACopy(t *testing.T) {
	for _, policy := range []mailbox.Policy{mailbox.Block, mailbox.DropOldest, mailbox.DropNewest} {
		bubble.Test(t, func(t *testing.T) {
			sys, c := newSystem(t, actor.Config{Logger: quiet}), new(cards)
			x, y := spawn(t, sys, "x", c.kind(), small(50, policy)), spawn(t, sys, "y", c.kind())
			for range 3 { // the places in the mailbox hold memory
				for n := range 40 {
					tell(t, x, Card{-1 - n, "earlier"})
				}
				synctest.Wait()
			}
			before := len(c.all())
			unplug := plug(t, x)
			sent := 50
			if policy != mailbox.Block {
				sent = 80
			}
			for n := range sent {
				tell(t, x, Card{n, fmt.Sprint(n)})
			}
			actor.Halt(sys, x)
			unplug()
			for n := range 100 {
				tell(t, y, Card{-1 - n, "later"})
			}
			later := len(c.all()) - before
			kept := sys.KeptLetters(deadletter.Filter{Limit: 1000})
			if len(kept) != sent || later != 100 {
				t.Fatalf("%v: %d of %d are kept", policy, len(kept), sent)
			}
			seen := map[int]bool{}
			for _, l := range kept {
				m := l.Message.(Card)
				if seen[m.N] || m.N < 0 || m.Text != fmt.Sprint(m.N) {
					t.Errorf("%v: %+v", policy, m)
				}
				seen[m.N] = true
			}
		})
	}
}

// A message of another node is kept as it came, also if this node does not know its type. It is
// sent on as bytes, or handled here as if it came from that node.
func TestLetterOfAnotherNode(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		c := new(cards)
		from := spawn(t, a, "from", c.kind())
		for n := range 3 {
			tell(t, from, Forward{"x@b", Card{n, "far"}})
		}
		synctest.Wait()
		all := b.KeptLetters(deadletter.Filter{Code: rpc.NotFound})
		if len(all) != 3 {
			t.Fatalf("%+v", all)
		}
		l := all[0]
		if l.To != "x@b" || l.Message != nil || l.Encoded == nil || l.Encoded.TypeID == 0 || len(l.Encoded.Body) == 0 || l.Size < 512+len(l.Encoded.Body) || l.From != "from@a" && l.From != "@a" {
			t.Errorf("%+v, %+v", l, l.Encoded)
		}
		if err := b.ResendLetter(t.Context(), l.ID, b.Ref("from@a")); err != nil { // b has no handler for its type
			t.Error(err)
		}
		spawn(t, b, "x", c.kind())
		spawn(t, b, "y", c.kind())
		if err := b.ResendLetter(t.Context(), all[1].ID, actor.Ref{}); err != nil {
			t.Error(err)
		}
		if err := b.ResendLetter(t.Context(), all[2].ID, b.Ref("y")); err != nil {
			t.Error(err)
		}
		want := []arrived{
			{Card{0, "far"}, "from@a", "", "en", transport.Anonymous, "b"},
			{Card{1, "far"}, "x@b", "from@a", "en", transport.Anonymous, "a"},
			{Card{2, "far"}, "y@b", "from@a", "en", transport.Anonymous, "a"},
		}
		got := c.all()
		slices.SortFunc(got, func(a, b arrived) int { return a.N - b.N })
		if !slices.Equal(got, want) {
			t.Errorf("came %+v, want %+v", got, want)
		}
		if s := b.Stats(); s.LettersKept != 0 || s.LetterBytes != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		if held := b.Stats().RPC.HeldBytes; held > 10_000 {
			t.Errorf("%d bytes are still held", held)
		}
	})
}

// A body that cannot be decoded is kept, and sent on as it is.
func TestLetterThatCannotBeDecoded(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		x := spawn(t, b, "x", LongKind)
		tell(t, a.Ref("x@b"), Long{strings.Repeat("x", 100)})
		synctest.Wait()
		l := onlyLetter(t, b)
		if rpc.CodeOf(l.Reason) != rpc.Undecodable || l.Encoded == nil || !strings.Contains(string(l.Encoded.Body), "xxx") {
			t.Errorf("%+v", l)
		}
		if err := b.ResendLetter(t.Context(), l.ID, x); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if again := onlyLetter(t, b); again.ID == l.ID || string(again.Encoded.Body) != string(l.Encoded.Body) {
			t.Errorf("%+v, before %+v", again, l)
		}
	})
}

// Long is a message that refuses to be decoded.
type Long struct{ Text string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Long) UnmarshalText([]byte) error { return errors.New("no") }

// MarshalText implements encoding.TextMarshaler.
func (l Long) MarshalText() ([]byte, error) { return []byte(l.Text), nil }

var LongKind = actor.Define("test.long", func() *struct{} { return new(struct{}) },
	actor.Handle(func(_ *struct{}, ctx *actor.Context, m Long) error { return nil }))

// Of several that send one letter at a time, one does; the others learn that.
func TestLetterIsSentByOne(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, c := newSystem(t, actor.Config{Logger: quiet}), new(cards)
		tell(t, sys.Ref("x"), Card{N: 1})
		x := spawn(t, sys, "x", c.kind(), small(1, mailbox.Block))
		unplug := plug(t, x)
		tell(t, x, Card{N: 2})
		id := onlyLetter(t, sys).ID
		results := make(chan error, 10)
		for range 10 {
			go func() { results <- sys.ResendLetter(t.Context(), id, actor.Ref{}) }()
		}
		synctest.Wait()
		if l := onlyLetter(t, sys); l.State != deadletter.Sending || sys.DiscardLetters(deadletter.Filter{}) != 0 {
			t.Errorf("%+v", l)
		}
		unplug()
		sent := 0
		for range 10 {
			if err := <-results; err == nil {
				sent++
			} else {
				wantLetterErr(t, "another one", err, deadletter.ErrBusy)
			}
		}
		if got := c.all(); sent != 1 || len(got) != 2 {
			t.Errorf("sent %d times, came %v", sent, got)
		}
	})
}

// A letter that finds no room, or whose sender gives up, is still there.
func TestLetterIsNotSent(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		c := new(cards)
		tell(t, a.Ref("nobody"), Card{N: 1})
		id := onlyLetter(t, a).ID
		for _, at := range []*actor.System{a, b} {
			to := a.Ref("x@" + at.Name())
			x := spawn(t, at, "x", c.kind(), small(1, mailbox.Refuse))
			unplug := plug(t, x)
			tell(t, x, Card{N: 2})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			wantErr(t, "a full mailbox on "+at.Name(), a.ResendLetter(ctx, id, to), rpc.Overloaded, rpc.NotRun)
			cancel()
			wantErr(t, "a context that has ended", a.ResendLetter(ctx, id, to), rpc.Canceled, rpc.NotRun)
			if l := onlyLetter(t, a); l.State != deadletter.Undelivered || l.ID != id {
				t.Errorf("%+v", l)
			}
			unplug()
			synctest.Wait()
		}
		wantErr(t, "no such node", a.ResendLetter(t.Context(), id, a.Ref("x@c")), rpc.NotFound, rpc.NotRun)
		if err := a.ResendLetter(t.Context(), id, a.Ref("x@b")); err != nil {
			t.Error(err)
		}
		if got := c.all(); len(got) != 3 {
			t.Errorf("came %+v", got)
		}
	})
}

// A message that was dropped, and whose sender has the error, is no dead letter: it would run twice.
func TestDroppedWithAnError(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		c := new(cards)
		x := spawn(t, b, "x", c.kind(), small(1, mailbox.DropNewest), actor.Expose("cards"))
		unplug := plug(t, x)
		defer unplug()
		tell(t, x, Card{N: 1})
		wantErr(t, "acked", actor.Tell(t.Context(), bind(x), Card{N: 2}, rpc.Acked(), once), rpc.Overloaded, rpc.NotRun)
		synctest.Wait()
		if n := b.Stats().DeadLetters; n != 0 {
			t.Errorf("%d dead letters", n)
		}
		tell(t, bind(x), Card{N: 3})
		synctest.Wait()
		tell(t, b.Service("cards"), Card{N: 4})
		synctest.Wait()
		kept := b.KeptLetters(deadletter.Filter{})
		if len(kept) != 2 || kept[1].Message != (Card{N: 4}) || b.Stats().DeadLetters != 2 {
			t.Fatalf("%+v", kept)
		}
		wantErr(t, "sent again to a full mailbox", b.ResendLetter(t.Context(), kept[1].ID, x), rpc.Overloaded, rpc.NotRun)
		wantErr(t, "sent again to a full mailbox", b.ResendLetter(t.Context(), kept[0].ID, x), rpc.Overloaded, rpc.NotRun)
		if again := b.KeptLetters(deadletter.Filter{}); len(again) != 2 || again[0].ID != kept[0].ID {
			t.Errorf("%+v", again)
		}
	})
}

// A letter to a service goes to one of its instances.
func TestLetterToAService(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		c := new(cards)
		tell(t, a.Service("cards"), Card{N: 1})
		l := onlyLetter(t, a)
		if l.To != "cards@*" || l.Message != (Card{N: 1}) {
			t.Errorf("%+v", l)
		}
		wantErr(t, "no instance", a.ResendLetter(t.Context(), l.ID, actor.Ref{}), rpc.NotFound, rpc.NotRun)
		spawn(t, b, "x", c.kind(), actor.Expose("cards"))
		time.Sleep(time.Second)
		if err := a.ResendLetter(t.Context(), l.ID, actor.Ref{}); err != nil {
			t.Error(err)
		}
		if got := c.all(); len(got) != 1 || a.Stats().LettersKept != 0 {
			t.Errorf("came %+v", got)
		}
	})
}

// Over real roads, a letter of another node is sent back to it, and one of this node to it.
func TestLettersOverRoads(t *testing.T) {
	eachRoad(t, func(t *testing.T, roads func() []transport.Transport) {
		reg, c := static.New(), new(cards)
		start := func(name string) *actor.System {
			return newSystem(t, actor.Config{Name: name, Transports: roads(), Registry: reg, Logger: quiet})
		}
		a, b := start("a"), start("b")
		got := make(chan Card, 10)
		spawn(t, a, "x", actor.Define("test.received", func() *cards { return c }, actor.Handle(func(_ *cards, _ *actor.Context, m Card) error { got <- m; return nil })))
		dead := b.DeadLetters(t.Context())
		large := strings.Repeat("large ", 100_000)
		for n, text := range []string{"small", large} {
			tell(t, a.Ref("nobody@b"), Card{n, text})
			d := <-dead
			if err := b.ResendLetter(t.Context(), d.ID, b.Ref("x@a")); err != nil {
				t.Fatal(err)
			}
			if m := <-got; m != (Card{n, text}) {
				t.Errorf("came %d, %d bytes", m.N, len(m.Text))
			}
			tell(t, b.Ref("nobody"), Card{n, text})
			if err := b.ResendLetter(t.Context(), (<-dead).ID, b.Ref("x@a")); err != nil {
				t.Fatal(err)
			}
			if m := <-got; m != (Card{n, text}) {
				t.Errorf("came %d, %d bytes", m.N, len(m.Text))
			}
			wantLetterErr(t, "again", b.ResendLetter(t.Context(), d.ID, b.Ref("x@a")), deadletter.ErrGone)
		}
	})
}

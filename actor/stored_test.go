package actor_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	placements "github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The stored kind that the tests use: an account.
type (
	pay struct {
		actor.Returns[int]
		Amount int
		Tell   actor.Ref // is told of it; zero: nobody
		Then   string    // "error", "panic": what the handler does when it has changed the state
	}
	owned struct{ actor.Returns[int] }
	paid  struct{ Amount int }
)

func (pay) WireName() string   { return "stored.pay" }
func (owned) WireName() string { return "stored.balance" }
func (paid) WireName() string  { return "stored.paid" }

type account struct {
	Sum   int
	Moves []int
	calls int // of pay, by this activation
}

var errPoor = rpc.NewError("stored.poor", "not enough")

func (a *account) pay(ctx *actor.Context, m pay) (int, error) {
	a.calls++
	a.Sum += m.Amount
	a.Moves = append(a.Moves, m.Amount)
	if !m.Tell.IsZero() {
		if err := actor.Tell(ctx, m.Tell, paid{m.Amount}); err != nil {
			return 0, err
		}
	}
	switch m.Then {
	case "error":
		return 0, errPoor
	case "panic":
		panic("poor")
	}
	return a.Sum, nil
}

func (a *account) owned(*actor.Context, owned) (int, error) { return a.Sum, nil }

func (a *account) paid(_ *actor.Context, m paid) error {
	a.Sum += m.Amount
	return nil
}

var accountKind = actor.Define("account", func() *account { return &account{Sum: 100} },
	actor.Answer((*account).pay), actor.Read((*account).owned), actor.Handle((*account).paid)).
	With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }), actor.Idle(time.Minute))

// The state of a stored actor outlives its activation and its node, and a handler that fails has changed nothing.
func TestStored(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		states := memory.New(memory.Config{})
		cfg := actor.Config{Kinds: []*actor.Kind{accountKind}, States: states, Logger: quiet}
		sys := newSystem(t, cfg)
		ref := sys.Virtual(accountKind, "alice")
		check := func(want int) {
			t.Helper()
			if n, err := actor.Call(t.Context(), ref, owned{}); n != want || err != nil {
				t.Fatalf("the balance is %d, %v; want %d", n, err, want)
			}
		}
		check(100)
		if n, err := actor.Call(t.Context(), ref, pay{Amount: 5}); n != 105 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if _, err := actor.Call(t.Context(), ref, pay{Amount: 7, Then: "error"}); rpc.Ran(err) != rpc.HasRun || rpc.CodeOf(err) != rpc.Failed {
			t.Fatal(err)
		}
		check(105)
		if _, err := actor.Call(t.Context(), ref, pay{Amount: 7, Then: "panic"}); rpc.CodeOf(err) != rpc.Panicked {
			t.Fatal(err)
		}
		check(105)
		if n, err := actor.Ask(t.Context(), ref, pay{Amount: 1}).Await(t.Context()); n != 106 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		time.Sleep(3 * time.Minute) // it is idle, and ends
		synctest.Wait()
		check(106)
		if st := sys.Stats().Virtual; st.Begun != 2 {
			t.Errorf("%+v", st)
		}
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		sys = newSystem(t, cfg)
		ref = sys.Virtual(accountKind, "alice")
		check(106)
	})
}

// A request of a node to its own activation has its name also when the ref was made while the actor was active, after
// all earlier ones were forgotten: the activation may end before the request's turn, and another node handles it.
func TestStoredNameWithNewRef(t *testing.T) {
	states := memory.New(memory.Config{})
	sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{accountKind}, States: states, Logger: quiet})
	for i := range 3 {
		if _, err := actor.Call(t.Context(), sys.Virtual(accountKind, "alice"), pay{Amount: 1}); err != nil {
			t.Fatal(err)
		}
		rec, _, err := states.Load(t.Context(), state.Key{Kind: "account", ID: "alice"})
		if err != nil || len(rec.Outcomes) == 0 || rec.Outcomes[len(rec.Outcomes)-1].Counter != uint64(i+1) {
			t.Errorf("request %d was stored without its name: %+v, %v", i+1, rec.Outcomes, err)
		}
		runtime.GC()
		runtime.GC()
	}
}

// What a handler sends leaves once its effect is stored, and is dropped with it.
func TestStoredSends(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{accountKind}, States: memory.New(memory.Config{}), Logger: quiet})
		alice, bob := sys.Virtual(accountKind, "alice"), sys.Virtual(accountKind, "bob")
		for i, m := range []pay{{Amount: -5, Tell: bob}, {Amount: -7, Tell: bob, Then: "error"}, {Amount: -7, Tell: bob, Then: "panic"}, {Amount: -1, Tell: bob}} {
			if _, err := actor.Call(t.Context(), alice, m); (err != nil) != (m.Then != "") {
				t.Fatal(i, err)
			}
		}
		synctest.Wait()
		for ref, want := range map[actor.Ref]int{alice: 94, bob: 94} {
			if n, err := actor.Call(t.Context(), ref, owned{}); n != want || err != nil {
				t.Errorf("%v has %d, %v; want %d", ref, n, err, want)
			}
		}
	})
}

// heldStates is a store whose commits wait until the test says how they end.
type heldStates struct {
	state.Store
	commits chan *heldCommit
}

// heldCommit is a commit that waits.
type heldCommit struct {
	record state.Record
	make   func() (state.Revision, error)
	answer chan error // nil: it is made, and its answer arrives; else it is not made
}

func (s *heldStates) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	c := &heldCommit{record: rec, make: func() (state.Revision, error) { return s.Store.Commit(ctx, key, rec, after) }, answer: make(chan error)}
	select {
	case s.commits <- c:
	case <-ctx.Done():
		return state.Revision{}, &state.Error{Op: "commit", Key: key, Kind: state.ErrUnknown, ID: state.ID{1}}
	}
	if err := <-c.answer; err != nil {
		return state.Revision{}, err
	}
	return c.make()
}

// fails ends a commit that is not made.
func (c *heldCommit) fails(kind error) {
	c.answer <- &state.Error{Op: "commit", Kind: kind, ID: state.NewID()}
}

func newHeld(t *testing.T) (*heldStates, *actor.System, actor.Ref) {
	states := &heldStates{Store: memory.New(memory.Config{}), commits: make(chan *heldCommit)}
	sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{accountKind}, States: states, Logger: quiet})
	ref := sys.Virtual(accountKind, "alice")
	first := actor.Ask(t.Context(), ref, pay{Amount: 1})
	for done := false; !done; {
		select {
		case c := <-states.commits: // there may be one before it, which keeps predecessors from committing
			c.answer <- nil
		case <-first.Done():
			done = true
		}
	}
	if _, err := first.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	return states, sys, ref
}

// Messages that come in rows, from a node that has addressed the activation itself, are transactions as well: those that fail are undone.
func TestStoredRows(t *testing.T) {
	kind := actor.Define("account", func() *account { return new(account) }, actor.Read((*account).owned),
		actor.Handle(func(a *account, _ *actor.Context, m paid) error {
			if a.Sum += m.Amount; m.Amount < 0 {
				return errPoor
			}
			return nil
		})).With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
	states := memory.New(memory.Config{})
	claims, reg := placements.New(), newLeases()
	node := func(name string, kinds ...*actor.Kind) *actor.System {
		return newSystem(t, actor.Config{Name: name, Registry: reg.view(), Claims: claims, Kinds: kinds, States: states, Logger: quiet,
			Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
	}
	a := node("a", kind)
	b := node("b")
	if _, err := actor.Call(t.Context(), a.Virtual(kind, "x"), owned{}); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		for _, amount := range []int{1, -5} {
			if err := actor.Tell(t.Context(), b.Ref("~account/x@a"), paid{amount}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := actor.Call(t.Context(), b.Virtual(actor.KindNamed("account"), "x"), owned{}); n != 2000 || err != nil {
		t.Fatal(n, err)
	}
	rec, _, err := states.Load(t.Context(), state.Key{Kind: "account", ID: "x"})
	if err != nil || !bytes.Contains(rec.State, []byte{0x07, 0xd0}) { // 2000
		t.Errorf("%x, %v", rec.State, err)
	}
}

// While a commit is under way, handlers go on; replies wait for the commit of what they have seen, also those of
// handlers that only read; and what has gathered meanwhile is one commit.
func TestStoredGroups(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		states, _, ref := newHeld(t)
		ask := func(n int) *rpc.Future[int] { return actor.Ask(t.Context(), ref, pay{Amount: n}) }
		a := ask(10)
		first := <-states.commits
		b, c := ask(20), ask(30)
		read := actor.Ask(t.Context(), ref, owned{})
		synctest.Wait()
		for i, f := range []*rpc.Future[int]{a, b, c, read} {
			select {
			case <-f.Done():
				t.Fatalf("reply %d did not wait", i)
			default:
			}
		}
		first.answer <- nil
		if n, err := a.Await(t.Context()); n != 111 || err != nil {
			t.Fatal(n, err)
		}
		second := <-states.commits
		synctest.Wait()
		select {
		case <-read.Done():
			t.Fatal("a read has told of what was not stored")
		default:
		}
		second.answer <- nil
		for f, want := range map[*rpc.Future[int]]int{b: 131, c: 161, read: 161} {
			if n, err := f.Await(t.Context()); n != want || err != nil {
				t.Errorf("%d, %v; want %d", n, err, want)
			}
		}
		if n, err := actor.Call(t.Context(), ref, owned{}); n != 161 || err != nil { // nothing is to be stored
			t.Error(n, err)
		}
	})
}

// Each way in which a commit fails has its consequence for callers and state.
func TestStoredFailures(t *testing.T) {
	once := rpc.WithRetry(rpc.Retry{Attempts: 1})
	for _, c := range []struct {
		kind    error
		code    rpc.Code
		verdict rpc.Verdict
		away    int // events
	}{
		{state.ErrFull, rpc.Overloaded, rpc.NotRun, 1},
		{state.ErrTooLarge, rpc.TooLarge, rpc.NotRun, 0},
		{state.ErrConflict, rpc.Unavailable, rpc.NotRun, 0},
		{state.ErrLost, rpc.OutcomeUnknown, rpc.Unknown, 1},
	} {
		t.Run(c.kind.Error(), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				states, sys, ref := newHeld(t)
				away, replaced := sys.Events(t.Context(), actor.StatesAway), sys.Events(t.Context(), actor.ActivationReplaced)
				f := actor.Ask(t.Context(), ref, pay{Amount: 10}, once)
				(<-states.commits).fails(c.kind)
				if _, err := f.Await(t.Context()); rpc.CodeOf(err) != c.code || rpc.Ran(err) != c.verdict {
					t.Fatalf("%v [%v]", err, rpc.Ran(err))
				}
				go func() {
					for commit := range states.commits {
						commit.answer <- nil
					}
				}()
				time.Sleep(time.Second)
				n, err := actor.Call(t.Context(), ref, pay{Amount: 1})
				if c.kind == state.ErrTooLarge && rpc.CodeOf(err) == rpc.TooLarge && rpc.Ran(err) == rpc.NotRun {
					// the actor has learned how much the store takes, and this record may be as large
				} else if n != 102 || err != nil { // on the state before, in this activation or the next
					t.Errorf("%d, %v", n, err)
				}
				synctest.Wait()
				ended := errors.Is(c.kind, state.ErrConflict) || errors.Is(c.kind, state.ErrLost)
				if len(away) != c.away || len(replaced) != map[bool]int{true: 1}[ended] {
					t.Errorf("%d events that the store is away, %d of activations that were replaced", len(away), len(replaced))
				}
				close(states.commits)
			})
		})
	}
}

// A commit whose fate is not known is made again under its name, and its caller waits.
func TestStoredUnknown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		states, sys, ref := newHeld(t)
		away, back := sys.Events(t.Context(), actor.StatesAway), sys.Events(t.Context(), actor.StatesBack)
		f := actor.Ask(t.Context(), ref, pay{Amount: 10})
		var id state.ID
		for i := range 5 {
			c := <-states.commits
			if i > 1 && c.record.ID != id {
				t.Errorf("attempt %d is of another commit", i)
			}
			if id = c.record.ID; i == 0 {
				id = state.ID{9}
			}
			c.answer <- &state.Error{Op: "commit", Kind: state.ErrUnknown, ID: id}
		}
		(<-states.commits).answer <- nil
		if n, err := f.Await(t.Context()); n != 111 || err != nil {
			t.Fatal(n, err)
		}
		if len(away) != 1 || len(back) != 1 {
			t.Errorf("%d and %d events", len(away), len(back))
		}
	})
}

// What is stored and cannot be decoded is an error of that actor alone, and is kept.
func TestStoredUnreadable(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		states := memory.New(memory.Config{})
		key := state.Key{Kind: "account", ID: "bad"}
		if _, err := states.Commit(t.Context(), key, state.Record{Token: 1, TypeVersion: 1, State: []byte("no msgpack")}, state.Revision{}); err != nil {
			t.Fatal(err)
		}
		newer := state.Key{Kind: "account", ID: "newer"}
		if _, err := states.Commit(t.Context(), newer, state.Record{Token: 1, TypeVersion: 2, State: []byte{0x80}}, state.Revision{}); err != nil {
			t.Fatal(err)
		}
		for id, m := range map[string]state.Message{
			"tells":     {Verb: state.Tell, To: "account/bob@~", Body: make([]byte, 8)},
			"pushes":    {Verb: state.Push, To: "account bob", Body: make([]byte, 20)},
			"publishes": {Verb: state.Publish, To: "bob", Body: make([]byte, 20)},
			"reminds":   {Verb: state.Remind, To: "bob", Body: make([]byte, 20)},
			"forgets":   {Verb: state.Forget, To: "bob"},
		} {
			rec := state.Record{Token: 1, TypeVersion: 1, State: []byte{0x80}, Outbox: []state.Message{m}}
			if _, err := states.Commit(t.Context(), state.Key{Kind: "account", ID: id}, rec, state.Revision{}); err != nil {
				t.Fatal(err)
			}
		}
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{accountKind}, States: states, Logger: quiet})
		unreadable := sys.Events(t.Context(), actor.StateUnreadable)
		for i, id := range []string{"bad", "newer", "tells", "pushes", "publishes", "reminds", "forgets"} {
			if _, err := actor.Call(t.Context(), sys.Virtual(accountKind, id), owned{}, rpc.WithRetry(rpc.Retry{Attempts: 1})); rpc.CodeOf(err) != rpc.Undecodable || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%s: %v", id, err)
			}
			if synctest.Wait(); len(unreadable) != i+1 {
				t.Errorf("%d events", len(unreadable))
			}
		}
		if n, err := actor.Call(t.Context(), sys.Virtual(accountKind, "good"), owned{}); n != 100 || err != nil {
			t.Error(n, err)
		}
		if rec, _, err := states.Load(t.Context(), key); string(rec.State) != "no msgpack" || err != nil {
			t.Errorf("%q, %v", rec.State, err)
		}
	})
}

// A key names a request at a stored actor at whatever activation, and longer than the node lives.
func TestStoredKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		cfg := actor.Config{Kinds: []*actor.Kind{accountKind, counterKind}, States: memory.New(memory.Config{}), Logger: quiet}
		for range 3 {
			sys := newSystem(t, cfg)
			for range 2 {
				if n, err := actor.Call(t.Context(), sys.Virtual(accountKind, "alice"), pay{Amount: 5}, rpc.Key("order-7")); n != 105 || err != nil {
					t.Fatal(n, err)
				}
			}
			if _, err := actor.Call(t.Context(), sys.Virtual(accountKind, "alice"), pay{Amount: 6}, rpc.Key("order-7")); rpc.CodeOf(err) != rpc.IDReused {
				t.Error(err)
			}
			if _, err := actor.Call(t.Context(), sys.Virtual(counterKind, "x"), total{}, rpc.Key("k")); rpc.CodeOf(err) != rpc.Invalid {
				t.Errorf("a key for an actor that is not stored: %v", err)
			}
			if err := sys.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A stored actor cannot put its answer off, and one that only reads sends nothing; nothing is changed then.
func TestStoredMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		kind := actor.Define("misused", func() *account { return new(account) },
			actor.Answer(func(a *account, ctx *actor.Context, _ pay) (int, error) {
				a.Sum++
				later := actor.Defer[int](ctx)
				go func() { _ = later.Answer(1) }()
				return 0, nil
			}),
			actor.Read(func(a *account, ctx *actor.Context, _ owned) (int, error) {
				return a.Sum, actor.Tell(ctx, ctx.Self(), paid{1})
			}),
			actor.Read(func(a *account, _ *actor.Context, _ total) (int, error) { return a.Sum, nil })).
			With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, States: memory.New(memory.Config{}), Logger: quiet})
		ref := sys.Virtual(kind, "x")
		for what, err := range map[string]error{"defers": errorOf(actor.Call(t.Context(), ref, pay{})), "reads and sends": errorOf(actor.Call(t.Context(), ref, owned{}))} {
			if err == nil || !strings.Contains(err.Error(), "invalid") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n, err := actor.Call(t.Context(), ref, total{}); n != 0 || err != nil {
			t.Error(n, err)
		}
	})
	whole := actor.Stored(func(a *account) *account { return a })
	same := func(a *account) *account { return a }
	for want, kind := range map[string]*actor.Kind{
		"state is a *actor_":   counterKind.With(actor.Virtual(), whole),
		"none from version 1":  accountKind.With(actor.Migrate(2, same)),
		"makes a *actor_test.": accountKind.With(actor.Migrate(1, same)),
		"that is Stored":       counterKind.With(actor.Migrate(1, same)),
	} {
		if _, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{kind}, States: memory.New(memory.Config{}), Logger: quiet}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{accountKind}, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "Config.States is nil") {
		t.Errorf("without a store: %v", err)
	}
	plain := actor.Define("plain", func() *account { return new(account) }, actor.Handle((*account).paid)).With(whole)
	if _, err := actor.NewSystem(actor.Config{Kinds: []*actor.Kind{plain}, States: memory.New(memory.Config{}), Logger: quiet}); err == nil || !strings.Contains(err.Error(), "has to be Virtual") {
		t.Errorf("not virtual: %v", err)
	}
}

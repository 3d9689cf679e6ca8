package actor_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
	statemem "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

var storedSeeds = flag.Int("actor.seeds", 3, "in how many histories to try stored actors under faults; CI tries more")

// slowStates is a node's way to the store of states: it answers late, or not at all although the commit was made,
// and can be cut.
type slowStates struct {
	state.Store
	mu   sync.Mutex
	rand *rand.Rand
	gone bool
}

func (s *slowStates) cut(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = gone
}

func (s *slowStates) pause(ctx context.Context) (made, lost bool) {
	s.mu.Lock()
	d, n, gone := time.Duration(s.rand.ExpFloat64()*float64(5*time.Millisecond)), s.rand.IntN(40), s.gone
	s.mu.Unlock()
	if gone {
		d = 2 * time.Second
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return n > 1 && !gone, n < 4 || gone
}

func (s *slowStates) Load(ctx context.Context, key state.Key) (state.Record, state.Revision, error) {
	if made, _ := s.pause(ctx); !made {
		return state.Record{}, state.Revision{}, &state.Error{Op: "load", Key: key, Kind: state.ErrUnavailable}
	}
	return s.Store.Load(ctx, key)
}

func (s *slowStates) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (rev state.Revision, err error) {
	made, lost := s.pause(ctx)
	if rec.ID == (state.ID{}) {
		rec.ID = state.NewID()
	}
	if made {
		rev, err = s.Store.Commit(ctx, key, rec, after)
	}
	if lost {
		return state.Revision{}, &state.Error{Op: "commit", Key: key, ID: rec.ID, Kind: state.ErrUnknown}
	}
	s.pause(ctx)
	return rev, err
}

// ledgerOf is the state of an actor that counts what has reached it, by the name of each transfer.
type ledgerOf struct {
	Sum  int
	Gave map[string]int // how often the handler of a transfer has had its effect
	Got  map[string]int // how often the message of a transfer was handled
}

type (
	transfer struct {
		actor.Returns[int]
		Name   string
		To     actor.Ref
		Amount int
		Fails  bool
	}
	credited struct {
		Name   string
		Amount int
	}
	audit struct{ actor.Returns[ledgerOf] }
)

func (transfer) WireName() string { return "stored.transfer" }
func (credited) WireName() string { return "stored.credited" }
func (audit) WireName() string    { return "stored.audit" }
func (ledgerOf) WireName() string { return "stored.ledger" }

func (l *ledgerOf) transfer(ctx *actor.Context, m transfer) (int, error) {
	l.Sum -= m.Amount
	l.Gave[m.Name]++
	if err := actor.Tell(ctx, m.To, credited{m.Name, m.Amount}); err != nil {
		return 0, err
	}
	if m.Fails {
		return 0, errPoor
	}
	return l.Sum, nil
}

func (l *ledgerOf) credited(_ *actor.Context, m credited) error {
	l.Sum += m.Amount
	l.Got[m.Name]++
	return nil
}

func (l *ledgerOf) audit(*actor.Context, audit) (ledgerOf, error) { return *l, nil }

var ledgerKind = actor.Define("stored.ledger", func() *ledgerOf { return &ledgerOf{Sum: 1000, Gave: map[string]int{}, Got: map[string]int{}} },
	actor.Answer((*ledgerOf).transfer), actor.Handle((*ledgerOf).credited), actor.Read((*ledgerOf).audit)).
	With(actor.Virtual(), actor.Stored(func(l *ledgerOf) *ledgerOf { return l }), actor.Idle(3*time.Second))

// given is a transfer as its caller has seen it.
type given struct {
	name, from, to string
	fails          bool
	answer         int
	err            error
}

// Whatever is cut off, dies or is not answered, by nodes and by the store: each transfer whose caller got an answer has
// had its effect once, and its message has arrived once; one that has failed has had none; and no caller whose node lives
// is told that nobody knows.
func TestStoredUnderFaults(t *testing.T) {
	for seed := range uint64(*storedSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { storedFaults(t, seed) })
		})
	}
}

func storedFaults(t *testing.T, seed uint64) {
	const nodes, ids = 4, 5
	r := rand.New(rand.NewPCG(seed, 1))
	net, first, claims, states := memnet.New(memnet.Config{Seed: seed}), newLeases(), memory.New(), statemem.New(statemem.Config{})
	var mu sync.Mutex
	sys, reg, store := map[string]*actor.System{}, map[string]leases{}, map[string]*slowStates{}
	starts := map[string]int{} // an odd number while it is up
	var names []string
	start := func(name string) {
		s, err := actor.NewSystem(actor.Config{Name: name, Registry: reg[name], Claims: claims, States: store[name], Kinds: []*actor.Kind{ledgerKind}, Logger: quiet,
			Transports: []transport.Transport{net.Transport("direct", true), net.Transport("bus", false)}})
		if err != nil {
			t.Errorf("start of %s: %v", name, err)
			return
		}
		given := s.Events(t.Context(), actor.MessageGivenUp)
		go func() {
			for e := range given {
				t.Errorf("given up on %s: %+v", name, e)
			}
		}()
		mu.Lock()
		defer mu.Unlock()
		sys[name] = s
		starts[name]++
	}
	of := func(name string) (*actor.System, int) {
		mu.Lock()
		defer mu.Unlock()
		return sys[name], starts[name]
	}
	ends := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		starts[name]++
	}
	for i := range nodes {
		name := string(rune('a' + i))
		names = append(names, name)
		reg[name], store[name] = first.view(), &slowStates{Store: states, rand: rand.New(rand.NewPCG(seed, uint64(100+i)))}
		start(name)
	}
	over := make(chan struct{})
	var callers sync.WaitGroup
	var all []given
	for i, name := range names {
		for k := range 3 {
			r := rand.New(rand.NewPCG(seed, uint64(10+3*i+k)))
			callers.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-over:
						return
					case <-time.After(time.Duration(r.ExpFloat64() * float64(200*time.Millisecond))):
					}
					g := given{name: fmt.Sprintf("%s%d.%d", name, k, n), from: string(rune('A' + r.IntN(ids))), to: string(rune('A' + r.IntN(ids))), fails: r.IntN(6) == 0}
					s, life := of(name)
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					g.answer, g.err = actor.Call(ctx, s.Virtual(ledgerKind, g.from), transfer{Name: g.name, To: s.Virtual(ledgerKind, g.to), Amount: 1 + r.IntN(5), Fails: g.fails})
					cancel()
					if _, now := of(name); rpc.Ran(g.err) == rpc.Unknown && g.err != nil && now == life && now%2 == 1 {
						t.Errorf("transfer %s from %s at %s: %v", g.name, g.from, name, g.err)
					}
					mu.Lock()
					all = append(all, g)
					mu.Unlock()
				}
			})
		}
	}
	isolate := func(name string, do func(road, a, b string)) {
		for _, other := range names {
			if other != name {
				do("direct", name, other)
				do("bus", name, other)
			}
		}
	}
	for range 8 {
		name := names[r.IntN(nodes)]
		long := time.Duration(2+r.IntN(25)) * time.Second
		switch r.IntN(5) {
		case 0: // it does not reach the registry
			reg[name].cut.off()
			time.Sleep(long)
			reg[name].cut.on()
		case 1: // it does not reach another node
			other := names[r.IntN(nodes)]
			net.Partition("direct", name, other)
			net.Partition("bus", name, other)
			time.Sleep(long)
			net.Heal("direct", name, other)
			net.Heal("bus", name, other)
		case 2: // it is restarted
			ends(name)
			s, _ := of(name)
			_ = s.Shutdown(t.Context())
			start(name)
		case 3: // it reaches nobody, dies, and comes back
			ends(name)
			s, _ := of(name)
			reg[name].cut.off()
			store[name].cut(true)
			isolate(name, net.Partition)
			time.Sleep(long)
			gone, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = s.Shutdown(gone)
			cancel()
			time.Sleep(leaseTime)
			reg[name].cut.on()
			store[name].cut(false)
			isolate(name, net.Heal)
			start(name)
		case 4: // it does not reach the store
			store[name].cut(true)
			time.Sleep(long)
			store[name].cut(false)
		}
		time.Sleep(time.Duration(r.IntN(5)) * time.Second)
	}
	close(over)
	callers.Wait()
	time.Sleep(10 * leaseTime)
	s, _ := of(names[0])
	ledgers := map[string]ledgerOf{}
	sum := 0
	for i := range ids {
		id := string(rune('A' + i))
		l, err := actor.Call(t.Context(), s.Virtual(ledgerKind, id), audit{})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		ledgers[id] = l
		sum += l.Sum
	}
	if sum != 1000*ids {
		t.Errorf("the accounts have %d in all", sum)
	}
	answered, unknown := 0, 0
	for _, g := range all {
		gave, got := ledgers[g.from].Gave[g.name], ledgers[g.to].Got[g.name]
		want := 0
		switch {
		case g.err == nil:
			answered++
			want = 1
		case rpc.Ran(g.err) == rpc.Unknown:
			unknown++
			want = min(gave, 1)
		case rpc.Ran(g.err) == rpc.HasRun && !(g.fails && errors.Is(g.err, errPoor)):
			t.Errorf("transfer %s: %v", g.name, g.err)
		}
		if gave != want || got != want {
			t.Errorf("transfer %s from %s to %s, which has ended with %v [%v], has had its effect %d times, and arrived %d times", g.name, g.from, g.to, g.err, rpc.Ran(g.err), gave, got)
		}
	}
	if answered < 200 {
		t.Errorf("only %d of %d were answered", answered, len(all))
	}
	t.Logf("%d transfers, %d answered, %d unknown", len(all), answered, unknown)
	for _, s := range sys {
		_ = s.Shutdown(t.Context())
	}
}

// replyless is a road on which replies are lost.
type replyless struct {
	transport.Transport
	mute *atomic.Bool
}

func (r replyless) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	return r.Transport.Start(ctx, local, func(l transport.Link) transport.Receiver { return accept(replylessLink{l, r.mute}) })
}

func (r replyless) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	return r.Transport.Dial(ctx, to, func(l transport.Link) transport.Receiver { return open(replylessLink{l, r.mute}) })
}

type replylessLink struct {
	transport.Link
	mute *atomic.Bool
}

func (l replylessLink) Send(e *transport.Envelope) (uint64, error) {
	if e.Verb == transport.VerbReply && l.mute.Load() {
		return 0, nil
	}
	return l.Link.Send(e)
}

// A request that has run at a node which has left, and whose reply did not come, is made again for its reply.
func TestStoredReplyOfWhoHasLeft(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, first, claims, states := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New(), statemem.New(statemem.Config{})
		var mute atomic.Bool
		start := func(name string) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: first.view(), Claims: claims, States: states, Kinds: []*actor.Kind{accountKind}, Logger: quiet,
				Transports: []transport.Transport{replyless{net.Transport("direct", true), &mute}}})
		}
		b := start("b")
		if n, err := actor.Call(t.Context(), b.Virtual(accountKind, "alice"), pay{Amount: 1}); n != 101 || err != nil {
			t.Fatal(n, err)
		}
		a := start("a")
		if n, err := actor.Call(t.Context(), a.Virtual(accountKind, "alice"), pay{Amount: 1}); n != 102 || err != nil {
			t.Fatal(n, err)
		}
		mute.Store(true)
		late := actor.Ask(t.Context(), a.Virtual(accountKind, "alice"), pay{Amount: 1})
		synctest.Wait()
		if rec, _, err := states.Load(t.Context(), state.Key{Kind: "account", ID: "alice"}); len(rec.Outcomes) == 0 || err != nil {
			t.Fatalf("it did not run: %+v, %v", rec, err)
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = b.Shutdown(gone)
		mute.Store(false)
		if n, err := late.Await(t.Context()); n != 103 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := actor.Call(t.Context(), a.Virtual(accountKind, "alice"), owned{}); n != 103 || err != nil {
			t.Errorf("it was paid twice, or not at all: %d, %v", n, err)
		}
	})
}

// A message that an activation could not send arrives once, although the successor has sent it, the receiver's node was
// restarted since, and the node of the activation that has ended tries again.
func TestStoredMessageOfWhoHasEnded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, first, claims, states := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New(), statemem.New(statemem.Config{})
		var came atomic.Int32
		desk := actor.Define("desk", func() int { return 0 }, actor.Handle(func(int, *actor.Context, paid) error { came.Add(1); return nil }))
		start := func(name string, reg leases, kinds ...*actor.Kind) *actor.System {
			sys := newSystem(t, actor.Config{Name: name, Registry: reg, Claims: claims, States: states, Kinds: kinds, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true)}})
			if len(kinds) == 0 {
				spawn(t, sys, "desk", desk)
			}
			return sys
		}
		mine := first.view()
		a, c := start("a", mine, accountKind), start("c", first)
		if n, err := actor.Call(t.Context(), a.Virtual(accountKind, "alice"), owned{}); n != 100 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(time.Second) // otherwise the desk's node was started when the message was sent, and cannot know
		net.Partition("direct", "a", "c")
		if _, err := actor.Call(t.Context(), a.Virtual(accountKind, "alice"), pay{Amount: 1, Tell: a.Ref("desk@c")}); err != nil {
			t.Fatal(err)
		}
		b := start("b", first.view(), accountKind)
		mine.cut.off()
		time.Sleep(2 * leaseTime)
		if n, err := actor.Call(t.Context(), b.Virtual(accountKind, "alice"), owned{}); n != 101 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(leaseTime)
		if n := came.Load(); n != 1 {
			t.Fatalf("the successor's message has come %d times", n)
		}
		_ = c.Shutdown(t.Context())
		start("c", first)
		mine.cut.on()
		net.Heal("direct", "a", "c")
		time.Sleep(5 * time.Minute)
		if n := came.Load(); n != 1 {
			t.Errorf("the message has come %d times", n)
		}
	})
}

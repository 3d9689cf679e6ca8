package actor_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/reminder"
	reminders "github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
	statemem "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// notices keeps what is published, each message once, unless it is away. It is of no use to subscribers.
type notices struct {
	topic.Store
	mu    sync.Mutex
	away  bool
	ids   map[string]bool
	names []string
}

func (n *notices) Publish(_ context.Context, m topic.Message) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return 0, context.DeadlineExceeded
	}
	if !n.ids[m.ID] {
		n.ids[m.ID] = true
		n.names = append(n.names, m.Topic)
	}
	return uint64(len(n.names)), nil
}

func (n *notices) setAway(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = away
}

func (n *notices) published() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.names)
}

// The stored kind that the tests use: an office that does all that can be kept until its state is written.
type (
	purchase struct {
		actor.Returns[string] // the text of the job's token
		N, Forgets            int
		Queue, Worker         actor.Ref
		Fails                 bool
	}
	crate struct{ N int }
	chore struct {
		actor.Returns[int]
		N int
	}
	dunning struct{ N int }
	ordered struct{ actor.Returns[officeState] }
)

func (purchase) WireName() string { return "office.purchase" }
func (crate) WireName() string    { return "office.crate" }
func (chore) WireName() string    { return "office.chore" }
func (dunning) WireName() string  { return "office.dunning" }
func (ordered) WireName() string  { return "office.ordered" }

type officeState struct {
	Orders []int
	Dunned []int
}

func (officeState) WireName() string { return "office.state" }

type office struct{ officeState }

var crates = actor.NewTopic[crate]("crates.>").Durable()

func (o *office) purchase(ctx *actor.Context, m purchase) (string, error) {
	o.Orders = append(o.Orders, m.N)
	if err := actor.Push(ctx, m.Queue, crate{m.N}); err != nil {
		return "", err
	}
	if err := actor.Publish(ctx, crates.At(fmt.Sprintf("crates.%d", m.N)), crate{m.N}); err != nil {
		return "", err
	}
	if err := actor.Tell(ctx, m.Worker, crate{m.N}); err != nil {
		return "", err
	}
	tok, err := actor.Submit(ctx, m.Worker, chore{N: m.N})
	if err != nil {
		return "", err
	}
	if err := actor.Remind(ctx, fmt.Sprint("dun ", m.N), reminder.At(time.Now().Add(time.Hour)), dunning{m.N}); err != nil {
		return "", err
	}
	if m.Forgets > 0 {
		if err := actor.Forget(ctx, fmt.Sprint("dun ", m.Forgets)); err != nil {
			return "", err
		}
	}
	if m.Fails {
		return "", errPoor
	}
	return tok.String(), nil
}

func (o *office) dunning(_ *actor.Context, m dunning) error {
	o.Dunned = append(o.Dunned, m.N)
	return nil
}

func (o *office) ordered(*actor.Context, ordered) (officeState, error) { return o.officeState, nil }

var officeKind = actor.Define("office", func() *office { return new(office) },
	actor.Answer((*office).purchase), actor.Handle((*office).dunning), actor.Read((*office).ordered)).
	With(actor.Virtual(), actor.Stored(func(o *office) *officeState { return &o.officeState }), actor.Idle(time.Minute))

// yard is the node where the queue and the worker are.
type yard struct {
	sys           *actor.System
	queue, worker actor.Ref
	pushed        []int // what was pulled so far
	mu            sync.Mutex
	done, told    []int
}

func startYard(t *testing.T, cfg actor.Config) *yard {
	y := &yard{sys: newSystem(t, cfg)}
	y.queue = spawn(t, y.sys, "crates", actor.QueueKind[crate]("yard.crates", queue.Config{}))
	y.worker = spawn(t, y.sys, "worker", actor.Define("yard.worker", func() struct{} { return struct{}{} },
		actor.Answer(func(_ struct{}, _ *actor.Context, m chore) (int, error) {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.done = append(y.done, m.N)
			return m.N * m.N, nil
		}),
		actor.Handle(func(_ struct{}, _ *actor.Context, m crate) error {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.told = append(y.told, m.N)
			return nil
		})))
	return y
}

// want checks that each of these orders, and no other one, has had all its effects once, and that these reminders are set.
func (y *yard) want(t *testing.T, ns *notices, rs *reminders.Store, reminded []int, orders ...int) {
	t.Helper()
	got, err := actor.Pull[crate](t.Context(), y.queue, actor.Max(actor.MaxPull), actor.Wait(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range got {
		y.pushed = append(y.pushed, d.Message.N)
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var published []int
	for _, name := range ns.published() {
		var n int
		if _, err := fmt.Sscanf(name, "crates.%d", &n); err != nil {
			t.Fatal(err)
		}
		published = append(published, n)
	}
	y.mu.Lock()
	done, told := slices.Clone(y.done), slices.Clone(y.told)
	y.mu.Unlock()
	if !slices.Equal(y.pushed, orders) || !slices.Equal(published, orders) || !slices.Equal(done, orders) || !slices.Equal(told, orders) {
		t.Errorf("pushed %v, published %v, done %v, told %v: want %v of each", y.pushed, published, done, told, orders)
	}
	list, err := rs.List(t.Context(), reminder.Actor{Kind: "office", ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	var want []string
	for _, n := range reminded {
		want = append(want, fmt.Sprint("dun ", n))
	}
	if !slices.Equal(names, want) {
		t.Errorf("reminders %v: want %v", names, want)
	}
}

// gatedStates is a store that makes a commit only with the token in its gate.
type gatedStates struct {
	state.Store
	gate chan struct{}
}

func (g *gatedStates) Commit(ctx context.Context, key state.Key, rec state.Record, after state.Revision) (state.Revision, error) {
	<-g.gate
	defer func() { g.gate <- struct{}{} }()
	return g.Store.Commit(ctx, key, rec, after)
}

// What a handler does with Tell, Push, Publish, Submit, Remind and Forget takes place once, when its effect is written, and not
// before. If it fails, nothing of it does.
func TestStoredEffects(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ns, rs := &notices{ids: map[string]bool{}}, reminders.New(reminders.Config{})
		gate := &gatedStates{statemem.New(statemem.Config{}), make(chan struct{}, 1)}
		gate.gate <- struct{}{}
		y := startYard(t, actor.Config{Kinds: []*actor.Kind{officeKind}, States: gate, Topics: ns, Reminders: rs, Logger: quiet})
		x := y.sys.Virtual(officeKind, "x")
		call := func(m purchase) (string, error) {
			m.Queue, m.Worker = y.queue, y.worker
			return actor.Call(t.Context(), x, m)
		}
		text, err := call(purchase{N: 1})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		y.want(t, ns, rs, []int{1}, 1)
		tok, err := actor.Redeem[int](y.sys, text)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := tok.Await(t.Context()); n != 1 || err != nil {
			t.Errorf("the job: %d, %v", n, err)
		}

		if _, err := call(purchase{N: 2, Fails: true}); err == nil {
			t.Error("no error")
		}
		time.Sleep(time.Second)
		y.want(t, ns, rs, []int{1}, 1)

		<-gate.gate
		third := actor.Ask(t.Context(), x, purchase{N: 3, Forgets: 1, Queue: y.queue, Worker: y.worker})
		time.Sleep(5 * time.Second)
		y.want(t, ns, rs, []int{1}, 1)
		gate.gate <- struct{}{}
		if _, err := third.Await(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		y.want(t, ns, rs, []int{3}, 1, 3)

		time.Sleep(2 * time.Hour)
		st, err := actor.Call(t.Context(), x, ordered{})
		if err != nil || !slices.Equal(st.Orders, []int{1, 3}) || !slices.Equal(st.Dunned, []int{3}) {
			t.Errorf("%+v, %v", st, err)
		}
		y.want(t, ns, rs, nil, 1, 3)
	})
}

// A reminder that is set and then forgotten is forgotten, however long the store takes to set it.
func TestStoredEffectsInOrder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ns, rs := &notices{ids: map[string]bool{}}, reminders.New(reminders.Config{})
		y := startYard(t, actor.Config{Kinds: []*actor.Kind{officeKind}, States: statemem.New(statemem.Config{}), Topics: ns, Reminders: lateReminders{rs}, Logger: quiet})
		x := y.sys.Virtual(officeKind, "x")
		for n, forgets := range []int{0: 0, 1: 1, 2: 0, 3: 2} {
			if n == 0 {
				continue
			}
			if _, err := actor.Call(t.Context(), x, purchase{N: n, Forgets: forgets, Queue: y.queue, Worker: y.worker}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		y.want(t, ns, rs, []int{3}, 1, 2, 3)
	})
}

// lateReminders is a store that takes long to set a reminder.
type lateReminders struct{ *reminders.Store }

func (l lateReminders) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	time.Sleep(5 * time.Second)
	return l.Store.Set(ctx, r, id)
}

// The holder of a stored actor dies when its write is done, and before what it has kept could leave. Its successor does all
// of that, once.
func TestStoredEffectsOfTheDead(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ns, rs, states := &notices{ids: map[string]bool{}, away: true}, reminders.New(reminders.Config{}), statemem.New(statemem.Config{})
		net, first, claims := memnet.New(memnet.Config{Seed: 1}), newLeases(), memory.New()
		reg := map[string]leases{"a": first.view(), "b": first.view(), "yard": first.view()}
		config := func(name string, kinds ...*actor.Kind) actor.Config {
			return actor.Config{Name: name, Registry: reg[name], Claims: claims, States: states, Topics: ns, Reminders: rs, Kinds: kinds, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true)}}
		}
		y := startYard(t, config("yard"))
		slow := &slowReminders{Store: rs}
		cfg := config("a", officeKind)
		cfg.Reminders = slow
		a, err := actor.NewSystem(cfg)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		x := a.Virtual(officeKind, "x")
		net.Partition("direct", "a", "yard")
		if _, err := actor.Call(t.Context(), x, purchase{N: 1, Queue: y.queue, Worker: y.worker}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		y.want(t, ns, rs, nil)

		b := newSystem(t, config("b", officeKind))
		reg["a"].cut.off()
		net.Partition("direct", "a", "b")
		dead, cancel := context.WithTimeout(t.Context(), time.Second)
		_ = a.Shutdown(dead)
		cancel()
		ns.setAway(false)
		time.Sleep(3 * leaseTime)
		y.want(t, ns, rs, []int{1}, 1)
		if st, err := actor.Call(t.Context(), b.Virtual(officeKind, "x"), ordered{}); err != nil || !slices.Equal(st.Orders, []int{1}) {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// slowReminders is a node's way to a store that does not answer.
type slowReminders struct{ reminder.Store }

func (s *slowReminders) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (reminder.Entry, error) {
	<-ctx.Done()
	return reminder.Entry{}, &reminder.Error{Op: "set", Kind: reminder.ErrUnknown}
}

func (s *slowReminders) Follow(ctx context.Context, _ func(context.Context, reminder.Firing) reminder.Outcome) error {
	<-ctx.Done()
	return nil
}

// What cannot wait for a write is refused, and nothing takes place.
func TestStoredEffectsMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ns, rs := &notices{ids: map[string]bool{}}, reminders.New(reminders.Config{})
		var y *yard
		tries := map[string]func(*actor.Context) error{
			"a push that asks for a duplicate": func(ctx *actor.Context) error {
				return actor.Push(ctx, y.queue, crate{}, actor.Duplicate(new(bool)))
			},
			"a push to a service": func(ctx *actor.Context) error { return actor.Push(ctx, ctx.System().Service("s"), crate{}) },
			"a job of a service": func(ctx *actor.Context) error {
				return errorOf(actor.Submit(ctx, ctx.System().Service("s"), chore{}))
			},
			"a job with a key": func(ctx *actor.Context) error { return errorOf(actor.Submit(ctx, y.worker, chore{}, rpc.Key("k"))) },
			"a reminder without a name": func(ctx *actor.Context) error {
				return actor.Remind(ctx, "", reminder.Every(time.Hour), dunning{})
			},
			"a reminder of nothing":        func(ctx *actor.Context) error { return actor.Remind(ctx, "n", reminder.Every(time.Hour), nil) },
			"a reminder too often":         func(ctx *actor.Context) error { return actor.Remind(ctx, "n", reminder.Every(1), dunning{}) },
			"a reminder that nobody takes": func(ctx *actor.Context) error { return actor.Remind(ctx, "n", reminder.Every(time.Hour), crate{}) },
			"nothing is forgotten":         func(ctx *actor.Context) error { return actor.Forget(ctx, "") },
		}
		kind := actor.Define("misuser", func() *office { return new(office) }, actor.Handle((*office).dunning),
			actor.Answer(func(_ *office, ctx *actor.Context, m misuse) (string, error) { return "", tries[m.What](ctx) }),
			actor.Read(func(_ *office, ctx *actor.Context, _ ordered) (officeState, error) {
				return officeState{}, actor.Remind(ctx, "n", reminder.Every(time.Hour), dunning{})
			})).With(actor.Virtual(), actor.Stored(func(o *office) *officeState { return &o.officeState }))
		y = startYard(t, actor.Config{Kinds: []*actor.Kind{kind}, States: statemem.New(statemem.Config{}), Topics: ns, Reminders: rs, Logger: quiet})
		x := y.sys.Virtual(kind, "x")
		for what := range tries {
			if _, err := actor.Call(t.Context(), x, misuse{What: what}); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if _, err := actor.Call(t.Context(), x, ordered{}); err == nil {
			t.Error("a handler that only reads: no error")
		}
		time.Sleep(time.Minute)
		y.want(t, ns, rs, nil)
	})
}

type misuse struct {
	actor.Returns[string]
	What string
}

func (misuse) WireName() string { return "office.misuse" }

package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Price is what is published in these tests.
type Price struct {
	Name string
	N    int
}

// Volume is published on the same topics, too.
type Volume struct{ N int }

var (
	prices  = actor.NewTopic[Price]("prices.>")
	volumes = actor.NewTopic[Volume]("prices.>")
	euro    = prices.At("prices.eur")
)

// heardLog is what subscribers got, by actor.
type heardLog struct {
	mu  sync.Mutex
	got map[string][]string
}

func (l *heardLog) note(ctx *actor.Context, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.got == nil {
		l.got = map[string][]string{}
	}
	name := ctx.Self().String()
	l.got[name] = append(l.got[name], what)
}

// take waits until the bubble is idle, and returns what an actor got since the last take.
func (l *heardLog) take(r actor.Ref) []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.got[r.String()]
	delete(l.got, r.String())
	return got
}

func (l *heardLog) want(t *testing.T, r actor.Ref, want ...string) {
	t.Helper()
	if got := l.take(r); !slices.Equal(got, want) {
		t.Errorf("%v got %q, want %q", r, got, want)
	}
}

// Listener is a subscriber.
type Listener struct{ l *heardLog }

func (s *Listener) OnPrice(ctx *actor.Context, m Price) error {
	s.l.note(ctx, fmt.Sprint(m.Name, m.N))
	return nil
}
func (s *Listener) OnVolume(ctx *actor.Context, m Volume) error {
	s.l.note(ctx, fmt.Sprint("volume", m.N))
	return nil
}
func (s *Listener) Run(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }
func (s *Listener) Note(ctx *actor.Context, m Note) error         { return m.F(ctx) }

func (l *heardLog) kind(opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.listener", func() *Listener { return &Listener{l} },
		actor.Handle((*Listener).OnPrice), actor.Handle((*Listener).OnVolume), actor.Answer((*Listener).Run), actor.Handle((*Listener).Note)).With(opts...)
}

// listen starts a subscriber to prices.>, or to the given topic.
func (l *heardLog) listen(t *testing.T, sys *actor.System, name string, at actor.Topic[Price], opts ...topic.Option) actor.Ref {
	t.Helper()
	r := spawn(t, sys, name, l.kind())
	inside(t, r, func(ctx *actor.Context) error { return ctx.Subscribe(at, opts...) })
	return r
}

func publish(t *testing.T, sys *actor.System, at actor.Topic[Price], n int) {
	t.Helper()
	if err := actor.Publish(t.Context(), at.Bind(sys), Price{"p", n}); err != nil {
		t.Error(err)
	}
}

// settle waits until the other nodes know of the subscriptions.
func settle() { bubbleSleep(); synctest.Wait() }

func TestPublishWithinANode(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, l := newSystem(t, actor.Config{Logger: quiet}), new(heardLog)
		all, one := l.listen(t, sys, "all", prices), l.listen(t, sys, "one", prices.At("prices.usd"))
		inside(t, all, func(ctx *actor.Context) error { return ctx.Subscribe(euro) }) // what two subscriptions match arrives once
		publish(t, sys, euro, 1)
		publish(t, sys, prices.At("prices.usd"), 2)
		l.want(t, all, "p1", "p2")
		l.want(t, one, "p2")
		inside(t, all, func(ctx *actor.Context) error { ctx.Unsubscribe(prices); ctx.Unsubscribe(prices); return nil })
		publish(t, sys, prices.At("prices.usd"), 3)
		publish(t, sys, euro, 4)
		l.want(t, all, "p4")
		l.want(t, one, "p3")
		if err := actor.Publish(t.Context(), volumes.At("prices.usd").Bind(sys), Volume{5}); err != nil {
			t.Error(err)
		}
		l.want(t, one) // another type of message
		if err := sys.Stop(t.Context(), one); err != nil {
			t.Error(err)
		}
		publish(t, sys, prices.At("prices.usd"), 6)
		l.want(t, one)
		if n := sys.Stats().DeadLetters; n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// A subscription ends with its incarnation, and Started may make a new one.
func TestSubscriptionEndsWithRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, l := newSystem(t, actor.Config{Logger: quiet}), new(heardLog)
		r := l.listen(t, sys, "r", prices)
		tell(t, r, crash())
		publish(t, sys, euro, 1)
		synctest.Wait()
		l.take(r)
		publish(t, sys, euro, 2)
		l.want(t, r)
		kind := actor.Define("test.starter", func() *starter { return &starter{l} }, actor.Handle((*starter).OnPrice), actor.Handle((*starter).Note))
		s := spawn(t, sys, "s", kind)
		synctest.Wait()
		publish(t, sys, euro, 3)
		tell(t, s, crash())
		synctest.Wait()
		publish(t, sys, euro, 4)
		l.want(t, s, "p3", "p4")
	})
}

// starter subscribes when it starts.
type starter struct{ l *heardLog }

func (s *starter) Started(ctx *actor.Context) error      { return ctx.Subscribe(prices) }
func (s *starter) Note(ctx *actor.Context, m Note) error { return m.F(ctx) }
func (s *starter) OnPrice(ctx *actor.Context, m Price) error {
	s.l.note(ctx, fmt.Sprint(m.Name, m.N))
	return nil
}

func (w *whoHeard) Run(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }
func (w *whoHeard) OnPrice(ctx *actor.Context, m Price) error {
	w.to <- fmt.Sprint(ctx.Sender(), " ", ctx.Header("h"), " ", ctx.Node(), " ", ctx.Principal())
	return nil
}

// Of a group, one member gets each message, wherever the members are.
func TestGroups(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		l := new(heardLog)
		var members []actor.Ref
		for i, sys := range []*actor.System{a, a, b, b, b} {
			at := prices
			if i%2 == 0 {
				at = euro
			}
			members = append(members, l.listen(t, sys, fmt.Sprint("m", i), at, topic.Group("g")))
		}
		also := l.listen(t, b, "also", prices)
		other := l.listen(t, b, "other", prices, topic.Group("h"))
		settle()
		var want []string
		for i := range 200 {
			publish(t, a, euro, i)
			want = append(want, fmt.Sprint("p", i))
		}
		l.want(t, also, want...)
		l.want(t, other, want...)
		var all []string
		for _, m := range members {
			got := l.take(m)
			if len(got) < 10 {
				t.Errorf("%v got %d of 200", m, len(got))
			}
			all = append(all, got...)
		}
		slices.Sort(all)
		slices.Sort(want)
		if !slices.Equal(all, want) {
			t.Errorf("the group got %d: %v", len(all), all)
		}
	})
}

// What a full mailbox does is up to the subscription; nobody waits for it.
func TestFullSubscriber(t *testing.T) {
	for _, row := range []struct {
		full topic.Full
		want []string
		left int // how many get in afterwards
	}{
		{topic.DropNewest, []string{"p0", "p1"}, 1}, {topic.DropOldest, []string{"p3", "p4"}, 1}, {topic.Unsubscribe, []string{"p0", "p1"}, 0},
	} {
		for _, far := range []bool{false, true} {
			t.Run(fmt.Sprint(row.full, " far ", far), func(t *testing.T) {
				world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
					l, log := new(heardLog), letters(t, b)
					r := spawn(t, b, "r", l.kind(), actor.Mailbox(mailbox.Config{Capacity: 2}))
					inside(t, r, func(ctx *actor.Context) error { return ctx.Subscribe(prices, topic.WhenFull(row.full)) })
					settle()
					leave := make(chan struct{})
					tell(t, r, note(func(*actor.Context) { <-leave }))
					synctest.Wait()
					by := b
					if far {
						by = a
					}
					for i := range 5 {
						publish(t, by, euro, i)
					}
					synctest.Wait()
					close(leave)
					l.want(t, r, row.want...)
					if got := log(); len(got) != 3 && (row.full != topic.Unsubscribe || len(got) != 1) || rpc.CodeOf(got[0].Reason) != rpc.Overloaded {
						t.Errorf("dead letters: %+v", got)
					}
					publish(t, by, euro, 9)
					if got := l.take(r); len(got) != row.left {
						t.Errorf("afterwards: %v", got)
					}
				})
			})
		}
	}
}

// Each bad input has its typed answer.
func TestTopicMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, l := newSystem(t, actor.Config{Logger: quiet}), new(heardLog)
		r := l.listen(t, sys, "r", prices)
		puppet := spawn(t, sys, "puppet", PuppetKind)
		in := func(who actor.Ref, at interface {
			At(string) actor.Topic[Price]
		}, opts ...topic.Option) error {
			var err error
			inside(t, who, func(ctx *actor.Context) error { err = ctx.Subscribe(at.(actor.Topic[Price]), opts...); return nil })
			return err
		}
		to := func(at actor.Topic[Price], opts ...rpc.Option) error {
			return actor.Publish(t.Context(), at.Bind(sys), Price{}, opts...)
		}
		for name, row := range map[string]struct {
			err  error
			code rpc.Code
			is   error
		}{
			"not a name":           {to(prices.At("prices..eur")), rpc.Invalid, topic.ErrPattern},
			"a name of another":    {to(prices.At("weather.eur")), rpc.Invalid, nil},
			"a pattern":            {to(prices), rpc.Invalid, topic.ErrName},
			"a narrower pattern":   {to(prices.At("prices.*")), rpc.Invalid, topic.ErrName},
			"unbound":              {actor.Publish(t.Context(), euro, Price{}), rpc.Invalid, actor.ErrUnbound},
			"no topic":             {to(actor.Topic[Price]{}), rpc.Invalid, nil},
			"acked":                {to(euro, rpc.Acked()), rpc.Invalid, nil},
			"with a key":           {to(euro, rpc.Key("k")), rpc.Invalid, nil},
			"subscribe to no name": {in(r, prices.At("a b")), rpc.Invalid, topic.ErrPattern},
			"subscribe to nothing": {in(r, actor.Topic[Price]{}), rpc.Invalid, nil},
			"no handler":           {in(puppet, prices), rpc.Unhandled, nil},
			"no group":             {in(r, prices, topic.Group("")), rpc.Invalid, topic.ErrOption},
			"no policy":            {in(r, prices, topic.WhenFull(7)), rpc.Invalid, topic.ErrOption},
		} {
			if rpc.CodeOf(row.err) != row.code || rpc.Ran(row.err) != rpc.NotRun || row.is != nil && !errors.Is(row.err, row.is) {
				t.Errorf("%s: %v", name, row.err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := actor.Publish(ended, euro.Bind(sys), Price{}); rpc.CodeOf(err) != rpc.Canceled {
			t.Error(err)
		}
		l.want(t, r)
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := to(euro); rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("after the shutdown: %v", err)
		}
	})
	for name, try := range map[string]func(){
		"pattern":    func() { actor.NewTopic[Price]("a..b") },
		"interface":  func() { actor.NewTopic[any]("a") },
		"terminated": func() { actor.NewTopic[actor.Terminated]("a") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			try()
		}()
	}
}

// A type that cannot travel is refused only where it would have to, and then nobody gets it.
func TestPublishWhatCannotTravel(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		at := actor.NewTopic[struct{ C chan int }]("x")
		got := make(chan struct{}, 1)
		kind := actor.Define("test.local", func() *chanHeard { return &chanHeard{got} }, actor.Handle((*chanHeard).On), actor.Answer((*chanHeard).Run))
		near := spawn(t, a, "near", kind)
		inside(t, near, func(ctx *actor.Context) error { return ctx.Subscribe(at) })
		if err := actor.Publish(t.Context(), at.Bind(a), struct{ C chan int }{}); err != nil || len(got) != 1 {
			synctest.Wait()
			if len(got) != 1 {
				t.Error(err)
			}
		}
		<-got
		far := spawn(t, b, "far", kind)
		inside(t, far, func(ctx *actor.Context) error { return ctx.Subscribe(at) })
		settle()
		if err := actor.Publish(t.Context(), at.Bind(a), struct{ C chan int }{}); rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun {
			t.Error(err)
		}
		if synctest.Wait(); len(got) != 0 {
			t.Error("somebody got it")
		}
	})
}

type chanHeard struct{ got chan struct{} }

func (h *chanHeard) Run(ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }
func (h *chanHeard) On(ctx *actor.Context, m struct{ C chan int }) error {
	h.got <- struct{}{}
	return nil
}

// bubbleSleep lets the time pass in which changes of topics are gathered.
func bubbleSleep() { time.Sleep(50 * time.Millisecond) }

// watchRegistry returns a function that counts the changes of sys's record since it was last called.
func watchRegistry(t *testing.T, sys *actor.System) func() int {
	changes, err := actor.RegistryOf(sys).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	go func() {
		for e := range changes {
			if e.Node.Name == sys.Name() {
				n.Add(1)
			}
		}
	}()
	synctest.Wait()
	n.Store(0)
	return func() int {
		synctest.Wait()
		return int(n.Swap(0))
	}
}

package test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// The messages of an actor that takes part in every pattern.
type (
	Inc struct{ By int }
	Got struct{ actor.Returns[int] }
	Dbl struct {
		actor.Returns[int]
		N int
	}
	Later struct {
		actor.Returns[int]
		N int
	}
	Left  struct{ actor.Returns[time.Duration] }
	Block struct{ actor.Returns[int] }
	Upto  struct {
		actor.Streams[int]
		N int
	}
	Sum  struct{ actor.Collects[int, int] }
	Echo struct{ actor.Converses[int, int] }
	Item struct{ N int }
	News struct{ N int }
	Hear struct {
		actor.Returns[bool]
		Stop bool
	}
	Heard struct{ actor.Returns[[]int] }
)

// all is that actor. It passes on to the test what it learns of cancels.
type all struct {
	n        int
	heard    []int
	began    chan struct{} // a token for each Block that began
	canceled chan struct{}
}

func (a *all) Inc(ctx *actor.Context, m Inc) error        { a.n += m.By; return nil }
func (a *all) Got(ctx *actor.Context, m Got) (int, error) { return a.n, nil }
func (a *all) Dbl(ctx *actor.Context, m Dbl) (int, error) { return 2 * m.N, nil }

func (a *all) Later(ctx *actor.Context, m Later) (int, error) {
	later := actor.Defer[int](ctx)
	go func() { _ = later.Answer(m.N) }()
	return 0, nil
}

func (a *all) Left(ctx *actor.Context, m Left) (time.Duration, error) {
	at, _ := ctx.Deadline()
	return time.Until(at), nil
}

func (a *all) Block(ctx *actor.Context, m Block) (int, error) {
	a.began <- struct{}{}
	<-ctx.Done()
	a.canceled <- struct{}{}
	return 0, ctx.Err()
}

// news is the topic of these tests.
var news = actor.NewTopic[News]("news.>")

func (a *all) News(ctx *actor.Context, m News) error { a.heard = append(a.heard, m.N); return nil }
func (a *all) Heard(ctx *actor.Context, m Heard) ([]int, error) {
	return slices.Clone(a.heard), nil
}

func (a *all) Hear(ctx *actor.Context, m Hear) (bool, error) {
	if m.Stop {
		ctx.Unsubscribe(news)
		return true, nil
	}
	return true, ctx.Subscribe(news)
}

func (a *all) Upto(ctx *actor.Context, m Upto) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := range m.N {
			if !yield(i, nil) {
				return
			}
		}
	}, nil
}

func (a *all) Sum(ctx *actor.Context, m Sum, in iter.Seq2[int, error]) (func() (int, error), error) {
	return func() (sum int, err error) {
		for v, err := range in {
			if err != nil {
				return 0, err
			}
			sum += v
		}
		return sum, nil
	}, nil
}

func (a *all) Echo(ctx *actor.Context, m Echo, in iter.Seq2[int, error]) (iter.Seq2[int, error], error) {
	return in, nil
}

// pattern is one pattern. It is tried with an actor and a queue that are where the column says.
// In the middle it calls mid, which may take a road away.
type pattern struct {
	name string
	try  func(t *testing.T, p place)
}

type place struct {
	ctx      context.Context
	sys      *actor.System // of the caller
	all, pq  actor.Ref
	mid      func()
	lossless bool          // mid does nothing
	began    chan struct{} // a token for each Block that began
	canceled chan struct{}
}

const rounds = 200

func must[T any](t *testing.T, want T, got T, err error) {
	t.Helper()
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

var patterns = []pattern{
	{"tell, acked", func(t *testing.T, p place) {
		before, err := actor.Call(p.ctx, p.all, Got{})
		must(t, before, before, err)
		for i := range rounds {
			if i == rounds/2 {
				p.mid()
			}
			if err := actor.Tell(p.ctx, p.all, Inc{1}, rpc.Acked()); err != nil {
				t.Fatal(err)
			}
		}
		n, err := actor.Call(p.ctx, p.all, Got{})
		must(t, before+rounds, n, err)
	}},
	{"publish", func(t *testing.T, p place) {
		_, err := actor.Call(p.ctx, p.all, Hear{})
		must(t, 0, 0, err)
		n := 0
		publish := func() {
			n++
			if err := actor.Publish(p.ctx, news.At("news.today").Bind(p.sys), News{n}); err != nil && p.lossless {
				t.Error(err)
			}
		}
		arrives := func() int { // publishes until something arrives
			for before := n; ; {
				publish()
				heard, err := actor.Call(p.ctx, p.all, Heard{})
				if err != nil {
					t.Fatal(err)
				}
				if len(heard) > 0 && heard[len(heard)-1] > before {
					return heard[len(heard)-1]
				}
			}
		}
		first := arrives()
		for i := range rounds {
			if i == rounds/2 {
				p.mid()
			}
			publish()
		}
		last := arrives()
		_, err = actor.Call(p.ctx, p.all, Hear{Stop: true})
		must(t, 0, 0, err)
		publish()
		heard, err := actor.Call(p.ctx, p.all, Heard{})
		if err != nil || len(heard) == 0 || heard[len(heard)-1] > n-1 {
			t.Fatalf("after the end of the subscription: %v, %v", heard, err)
		}
		for i, v := range heard {
			if i > 0 && v <= heard[i-1] || i > 0 && p.lossless && v >= first && v <= last && heard[i-1] >= first && v != heard[i-1]+1 {
				t.Fatalf("heard %v", heard)
			}
		}
	}},
	{"call", func(t *testing.T, p place) {
		for i := range rounds {
			if i == rounds/2 {
				p.mid()
			}
			n, err := actor.Call(p.ctx, p.all, Dbl{N: i})
			must(t, 2*i, n, err)
		}
	}},
	{"ask, callback", func(t *testing.T, p place) {
		var wg sync.WaitGroup
		for i := range rounds {
			if i == rounds/2 {
				p.mid()
			}
			wg.Add(1)
			actor.Ask(p.ctx, p.all, Dbl{N: i}).Then(func(n int, err error) {
				defer wg.Done()
				if n != 2*i || err != nil {
					t.Errorf("%d: %d, %v", i, n, err)
				}
			})
		}
		wg.Wait()
	}},
	{"all, any, race", func(t *testing.T, p place) {
		fs := func() (fs []*rpc.Future[int]) {
			for i := range 20 {
				fs = append(fs, actor.Ask(p.ctx, p.all, Dbl{N: i}))
			}
			return fs
		}
		first := fs()
		p.mid()
		ns, err := rpc.All(first...).Await(p.ctx)
		must(t, 20, len(ns), err)
		_, err = rpc.Any(fs()...).Await(p.ctx)
		must(t, 0, 0, err)
		_, err = rpc.Race(fs()...).Await(p.ctx)
		must(t, 0, 0, err)
	}},
	{"answer put off", func(t *testing.T, p place) {
		for i := range rounds {
			if i == rounds/2 {
				p.mid()
			}
			n, err := actor.Call(p.ctx, p.all, Later{N: i})
			must(t, i, n, err)
		}
	}},
	{"deadline", func(t *testing.T, p place) {
		p.mid()
		ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
		defer cancel()
		left, err := actor.Call(ctx, p.all, Left{})
		if err != nil || left > 20*time.Second || left < 10*time.Second {
			t.Errorf("%v left of 20 s: %v", left, err)
		}
	}},
	{"cancel", func(t *testing.T, p place) {
		f := actor.Ask(p.ctx, p.all, Block{})
		select {
		case <-p.began: // a request that waits ends unseen
		case <-p.ctx.Done():
			t.Fatal("the handler did not begin")
		}
		p.mid()
		f.Cancel()
		_, err := f.Await(p.ctx)
		if rpc.CodeOf(err) != rpc.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		if rpc.Ran(err) == rpc.NotRun {
			return
		}
		select {
		case <-p.canceled: // the handler was told, although a road was lost
		case <-p.ctx.Done():
			t.Error("the handler was not told")
		}
	}},
	{"token", func(t *testing.T, p place) {
		var tokens []rpc.Token[int]
		for i := range 20 {
			tok, err := actor.Submit(p.ctx, p.all, Dbl{N: i})
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, tok)
		}
		p.mid()
		for i, tok := range tokens {
			again, err := actor.Redeem[int](p.sys, tok.String())
			if err != nil {
				t.Fatal(err)
			}
			n, err := again.Await(p.ctx)
			must(t, 2*i, n, err)
		}
	}},
	{"pull", func(t *testing.T, p place) {
		for i := range rounds {
			if err := actor.Push(p.ctx, p.pq, Item{i}, actor.PushID(fmt.Sprint(t.Name(), i))); err != nil {
				t.Fatal(err)
			}
		}
		var got []int
		for len(got) < rounds {
			if len(got) > 0 && len(got) <= 16 {
				p.mid()
			}
			ds, err := actor.Pull[Item](p.ctx, p.pq, actor.Max(16))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range ds {
				got = append(got, d.Message.N)
			}
			if err := actor.AckAll(p.ctx, ds); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(got)
		if got = slices.Compact(got); len(got) != rounds {
			t.Errorf("%d different items of %d", len(got), rounds)
		}
	}},
	{"stream", func(t *testing.T, p place) {
		next := 0
		for v, err := range actor.Stream(p.ctx, p.all, Upto{N: 20_000}) {
			if err != nil || v != next {
				t.Fatalf("item %d: %d, %v", next, v, err)
			}
			if next++; next == 5_000 {
				p.mid()
			}
		}
		must(t, 20_000, next, nil)
	}},
	{"stream to an actor", func(t *testing.T, p place) {
		sink, err := actor.Open(p.ctx, p.all, Sum{})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for i := range 5_000 {
			if i == 2_500 {
				p.mid()
			}
			if err := sink.Send(p.ctx, i); err != nil {
				t.Fatal(err)
			}
			want += i
		}
		n, err := sink.CloseAndReceive(p.ctx)
		must(t, want, n, err)
	}},
	{"stream both ways", func(t *testing.T, p place) {
		talk, err := actor.Talk(p.ctx, p.all, Echo{})
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			for i := range 5_000 {
				if err := talk.Send(p.ctx, i); err != nil {
					sent <- err
					return
				}
			}
			sent <- talk.CloseSend(p.ctx)
		}()
		next := 0
		for v, err := range talk.Items() {
			if err != nil || v != next {
				t.Fatalf("item %d: %d, %v", next, v, err)
			}
			if next++; next == 1_000 {
				p.mid()
			}
		}
		must(t, 5_000, next, <-sent)
	}},
}

// TestPatterns tries every pattern within a node, over TCP and over NATS, and while each of the
// two roads is lost. Nothing is lost or done twice without an error that says so.
func TestPatterns(t *testing.T) {
	for _, column := range []struct {
		name  string
		roads roads
		local bool
		mid   func(w *world)
	}{
		{name: "local", roads: direct, local: true},
		{name: "TCP", roads: direct},
		{name: "NATS", roads: bus},
		{name: "TCP lost, NATS left", roads: direct | bus, mid: func(w *world) { w.proxy.cut() }},
		{name: "NATS lost, TCP left", roads: direct | bus, mid: func(w *world) { w.nats.Shutdown(); w.startNATS() }},
		{name: "TCP lost and back", roads: direct, mid: func(w *world) { w.proxy.cut() }},
	} {
		t.Run(column.name, func(t *testing.T) {
			began, canceled := make(chan struct{}, 100), make(chan struct{}, 100)
			kind := actor.Define("test.all", func() *all { return &all{began: began, canceled: canceled} },
				actor.Handle((*all).Inc), actor.Answer((*all).Got), actor.Answer((*all).Dbl), actor.Answer((*all).Later),
				actor.Answer((*all).Left), actor.Answer((*all).Block),
				actor.Handle((*all).News), actor.Answer((*all).Hear), actor.Answer((*all).Heard),
				actor.Produce((*all).Upto), actor.Collect((*all).Sum), actor.Converse((*all).Echo))
			queues := actor.QueueKind[Item]("test.items", queue.Config{})
			w := newWorld(t, column.roads, kind, queues)
			for name, k := range map[string]*actor.Kind{"all": kind, "items": queues} {
				if _, err := w.server.Spawn(name, k); err != nil {
					t.Fatal(err)
				}
			}
			sys := w.client
			if column.local {
				sys = w.server
			}
			for _, p := range patterns {
				t.Run(p.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("the pattern hangs"))
					defer cancel()
					mid := func() {}
					if column.mid != nil {
						mid = sync.OnceFunc(func() { column.mid(w) })
					}
					p.try(t, place{ctx, sys, sys.Ref("all@server"), sys.Ref("items@server"), mid, column.mid == nil, began, canceled})
				})
			}
		})
	}
}

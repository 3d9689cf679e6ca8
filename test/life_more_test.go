package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// self answers with the actor's name.
func self(ctx *actor.Context, _ *agent) (string, error) { return ctx.Self().Name(), nil }

// Several actors behind one address: pools, and topics.
var manyRows = []lifeRow{
	{name: "pool: round robin", try: func(s *site) {
		pool := s.actor("pool", s.silent(), actor.Pool(3, route.RoundRobin()))
		got := map[string]int{}
		for i := range 30 {
			if i == 15 {
				s.mid()
			}
			got[s.run(pool, self)]++
		}
		if want := "map[pool/1:10 pool/2:10 pool/3:10]"; fmt.Sprint(got) != want {
			s.Errorf("%v, want %s", got, want)
		}
	}},
	{name: "pool: by key", try: func(s *site) {
		pool := s.actor("pool", s.silent(), actor.Pool(3, route.ByKey(func(m Play) string { return m.Key })))
		got := map[string]string{}
		for i := range 60 {
			if i == 30 {
				s.mid()
			}
			key := fmt.Sprint("key", i%20)
			who, err := actor.Call(s.ctx, pool, Play{Script: written(self), Key: key})
			if before := got[key]; err != nil || before != "" && before != who {
				s.Errorf("%s: %s and %s, %v", key, before, who, err)
			}
			got[key] = who
		}
		workers := map[string]bool{}
		for _, who := range got {
			workers[who] = true
		}
		if len(workers) != 3 {
			s.Errorf("20 keys are at %v", workers)
		}
	}},
	{name: "pool: broadcast", try: func(s *site) {
		pool := s.actor("pool", s.silent(), actor.Pool(3, route.Broadcast()))
		for i := range 10 {
			if i == 5 {
				s.mid()
			}
			s.tell(pool, func(ctx *actor.Context, _ *agent) (string, error) {
				s.note("%d at %s", i, ctx.Self().Name())
				return "", nil
			})
		}
		var want []string
		for i := range 10 {
			for w := 1; w <= 3; w++ {
				want = append(want, fmt.Sprintf("%d at pool/%d", i, w))
			}
		}
		s.wantAll(want...)
		_, err := s.ask(pool, nothing).Await(s.ctx)
		s.refused("a request", err, rpc.Invalid)
	}},
	{name: "pool: first of two", try: func(s *site) {
		pool := s.actor("pool", s.silent(), actor.Pool(3, route.FirstOf(2)))
		leave := make(chan struct{})
		f := s.ask(pool, func(ctx *actor.Context, _ *agent) (string, error) {
			s.note("begins")
			select {
			case <-leave:
				return "done", nil
			case <-ctx.Done():
				s.note("cancelled")
				return "", ctx.Err()
			}
		})
		s.want("begins", "begins")
		s.mid()
		leave <- struct{}{}
		got, err := f.Await(s.ctx)
		must(s.T, "done", got, err)
		s.want("cancelled")
	}},
	{name: "pool: resized under load", try: func(s *site) {
		pool := s.actor("pool", s.silent(), actor.Pool(2, route.LeastBusy()))
		var load sync.WaitGroup
		ran := make(chan int, 1000)
		half := make(chan struct{}, 4)
		for range 4 {
			load.Go(func() {
				for i := range 100 {
					if _, err := actor.Call(s.ctx, pool, Play{Script: written(func(*actor.Context, *agent) (string, error) { ran <- i; return "", nil })}); err != nil {
						s.Error(err)
					}
					if i == 30 {
						half <- struct{}{}
					}
				}
			})
		}
		for _, n := range []int{5, 1, 3} {
			<-half
			must(s.T, 0, 0, s.there.Resize(s.ctx, s.there.Ref("pool"), n))
			st, err := s.there.PoolStats(s.there.Ref("pool"))
			must(s.T, n, len(st.Workers), err)
			s.mid()
		}
		load.Wait()
		must(s.T, 400, len(ran), nil)
	}},
	{name: "topic: publish", try: func(s *site) {
		e := newEars(s)
		e.subscribe("x", news)
		e.exactly("news.a", 20, "x")
		s.mid()
		e.exactly("news.a", 20, "x")
	}},
	{name: "topic: group", try: func(s *site) {
		e := newEars(s)
		for _, name := range []string{"g1", "g2", "g3"} {
			e.subscribe(name, news, topic.Group("g"))
		}
		e.subscribe("each", news)
		e.exactly("news.a", 20, "each", "g")
		s.mid()
		e.exactly("news.a", 20, "each", "g")
		if len(e.members) < 2 {
			s.Errorf("only %v of the group have got something", e.members)
		}
	}},
	{name: "topic: wildcard", try: func(s *site) {
		e := newEars(s)
		e.subscribe("star", news.At("news.*.eur"))
		e.subscribe("usd", news.At("news.fx.usd"))
		all := e.subscribe("all", news)
		s.run(all, func(ctx *actor.Context, _ *agent) (string, error) { return "", ctx.Subscribe(news.At("news.fx.*")) }) // it hears once all the same
		for range 2 {
			e.exactly("news.fx.eur", 5, "star", "all")
			e.exactly("news.fx.usd", 5, "usd", "all")
			e.exactly("news.other", 5, "all")
			s.mid()
		}
	}},
	{name: "topic: slow subscriber", try: func(s *site) {
		const room = 4
		slow := mailbox.Config{Capacity: room}
		e := newEars(s)
		e.subscribe("fast", news)
		e.exactly("news.a", 1, "fast")
		newest, oldest := e.subscribe("newest", news, slow), e.subscribe("oldest", news, topic.WhenFull(topic.DropOldest), slow)
		e.all = e.all[:1] // the others do not answer now
		leaves := []func(){s.hold(newest), s.hold(oldest)}
		lost, before := s.there.Stats().DeadLetters, len(e.heard["fast"])
		s.mid()
		e.exactly("news.b", 20, "fast") // nobody waits for those that are slow
		came := e.heard["fast"][before:]
		dead := func() int { return int(s.there.Stats().DeadLetters - lost) }
		waitFor(s.T, "the dead letters", func() bool { return dead() >= 2*(len(came)-room) })
		for _, leave := range leaves {
			leave()
		}
		var want []string
		for i := range room {
			want = append(want, fmt.Sprintf("newest hears %d", came[i]), fmt.Sprintf("oldest hears %d", came[len(came)-room+i]))
		}
		s.wantAll(want...)
		must(s.T, 2*(len(came)-room), dead(), nil)
	}},
}

// ears are the subscribers of a row, and what they have heard.
type ears struct {
	s       *site
	all     []actor.Ref
	n       int // the number of the latest message
	heard   map[string][]int
	members map[string]bool // of the group g, whose names begin with g, that have heard something
}

func newEars(s *site) *ears {
	return &ears{s: s, heard: map[string][]int{}, members: map[string]bool{}}
}

// subscribe spawns an actor there that subscribes to a topic, with options of the subscription and of the
// mailbox.
func (e *ears) subscribe(name string, t actor.Topic[News], opts ...any) actor.Ref {
	e.s.Helper()
	var spawning []actor.SpawnOption
	var subscribing []topic.Option
	for _, o := range opts {
		switch o := o.(type) {
		case mailbox.Config:
			spawning = append(spawning, actor.Mailbox(o))
		case topic.Option:
			subscribing = append(subscribing, o)
		}
	}
	x := e.s.actor(name, e.s.silent(), spawning...)
	e.s.run(x, func(ctx *actor.Context, _ *agent) (string, error) { return "", ctx.Subscribe(t, subscribing...) })
	e.all = append(e.all, x)
	return x
}

// hears takes in one note. What one subscriber hears is in order, and nothing comes twice.
func (e *ears) hears(line string) {
	e.s.Helper()
	var name string
	var n int
	if _, err := fmt.Sscanf(line, "%s hears %d", &name, &n); err != nil {
		e.s.Fatalf("%q is noted", line)
	}
	if strings.HasPrefix(name, "g") {
		e.members[name] = true
		name = "g"
	} else if ns := e.heard[name]; len(ns) > 0 && n <= ns[len(ns)-1] {
		e.s.Fatalf("%s hears %d after %v", name, n, ns)
	}
	if slices.Contains(e.heard[name], n) {
		e.s.Fatalf("%s hears %d twice", name, n)
	}
	e.heard[name] = append(e.heard[name], n)
}

// settle takes in what is noted until all subscribers have handled what they have.
func (e *ears) settle() {
	e.s.Helper()
	for _, x := range e.all {
		e.s.run(x, nothing)
	}
	for len(e.s.notes) > 0 {
		e.hears(e.s.next())
	}
}

// since is what one has heard of the messages from first on. A member of a group may hear an earlier
// message after another member has heard a later one.
func (e *ears) since(name string, first int) []int {
	return slices.DeleteFunc(slices.Clone(e.heard[name]), func(n int) bool { return n < first })
}

// exactly publishes from here until the road leads to all of those that are to hear it. Then it publishes so
// many messages, of which each of them has to hear each, and nobody else any.
func (e *ears) exactly(name string, count int, who ...string) {
	s := e.s
	s.Helper()
	at := news.At(name).Bind(s.here)
	first := e.n + 1
	for known := false; !known; {
		e.n++
		_ = actor.Publish(s.ctx, at, News{e.n})
		e.settle()
		if s.column.fake { // otherwise no time would pass
			time.Sleep(time.Millisecond)
		}
		known = true
		for _, w := range who {
			known = known && len(e.since(w, first)) > 0
		}
	}
	first = e.n + 1
	var want []int
	for range count {
		e.n++
		want = append(want, e.n)
		if err := actor.Publish(s.ctx, at, News{e.n}); err != nil {
			s.Fatal(err)
		}
	}
	for _, w := range who {
		for len(e.since(w, first)) < count {
			e.hears(s.next())
		}
	}
	e.settle()
	for listener := range e.heard {
		got := slices.Sorted(slices.Values(e.since(listener, first)))
		if should := slices.Contains(who, listener); should && !slices.Equal(got, want) || !should && len(got) > 0 {
			s.Fatalf("of %v on %s, %s has heard %v", want, name, listener, got)
		}
	}
}

// What is around the messages of an actor.
var aroundRows = []lifeRow{
	{name: "interceptor refuses", try: func(s *site) {
		refuse := func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
			if m, ok := op.Message().(Play); ok && m.Key == "no" {
				return errors.New("refused on purpose")
			}
			if _, ok := op.Message().(Cue); ok {
				return nil // without next
			}
			return next(ctx)
		}
		x := s.actor("x", s.silent(actor.Incoming(refuse)))
		letters := s.there.DeadLetters(s.ctx)
		for i := range 2 {
			_, err := actor.Call(s.ctx, x, Play{Script: written(nothing), Key: "no"})
			s.refused("a request", err, rpc.Denied)
			s.tell(x, nothing)
			if l := <-letters; rpc.Ran(l.Reason) != rpc.NotRun || l.To != "x@"+s.there.Name() {
				s.Errorf("a one-way message: %+v", l)
			}
			must(s.T, fmt.Sprint(i+1), s.run(x, count), nil) // what was refused was not handled
			s.mid()
		}
	}},
	{name: "interceptor adds a header", try: func(s *site) {
		var add intercept.Func = func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
			op.SetHeader("who", "it was me")
			return next(ctx)
		}
		x := s.actor("x", s.silent())
		read := func(ctx *actor.Context, _ *agent) (string, error) { return ctx.Header("who"), nil }
		must(s.T, "", s.run(x, read), nil)
		s.outgoing.Store(&add)
		for range 2 {
			must(s.T, "it was me", s.run(x, read), nil)
			s.tell(x, func(ctx *actor.Context, _ *agent) (string, error) { s.note("%s", ctx.Header("who")); return "", nil })
			s.want("it was me")
			s.mid()
		}
	}},
	{name: "interceptor sees a replay", try: func(s *site) {
		var last intercept.Operation
		var see intercept.Func = func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
			err := next(ctx)
			last = *op
			return err
		}
		x := s.actor("x", s.silent())
		s.outgoing.Store(&see)
		count := written(count)
		for i := range 3 {
			got, err := actor.Call(s.ctx, x, Play{Script: count}, rpc.Key("k"))
			must(s.T, "1", got, err)
			if last.Replayed != (i > 0) || last.Verdict != rpc.HasRun || last.Side != intercept.Outgoing {
				s.Errorf("call %d: replayed %v, %v", i, last.Replayed, last.Verdict)
			}
			s.mid()
		}
	}},
	{name: "inspection, also of a blocked actor", try: func(s *site) {
		x := s.actor("x", s.silent())
		s.actor("y", s.silent())
		s.watched(s.watcher(), x)
		leave := s.hold(x)
		for range 3 {
			s.tell(x, nothing)
		}
		for range 2 {
			a, err := s.here.Inspect(s.ctx, x)
			if err != nil || a.Running != "test.Play" || a.Waiting != 3 || a.Watchers != 1 || a.Stage != inspect.Working || a.Kind != "test.agent" || a.Node != s.there.Name() {
				s.Errorf("%+v, %v", a, err)
			}
			var listed []string
			for a, err := range s.here.ActorsOf(s.ctx, s.there.Name(), inspect.Filter{Kind: "test.agent"}) {
				if err != nil {
					s.Fatal(err)
				}
				if a.Name != "door" && a.Name != "watcher" {
					listed = append(listed, a.Name)
				}
			}
			must(s.T, "[x y]", fmt.Sprint(listed), nil)
			_, err = s.here.Inspect(s.ctx, s.ref("nobody"))
			s.refused("nobody", err, rpc.NotFound)
			s.mid()
		}
		leave()
		s.seen(x, "nothing that runs", func(a inspect.Actor) bool { return a.Running == "" && a.Waiting == 0 })
	}},
	{name: "dead letter, sent again once", try: func(s *site) {
		x := s.actor("x", s.silent())
		var ids []string
		for i := range 20 {
			script := written(func(*actor.Context, *agent) (string, error) { s.note("letter %d", i); return "", nil })
			if err := actor.Tell(s.ctx, s.here.Ref("nobody"), Cue{Script: script}); err != nil {
				s.Fatal(err)
			}
		}
		waitFor(s.T, "the letters", func() bool { return s.here.Stats().LettersKept == 20 })
		for _, l := range s.here.KeptLetters(deadletter.Filter{}) {
			ids = append(ids, l.ID)
		}
		var sent atomic.Int64
		var owned sync.WaitGroup
		for i, id := range ids {
			if i == len(ids)/2 {
				s.mid()
			}
			for range 2 { // at the same time
				owned.Go(func() {
					for {
						switch err := s.here.ResendLetter(s.ctx, id, x); {
						case err == nil:
							sent.Add(1)
							return
						case errors.Is(err, deadletter.ErrGone):
							return
						case s.ctx.Err() != nil:
							s.Error(err)
							return
						}
						time.Sleep(time.Millisecond) // before the next attempt
					}
				})
			}
		}
		owned.Wait()
		must(s.T, int64(len(ids)), sent.Load(), nil)
		var want []string
		for i := range ids {
			want = append(want, fmt.Sprint("letter ", i))
		}
		s.wantAll(want...)
		s.quiet(x)
		must(s.T, 0, s.here.Stats().LettersKept, nil)
	}},
}

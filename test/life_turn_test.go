package test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// become has an actor put a behaviour on top.
func (s *site) become(x actor.Ref, behaviour string) {
	s.Helper()
	s.run(x, func(ctx *actor.Context, _ *agent) (string, error) { return "", ctx.Become(behaviour) })
	s.seen(x, "the behaviour", func(a inspect.Actor) bool { return a.Behaviour == behaviour })
}

// acts checks as what an actor handles a Play and a Cue.
func (s *site) acts(x actor.Ref, play, cue string) {
	s.Helper()
	must(s.T, play, s.run(x, func(_ *actor.Context, a *agent) (string, error) { return a.as, nil }), nil)
	s.tell(x, func(_ *actor.Context, a *agent) (string, error) { s.note("a cue, as %q", a.as); return "", nil })
	s.want(fmt.Sprintf("a cue, as %q", cue))
}

// pass notes and answers with a line, but an actor that is shut puts it aside.
func (s *site) pass(line string) script {
	return func(ctx *actor.Context, a *agent) (string, error) {
		if a.as == "shut" {
			return "", ctx.Stash()
		}
		s.note("%s", line)
		return line, nil
	}
}

// aside has an actor put lines aside: the odd ones as requests, which are returned, and the even ones as
// one-way messages.
func (s *site) aside(x actor.Ref, lines ...int) (asked []*rpc.Future[string]) {
	s.Helper()
	for i, n := range lines {
		if n%2 == 1 {
			asked = append(asked, s.ask(x, s.pass(fmt.Sprint(n))))
		} else {
			s.tell(x, s.pass(fmt.Sprint(n)))
		}
		s.seen(x, "what is put aside", func(a inspect.Actor) bool { return a.Stashed == i+1 })
	}
	return asked
}

// What decides how an actor handles its messages, and in which order.
var turnRows = []lifeRow{
	{name: "behaviours", try: func(s *site) {
		x := s.actor("x", s.changing(&role{silent: true}))
		s.acts(x, "", "")
		s.become(x, "shut")
		s.acts(x, "shut", "shut")
		s.become(x, "deaf")
		s.acts(x, "", "deaf") // what it does not handle goes to the kind's own handler, not to the behaviour below
		s.run(x, func(ctx *actor.Context, _ *agent) (string, error) {
			if err := ctx.Become("nothing"); !errors.Is(err, actor.ErrNoBehaviour) {
				s.Errorf("a behaviour that the kind does not have: %v", err)
			}
			return "", nil
		})
		s.mid()
		unbecome := func(ctx *actor.Context, _ *agent) (string, error) { return fmt.Sprint(ctx.Unbecome()), nil }
		must(s.T, "true", s.run(x, unbecome), nil)
		s.acts(x, "shut", "shut")
		must(s.T, "true", s.run(x, unbecome), nil)
		s.acts(x, "", "")
		must(s.T, "false", s.run(x, unbecome), nil)
	}},
	{name: "behaviours: a restart", try: func(s *site) {
		x := s.actor("x", s.changing(&role{silent: true}))
		s.become(x, "deaf")
		s.become(x, "shut")
		panics := s.crashes(x)
		after := s.ask(x, func(ctx *actor.Context, a *agent) (string, error) { return fmt.Sprint(a.as, ctx.Unbecome()), nil })
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 1 })
		s.mid()
		panics()
		got, err := after.Await(s.ctx)
		must(s.T, "false", got, err)
		s.acts(x, "", "")
		s.seen(x, "no behaviour", func(a inspect.Actor) bool { return a.Behaviour == "" && a.Restarts == 1 })
	}},
	{name: "stash", try: func(s *site) {
		x := s.actor("x", s.changing(&role{silent: true}))
		s.become(x, "shut")
		asked := s.aside(x, 1, 2, 3)
		opened, open := s.begin(x, func(ctx *actor.Context, _ *agent) (string, error) {
			ctx.Unbecome()
			return fmt.Sprint(ctx.Unstash()), nil
		})
		s.tell(x, s.pass("4"))
		asked = append(asked, s.ask(x, s.pass("5")))
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 2 && a.Stashed == 3 })
		s.mid()
		open()
		got, err := opened.Await(s.ctx)
		must(s.T, "3", got, err)
		s.want("1", "2", "3", "4", "5")
		for i, f := range asked {
			got, err := f.Await(s.ctx)
			must(s.T, fmt.Sprint(2*i+1), got, err)
		}
		s.quiet(x)
	}},
	{name: "stash: a restart", try: func(s *site) {
		x := s.actor("x", s.changing(&role{silent: true}))
		s.become(x, "shut")
		asked := s.aside(x, 1, 2)
		panics := s.crashes(x)
		asked = append(asked, s.ask(x, s.pass("3")))
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 1 })
		s.mid()
		panics()
		s.want("1", "2", "3")
		for i, f := range asked {
			got, err := f.Await(s.ctx)
			must(s.T, fmt.Sprint(2*i+1), got, err)
		}
		s.seen(x, "an empty stash", func(a inspect.Actor) bool { return a.Stashed == 0 && a.Restarts == 1 })
		s.quiet(x)
	}},
	{name: "stash: a stop", try: func(s *site) {
		x := s.actor("x", s.changing(new(role)))
		s.want("x starts")
		s.become(x, "shut")
		asked := s.aside(x, 1, 2, 3)
		letters := s.there.DeadLetters(s.ctx)
		s.mid()
		must(s.T, 0, 0, s.here.Stop(s.ctx, x))
		for _, f := range asked {
			_, err := f.Await(s.ctx)
			s.refused("a request that was put aside", err, rpc.Unavailable)
		}
		if l := <-letters; l.To != "x@"+s.there.Name() || rpc.Ran(l.Reason) != rpc.NotRun {
			s.Errorf("the message that was put aside: %+v", l)
		}
		s.want("x stops: asked to")
	}},
	{name: "mailbox: classes", try: func(s *site) {
		const overtake = 3
		hears := func(_ *actor.Context, m News) error { s.note("low %d", m.N); return nil }
		x := s.actor("x", s.kind(&role{silent: true, hears: hears}, actor.PriorityOf[Play](mailbox.Urgent), actor.PriorityOf[News](mailbox.Low)),
			actor.Mailbox(mailbox.Config{Overtake: overtake}))
		leave := s.hold(x)
		waiting := 0
		arrived := func() {
			waiting++
			s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == waiting })
		}
		for i := range 2 {
			must(s.T, 0, 0, actor.Tell(s.ctx, x, News{i}))
			arrived()
		}
		s.tell(x, func(*actor.Context, *agent) (string, error) { s.note("normal"); return "", nil })
		arrived()
		var urgent []*rpc.Future[string]
		for i := range 6 {
			urgent = append(urgent, s.ask(x, func(*actor.Context, *agent) (string, error) { s.note("urgent %d", i); return "", nil }))
			arrived()
		}
		s.mid()
		leave()
		// After three that are more urgent it is the turn of the lowest class, and then of the normal one.
		s.want("urgent 0", "urgent 1", "urgent 2", "low 0", "normal", "urgent 3", "urgent 4", "low 1", "urgent 5")
		for _, f := range urgent {
			_, err := f.Await(s.ctx)
			must(s.T, 0, 0, err)
		}
		s.quiet(x)
	}},
	{name: "mailbox: fair", try: func(s *site) {
		x := s.actor("x", s.silent(), actor.Mailbox(mailbox.Config{Fair: true}))
		other := s.actor("other", s.silent())
		says := func(line string) Cue {
			return Cue{Script: written(func(*actor.Context, *agent) (string, error) { s.note("%s", line); return "", nil })}
		}
		const flood, few = 50, 3
		leave := s.hold(x)
		for i := range flood {
			must(s.T, 0, 0, actor.Tell(s.ctx, x, says(fmt.Sprint("flood ", i))))
		}
		s.seen(x, "the flood", func(a inspect.Actor) bool { return a.Waiting == flood })
		s.run(other, func(ctx *actor.Context, _ *agent) (string, error) {
			at := ctx.System().Ref("x")
			for i := range few {
				if err := actor.Tell(ctx, at, says(fmt.Sprint("other ", i))); err != nil {
					return "", err
				}
			}
			return "", nil
		})
		s.seen(x, "all that waits", func(a inspect.Actor) bool { return a.Waiting == flood+few })
		s.mid()
		leave()
		for i := range flood {
			s.want(fmt.Sprint("flood ", i))
			if i < few {
				s.want(fmt.Sprint("other ", i))
			}
		}
		s.quiet(x)
	}},
}

// kept is a durable topic.
var kept = actor.NewTopic[News]("kept.>").Durable()

// What is kept until an actor has handled it.
var keptRows = []lifeRow{
	{name: "reliable messages", try: func(s *site) {
		kind := s.silent()
		x := s.actor("x", kind)
		last := 0
		send := func(count int) {
			s.Helper()
			for range count {
				last++
				line := fmt.Sprint(last)
				m := Cue{Script: written(func(*actor.Context, *agent) (string, error) { s.note("%s", line); return "", nil })}
				must(s.T, 0, 0, actor.TellReliably(s.ctx, x, m))
			}
		}
		send(5)
		s.want("1", "2", "3", "4", "5")
		leave := s.hold(x)
		send(5)
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting > 0 })
		stopped := make(chan error, 1)
		go func() { stopped <- s.here.StopNow(s.ctx, x) }()
		s.seen(x, "the stop", func(a inspect.Actor) bool { return a.Stage == inspect.Ending })
		s.mid()
		leave()
		must(s.T, 0, 0, <-stopped)
		send(5)
		if s.column.fake { // so that it is tried in vain, too
			time.Sleep(time.Minute)
		}
		s.actor("x", kind)
		send(5)
		for i := 6; i <= last; i++ {
			s.want(fmt.Sprint(i))
		}
		s.quiet(x)
		waitFor(s.T, "an empty outbox", func() bool {
			st := s.here.Stats().Outbox
			return st.Waiting == 0 && st.Handled == uint64(last) && st.GivenUp == 0
		})
	}},
	{name: "durable topic", topics: true, try: func(s *site) {
		tries := map[int]int{}
		hears := func(ctx *actor.Context, m News) error {
			tries[m.N]++
			s.note("%d, try %d", m.N, tries[m.N])
			// What was given back when an actor ended counts as an attempt that its handler did not see.
			if d, _ := ctx.Delivery(); d.Attempt < tries[m.N] || m.N < 6 && d.Attempt > tries[m.N] {
				s.Errorf("%d, try %d: it is attempt %d", m.N, tries[m.N], d.Attempt)
			}
			if m.N%4 == 2 && tries[m.N] == 1 {
				return errors.New("on purpose")
			}
			return nil
		}
		kind := s.kind(&role{silent: true, hears: hears, started: func(ctx *actor.Context) error {
			return ctx.Subscribe(kept, topic.Named("x"), topic.FromStart())
		}})
		publish := func(numbers ...int) {
			s.Helper()
			for _, n := range numbers {
				must(s.T, 0, 0, actor.Publish(s.ctx, kept.At("kept.a").Bind(s.here), News{n}))
			}
		}
		publish(1, 2, 3) // to nobody yet
		x := s.actor("x", kind)
		s.want("1, try 1", "2, try 1", "2, try 2", "3, try 1")
		s.mid()
		publish(4, 5)
		s.want("4, try 1", "5, try 1")
		must(s.T, 0, 0, s.here.Stop(s.ctx, x))
		publish(6, 7)
		s.actor("x", kind) // it goes on where the one before has ended
		s.want("6, try 1", "6, try 2", "7, try 1")
		s.quiet(x)
	}},
}

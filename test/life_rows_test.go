package test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
)

func lifeRows() []lifeRow {
	return slices.Concat(endRows, failureRows, timeRows, manyRows, aroundRows, turnRows, keptRows)
}

// What ends an actor, and who learns of it.
var endRows = []lifeRow{
	{name: "stop, behind what waits", try: func(s *site) {
		x := s.actor("x", s.kind(new(role)))
		s.want("x starts")
		leave := s.hold(x)
		var waiting []*rpc.Future[string]
		for i := range 3 {
			waiting = append(waiting, s.ask(x, func(*actor.Context, *agent) (string, error) { s.note("runs"); return fmt.Sprint(i), nil }))
		}
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 3 })
		stopped := make(chan error, 1)
		go func() { stopped <- s.here.Stop(s.ctx, x) }()
		s.seen(x, "the stop", func(a inspect.Actor) bool { return a.Stage == inspect.Closing })
		_, err := s.ask(x, nothing).Await(s.ctx)
		s.refused("a request after that", err, rpc.NotFound)
		s.mid()
		leave()
		for i, f := range waiting {
			got, err := f.Await(s.ctx)
			must(s.T, fmt.Sprint(i), got, err)
		}
		must(s.T, 0, 0, <-stopped)
		s.want("runs", "runs", "runs", "x stops: asked to")
		s.actor("x", s.silent()) // the name is free
		must(s.T, 0, 0, s.here.Stop(s.ctx, s.ref("nobody")))
	}},
	{name: "stop at once", try: func(s *site) {
		x := s.actor("x", s.kind(new(role)))
		s.want("x starts")
		leave := s.hold(x)
		var waiting []*rpc.Future[string]
		for range 3 {
			waiting = append(waiting, s.ask(x, func(*actor.Context, *agent) (string, error) { s.note("runs"); return "", nil }))
		}
		s.tell(x, nothing)
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 4 })
		letters := s.there.DeadLetters(s.ctx)
		stopped := make(chan error, 1)
		go func() { stopped <- s.here.StopNow(s.ctx, x) }()
		s.seen(x, "the stop", func(a inspect.Actor) bool { return a.Stage == inspect.Ending })
		s.mid()
		leave()
		for _, f := range waiting {
			_, err := f.Await(s.ctx)
			s.refused("a request that waited", err, rpc.Unavailable)
		}
		must(s.T, 0, 0, <-stopped)
		s.want("x stops: asked to")
		if l := <-letters; l.To != "x@"+s.there.Name() {
			s.Errorf("the message that waited: %+v", l)
		}
	}},
	{name: "stop: its children first", try: func(s *site) {
		grandchild := s.kind(new(role))
		child := s.kind(&role{started: func(ctx *actor.Context) error { _, err := ctx.Spawn("c", grandchild); return err }})
		parent := s.kind(new(role))
		for range 2 { // the second time, the names are free again
			x := s.actor("a", parent)
			s.run(x, func(ctx *actor.Context, _ *agent) (string, error) { _, err := ctx.Spawn("b", child); return "", err })
			s.wantAll("a starts", "a/b starts", "a/b/c starts")
			s.watched(s.watcher(), x)
			leave := s.hold(s.ref("a/b/c"))
			stopped := make(chan error, 1)
			go func() { stopped <- s.here.StopNow(s.ctx, x) }()
			s.seen(s.ref("a/b"), "the stop", func(a inspect.Actor) bool { return a.Stage == inspect.Ending })
			if _, err := s.there.Spawn("a", parent); !errors.Is(err, actor.ErrNameTaken) {
				s.Errorf("while it waits for its children: %v", err)
			}
			s.mid()
			leave()
			must(s.T, 0, 0, <-stopped)
			s.want("a/b/c stops: parent", "a/b stops: parent", "a stops: asked to", "a has ended: asked to")
			must(s.T, 0, 0, s.here.StopNow(s.ctx, s.here.Ref("watcher")))
		}
	}},
	{name: "GetOrSpawn by eight at once", try: func(s *site) {
		kind, other := s.kind(new(role)), actor.Define("test.other", func() int { return 0 })
		gate := make(chan struct{})
		var all []*rpc.Future[string]
		began := make(chan struct{}, 8)
		for i := range 8 {
			by := s.actor(fmt.Sprint("by", i), s.silent())
			all = append(all, s.ask(by, func(ctx *actor.Context, _ *agent) (string, error) {
				began <- struct{}{}
				<-gate
				r, err := ctx.System().GetOrSpawn("x", kind)
				return r.String(), err
			}))
		}
		for range all {
			<-began
		}
		s.mid()
		close(gate)
		for _, f := range all {
			got, err := f.Await(s.ctx)
			must(s.T, "x@"+s.there.Name(), got, err)
		}
		s.want("x starts")
		s.quiet(s.ref("x"))
		if _, err := s.there.GetOrSpawn("x", other); !errors.Is(err, actor.ErrOtherKind) {
			s.Errorf("of another kind: %v", err)
		}
	}},
	{name: "watch: it ends", try: func(s *site) {
		by := s.watcher()
		x, y, z := s.actor("x", s.silent()), s.actor("y", s.silent(actor.Supervise(actor.Strategy{Max: -1}))), s.actor("z", s.silent())
		for _, r := range []actor.Ref{x, y, z, x} {
			s.watched(by, r)
		}
		s.run(by, func(ctx *actor.Context, _ *agent) (string, error) { ctx.Unwatch(z); return "", nil })
		s.mid()
		must(s.T, 0, 0, s.here.StopNow(s.ctx, x))
		s.want("x has ended: asked to")
		s.tell(y, crash)
		s.want("y has ended: " + rpc.Panicked.String())
		must(s.T, 0, 0, s.here.StopNow(s.ctx, z))
		s.quiet(by)
	}},
	{name: "watch: it never existed", try: func(s *site) {
		by := s.watcher()
		watch := func(name string) {
			s.run(by, func(ctx *actor.Context, _ *agent) (string, error) { return "", ctx.Watch(s.ref(name)) })
			s.want(name + " has ended: " + rpc.NotFound.String())
		}
		watch("x")
		s.mid()
		watch("x")
		watch("y")
		s.quiet(by)
	}},
	{name: "watch: its node leaves", guest: true, try: func(s *site) {
		by := s.watcher()
		x := s.guest()
		s.watched(by, x)
		s.mid()
		report := s.reports(by)
		s.run(s.here.Ref("door@n2"), func(ctx *actor.Context, _ *agent) (string, error) { return "", report(ctx, "there and back") })
		s.want("there and back") // on the road that is left
		must(s.T, 0, 0, s.nodes.leave())
		s.want("x has ended: shutdown")
		s.quiet(by)
	}},
	{name: "watch: its node's epoch is gone", guest: true, try: func(s *site) {
		by := s.watcher()
		x := s.guest()
		s.watched(by, x)
		s.mid()
		s.nodes.kill()
		s.nodes.again()
		s.want("x has ended: " + rpc.Unavailable.String())
		s.spawn(s.nodes.system(nodeGuest), "x", s.silent()) // another one of that name
		s.quiet(by)
	}},
}

// guest spawns an actor x on the node that can be lost.
func (s *site) guest() actor.Ref {
	if s.column.local {
		s.skip("who watches would go with the node")
	}
	sys := s.nodes.system(nodeGuest)
	s.spawn(sys, "x", s.silent())
	return s.here.Ref("x@" + sys.Name())
}

func nothing(*actor.Context, *agent) (string, error) { return "", nil }
func crash(*actor.Context, *agent) (string, error)   { panic("on purpose") }
func count(_ *actor.Context, a *agent) (string, error) {
	return fmt.Sprint(a.n), nil
}

// crashes has an actor begin to handle a request that panics when the returned function is called.
func (s *site) crashes(x actor.Ref) (panics func()) {
	f, open := s.begin(x, crash)
	return func() {
		open()
		if _, err := f.Await(s.ctx); rpc.CodeOf(err) != rpc.Panicked || rpc.Ran(err) != rpc.HasRun {
			s.Errorf("the request that panicked: %v, %v", err, rpc.Ran(err))
		}
	}
}

// What becomes of an actor that fails.
var failureRows = []lifeRow{
	{name: "a child escalates", try: func(s *site) {
		kid := s.kind(new(role), actor.Supervise(actor.Strategy{Decide: func(supervise.Failure) supervise.Directive { return supervise.Escalate }}))
		x := s.actor("x", s.kind(&role{started: func(ctx *actor.Context) error { _, err := ctx.Spawn("kid", kid); return err }}))
		s.wantAll("x starts", "x/kid starts")
		s.watched(s.watcher(), x)
		panics := s.crashes(s.ref("x/kid"))
		s.mid()
		panics()
		s.want("x/kid stops: "+rpc.Panicked.String(), "x restarts: "+rpc.Panicked.String())
		s.wantAll("x starts", "x/kid starts")
		must(s.T, "1", s.run(s.ref("x/kid"), count), nil)
		s.quiet(x) // a restart is no end
	}},
	{name: "supervision: restart", try: func(s *site) {
		x := s.actor("x", s.kind(new(role)))
		panics := s.crashes(x)
		after := s.ask(x, count)
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 1 })
		s.mid()
		panics()
		got, err := after.Await(s.ctx)
		must(s.T, "1", got, err)
		s.want("x starts", "x restarts: "+rpc.Panicked.String(), "x starts")
		s.seen(x, "the restart", func(a inspect.Actor) bool { return a.Restarts == 1 && a.Failed == 1 })
	}},
	{name: "supervision: back-off", try: func(s *site) {
		// The wait is a random part of these, so a restart that does not wait would be seen.
		x := s.actor("x", s.kind(new(role), actor.Supervise(actor.Strategy{Backoff: time.Millisecond, MaxBackoff: time.Millisecond})))
		y := s.actor("y", s.silent(actor.Supervise(actor.Strategy{Backoff: 10_000 * time.Hour, MaxBackoff: 10_000 * time.Hour})))
		for range 2 {
			s.crashes(x)()
		}
		got, err := s.ask(x, count).Await(s.ctx) // it waits until x is back
		must(s.T, "1", got, err)
		restarts := "x restarts: " + rpc.Panicked.String()
		s.want("x starts", restarts, "x starts", restarts, "x starts")
		for range 2 {
			s.crashes(y)()
		}
		s.seen(y, "the back-off", func(a inspect.Actor) bool { return a.Stage == inspect.Suspended })
		waits := s.ask(y, nothing)
		s.seen(y, "what waits", func(a inspect.Actor) bool { return a.Stage == inspect.Suspended && a.Waiting == 1 })
		s.mid()
		must(s.T, 0, 0, s.here.StopNow(s.ctx, y))
		_, err = waits.Await(s.ctx)
		s.refused("what waited", err, rpc.Unavailable)
	}},
	{name: "supervision: stop after too many", try: func(s *site) {
		x := s.actor("x", s.kind(new(role), actor.Supervise(actor.Strategy{Max: 1})))
		s.watched(s.watcher(), x)
		events, letters := s.there.Events(s.ctx, actor.ActorStopped), s.there.DeadLetters(s.ctx)
		s.crashes(x)()
		s.want("x starts", "x restarts: "+rpc.Panicked.String(), "x starts")
		panics := s.crashes(x)
		waits := s.ask(x, nothing)
		s.tell(x, nothing)
		s.seen(x, "what waits", func(a inspect.Actor) bool { return a.Waiting == 2 })
		s.mid()
		panics()
		_, err := waits.Await(s.ctx)
		s.refused("what waited", err, rpc.Unavailable)
		if l := <-letters; l.To != "x@"+s.there.Name() {
			s.Errorf("what waited: %+v", l)
		}
		if e := <-events; rpc.CodeOf(e.Err) != rpc.Panicked || e.Actor != "x@"+s.there.Name() {
			s.Errorf("the event: %+v", e)
		}
		s.wantAll("x stops: "+rpc.Panicked.String(), "x has ended: "+rpc.Panicked.String())
	}},
}

// reports has an actor of there say something at an actor of here.
func (s *site) reports(listener actor.Ref) func(ctx *actor.Context, line string) error {
	return func(ctx *actor.Context, line string) error {
		at := ctx.System().Ref(listener.String())
		_, err := actor.Call(ctx, at, Play{Script: written(func(*actor.Context, *agent) (string, error) { s.note("%s", line); return "", nil })})
		if err != nil {
			s.note("%s, but: %v", line, err)
		}
		return err
	}
}

const aCronIsSlow = "the times of a cron expression are a minute apart; those columns in which time is fake wait for them"

// Timers, whose messages are reported from there to here.
var timeRows = []lifeRow{
	{name: "timer: after", try: func(s *site) {
		x, report := s.actor("x", s.silent()), s.reports(s.watcher())
		for _, line := range []string{"one", "two"} {
			tick := written(func(ctx *actor.Context, _ *agent) (string, error) { return "", report(ctx, line) })
			s.run(x, func(ctx *actor.Context, _ *agent) (string, error) {
				_, err := actor.After(ctx, time.Millisecond, Cue{Script: tick})
				return "", err
			})
			s.mid()
			s.want(line)
		}
		s.run(x, func(ctx *actor.Context, _ *agent) (string, error) {
			for _, d := range []time.Duration{0, -1} {
				if _, err := actor.After(ctx, d, Cue{}); rpc.CodeOf(err) != rpc.Invalid {
					s.Errorf("after %v: %v", d, err)
				}
			}
			return "", nil
		})
		s.quiet(x)
	}},
	{name: "timer: every", try: func(s *site) {
		x, report := s.actor("x", s.silent()), s.reports(s.watcher())
		var timer actor.Timer
		gate := make(chan struct{})
		var begun []time.Time
		tick := written(func(ctx *actor.Context, _ *agent) (string, error) {
			if begun = append(begun, time.Now()); len(begun) == 3 {
				s.note("holds")
				<-gate
			}
			return "", report(ctx, fmt.Sprint(len(begun)))
		})
		s.run(x, func(ctx *actor.Context, _ *agent) (_ string, err error) {
			timer, err = actor.Every(ctx, time.Millisecond, Cue{Script: tick})
			return "", err
		})
		s.want("1", "2", "holds")
		s.mid()
		if s.column.fake {
			time.Sleep(100 * time.Millisecond)
		}
		close(gate)
		s.want("3", "4", "5", "6")
		s.run(x, func(*actor.Context, *agent) (string, error) { timer.Cancel(); s.note("cancelled"); return "", nil })
		for s.next() != "cancelled" {
		}
		if s.column.fake && (!begun[4].After(begun[3]) || !begun[5].After(begun[4])) { // of those that came due meanwhile, one waited
			s.Errorf("they come at %v", begun)
		}
		s.quiet(x)
	}},
	{name: "timer: cron", try: func(s *site) {
		if !s.column.fake {
			s.skip(aCronIsSlow)
		}
		x, report := s.actor("x", s.silent()), s.reports(s.watcher())
		var timer actor.Timer
		tick := written(func(ctx *actor.Context, _ *agent) (string, error) { return "", report(ctx, "tick") })
		s.run(x, func(ctx *actor.Context, _ *agent) (_ string, err error) {
			for expression, zone := range map[string]string{"* * * *": "", "61 * * * *": "UTC", "0 0 * * *": "Nowhere/Town", "0 0 30 2 *": ""} {
				if _, err := actor.Cron(ctx, expression, zone, Cue{}); rpc.CodeOf(err) != rpc.Invalid {
					s.Errorf("%q in %q: %v", expression, zone, err)
				}
			}
			timer, err = actor.Cron(ctx, "10,45 * * * *", "Asia/Kolkata", Cue{Script: tick}) // 5:30 h before UTC
			return "", err
		})
		for i := range 3 {
			s.want("tick")
			if at := time.Now().UTC(); at.Minute() != 40 && at.Minute() != 15 {
				s.Errorf("it comes at %v", at)
			}
			if i == 0 {
				s.mid()
			}
		}
		s.run(x, func(*actor.Context, *agent) (string, error) { timer.Cancel(); return "", nil })
		s.quiet(x)
	}},
	{name: "timer: cancelled", try: func(s *site) {
		x := s.actor("x", s.silent())
		s.run(x, func(ctx *actor.Context, _ *agent) (string, error) {
			timer, err := actor.After(ctx, time.Hour, Cue{})
			if first, second := timer.Cancel(), timer.Cancel(); !first || second {
				s.Errorf("cancelled: %v, and then %v", first, second)
			}
			return "", err
		})
		// One whose message waits already, which the message of a later timer of another actor proves.
		y := s.actor("y", s.silent())
		due := make(chan struct{})
		tick := written(func(*actor.Context, *agent) (string, error) { s.note("a tick that was cancelled"); return "", nil })
		later := written(func(*actor.Context, *agent) (string, error) { close(due); return "", nil })
		gate := make(chan struct{})
		set := make(chan struct{})
		f := s.ask(x, func(ctx *actor.Context, _ *agent) (string, error) {
			timer, err := actor.After(ctx, time.Microsecond, Cue{Script: tick})
			close(set)
			<-gate
			return fmt.Sprint(timer.Cancel()), err
		})
		s.await(set, "the timer")
		s.run(y, func(ctx *actor.Context, _ *agent) (string, error) {
			_, err := actor.After(ctx, 5*time.Millisecond, Cue{Script: later})
			return "", err
		})
		s.mid()
		s.await(due, "the later timer")
		close(gate)
		got, err := f.Await(s.ctx)
		must(s.T, "true", got, err)
		s.quiet(x)
	}},
	{name: "timer: its actor is restarted", try: func(s *site) {
		var first actor.Timer
		starts := 0
		r := &role{silent: true}
		r.started = func(ctx *actor.Context) error {
			starts++
			life := starts
			timer, err := actor.Every(ctx, time.Millisecond, Cue{Script: written(func(*actor.Context, *agent) (string, error) { s.note("tick of life %d", life); return "", nil })})
			if life == 1 {
				first = timer
			} else {
				s.note("life %d", life)
			}
			return err
		}
		x := s.actor("x", s.kind(r))
		s.want("tick of life 1")
		panics := s.crashes(x)
		s.mid()
		panics()
		for line := s.next(); line != "life 2"; line = s.next() {
			if line != "tick of life 1" {
				s.Fatalf("%q is noted", line)
			}
		}
		s.want("tick of life 2", "tick of life 2", "tick of life 2")
		if first.Cancel() {
			s.Error("the timer of the first life was still there")
		}
	}},
	{name: "idle", try: func(s *site) {
		gate := make(chan struct{})
		r := &role{started: func(*actor.Context) error { <-gate; return nil }}
		x := s.actor("x", s.kind(r, actor.Idle(time.Millisecond)))
		s.watched(s.watcher(), x)
		s.want("x starts")
		s.mid()
		close(gate)
		s.wantAll("x stops: idle", "x has ended: idle")
		_, err := s.ask(x, nothing).Await(s.ctx)
		s.refused("a request after that", err, rpc.NotFound)
		// No request is lost that comes while it ends: one that did not run has it started anew.
		keeper, kind := s.actor("keeper", s.silent()), s.silent(actor.Idle(time.Millisecond))
		ran := make(chan int, 200)
		anew := 0
		for i := range 100 {
			for {
				_, err := s.ask(s.ref("y"), func(*actor.Context, *agent) (string, error) { ran <- i; return "", nil }).Await(s.ctx)
				if err == nil {
					break
				}
				if rpc.Ran(err) != rpc.NotRun {
					s.Fatal(err)
				}
				s.run(keeper, func(ctx *actor.Context, _ *agent) (string, error) {
					_, err := ctx.System().GetOrSpawn("y", kind)
					return "", err
				})
				anew++
			}
			if s.column.fake {
				time.Sleep(time.Duration(i%4) * time.Millisecond) // it ends after 2 ms at the latest
			}
		}
		if len(ran) != 100 || s.column.fake && anew < 25 {
			s.Errorf("%d of 100 ran; it was started %d times", len(ran), anew)
		}
	}},
}

package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// site is where a row of TestLife is tried: with actors of the node there, by others of the node here.
type site struct {
	*testing.T
	column      lifeColumn
	hasGuest    bool // there is a node n2
	hasTopics   bool // there is a store of durable topics
	ctx         context.Context
	here, there *actor.System
	nodes       lifeNodes
	notes       chan string
	outgoing    atomic.Pointer[intercept.Func] // of here
	cut         sync.Once
	pointless   *string // why the row means nothing in this column
}

// lifeColumn is a column of the table of TestLife.
type lifeColumn struct {
	name  string
	local bool  // here and there are one node
	fake  bool  // in a bubble, on roads in memory
	roads roads // which there are
	lost  roads // which one is in use, and is cut in the middle
}

// configure is what all nodes of a site have in common.
func (s *site) configure(cfg *actor.Config) {
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Access = access.Rules{Default: access.Allow, List: []access.Rule{{Effect: access.Allow, Ops: access.Stop}}}
	cfg.AckWait = 100 * time.Millisecond
	if s.column.lost == bus {
		cfg.Roads = rpc.Adaptive // it begins on the bus
	}
	if cfg.Name == fmt.Sprint("n", nodeHere) || s.column.local {
		cfg.Outgoing = []intercept.Func{func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
			if f := s.outgoing.Load(); f != nil {
				return (*f)(ctx, op, next)
			}
			return next(ctx)
		}}
	}
}

// tryLife tries a row in a column.
func tryLife(t *testing.T, c lifeColumn, row lifeRow, pointless *string) {
	run := func(t *testing.T) {
		patience := 20 * time.Second
		if c.fake {
			patience = 6 * time.Hour
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the row hangs"))
		defer cancel()
		s := &site{T: t, column: c, hasGuest: row.guest, hasTopics: row.topics, ctx: ctx, notes: make(chan string, 10_000), pointless: pointless}
		if c.fake {
			s.nodes = newMemoryNodes(s)
		} else {
			s.nodes = newRealNodes(s)
		}
		s.there = s.nodes.system(nodeThere)
		s.here = s.there
		if !c.local {
			s.here = s.nodes.system(nodeHere)
			s.open()
		}
		row.try(s)
	}
	if c.fake {
		bubble.Test(t, run)
	} else {
		run(t)
	}
}

// open opens the road that is to be used from here to the others, and waits until that is so.
func (s *site) open() {
	want := map[roads]string{direct: tcp.Road, bus: natsbus.Road}[s.column.lost]
	if s.column.fake {
		want = map[roads]string{direct: string(actortest.Direct), bus: string(actortest.Bus)}[s.column.lost]
	}
	changes := s.here.Events(s.ctx, rpc.RoadChanged)
	quiet := &role{note: s.note, silent: true}
	for node := range s.count() {
		sys := s.nodes.system(node)
		if sys == s.here {
			continue
		}
		s.spawn(sys, "door", s.kind(quiet))
		s.run(s.here.Ref("door@"+sys.Name()), func(*actor.Context, *agent) (string, error) { return "", nil })
		for in := ""; want != "" && in != want; {
			select {
			case e := <-changes:
				if e.Peer == sys.Name() {
					in = e.Road
				}
			case <-s.ctx.Done():
				s.Fatalf("to %s over %q, not over %q", sys.Name(), in, want)
			}
		}
		if s.column.lost == direct { // the other one stands by
			waitFor(s.T, "both roads", func() bool { return sys.Stats().RPC.Links >= 2 })
		}
	}
}

// count is how many nodes there are.
func (s *site) count() int {
	switch {
	case s.hasGuest:
		return nodeGuest + 1
	case s.column.local:
		return nodeThere + 1
	}
	return nodeHere + 1
}

// mid cuts the road that is in use.
func (s *site) mid() {
	if s.column.lost != 0 {
		s.cut.Do(s.nodes.cut)
	}
}

// skip ends a row that means nothing in its column.
func (s *site) skip(why string) {
	*s.pointless = why
	s.SkipNow()
}

func (s *site) note(format string, args ...any) { s.notes <- fmt.Sprintf(format, args...) }

// next returns the next note.
func (s *site) next() string {
	s.Helper()
	select {
	case n := <-s.notes:
		return n
	case <-s.ctx.Done():
		s.Fatal(context.Cause(s.ctx))
		return ""
	}
}

// want checks the next notes.
func (s *site) want(lines ...string) {
	s.Helper()
	for _, want := range lines {
		if got := s.next(); got != want {
			s.Fatalf("%q is noted, want %q", got, want)
		}
	}
}

// wantAll checks the next notes, in any order.
func (s *site) wantAll(lines ...string) {
	s.Helper()
	missing := map[string]int{}
	for _, l := range lines {
		missing[l]++
	}
	for range lines {
		got := s.next()
		if missing[got]--; missing[got] < 0 {
			s.Fatalf("%q is noted, want %q", got, lines)
		}
	}
}

// quiet checks that nothing else was noted, once what overtakes messages at an actor was handled.
func (s *site) quiet(at actor.Ref) {
	s.Helper()
	s.run(at, func(*actor.Context, *agent) (string, error) { return "", nil })
	if s.column.fake {
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	if len(s.notes) > 0 {
		s.Errorf("%q is noted as well", <-s.notes)
	}
}

// kind is that of agents in a role.
func (s *site) kind(r *role, opts ...actor.KindOption) *actor.Kind {
	if r.note == nil {
		r.note = s.note
	}
	return actor.Define("test.agent", func() *agent { return &agent{role: r} }, handlers...).With(opts...)
}

// changing is the kind of agents with a stash and with two behaviours: "shut", which has handlers for Play
// and Cue, and "deaf", which has one for Cue only.
func (s *site) changing(r *role) *actor.Kind {
	r.note = s.note
	own := append([]actor.Handler[*agent]{
		actor.Behaviour("shut", actor.Answer((*agent).PlayShut), actor.Handle((*agent).CueShut)),
		actor.Behaviour("deaf", actor.Handle((*agent).CueDeaf)),
	}, handlers...)
	return actor.Define("test.changing", func() *agent { return &agent{role: r} }, own...).With(actor.Stash(0))
}

// silent is the kind of agents whose life is not noted.
func (s *site) silent(opts ...actor.KindOption) *actor.Kind {
	return s.kind(&role{silent: true}, opts...)
}

func (s *site) spawn(on *actor.System, name string, kind *actor.Kind, opts ...actor.SpawnOption) {
	s.Helper()
	if _, err := on.Spawn(name, kind, opts...); err != nil {
		s.Fatal(err)
	}
}

// actor spawns an actor there, and returns the ref that is used here.
func (s *site) actor(name string, kind *actor.Kind, opts ...actor.SpawnOption) actor.Ref {
	s.Helper()
	s.spawn(s.there, name, kind, opts...)
	return s.ref(name)
}

// ref is the ref of here to an actor of there.
func (s *site) ref(name string) actor.Ref { return s.here.Ref(name + "@" + s.there.Name()) }

// run has an actor do something, and returns its answer.
func (s *site) run(on actor.Ref, do script) string {
	s.Helper()
	got, err := actor.Call(s.ctx, on, Play{Script: written(do)})
	if err != nil {
		s.Fatalf("%s: %v", on, err)
	}
	return got
}

// ask is run without waiting.
func (s *site) ask(on actor.Ref, do script) *rpc.Future[string] {
	return actor.Ask(s.ctx, on, Play{Script: written(do)}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
}

// tell has an actor do something, and waits until that is in its mailbox.
func (s *site) tell(on actor.Ref, do script) {
	s.Helper()
	if err := actor.Tell(s.ctx, on, Cue{Script: written(do)}, rpc.Acked()); err != nil {
		s.Fatal(err)
	}
}

// begin has an actor begin to handle a request, and go on when the returned function is called.
func (s *site) begin(on actor.Ref, then script) (f *rpc.Future[string], leave func()) {
	s.Helper()
	began, gate := make(chan struct{}), make(chan struct{})
	leave = sync.OnceFunc(func() { close(gate) })
	s.Cleanup(leave) // if the row fails
	f = s.ask(on, func(ctx *actor.Context, a *agent) (string, error) { close(began); <-gate; return then(ctx, a) })
	s.await(began, "the handler to begin")
	return f, leave
}

// hold has an actor handle a message until the returned function is called, which checks its answer.
func (s *site) hold(on actor.Ref) (leave func()) {
	s.Helper()
	f, open := s.begin(on, func(*actor.Context, *agent) (string, error) { return "held", nil })
	return func() {
		s.Helper()
		open()
		if got, err := f.Await(s.ctx); got != "held" || err != nil {
			s.Fatalf("the message that was being handled: %q, %v", got, err)
		}
	}
}

func (s *site) await(c <-chan struct{}, what string) {
	s.Helper()
	select {
	case <-c:
	case <-s.ctx.Done():
		s.Fatalf("waited in vain for %s", what)
	}
}

// seen waits until an actor looks like that from here.
func (s *site) seen(of actor.Ref, what string, like func(inspect.Actor) bool) {
	s.Helper()
	waitFor(s.T, what, func() bool {
		a, err := s.here.Inspect(s.ctx, of)
		if err != nil {
			s.Fatal(err)
		}
		return like(a)
	})
}

// watched has an actor of here watch another one, and waits until that is so.
func (s *site) watched(by, x actor.Ref) {
	s.Helper()
	s.run(by, func(ctx *actor.Context, _ *agent) (string, error) { return "", ctx.Watch(x) })
	s.seen(x, "the watch", func(a inspect.Actor) bool { return a.Watchers > 0 })
}

// watcher spawns an actor here.
func (s *site) watcher() actor.Ref {
	s.Helper()
	s.spawn(s.here, "watcher", s.silent())
	return s.here.Ref("watcher")
}

// refused checks that a request did not run.
func (s *site) refused(what string, err error, code rpc.Code) {
	s.Helper()
	if rpc.CodeOf(err) != code || rpc.Ran(err) != rpc.NotRun {
		s.Errorf("%s: %v, %v; want %v that did not run", what, err, rpc.Ran(err), code)
	}
}

package tandemotel_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/rpc"
)

// Messages are counted on both sides, by what they are and how they ended.
func TestMessages(t *testing.T) {
	m := newMetrics()
	inWorld(t, tandemotel.Config{Meters: m.meters, Sample: -1}, func(t *testing.T, w *world) {
		to := w.a.Ref("adder@b")
		for i := range 5 {
			_, err := actor.Call(t.Context(), to, add{N: 1, Fail: i == 4})
			if (err != nil) != (i == 4) {
				t.Fatal(err)
			}
		}
		if _, err := actor.Call(t.Context(), w.a.Ref("nobody@b"), add{}); rpc.CodeOf(err) != rpc.NotFound {
			t.Fatal(err)
		}
		if err := actor.Tell(t.Context(), to, note{"x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all := m.read(t)
		want(t, all, "tandem.client.messages", "code=ok message=test.Add pattern=call ran=ran service=actor", 4)
		want(t, all, "tandem.client.messages", "code=failed message=test.Add pattern=call ran=ran service=actor", 1)
		want(t, all, "tandem.client.messages", "code=not found message=test.Add pattern=call ran=not run service=actor", 1)
		want(t, all, "tandem.client.messages", "code=ok message=test.Note pattern=tell ran=unknown service=actor", 1)
		want(t, all, "tandem.client.duration", "message=test.Add pattern=call service=actor", 6)
		want(t, all, "tandem.server.messages", "code=ok kind=test.adder message=test.Add pattern=call ran=ran", 4)
		want(t, all, "tandem.server.messages", "code=failed kind=test.adder message=test.Add pattern=call ran=ran", 1)
		want(t, all, "tandem.server.duration", "kind=test.adder message=test.Add pattern=call", 5)
		if got := w.take(); len(got) != 0 {
			t.Error(len(got), "spans")
		}
	})
}

// What a system is and has counted is there for both nodes, told apart by the label node.
func TestSnapshot(t *testing.T) {
	m := newMetrics()
	inWorld(t, tandemotel.Config{Meters: m.meters}, func(t *testing.T, w *world) {
		if _, err := actor.Call(t.Context(), w.a.Ref("adder@b"), add{N: 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all := m.read(t)
		for _, x := range tandemotel.Metrics() {
			switch x.Name {
			case "tandem.store.duration", "tandem.store.failing", "tandem.service.instances", "tandem.service.ejected": // no stores, no services
				continue
			}
			if len(all[x.Name]) == 0 {
				t.Errorf("nothing of %s", x.Name)
			}
			delete(all, x.Name)
		}
		for name := range all {
			t.Errorf("%s is not in Metrics", name)
		}
		all = m.read(t)
		if n := len(all["tandem.node.ready"]); n != 2 {
			t.Errorf("%d nodes, want 2", n)
		}
		want(t, all, "tandem.links", "road=direct", 1)
		want(t, all, "tandem.events", "event=link up", 2) // of each road
	})
}

// A copy of a request that has run is counted as a double run that was prevented.
func TestDoubleRunPrevented(t *testing.T) {
	m := newMetrics()
	inWorld(t, tandemotel.Config{Meters: m.meters}, func(t *testing.T, w *world) {
		to := w.a.Ref("adder@b")
		if _, err := actor.Call(t.Context(), to, add{N: 1}); err != nil {
			t.Fatal(err)
		}
		w.net.Hold("direct", "b", "a")
		f := actor.Ask(t.Context(), to, add{N: 1})
		synctest.Wait()
		w.net.Partition("direct", "a", "b")
		w.net.Reset("direct", "a", "b")
		if _, err := f.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		replayed := 0.0
		for _, p := range m.read(t)["tandem.double_runs_prevented"] {
			if p.labels == "result=replayed" {
				replayed += p.value
			}
		}
		if replayed != 1 {
			t.Errorf("%v replays, want 1", replayed)
		}
	})
}

// A request of which nobody can say whether it ran is counted, with metrics by message and without.
func TestUnknownCounted(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		t.Run(fmt.Sprint("sparse ", sparse), func(t *testing.T) {
			m := newMetrics()
			inWorld(t, tandemotel.Config{Meters: m.meters, Sparse: sparse}, func(t *testing.T, w *world) {
				to := w.a.Ref("adder@b")
				if _, err := actor.Call(t.Context(), to, add{N: 1}); err != nil {
					t.Fatal(err)
				}
				for _, road := range []string{"direct", "bus"} {
					w.net.Hold(road, "b", "a")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := actor.Call(ctx, to, add{N: 1}); rpc.Ran(err) != rpc.Unknown {
					t.Fatal(err)
				}
				all, unknown := m.read(t), 0.0
				for _, p := range all["tandem.requests.unknown"] {
					unknown += p.value
				}
				if unknown != 1 {
					t.Errorf("%v, want 1", unknown)
				}
				if sparse {
					if n := len(all["tandem.client.messages"]); n != 0 {
						t.Errorf("%d series by message", n)
					}
					return
				}
				want(t, all, "tandem.client.messages", "code=expired message=test.Add pattern=call ran=unknown service=actor", 1)
			})
		})
	}
}

// What waits is seen without a look at every actor: how much, and for how long at most.
func TestWaiting(t *testing.T) {
	m := newMetrics()
	inWorld(t, tandemotel.Config{Meters: m.meters, Sparse: true}, func(t *testing.T, w *world) {
		release := make(chan struct{})
		slow := spawn(t, w.b, "slow", actor.Define("test.slow", func() struct{} { return struct{}{} }, actor.Handle(func(struct{}, *actor.Context, note) error { <-release; return nil })))
		for range 10 {
			if err := actor.Tell(t.Context(), slow, note{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		all, waiting, oldest := m.read(t), 0.0, 0.0
		for _, p := range all["tandem.mailbox.messages"] {
			waiting += p.value
		}
		for _, p := range all["tandem.mailbox.oldest"] {
			oldest = max(oldest, p.value)
		}
		if waiting != 9 || math.Abs(oldest-60) > 2 {
			t.Errorf("%v messages wait, for up to %v s; want 9 and 60 s", waiting, oldest)
		}
		close(release)
		synctest.Wait()
		for _, p := range m.read(t)["tandem.mailbox.messages"] {
			if p.value != 0 {
				t.Errorf("%v messages wait at last", p.value)
			}
		}
	})
}

// subject is what an operation of the tests is about.
type subject struct{ to, typ string }

func (s subject) To() string   { return s.to }
func (s subject) Type() string { return s.typ }
func (s subject) Message() any { return s }
func (s subject) From() string { return "" }

// As many label sets as Series are told apart; one more is counted under Other, and what was known before still is.
func TestSeriesAreBounded(t *testing.T) {
	const limit = 50
	m := newMetrics()
	cfg := actor.Config{Name: "n", Logger: quiet}
	if err := tandemotel.Instrument(&cfg, tandemotel.Config{Meters: m.meters, Series: limit}); err != nil {
		t.Fatal(err)
	}
	send := func(to, typ string, err error) {
		op := intercept.Operation{Side: intercept.Outgoing}
		op.Op = 2
		op.About(subject{to, typ})
		_ = intercept.Run(t.Context(), cfg.Outgoing, &op, func(context.Context) error { return err })
	}
	series := func() (n int, other float64) {
		for _, p := range m.read(t)["tandem.client.messages"] {
			n++
			if pattern := "message=" + tandemotel.Other; slices.Contains(strings.Fields(p.labels), pattern) {
				other += p.value
			}
		}
		return n, other
	}
	for i := range limit {
		send(fmt.Sprintf("service%d@*", i), "T", nil)
	}
	if n, other := series(); n != limit || other != 0 {
		t.Errorf("at the limit: %d series, %v under other; want %d and 0", n, other, limit)
	}
	send("more@*", "T", nil)
	if n, other := series(); n != limit+1 || other != 1 {
		t.Errorf("one beyond: %d series, %v under other; want %d and 1", n, other, limit+1)
	}
	for i := range 1000 {
		send(fmt.Sprintf("more%d@*", i), fmt.Sprintf("T%d", i), nil)
	}
	send("service0@*", "T", nil)
	if n, other := series(); n != limit+1 || other != 1001 {
		t.Errorf("far beyond: %d series, %v under other; want %d and 1001", n, other, limit+1)
	}
	want(t, m.read(t), "tandem.client.messages", "code=ok message=T pattern=call ran=ran service=service0", 2)
	send("x@*", "T", rpc.Errorf(rpc.Code(9999), rpc.NotRun, "of a later build"))
	want(t, m.read(t), "tandem.client.messages", "code=other message=other pattern=call ran=not run service=other", 1)
}

// Nothing that anybody can choose freely becomes a label: the names of actors, ids of virtual ones, names of topics,
// types of messages in encoded form.
func TestLabelsAreNobodysChoice(t *testing.T) {
	m := newMetrics()
	claims := memory.New()
	virtual := actor.Define("test.virtual", func() *adder { return new(adder) }, actor.Answer((*adder).add)).With(actor.Virtual())
	inWorld(t, tandemotel.Config{Meters: m.meters}, func(t *testing.T, w *world) {
		for i := range 20 {
			id := fmt.Sprint("id", i)
			if i == 0 {
				spawn(t, w.a, "id0", adderKind())
			}
			_, _ = actor.Call(t.Context(), w.a.Ref(id+"@b"), add{})
			_, _ = actor.Call(t.Context(), w.a.Virtual(virtual, id), add{})
			_ = actor.Publish(t.Context(), actor.NewTopic[news]("topic."+id).Bind(w.a), news{})
			_, _ = actor.Call(t.Context(), w.a.Ref("adder@b"), undeclared{})
		}
		names := map[string]bool{}
		for _, p := range m.read(t)["tandem.client.messages"] {
			for _, w := range strings.Fields(p.labels) {
				names[w] = true
			}
		}
		for i := range 20 {
			for _, w := range []string{fmt.Sprintf("service=id%d", i), fmt.Sprintf("service=topic.id%d", i), fmt.Sprintf("service=test.virtual/id%d", i)} {
				if names[w] {
					t.Errorf("there is a series %s", w)
				}
			}
		}
		if !names["service=test.virtual"] || !names["service=actor"] || !names["service=topic"] {
			t.Error(names)
		}
	}, func(cfg *actor.Config) { cfg.Kinds = []*actor.Kind{virtual}; cfg.Claims = claims })
}

type undeclared struct{ actor.Returns[int] }

func (undeclared) WireName() string { return "test.Undeclared" }

// A bad configuration is refused.
func TestConfigErrors(t *testing.T) {
	for name, with := range map[string]tandemotel.Config{
		"sample": {Sample: 1.01}, "no number": {Sample: math.NaN()}, "series": {Series: -1}, "too many series": {Series: tandemotel.MaxSeries + 1},
	} {
		if err := tandemotel.Instrument(new(actor.Config), with); !errors.Is(err, tandemotel.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := tandemotel.Instrument(new(actor.Config), tandemotel.Config{Sample: 1, Series: tandemotel.MaxSeries}); err != nil {
		t.Error(err)
	}
}

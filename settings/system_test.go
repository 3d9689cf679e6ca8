package settings_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Work is a request that takes a while.
type Work struct {
	actor.Returns[bool]
	For time.Duration
}

type worker struct{}

func (worker) Work(ctx *actor.Context, m Work) (bool, error) {
	if m.For == 0 {
		return true, nil
	}
	later := actor.Defer[bool](ctx)
	time.AfterFunc(m.For, func() { _ = later.Answer(true) })
	return false, nil
}

// pair starts two nodes, of which b follows h, which has the given entries, and hosts a worker. It returns a ref of a to it.
func pair(t testing.TB, h *hand, entries ...settings.Entry) (a, b *actor.System, ref actor.Ref, w *settings.Watcher) {
	t.Helper()
	net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
	said := make(chan struct{})
	go func() { h.say(whole(entries...)); close(said) }()
	var watcher *settings.Watcher
	start := func(name string, setup func(*actor.System) error) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{net.Transport("direct", true)}, Logger: quiet, Setup: setup})
		if err != nil {
			t.Fatal(err)
		}
		return sys
	}
	b = start("b", func(sys *actor.System) (err error) {
		watcher, err = settings.Watch(context.Background(), h, settings.Targets{System: sys, Logger: quiet})
		if err != nil {
			return err
		}
		_, err = sys.Spawn("w", actor.Define("test.worker", func() worker { return worker{} }, actor.Answer(worker.Work)))
		return err
	})
	a = start("a", nil)
	<-said
	return a, b, a.Ref("w@b"), watcher
}

func end(t testing.TB, w *settings.Watcher, systems ...*actor.System) {
	t.Helper()
	w.Close()
	for _, s := range systems {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

var once = rpc.WithRetry(rpc.Retry{Attempts: 1})

// load sends so many requests a second for a while, whether they are answered or not. It returns how many were served.
func load(t testing.TB, ref actor.Ref, m Work, perSecond int, length time.Duration) (served int) {
	t.Helper()
	var mu sync.Mutex // guards served
	var all sync.WaitGroup
	for i := range int(length.Seconds() * float64(perSecond)) {
		if i > 0 {
			time.Sleep(time.Second / time.Duration(perSecond))
		}
		all.Go(func() {
			_, err := actor.Call(context.Background(), ref, m, once)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				served++
			case !errors.Is(err, rpc.Overloaded) || rpc.Ran(err) != rpc.NotRun:
				t.Errorf("neither served nor refused: %v", err)
			}
		})
	}
	all.Wait()
	return served
}

func within(t testing.TB, what string, got, want int) {
	t.Helper()
	if 20*got < 19*want || 20*got > 21*want {
		t.Errorf("%s: %d, want %d within 5 %%", what, got, want)
	}
}

// A limit is lowered on a running system under ten times its load: what is admitted follows at once, and nobody gets anything
// but an answer or a refusal.
func TestLimitLoweredUnderLoad(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHand()
		a, b, ref, w := pair(t, h, entry("limits", 1, `{"limits":[{"name":"all","rate":1000,"burst":1}]}`))
		within(t, "a rate of 1000, in 4 s", load(t, ref, Work{}, 4000, 4*time.Second), 4000)
		h.write("limits", 2, `{"limits":[{"name":"all","rate":200,"burst":1}]}`)
		within(t, "a rate of 200, in 4 s", load(t, ref, Work{}, 4000, 4*time.Second), 800)
		h.write("limits", 3, `{"limits":[{"name":"all","rate":-1}]}`)
		within(t, "after a bad one", load(t, ref, Work{}, 4000, 4*time.Second), 800)
		h.write("limits", 4, `{"limits":[{"name":"all","concurrent":9}]}`)
		within(t, "9 at a time that take 100 ms, in 4 s", load(t, ref, Work{For: 100 * time.Millisecond}, 500, 4*time.Second), 360)
		h.write("limits", 5, "")
		want(t, "without limits", load(t, ref, Work{}, 4000, time.Second), 4000)
		end(t, w, a, b)
	})
}

// An access rule is removed while the system runs: the next message is refused.
func TestRuleRemoved(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHand()
		a, b, ref, w := pair(t, h, entry("access", 1, `{"rules":[{"effect":"allow","actors":["w"]}],"default":"deny"}`))
		call := func() string {
			_, err := actor.Call(t.Context(), ref, Work{}, once)
			return fmt.Sprint(rpc.CodeOf(err))
		}
		want(t, "with the rule", call(), rpc.Code(0))
		h.write("access", 2, `{"default":"deny"}`)
		want(t, "without", call(), rpc.Denied)
		h.write("access", 3, `{"default":"maybe"}`)
		want(t, "after a bad one", call(), rpc.Denied)
		h.write("access", 4, "")
		want(t, "deleted: as the Config says", call(), rpc.Code(0))
		end(t, w, a, b)
	})
}

// The events of the system say what has changed, for those who have asked for it.
func TestEvents(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := newHand()
		a, b, _, w := pair(t, h)
		events := b.Events(t.Context(), settings.Changed, settings.Refused)
		h.write("retry", 1, `{"attempts":3}`)
		h.write("retry", 2, `{"attempts":-3}`)
		for _, typ := range []rpc.EventType{settings.Changed, settings.Refused} {
			e := <-events
			var c *settings.Change
			want(t, "the event", fmt.Sprint(e.Type, errors.As(e.Err, &c), c.Version.Author), fmt.Sprint(typ, true, "ann"))
		}
		want(t, "in force", b.Retry().Attempts, 3)
		end(t, w, a, b)
	})
}

// A node whose settings are required and away does not start, and leaves nothing behind.
func TestRequiredInSetup(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, err := actor.NewSystem(actor.Config{Logger: quiet, Setup: func(sys *actor.System) error {
			_, err := settings.Watch(context.Background(), newHand(), settings.Targets{System: sys, Required: true, Logger: quiet})
			return err
		}})
		want(t, "the error", rpc.CodeOf(err), rpc.Unavailable)
	})
}

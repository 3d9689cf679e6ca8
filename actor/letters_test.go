package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// logged keeps the lines of a log.
type logged struct {
	mu    sync.Mutex // guards what follows
	lines []string   // level, message and attributes
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%v %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// about returns the lines that contain all parts.
func (l *logged) about(parts ...string) (found []string) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range l.lines {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// Unheard is a message that no kind handles.
type Unheard struct{ N int }

// What an actor does not handle is a dead letter that names the type, and is logged in
// sum: at once, then once per ten seconds, and at the end.
func TestUnhandledIsLoggedInSum(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		log := new(logged)
		sys := newSystem(t, actor.Config{Logger: slog.New(log)})
		ref, dead := spawn(t, sys, "x", PuppetKind), letters(t, sys)
		tell := func(n int) {
			for i := range n {
				if err := actor.Tell(t.Context(), ref, Unheard{i}); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines := func(want int, last string) {
			t.Helper()
			got := log.about("WARN dead letters", "actor=x@local", "reason=unhandled", "Unheard")
			if len(got) != want || !strings.Contains(got[want-1], last) {
				t.Errorf("want %d lines, the last with %s: %q", want, last, got)
			}
		}
		tell(100)
		if got := dead(); len(got) != 100 || !errors.Is(got[0].Reason, rpc.Unhandled) || !strings.Contains(got[0].Reason.Error(), "Unheard") {
			t.Errorf("%d dead letters, the first %+v", len(got), got)
		}
		lines(1, "count=1 ")
		time.Sleep(11 * time.Second)
		lines(2, "count=99 ")
		tell(7)
		time.Sleep(time.Minute)
		lines(3, "count=7 ")
		tell(5)
		lines(4, "count=1 ")
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		lines(5, "count=4 ")
	})
}

// A full mailbox of an actor that stops is a burst which a reader gets in full, although
// it reads only later.
func TestBurstOfDeadLetters(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		const burst = 1024
		ref := spawn(t, sys, "x", PuppetKind, small(burst, mailbox.Refuse))
		dead := letters(t, sys)
		unplug := plug(t, ref)
		for range burst {
			if err := actor.Tell(t.Context(), ref, Note{}); err != nil {
				t.Fatal(err)
			}
		}
		sys.Stop(ref)
		unplug()
		if got := len(dead()); got != burst || sys.Stats().FeedLost != 0 {
			t.Errorf("%d of %d dead letters came, %d lost", got, burst, sys.Stats().FeedLost)
		}
	})
}

// Beyond what a feed has room for, the reader learns how many it lost.
func TestLostDeadLettersAreTold(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref, dead := spawn(t, sys, "x", PuppetKind), letters(t, sys)
		const sent = actor.DeadLetterRoom + 1000
		for i := range sent {
			if err := actor.Tell(t.Context(), ref, Unheard{i}); err != nil {
				t.Fatal(err)
			}
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		got, lost := dead(), uint64(0)
		for _, d := range got {
			lost += d.Lost
		}
		if lost == 0 || uint64(len(got))+lost != sent || lost != sys.Stats().FeedLost || got[0].Lost != lost {
			t.Errorf("%d came and %d are told lost, the first after %d, of %d; %d counted", len(got), lost, got[0].Lost, sent, sys.Stats().FeedLost)
		}
	})
}

// Many events of one type do not push out the one of another, and a reader gets only
// the types that it wants.
func TestEventsOfManyTypes(t *testing.T) {
	log := new(logged)
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "x", PuppetKind)
		all, links := a.Events(t.Context()), a.Events(t.Context(), rpc.LinkDown, rpc.LinkUp)
		if _, err := actor.Call(t.Context(), a.Ref("x@b"), Count{}); err != nil {
			t.Fatal(err)
		}
		net.Reset("", "b", "")
		synctest.Wait()
		const stops = 3 * actor.EventRoom
		for range stops {
			a.Stop(spawn(t, a, "y", PuppetKind))
		}
		synctest.Wait()
		down, stopped, lost := 0, 0, uint64(0)
		for len(all) > 0 {
			switch e := <-all; e.Type {
			case rpc.LinkDown:
				down++
			case actor.ActorStopped:
				stopped++
				lost += e.Lost
			}
		}
		if down != 1 || uint64(stopped)+lost != stops {
			t.Errorf("links down: %d; %d actors stopped and %d lost of %d", down, stopped, lost, stops)
		}
		for _, want := range []actor.EventType{rpc.LinkUp, rpc.LinkDown} {
			if e := <-links; e.Type != want {
				t.Errorf("%+v, want %s", e, want)
			}
		}
		for line, level := range map[string]string{"link up": "INFO", "link down": "WARN", "road changed": "INFO"} {
			if got := log.about(level+" "+line, "peer=b"); len(got) == 0 {
				t.Errorf("%s is not logged", line)
			}
		}
	}, func(c *actor.Config) { c.Logger = slog.New(log) })
}

// A peer that goes and comes back is two lines in the log, however often it is tried.
func TestPeerIsLoggedByChange(t *testing.T) {
	log := new(logged)
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "x", PuppetKind)
		net.Partition("", "b", "")
		for range 10 {
			_, err := actor.Call(t.Context(), a.Ref("x@b"), Count{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			wantErr(t, "nobody answers", err, rpc.Unavailable, rpc.NotRun)
			time.Sleep(time.Second)
		}
		net.Heal("", "b", "")
		time.Sleep(10 * time.Second)
		if _, err := actor.Call(t.Context(), a.Ref("x@b"), Count{}); err != nil {
			t.Error(err)
		}
		down, up := log.about("WARN peer down", "peer=b"), log.about("INFO peer up", "peer=b")
		if len(down) != 1 || len(up) != 1 {
			t.Errorf("lines: %q, %q", down, up)
		}
	}, func(c *actor.Config) { c.Logger = slog.New(log) })
}

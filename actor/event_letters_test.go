package actor_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Unheard is a message that no kind handles.
type Unheard struct{ N int }

// A message that its actor does not handle is a dead letter that names the type. The log sums
// such messages up: there is a line at once, one per ten seconds after that, and one at the
// end.
func TestUnhandledIsSummedUpInTheLog(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		log := new(actor.LineLog)
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
			got := log.About("WARN dead letters", "actor=x@local", "reason=unhandled", "Unheard")
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

// When an actor with a full mailbox stops, there is a burst of dead letters. A reader gets
// all of them, even if it reads only later.
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
		actor.Halt(sys, ref)
		unplug()
		if got := len(dead()); got != burst || sys.Stats().FeedLost != 0 {
			t.Errorf("%d of %d dead letters came, %d lost", got, burst, sys.Stats().FeedLost)
		}
	})
}

// If there are more dead letters than a reader's buffer has room for, the reader learns how
// many it has lost.
func TestLostDeadLettersAreReported(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref, dead := spawn(t, sys, "x", PuppetKind), letters(t, sys)
		const sent = actor.LetterRoom + 1000
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

// Many events of one type do not push out an event of another type, and a reader gets only
// the types that it wants.
func TestEventsOfManyTypes(t *testing.T) {
	log := new(actor.LineLog)
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
			actor.Halt(a, spawn(t, a, "y", PuppetKind))
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
		for _, want := range []rpc.EventType{rpc.LinkUp, rpc.LinkDown} {
			if e := <-links; e.Type != want {
				t.Errorf("%+v, want %s", e, want)
			}
		}
		for line, level := range map[string]string{"link up": "INFO", "link down": "WARN", "road changed": "INFO"} {
			if got := log.About(level+" "+line, "peer=b"); len(got) == 0 {
				t.Errorf("%s is not logged", line)
			}
		}
	}, func(c *actor.Config) { c.Logger = slog.New(log) })
}

// A peer that goes and comes back causes two lines in the log, however often a connection to
// it is tried.
func TestPeerIsLoggedByChange(t *testing.T) {
	log := new(actor.LineLog)
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
		down, up := log.About("WARN peer down", "peer=b"), log.About("INFO peer up", "peer=b")
		if len(down) != 1 || len(up) != 1 {
			t.Errorf("lines: %q, %q", down, up)
		}
	}, func(c *actor.Config) { c.Logger = slog.New(log) })
}

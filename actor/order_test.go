package actor_test

// Mailboxes with an order: priority classes, and senders in turn.

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// What comes to a reception, the most urgent first. They can be told and asked.
type (
	Fire struct {
		actor.Returns[int]
		N int
	}
	Visit struct {
		actor.Returns[int]
		N int
	}
	Parcel struct {
		actor.Returns[int]
		N int
	}
	Flyer struct {
		actor.Returns[int]
		N int
	}
)

// Reception notes what it handles, in order.
type Reception struct {
	mu  sync.Mutex
	log []string
}

func (r *Reception) note(what string, n int) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprint(what, n))
	return n, nil
}

// read waits until nothing moves any more, and returns and forgets what was handled.
func (r *Reception) read() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.log, " ")
	r.log = nil
	return all
}

// kind is the kind of a reception, which notes in r. Its parcels have no class of their own.
func (r *Reception) kind(opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.reception", func() *Reception { return r },
		actor.Answer(func(r *Reception, _ *actor.Context, m Fire) (int, error) { return r.note("fire", m.N) }),
		actor.Answer(func(r *Reception, _ *actor.Context, m Visit) (int, error) { return r.note("visit", m.N) }),
		actor.Answer(func(r *Reception, _ *actor.Context, m Parcel) (int, error) { return r.note("parcel", m.N) }),
		actor.Answer(func(r *Reception, _ *actor.Context, m Flyer) (int, error) { return r.note("flyer", m.N) }),
		actor.Handle(func(_ *Reception, ctx *actor.Context, m Note) error { return m.F(ctx) }),
	).With(opts...)
}

var byClass = []actor.KindOption{actor.PriorityOf[Fire](mailbox.Urgent), actor.PriorityOf[Visit](mailbox.High), actor.PriorityOf[Flyer](mailbox.Low)}

// send sends what words name, in order, with a verb for each: "fire1" to tell, "fire1?" to ask,
// "fire1!" to submit as a job. It returns once all of it has arrived.
func send(t testing.TB, ctx context.Context, to actor.Ref, words string) {
	t.Helper()
	for _, w := range strings.Fields(words) {
		name := strings.TrimRight(w, "0123456789?!")
		var n int
		fmt.Sscanf(w[len(name):], "%d", &n)
		var err error
		switch name {
		case "fire":
			err = sendOne(ctx, to, Fire{N: n}, w)
		case "visit":
			err = sendOne(ctx, to, Visit{N: n}, w)
		case "parcel":
			err = sendOne(ctx, to, Parcel{N: n}, w)
		case "flyer":
			err = sendOne(ctx, to, Flyer{N: n}, w)
		default:
			panic("what is a " + name)
		}
		if err != nil {
			t.Errorf("%s: %v", w, err)
		}
	}
}

func sendOne[M actor.Question[int]](ctx context.Context, to actor.Ref, m M, word string) error {
	switch word[len(word)-1] {
	case '?':
		actor.Ask(ctx, to, m)
		return nil
	case '!':
		_, err := actor.Submit(ctx, to, m)
		return err
	}
	return actor.Tell(ctx, to, m)
}

// What waits is handled by classes, by whatever verb and over whatever road it came. "|" is a moment
// in which what was sent before arrives.
func TestPriorities(t *testing.T) {
	for _, row := range []struct{ name, sent, handled string }{
		{"tell", "flyer1 flyer2 parcel1 visit1 fire1 fire2 parcel2", "fire1 fire2 visit1 parcel1 parcel2 flyer1 flyer2"},
		{"ask", "flyer1? parcel1? visit1? fire1? fire2? parcel2?", "fire1 fire2 visit1 parcel1 parcel2 flyer1"},
		{"job", "flyer1! parcel1! | visit1! fire1!", "fire1 visit1 parcel1 flyer1"},
		{"all of them", "flyer1 | flyer2? | parcel1! | fire1? | fire2 | parcel2", "fire1 fire2 parcel1 parcel2 flyer1 flyer2"},
		{"rows", many("flyer", 5) + many("fire", 5) + many("parcel", 5), many("fire", 5) + many("parcel", 5) + many("flyer", 5)},
		{"the low ones are not starved", "flyer1 flyer2 | " + many("fire", 40), many("fire", 16) + "flyer1 " + from("fire", 17, 32) + "flyer2 " + from("fire", 33, 40)},
	} {
		t.Run(row.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
				r := new(Reception)
				local := spawn(t, b, "x", r.kind(byClass...))
				unplug := plug(t, local)
				for part := range strings.SplitSeq(row.sent, "|") {
					send(t, t.Context(), bind(local), part)
					synctest.Wait()
				}
				if a, err := b.Inspect(t.Context(), local); err != nil || a.Waiting != len(strings.Fields(row.handled)) {
					t.Errorf("%d wait, %v", a.Waiting, err)
				}
				unplug()
				if got := r.read(); got != strings.TrimSpace(row.handled) {
					t.Errorf("handled %s\n   want %s", got, row.handled)
				}
				if s := b.Stats(); s.DeadLetters != 0 {
					t.Errorf("%d dead letters", s.DeadLetters)
				}
				if !strings.Contains(row.sent, "!") { // the results of jobs are kept
					wantNothingHeld(t, b)
				}
			})
		})
	}
}

// many are the words from 1 to n, from those from first to last.
func many(what string, n int) string { return from(what, 1, n) }
func from(what string, first, last int) (all string) {
	for n := first; n <= last; n++ {
		all += fmt.Sprint(what, n, " ")
	}
	return all
}

// A mailbox that is fair has senders take turns: those outside, each actor, each node.
func TestFairAmongSenders(t *testing.T) {
	fair := actor.Mailbox(mailbox.Config{Fair: true})
	for name, roads := range map[string][]string{"direct": {"direct"}, "bus": {"bus"}} {
		t.Run(name, func(t *testing.T) {
			world(t, roads, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
				r := new(Reception)
				x := spawn(t, b, "x", r.kind(), fair)
				p, q := spawn(t, b, "p", PuppetKind), spawn(t, b, "q", PuppetKind)
				unplug := plug(t, x)
				send(t, t.Context(), x, many("parcel", 4))
				for n, by := range []actor.Ref{p, q, p} {
					inside(t, by, func(ctx *actor.Context) error { send(t, ctx, x, from("visit", 10*n+1, 10*n+2)); return nil })
				}
				send(t, t.Context(), a.Ref("x@b"), many("flyer", 3)) // of one node, whoever sends there
				synctest.Wait()
				far := spawn(t, a, "far", PuppetKind)
				inside(t, far, func(ctx *actor.Context) error { send(t, ctx, a.Ref("x@b"), "flyer4 flyer5"); return nil })
				synctest.Wait()
				unplug()
				want := "parcel1 visit1 visit11 flyer1 parcel2 visit2 visit12 flyer2 parcel3 visit21 flyer3 parcel4 visit22 flyer4 flyer5"
				if got := r.read(); got != want {
					t.Errorf("handled %s\n   want %s", got, want)
				}
			})
		})
	}
}

// Both orders at once: classes first, and senders in turn within each.
func TestFairWithinClasses(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		r := new(Reception)
		x := spawn(t, b, "x", r.kind(byClass...), actor.Mailbox(mailbox.Config{Fair: true}))
		p := spawn(t, b, "p", PuppetKind)
		unplug := plug(t, x)
		inside(t, p, func(ctx *actor.Context) error { send(t, ctx, x, "flyer1 flyer2 fire1 fire2"); return nil })
		synctest.Wait()
		send(t, t.Context(), bind(x), "flyer11 flyer12 fire11")
		synctest.Wait()
		unplug()
		if got, want := r.read(), "fire1 fire11 fire2 flyer1 flyer11 flyer2 flyer12"; got != want {
			t.Errorf("handled %s, want %s", got, want)
		}
	})
}

// One sender cannot fill a mailbox in which it may have a part only: its further messages meet the
// mailbox's policy, and others are let in.
func TestPartOfOneSender(t *testing.T) {
	for _, policy := range []mailbox.Policy{mailbox.Block, mailbox.Refuse, mailbox.DropNewest, mailbox.DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
				r := new(Reception)
				dead := letters(t, b)
				local := spawn(t, b, "x", r.kind(), actor.Mailbox(mailbox.Config{Capacity: 10, Policy: policy, Fair: true, PerSender: 3}))
				far := bindsAfar(bind(local))
				p := spawn(t, b, "p", PuppetKind)
				unplug := plug(t, local)
				send(t, t.Context(), bind(local), many("parcel", 3))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				synctest.Wait()
				err := actor.Tell(ctx, bind(local), Parcel{N: 4})
				synctest.Wait()
				want, lost := "parcel1 visit1 parcel2 visit2 parcel3 visit3", 0
				switch {
				case policy == mailbox.Block && far: // the backlog
					want += " parcel4"
				case policy == mailbox.Block:
					wantErr(t, "one too many", err, rpc.Expired, rpc.NotRun)
				case policy == mailbox.Refuse && !far:
					wantErr(t, "one too many", err, rpc.Overloaded, rpc.NotRun)
				case policy == mailbox.DropOldest:
					want, lost = "parcel2 visit1 parcel3 visit2 parcel4 visit3", 1
				default:
					lost = 1
				}
				inside(t, p, func(ctx *actor.Context) error { send(t, ctx, local, many("visit", 3)); return nil })
				unplug()
				if got := r.read(); got != want {
					t.Errorf("handled %s, want %s", got, want)
				}
				if n := len(dead()); n != lost {
					t.Errorf("%d dead letters, want %d", n, lost)
				}
			})
		})
	}
}

// A sender that waits because it has used up its part goes on as soon as a message of its own was
// taken, and one that waits for a full mailbox as soon as any was: the most urgent one first.
func TestWaitingForAPlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, r := newSystem(t, actor.Config{Logger: quiet}), new(Reception)
		x := spawn(t, sys, "x", r.kind(byClass...), actor.Mailbox(mailbox.Config{Capacity: 2}))
		unplug := plug(t, x)
		send(t, t.Context(), x, "parcel1 parcel2")
		for i, words := range []string{"flyer1", "parcel3", "fire1"} {
			time.Sleep(time.Duration(i))
			go send(t, t.Context(), x, words)
			synctest.Wait()
		}
		if a, err := sys.Inspect(t.Context(), x); err != nil || a.Waiting != 2 {
			t.Errorf("%d wait, %v", a.Waiting, err)
		}
		unplug()
		if got, want := r.read(), "fire1 parcel1 parcel2 parcel3 flyer1"; got != want {
			t.Errorf("handled %s, want %s", got, want)
		}
	})
}

// What waits when an actor ends is handed back, and nothing is lost: with StopNow at once, with Stop
// after all was handled, in order.
func TestOrderedStop(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		for _, now := range []bool{false, true} {
			r := new(Reception)
			dead := letters(t, b)
			local := spawn(t, b, "x", r.kind(byClass...), actor.Mailbox(mailbox.Config{Fair: true, PerSender: 4, Capacity: 6}))
			unplug := plug(t, local)
			send(t, t.Context(), bind(local), "flyer1 fire1 flyer2 parcel1 fire2")
			asked := actor.Ask(t.Context(), bind(local), Visit{N: 1}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			synctest.Wait()
			stopped := make(chan error, 1)
			stop := b.Stop
			if now {
				stop = b.StopNow
			}
			go func() { stopped <- stop(t.Context(), local) }()
			synctest.Wait()
			unplug()
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
			n, err := asked.Await(t.Context())
			if !now {
				if got := r.read(); got != "fire1 fire2 visit1 parcel1 flyer1 flyer2" || err != nil || n != 1 || len(dead()) != 0 {
					t.Errorf("handled %s, %v; %d dead letters", got, err, len(dead()))
				}
				continue
			}
			wantErr(t, "what waited", err, rpc.Unavailable, rpc.NotRun)
			var types []string
			for _, d := range dead() {
				types = append(types, d.Type[strings.LastIndex(d.Type, ".")+1:])
			}
			if got := fmt.Sprint(types); r.read() != "" || got != "[Flyer Fire Flyer Parcel Fire]" {
				t.Errorf("dead letters: %s", got)
			}
		}
		wantNothingHeld(t, b)
	})
}

// A restart, a suspended actor and a panic leave the order of what waits as it is.
func TestOrderedRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		r := new(Reception)
		local := spawn(t, b, "x", r.kind(append(byClass, actor.Supervise(supervise.Strategy{Backoff: time.Minute, MaxBackoff: time.Minute, Window: time.Hour}))...))
		unplug := plug(t, local)
		send(t, t.Context(), bind(local), "flyer1 parcel1")
		synctest.Wait()
		for range 2 { // there is no back-off before the first restart
			tell(t, local, note(func(*actor.Context) { panic("no") }))
		}
		synctest.Wait()
		unplug()
		if got := r.read(); got != "parcel1" {
			t.Errorf("handled before the panics: %s", got)
		}
		send(t, t.Context(), bind(local), "flyer2 fire1")
		if got := r.read(); got != "" {
			t.Errorf("handled while it was suspended: %s", got)
		}
		time.Sleep(time.Minute)
		if got := r.read(); got != "fire1 flyer1 flyer2" {
			t.Errorf("handled after the restart: %s", got)
		}
	})
}

// A pool passes on what is urgent first, and its workers handle it first.
func TestOrderedPool(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		r := new(Reception)
		local := spawn(t, b, "x", r.kind(byClass...), actor.Pool(1, route.RoundRobin(), small(2, mailbox.Block)))
		unplug := plug(t, local)
		send(t, t.Context(), bind(local), "flyer1 flyer2 flyer3")
		synctest.Wait() // two are in the worker's mailbox, and the pool tries to pass on the third
		send(t, t.Context(), bind(local), "flyer4 parcel1 fire1 flyer5")
		synctest.Wait()
		unplug()
		got := r.read()
		for _, words := range []string{"flyer1 flyer2 flyer3 flyer4 flyer5", "fire1 parcel1 flyer4"} {
			if !inOrder(got, words) {
				t.Errorf("handled %s, want %s", got, words)
			}
		}
	})
}

// inOrder reports whether all contains the words, in order, and perhaps others between them.
func inOrder(all, words string) bool {
	rest := strings.Fields(words)
	for w := range strings.FieldsSeq(all) {
		if len(rest) > 0 && rest[0] == w {
			rest = rest[1:]
		}
	}
	return len(rest) == 0
}

// Requests that have died make room, also when it is only their sender's part that is full.
func TestOrderedSweep(t *testing.T) {
	for _, row := range []mailbox.Config{{Capacity: 3, Policy: mailbox.Refuse, Fair: true}, {Capacity: 10, Policy: mailbox.Refuse, Fair: true, PerSender: 3}} {
		bubble.Test(t, func(t *testing.T) {
			sys, r := newSystem(t, actor.Config{Logger: quiet}), new(Reception)
			x := spawn(t, sys, "x", r.kind(byClass...), actor.Mailbox(row))
			unplug := plug(t, x)
			ctx, cancel := context.WithCancel(t.Context())
			send(t, ctx, x, "parcel1? parcel2?")
			send(t, t.Context(), x, "parcel3")
			wantErr(t, "a full mailbox", actor.Tell(t.Context(), x, Parcel{N: 4}), rpc.Overloaded, rpc.NotRun)
			cancel()
			synctest.Wait()
			time.Sleep(time.Second)
			send(t, t.Context(), x, "parcel5 parcel6")
			unplug()
			if got := r.read(); got != "parcel3 parcel5 parcel6" {
				t.Errorf("handled %s", got)
			}
		})
	}
}

// A flood of messages of one class from another node waits for the receiver, whatever the class: the
// receipts by which its sender learns of the progress do not overtake them.
func TestOrderedCredit(t *testing.T) {
	const flood = 2500 // more than the mailbox and its backlog hold
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		for what, m := range map[string]func(actor.Ref, int) error{
			"flyers":  func(to actor.Ref, n int) error { return actor.Tell(t.Context(), to, Flyer{N: n}) },
			"parcels": func(to actor.Ref, n int) error { return actor.Tell(t.Context(), to, Parcel{N: n}) },
			"fires":   func(to actor.Ref, n int) error { return actor.Tell(t.Context(), to, Fire{N: n}) },
		} {
			r, dead := new(Reception), letters(t, b)
			spawn(t, b, what, r.kind(byClass...), actor.Mailbox(mailbox.Config{Capacity: 64, Backlog: 2048}))
			for n := range flood {
				if err := m(a.Ref(what+"@b"), n); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(strings.Fields(r.read())); got != flood || len(dead()) != 0 {
				t.Errorf("%d of %d %s were handled; dead letters: %v", got, flood, what, len(dead()))
			}
		}
		wantNothingHeld(t, b)
	})
}

// An actor with an order that is idle ends, and one with messages does not.
func TestOrderedIdle(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, r := newSystem(t, actor.Config{Logger: quiet}), new(Reception)
		x := spawn(t, sys, "x", r.kind(append(byClass, actor.Idle(time.Minute))...))
		for n := range 5 {
			time.Sleep(59 * time.Second)
			send(t, t.Context(), x, fmt.Sprint("flyer", n))
		}
		if got := r.read(); got != "flyer0 flyer1 flyer2 flyer3 flyer4" {
			t.Errorf("handled %s", got)
		}
		time.Sleep(2 * time.Minute)
		_, err := actor.Call(t.Context(), x, Fire{N: 1})
		wantErr(t, "an idle one", err, rpc.NotFound, rpc.NotRun)
	})
}

// What is wrong with an order is said when it is given.
func TestOrderMisuse(t *testing.T) {
	for _, class := range []mailbox.Class{mailbox.Low - 1, mailbox.Urgent + 1, 100, -100} {
		func() {
			defer func() {
				if why := fmt.Sprint(recover()); !strings.Contains(why, "actor.PriorityOf[actor_test.Fire]: there is no class(") {
					t.Errorf("%d: %v", class, why)
				}
			}()
			actor.PriorityOf[Fire](class)
		}()
	}
	sys := newSystem(t, actor.Config{Logger: quiet})
	for _, c := range []mailbox.Config{{Overtake: -1}, {PerSender: 3}, {Fair: true, PerSender: -1}} {
		for _, opt := range []actor.SpawnOption{actor.Mailbox(c), actor.Pool(1, route.Random(), actor.Mailbox(c))} {
			if _, err := sys.Spawn("", PuppetKind, opt); err == nil {
				t.Errorf("%+v was taken", c)
			}
		}
	}
}

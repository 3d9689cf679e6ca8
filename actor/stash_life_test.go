package actor_test

// What becomes of what was put aside when its actor is restarted or ends, and when a road is lost.

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// After a restart the actor has its kind's own handlers, and what was put aside comes first.
func TestStashSurvivesARestart(t *testing.T) {
	for _, how := range []string{"crash", "exit", "open, then crash"} {
		t.Run(how, func(t *testing.T) {
			shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
				f := actor.Ask(t.Context(), to, Ticket{N: 1})
				synctest.Wait()
				tell(t, to, Walk{N: 2})
				synctest.Wait()
				unplug := make(chan struct{})
				fails := actor.Ask(t.Context(), b.Ref("gate"), run(func(ctx *actor.Context) (string, error) {
					<-unplug
					switch how {
					case "exit":
						tell(t, to, Walk{Does: "exit"})
					case "crash":
						tell(t, to, Walk{Does: "crash"})
					default:
						ctx.Unbecome()
						ctx.Unstash()
						panic("on purpose")
					}
					return "", nil
				}))
				synctest.Wait()
				tell(t, to, Walk{N: 3})
				synctest.Wait()
				close(unplug)
				if _, err := fails.Await(t.Context()); how == "open, then crash" {
					wantErr(t, "the request that crashed", err, rpc.Panicked, rpc.HasRun)
					d.want(t, "1", "2", "3")
				} else { // 3 came before the crash, and was put aside
					d.want(t, "1", "2", "3")
				}
				if r, err := f.Await(t.Context()); r != "1" || err != nil {
					t.Errorf("%q, %v", r, err)
				}
				if a := inspected(t, b, "gate"); a.Behaviour != "" || a.Stashed != 0 || a.Restarts != 1 {
					t.Errorf("after the restart: %+v", a)
				}
			})
		})
	}
}

// When the actor ends, requests learn that they have not run, and one-way messages are dead letters.
func TestStashOfAnActorThatEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *actor.System){
		"Stop":    func(t *testing.T, b *actor.System) { _ = b.Stop(t.Context(), b.Ref("gate")) },
		"StopNow": func(t *testing.T, b *actor.System) { _ = b.StopNow(t.Context(), b.Ref("gate")) },
		"itself": func(t *testing.T, b *actor.System) {
			inside(t, b.Ref("gate"), func(ctx *actor.Context) error { ctx.Unstash(); ctx.Stop(); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
				dead := letters(t, b)
				f := actor.Ask(t.Context(), to, Ticket{N: 1}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
				synctest.Wait()
				tell(t, to, Walk{N: 2})
				tok, err := actor.Submit(t.Context(), to, Ticket{N: 3})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				end(t, b)
				_, err = f.Await(t.Context())
				wantErr(t, "a request", err, rpc.Unavailable, rpc.NotRun)
				_, err = tok.Await(t.Context())
				wantErr(t, "a job", err, rpc.Unavailable, rpc.NotRun)
				d.want(t, "stops")
				got := dead()
				if len(got) != 1 || rpc.CodeOf(got[0].Reason) != rpc.Unavailable || rpc.Ran(got[0].Reason) != rpc.NotRun {
					t.Fatalf("dead letters: %+v", got)
				}
				if from := actor.SystemOf(to); from != b && got[0].From == "" {
					t.Errorf("it is from nobody: %+v", got[0])
				}
				again := spawn(t, b, "again", gateKind(d, 0))
				if err := b.ResendLetter(t.Context(), got[0].ID, again); err != nil {
					t.Error(err)
				}
				d.want(t, "2")
			})
		})
	}
}

// A shutdown hands back what was put aside, and callers can try elsewhere.
func TestStashAndShutdown(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		d := new(Diary)
		to := a.Ref(spawn(t, b, "gate", gateKind(d, 0)).String())
		tell(t, to, Walk{Does: "shut"})
		f := actor.Ask(t.Context(), to, Ticket{N: 1}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		synctest.Wait()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := f.Await(t.Context())
		if rpc.Ran(err) != rpc.NotRun {
			t.Errorf("%v", err)
		}
		d.want(t, "stops")
	})
}

// A request stays put aside while all roads are lost, and is answered once.
func TestStashWhileTheRoadIsLost(t *testing.T) {
	for _, road := range []string{"direct", "bus"} {
		t.Run(road, func(t *testing.T) {
			world(t, []string{road}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
				d := new(Diary)
				to := a.Ref(spawn(t, b, "gate", gateKind(d, 0)).String())
				tell(t, to, Walk{Does: "shut"})
				var all []*rpc.Future[string]
				for n := range 3 {
					all = append(all, actor.Ask(t.Context(), to, Ticket{N: n + 1}))
				}
				synctest.Wait()
				net.Partition(road, "a", "b")
				net.Reset(road, "a", "b")
				time.Sleep(time.Second)
				tell(t, b.Ref("gate"), Walk{Does: "open"})
				time.Sleep(time.Second)
				net.Heal(road, "a", "b")
				for n, f := range all {
					if r, err := f.Await(t.Context()); r != fmt.Sprint(n+1) || err != nil {
						t.Errorf("%d: %q, %v", n+1, r, err)
					}
				}
				d.want(t, "3 back", "1", "2", "3")
			})
		})
	}
}

// An actor that has put something aside is not idle.
func TestStashIsNotIdle(t *testing.T) {
	shutGate(t, 0, func(t *testing.T, b *actor.System, to actor.Ref, d *Diary) {
		tell(t, to, Walk{N: 1})
		time.Sleep(time.Minute)
		d.want(t)
		tell(t, to, Walk{Does: "open"})
		d.want(t, "1 back", "1")
		time.Sleep(time.Minute)
		d.want(t, "stops")
	}, actor.Idle(5*time.Second))
}

package actor_test

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/test/bubble"
)

var byCustomer = route.ByKey(func(m keyed) string { return m.Key() })

// Each policy, for one-way messages and requests, from the same node and over each road.
func TestPoolPolicies(t *testing.T) {
	for name, by := range map[string]route.Policy{"round robin": route.RoundRobin(), "random": route.Random(), "least busy": route.LeastBusy(), "by key": byCustomer, "broadcast": route.Broadcast(), "first of 2": route.FirstOf(2)} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
				d := newDesk()
				local := spawn(t, b, "desk", d.clerks(), actor.Pool(3, by))
				ref := bind(local)
				const each = 20
				tickets(t, ref, "ann bob cid", each)
				synctest.Wait()
				time.Sleep(time.Second)
				lines := d.read()
				copies := 1
				if name == "broadcast" {
					copies = 3
				}
				if len(lines) != 3*each*copies {
					t.Fatalf("%d tickets were handled, want %d", len(lines), 3*each*copies)
				}
				node := "b"
				if bindsAfar(ref) {
					node = "a"
				}
				last, by := map[string]int{}, map[string]map[string]bool{}
				workers := map[string]int{}
				for _, line := range lines {
					var customer, from string
					var n, who int
					fmt.Sscanf(strings.Replace(line, ":", " ", 1), "%d %s %d by %s", &who, &customer, &n, &from)
					if from != node {
						t.Fatalf("a ticket is from node %s, want %s", from, node)
					}
					key := fmt.Sprint(who, customer)
					if before, ok := last[key]; ok && n <= before {
						t.Errorf("worker %d got ticket %d of %s after %d", who, n, customer, before)
					}
					last[key] = n
					if by[customer] == nil {
						by[customer] = map[string]bool{}
					}
					by[customer][fmt.Sprint(who)] = true
					workers[fmt.Sprint(who)]++
				}
				switch name {
				case "round robin", "broadcast":
					if want := map[string]int{"1": each * copies, "2": each * copies, "3": each * copies}; !maps.Equal(workers, want) {
						t.Errorf("tickets by worker: %v", workers)
					}
				case "by key":
					for customer, who := range by {
						if len(who) != 1 || !who[askWho(t, ref, customer)] {
							t.Errorf("%s was served by %v, and then by %s", customer, who, askWho(t, ref, customer))
						}
					}
				case "random":
					if len(workers) != 3 {
						t.Errorf("tickets by worker: %v", workers)
					}
				}
				who, err := actor.Call(t.Context(), ref, Whom{Customer: "dan"})
				if name == "broadcast" {
					wantErr(t, "a request that is broadcast", err, rpc.Invalid, rpc.NotRun)
				} else if err != nil || who == "" {
					t.Errorf("%q, %v", who, err)
				}
			})
		})
	}
}

// bindsAfar reports whether r is a ref of system a.
func bindsAfar(r actor.Ref) bool { return actor.SystemOf(r).Name() == "a" }

// Jobs and streams of a pool run in its workers.
func TestPoolOfJobsAndStreams(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		for _, by := range []route.Policy{route.RoundRobin(), route.FirstOf(2)} {
			kind := actor.Define("test.mixed", func() int { return 0 },
				actor.Answer(func(_ int, ctx *actor.Context, m Whom) (string, error) { return number(ctx), nil }),
				actor.Produce(func(_ int, ctx *actor.Context, m Series) (iter.Seq2[int, error], error) {
					return func(yield func(int, error) bool) { _ = yield(1, nil) && yield(2, nil) }, nil
				}))
			ref := bind(spawn(t, b, "", kind, actor.Pool(2, by)))
			tok, err := actor.Submit(t.Context(), ref, Whom{})
			if err != nil {
				t.Fatal(err)
			}
			if who, err := tok.Await(t.Context()); err != nil || who == "" {
				t.Errorf("the job: %q, %v", who, err)
			}
			sum := 0
			for n, err := range actor.Stream(t.Context(), ref, Series{}) {
				if err != nil {
					t.Error(err)
				}
				sum += n
			}
			if sum != 3 {
				t.Errorf("the stream: %d", sum)
			}
		}
	})
}

// What is wrong is said at Spawn, or to the sender.
func TestPoolMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		sys := newSystem(t, actor.Config{Logger: quiet})
		for what, opt := range map[string]actor.SpawnOption{
			"no workers":      actor.Pool(0, route.Random()),
			"too many":        actor.Pool(route.MaxWorkers+1, route.Random()),
			"first of nobody": actor.Pool(1, route.FirstOf(0)),
			"a pool of pools": actor.Pool(1, route.Random(), actor.Pool(1, route.Random())),
			"a service":       actor.Pool(1, route.Random(), actor.Expose("desk")),
			"a wrong mailbox": actor.Pool(1, route.Random(), small(-1, mailbox.Block)),
		} {
			if _, err := sys.Spawn("desk", d.clerks(), opt); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		bad := actor.Define("test.bad", func() deskman { panic("no state") }, actor.Answer(deskman.Whom))
		if _, err := sys.Spawn("desk", bad, actor.Pool(2, route.Random())); err == nil {
			t.Error("a pool of workers that cannot be made")
		}
		synctest.Wait()
		spawn(t, sys, "taken/2", d.clerks())
		taken := spawn(t, sys, "taken", d.clerks(), actor.Pool(2, route.RoundRobin()))
		if a, b := askWho(t, taken, ""), askWho(t, taken, ""); a+b != "13" {
			t.Errorf("the workers are %s and %s; a name was taken", a, b)
		}
		lost := letters(t, sys)
		ref := spawn(t, sys, "desk", d.clerks(), actor.Pool(2, byCustomer))
		_, err := actor.Call(t.Context(), ref, Linger{})
		wantErr(t, "a message without a key", err, rpc.Invalid, rpc.NotRun)
		tell(t, ref, note(func(*actor.Context) {}))
		if all := lost(); len(all) != 1 || rpc.CodeOf(all[0].Reason) != rpc.Invalid {
			t.Errorf("dead letters %v", all)
		}
		panics := spawn(t, sys, "panics", d.clerks(), actor.Pool(2, route.ByKey(func(Whom) string { panic("no key") })))
		exits := spawn(t, sys, "exits", d.clerks(), actor.Pool(2, route.ByKey(func(Whom) string { exit().F(nil); return "" })))
		for _, ref := range []actor.Ref{panics, exits} {
			for range 2 {
				_, err = actor.Call(t.Context(), ref, Whom{})
				wantErr(t, "a key function that panics", err, rpc.Invalid, rpc.NotRun)
			}
		}
		if err := sys.Resize(t.Context(), ref, 0); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("Resize to nothing: %v", err)
		}
		if err := sys.Resize(t.Context(), sys.Ref("desk/1"), 3); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("Resize of no pool: %v", err)
		}
		if err := sys.Resize(t.Context(), sys.Ref("nobody"), 3); rpc.CodeOf(err) != rpc.NotFound {
			t.Errorf("Resize of nobody: %v", err)
		}
		if err := sys.Resize(t.Context(), actor.Ref{}, 3); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("Resize of the zero ref: %v", err)
		}
	})
}

// Other nodes cannot address workers.
func TestPoolHidesWorkers(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		d := newDesk()
		spawn(t, b, "desk", d.clerks(), actor.Pool(2, route.RoundRobin()))
		_, err := actor.Call(t.Context(), a.Ref("desk/1@b"), Whom{})
		wantErr(t, "a worker", err, rpc.Denied, rpc.NotRun)
	})
}

// A message that finds one worker full goes to another one; if all are full, it waits in the pool's
// mailbox, and when that is full, the pool's policy decides. Nothing is lost.
func TestPoolFull(t *testing.T) {
	for _, by := range []route.Policy{route.RoundRobin(), route.Random(), route.LeastBusy(), route.Broadcast()} {
		t.Run(by.String(), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				d := newDesk()
				sys := newSystem(t, actor.Config{Logger: quiet})
				ref := spawn(t, sys, "desk", d.clerks(), small(4, mailbox.Refuse), actor.Pool(2, by, small(2, mailbox.DropNewest)))
				one := plug(t, sys.Ref("desk/1"))
				two := plug(t, sys.Ref("desk/2"))
				accepted := 0
				for {
					if err := actor.Tell(t.Context(), ref, Slip{"ann", accepted}); err != nil {
						wantErr(t, "a full pool", err, rpc.Overloaded, rpc.NotRun)
						break
					}
					synctest.Wait()
					accepted++
				}
				if want := map[bool]int{true: 2 + 1 + 4, false: 2*2 + 1 + 4}[by.Broadcasts()]; accepted != want {
					t.Errorf("%d were accepted, want %d", accepted, want)
				}
				st, err := sys.PoolStats(ref)
				if err != nil || st.Waiting != 4 || len(st.Workers) != 2 || st.Workers[0].Load != 3 || st.Workers[1].Name != "desk/2" {
					t.Errorf("%+v, %v", st, err)
				}
				one()
				synctest.Wait()
				if by.Broadcasts() {
					two()
				}
				n := 0
				for _, got := range d.counts() {
					n += got
				}
				if want := accepted - 2; !by.Broadcasts() && n != want { // two are in the mailbox of the one that is still busy
					t.Errorf("%d were handled by one, want %d", n, want)
				} else if by.Broadcasts() && n != 2*accepted {
					t.Errorf("%d were handled, want %d", n, 2*accepted)
				}
				two()
			})
		})
	}
}

// With keys, one full worker holds the others' messages up, rather than that a message goes astray.
func TestPoolFullByKey(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "desk", d.clerks(), actor.Pool(4, byCustomer, small(1, mailbox.Block)))
		who := askWho(t, ref, "ann")
		unplug := plug(t, sys.Ref("desk/"+who))
		tickets(t, ref, "ann", 5)
		tickets(t, ref, "bob cid dan eve fay", 1)
		early := d.counts()
		unplug()
		late := d.counts()
		if len(early) != 0 || late[who] < 5 {
			t.Errorf("at first %v, then %v; ann's worker is %s", early, late, who)
		}
	})
}

// The least busy worker is found by what it has in hand, too.
func TestPoolLeastBusy(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "desk", d.clerks(), actor.Pool(3, route.LeastBusy()))
		one, three := plug(t, sys.Ref("desk/1")), plug(t, sys.Ref("desk/3"))
		for range 5 {
			synctest.Wait() // a worker is busy until it has looked for its next message
			if who := askWho(t, ref, ""); who != "2" {
				t.Errorf("worker %s, want the idle one", who)
			}
		}
		one()
		three()
	})
}

// A worker that fails is restarted; one that ends is taken out, and with the last one the pool ends.
func TestPoolWorkersFail(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "desk", d.clerks(actor.Supervise(actor.Strategy{Max: 1})), actor.Pool(2, route.RoundRobin()))
		fail := func() {
			_, err := actor.Call(t.Context(), ref, Blunder{})
			wantErr(t, "a worker that panics", err, rpc.Panicked, rpc.HasRun)
			synctest.Wait()
		}
		size := func() int {
			st, _ := sys.PoolStats(ref)
			return len(st.Workers)
		}
		events := sys.Events(t.Context(), actor.ActorStopped)
		next := func() actor.Event {
			t.Helper()
			synctest.Wait()
			if len(events) == 0 {
				t.Fatal("no actor has stopped")
			}
			return <-events
		}
		fail()
		fail()
		if n := size(); n != 2 {
			t.Errorf("%d workers after a restart of each", n)
		}
		fail()
		if e := next(); e.Actor != "desk/1@local" || e.Err == nil || size() != 1 {
			t.Errorf("%+v, and %d workers are left", e, size())
		}
		if err := sys.Resize(t.Context(), ref, 2); err != nil || size() != 2 {
			t.Errorf("%v, %d workers after Resize", err, size())
		}
		if a, b := askWho(t, ref, ""), askWho(t, ref, ""); a == b {
			t.Errorf("workers %s and %s", a, b)
		}
		for range 3 { // the new worker fails twice, and the other one for the second time
			fail()
		}
		for range 2 {
			next()
		}
		if e := next(); e.Actor != "desk@local" || e.Err == nil {
			t.Errorf("the pool's end: %+v", e)
		}
		if _, err := actor.Call(t.Context(), ref, Whom{}); rpc.CodeOf(err) != rpc.NotFound {
			t.Errorf("a pool without workers: %v", err)
		}
		if len(events) > 0 {
			t.Errorf("another event: %+v", <-events)
		}
	})
}

// A failure that a worker escalates fails the pool's parent, which makes the pool anew.
func TestPoolEscalates(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		var diary Diary
		clerks := d.clerks(actor.Supervise(actor.Strategy{Decide: func(supervise.Failure) supervise.Directive { return supervise.Escalate }}))
		parent := diarist(&diary, func(k *Diarist) {
			k.onStart = func(ctx *actor.Context) error {
				_, err := ctx.Spawn("desk", clerks, actor.Pool(2, route.RoundRobin()))
				return err
			}
		})
		sys := newSystem(t, actor.Config{Logger: quiet})
		spawn(t, sys, "p", parent)
		synctest.Wait()
		ref := sys.Ref("p/desk")
		_, err := actor.Call(t.Context(), ref, Blunder{})
		wantErr(t, "a worker that panics", err, rpc.Panicked, rpc.HasRun)
		diary.want(t, "p/1 started", "p/1 restarting", "p/2 started")
		if one, two := askWho(t, ref, ""), askWho(t, ref, ""); one == two {
			t.Error("the new pool has one worker")
		}
	})
}

// A pool that is restarted because of a sibling makes its workers anew, and keeps what waits.
func TestPoolRestartsWithSiblings(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		var diary Diary
		all := diarist(&diary, nil, actor.Supervise(actor.Strategy{AllForOne: true}))
		parent := diarist(&diary, func(k *Diarist) {
			k.onStart = func(ctx *actor.Context) error {
				_, one := ctx.Spawn("desk", d.clerks(), actor.Pool(2, route.RoundRobin(), small(1, mailbox.Block)))
				_, two := ctx.Spawn("sibling", all)
				return errors.Join(one, two)
			}
		})
		sys := newSystem(t, actor.Config{Logger: quiet})
		spawn(t, sys, "p", parent)
		synctest.Wait()
		ref := sys.Ref("p/desk")
		one, two := plug(t, sys.Ref("p/desk/1")), plug(t, sys.Ref("p/desk/2"))
		tickets(t, ref, "ann", 5)
		synctest.Wait()
		tell(t, sys.Ref("p/sibling"), crash())
		synctest.Wait()
		one()
		two()
		n := 0
		for _, got := range d.counts() {
			n += got
		}
		if n != 3 { // the workers' mailboxes had the other two
			t.Errorf("%d tickets were handled, want the 3 that waited in the pool", n)
		}
	})
}

// Resize while messages come: each is handled once. Workers that go finish what waits.
func TestPoolResize(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		for _, by := range []route.Policy{route.RoundRobin(), route.LeastBusy(), byCustomer, route.Broadcast()} {
			d := newDesk()
			local := spawn(t, b, "", d.clerks(), actor.Pool(1, by, small(2, mailbox.Block)))
			ref := bind(local)
			for i, n := range []int{5, 2, 9, 1, 3} {
				tickets(t, ref, "ann bob", 10)
				if err := b.Resize(t.Context(), local, n); err != nil {
					t.Error(err)
				}
				if st, err := b.PoolStats(local); err != nil || len(st.Workers) != n {
					t.Errorf("%v, %v after Resize %d to %d", st, err, i, n)
				}
			}
			time.Sleep(time.Second)
			n := 0
			for _, got := range d.counts() {
				n += got
			}
			if !by.Broadcasts() && n != 100 || n < 100 {
				t.Errorf("%v: %d tickets were handled, want 100", by, n)
			}
		}
	})
}

// Stop has the workers finish; StopNow hands back what waits. The workers end first.
func TestPoolStops(t *testing.T) {
	for _, now := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			d := newDesk()
			sys := newSystem(t, actor.Config{Logger: quiet})
			lost, events := letters(t, sys), sys.Events(t.Context(), actor.ActorStopped)
			ref := spawn(t, sys, "desk", d.clerks(), actor.Pool(2, route.RoundRobin(), small(2, mailbox.Block)))
			one, two := plug(t, sys.Ref("desk/1")), plug(t, sys.Ref("desk/2"))
			tickets(t, ref, "ann", 10)
			synctest.Wait()
			stopped := make(chan error, 1)
			go func() {
				if now {
					stopped <- sys.StopNow(t.Context(), ref)
				} else {
					stopped <- sys.Stop(t.Context(), ref)
				}
			}()
			synctest.Wait()
			one()
			synctest.Wait() // now only the other worker has messages left
			two()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			handled := 0
			for _, n := range d.counts() {
				handled += n
			}
			if dead := len(lost()); now && (dead != 10 || handled != 0) || !now && (dead != 0 || handled != 10) {
				t.Errorf("now %v: %d handled, %d dead letters", now, handled, dead)
			}
			for i := range 3 {
				if e := <-events; (e.Actor == "desk@local") != (i == 2) {
					t.Errorf("%s ended as number %d", e.Actor, i)
				}
			}
		})
	}
}

// StopNow after a Stop that takes long, and a shutdown with messages in a full pool.
func TestPoolStopsTwice(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d := newDesk()
		sys := newSystem(t, actor.Config{Logger: quiet})
		ref := spawn(t, sys, "desk", d.clerks(), actor.Pool(2, route.RoundRobin()))
		unplug := plug(t, sys.Ref("desk/1"))
		tickets(t, ref, "ann", 10)
		synctest.Wait()
		go sys.Stop(t.Context(), ref)
		synctest.Wait()
		actor.Halt(sys, ref)
		synctest.Wait()
		unplug()
		if got := d.counts(); got["1"] != 0 || got["2"] != 5 {
			t.Errorf("handled: %v", got)
		}
		ref = spawn(t, sys, "desk", d.clerks(), actor.Pool(2, route.RoundRobin(), small(1, mailbox.Block)))
		tickets(t, ref, "ann", 50)
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := d.counts(); got["1"]+got["2"] != 50 {
			t.Errorf("handled at shutdown: %v", got)
		}
	})
}

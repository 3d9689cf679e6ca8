package engine

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// again returns a request like the one of request, with a policy of retries.
func again(to, body string, timeout time.Duration) client.Request {
	r := request(to, body, timeout)
	r.Retry = &rpc.Retry{}
	return r
}

// spent returns how many of the 100 retries in a node's budget are spent. To find out, it
// spends the others and earns them again.
func (s *site) spent() float64 {
	left := 0
	for s.budget.Spend() {
		left++
	}
	for range 11 * left { // each earns a tenth
		s.budget.Earn()
	}
	return float64(100 - left)
}

// All requests to a node that is away wait for it until their deadlines, and this costs nothing
// of the retry budget.
func TestWaitingForANodeCostsNothing(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
			a.echoes("b", "warm up")
			b.crash(false)
			var all []*rpc.Future[string]
			for i := range 400 {
				f, _ := a.send(again("b", fmt.Sprint(i), 40*time.Second))
				all = append(all, f)
			}
			time.Sleep(10 * time.Second)
			r.start("b", "b2", roads)
			for i, f := range all {
				if got, err := f.Await(t.Context()); got != fmt.Sprint(i) || err != nil {
					t.Errorf("%v: %q, %v", roads, got, err)
				}
			}
			if s := a.spent(); s != 0 {
				t.Errorf("%v: %v of the budget are spent", roads, s)
			}
		})
	}
}

// The wait for a node ends at the deadline at the latest. The error says that the request did
// not run, and why.
func TestWaitingForANodeEnds(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		b.crash(false)
		began := time.Now()
		f, _ := a.send(again("b", "x", 20*time.Second))
		_, err := f.Await(t.Context())
		if took := time.Since(began); took > 20*time.Second || took < 15*time.Second {
			t.Errorf("took %v", took)
		}
		if code := rpc.CodeOf(err); rpc.Ran(err) != rpc.NotRun || code != rpc.Unavailable && code != rpc.Expired {
			t.Errorf("%v, ran: %v", err, rpc.Ran(err))
		}
	})
}

// Durable requests that had not started when their node was lost are retried, however many they
// are.
func TestRestartCostsNothing(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		b.mu.Lock()
		b.serve = func(*server.Inbound) {} // the request stays in a mailbox
		b.mu.Unlock()
		var all []*rpc.Future[string]
		for i := range 400 {
			f, _ := a.send(again("b", fmt.Sprint(i), 40*time.Second))
			all = append(all, f)
		}
		time.Sleep(time.Second)
		b.crash(false)
		time.Sleep(2 * time.Second)
		next := r.start("b", "b2", direct, d.config)
		next.durably(same)
		for i, f := range all {
			if got, err := f.Await(t.Context()); got != fmt.Sprint("got ", i) || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
		if s := a.spent(); s != 0 {
			t.Errorf("%v of the budget are spent", s)
		}
	})
}

// A retry of what a live node refuses costs a part of the budget. When the budget is spent,
// there are no more retries.
func TestRefusalsCost(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		served := 0
		b.mu.Lock()
		b.serve = func(in *server.Inbound) {
			b.mu.Lock()
			served++
			b.mu.Unlock()
			in.Fail(rpc.Errorf(rpc.Overloaded, rpc.NotRun, "no"))
		}
		b.mu.Unlock()
		var all []*rpc.Future[string]
		for i := range 400 {
			f, _ := a.send(again("b", fmt.Sprint(i), patience))
			all = append(all, f)
		}
		for _, f := range all {
			_, err := f.Await(t.Context())
			wantErr(t, "refused", err, rpc.Overloaded, rpc.NotRun)
		}
		if served != 500 || a.spent() != 100 {
			t.Errorf("%d attempts at 400 requests, %v of the budget spent", served, a.spent())
		}
	})
}

// LinkWait limits only how long requests and one-way messages wait for a link.
func TestLinkWait(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
			b.handle(func(_ *server.Inbound, body string) string { time.Sleep(5 * time.Second); return body })
			const wait = 600 * time.Millisecond
			bounded := func(body string) client.Request {
				req := request("b", body, patience)
				req.Rare = &client.Rare{LinkWait: wait}
				return req
			}
			check := func(what string, took time.Duration, err error) {
				t.Helper()
				wantErr(t, what, err, rpc.Unavailable, rpc.NotRun)
				if took < wait || took > wait+10*time.Millisecond {
					t.Errorf("%s took %v", what, took)
				}
			}
			r.net.Partition("", "b", "")
			began := time.Now()
			f, _ := a.send(bounded("x"))
			_, err := f.Await(t.Context())
			check("a request", time.Since(began), err)
			began = time.Now()
			err = a.Client.Tell(t.Context(), bounded("x"))
			check("a one-way message", time.Since(began), err)
			r.net.Heal("", "b", "")
			time.Sleep(10 * time.Second)
			f, _ = a.send(bounded("slow"))
			if got, err := f.Await(t.Context()); got != "slow" || err != nil {
				t.Errorf("a slow handler: %q, %v", got, err)
			}
			if err := a.Client.Tell(t.Context(), bounded("told")); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if got := b.received(); !slices.Equal(got, []string{"told"}) || b.ran("x") != 0 {
				t.Errorf("arrived: %q, x ran %d times", got, b.ran("x"))
			}
		})
	}
}

// tour is a Route through a list of nodes.
type tour struct {
	mu   sync.Mutex
	rest []string
	log  []string
	live bool
}

func (u *tour) Over(err *rpc.Error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.live {
		u.live = false
		word := "answered"
		if err != nil {
			word = err.Code.String()
		}
		u.log = append(u.log, word)
	}
}

func (u *tour) Untried() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.rest) > 0
}

func (u *tour) Next() (string, string, *rpc.Error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.rest) == 0 {
		return "", "", rpc.Errorf(rpc.Unavailable, rpc.NotRun, "nowhere to go")
	}
	node := u.rest[0]
	u.rest, u.live = u.rest[1:], true
	u.log = append(u.log, "to "+node)
	return node, "t", nil
}

// said returns what the tour was told.
func (u *tour) said() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.log)
}

// After an attempt that did not run, the next attempt is made at the next node at once. The
// Route is told of the end of each attempt, once.
func TestRoute(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b, c, d := r.start("a", "a1", direct), r.start("b", "b1", direct), r.start("c", "c1", direct), r.start("d", "d1", direct)
		refuse := func(code rpc.Code) func(*server.Inbound) {
			return func(in *server.Inbound) { in.Fail(rpc.Errorf(code, rpc.NotRun, "no")) }
		}
		b.serve, c.serve = refuse(rpc.Overloaded), refuse(rpc.Unhandled)
		d.handle(func(_ *server.Inbound, body string) string { time.Sleep(time.Second); return body })
		for _, node := range []string{"b", "c", "d"} {
			f, _ := a.send(request(node, "warm up", patience))
			_, _ = f.Await(t.Context())
		}
		start := func(nodes ...string) (*tour, client.Request) {
			u := &tour{rest: nodes}
			req := again("", "x", patience)
			req.Node, req.Target, _ = u.Next()
			req.Rare = &client.Rare{Route: u, LinkWait: time.Second / 2}
			return u, req
		}
		check := func(what string, u *tour, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := u.said(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		u, req := start("b", "c", "d")
		began := time.Now()
		f, _ := a.send(req)
		if got, err := f.Await(t.Context()); got != "x" || err != nil || time.Since(began) != time.Second {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
		check("refused twice", u, "to b", "overloaded", "to c", "unhandled", "to d", "answered")

		u, req = start("c")
		f, _ = a.send(req)
		_, err := f.Await(t.Context())
		wantErr(t, "nobody else", err, rpc.Unhandled, rpc.NotRun)
		check("nobody else", u, "to c", "unhandled")

		u, req = start("b", "d")
		f, call := a.send(req)
		time.Sleep(time.Second / 2)
		call.GiveUp(rpc.Canceled, "enough")
		_, err = f.Await(t.Context())
		wantErr(t, "given up", err, rpc.Canceled, rpc.Unknown)
		check("given up", u, "to b", "overloaded", "to d", "canceled")

		r.net.Partition("", "e", "")
		r.start("e", "e1", direct)
		u, req = start("e", "d")
		began = time.Now()
		f, _ = a.send(req)
		if _, err := f.Await(t.Context()); err != nil || time.Since(began) != time.Second*3/2 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		check("no link", u, "to e", "unavailable", "to d", "answered")

		u, req = start("d", "b")
		req.Timeout = time.Second / 2
		f, _ = a.send(req)
		_, err = f.Await(t.Context())
		wantErr(t, "too late", err, rpc.Expired, rpc.Unknown)
		check("too late", u, "to d", "expired")

		u, req = start("d", "b")
		f, _ = a.send(req)
		time.Sleep(time.Second / 2)
		a.Close()
		_, err = f.Await(t.Context())
		wantErr(t, "the system closes", err, rpc.Unavailable, rpc.Unknown)
		check("the system closes", u, "to d", "unavailable")
		time.Sleep(time.Minute)
	})
}

// Reach finds out whether a node lives and opens a link to it; Liveness reports what was found
// out.
func TestReach(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		live := a.Client.Liveness("b")
		if live.Linked() || live.Heard() != 0 {
			t.Error("nothing was asked for yet")
		}
		time.Sleep(time.Second)
		a.Client.Reach("b")
		time.Sleep(time.Second)
		if !live.Linked() || live.Heard() == 0 {
			t.Errorf("linked: %v, heard %v", live.Linked(), live.Heard())
		}
		before := live.Heard()
		time.Sleep(100 * time.Millisecond)
		a.Client.Reach("b")
		synctest.Wait()
		if live.Heard() <= before {
			t.Error("it lives, and was not heard")
		}
		r.net.Partition("", "b", "")
		before = a.Client.Now()
		time.Sleep(100 * time.Millisecond)
		a.Client.Reach("b")
		time.Sleep(time.Second)
		if live.Heard() > before {
			t.Error("nobody can have answered")
		}
		time.Sleep(time.Minute)
		if live.Linked() || live.Heard() != 0 {
			t.Error("its links are dead")
		}
		r.net.Heal("", "b", "")
		a.Client.Reach("b")
		time.Sleep(10 * time.Second)
		if !live.Linked() {
			t.Error("there is a way again")
		}
	})
}

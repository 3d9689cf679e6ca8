package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

type (
	deposit struct {
		actor.Returns[int]
		Amount int
	}
	note struct{ Text string }
	wait struct {
		actor.Returns[bool]
		For time.Duration
	}
)

func (deposit) WireName() string { return "bank.Deposit" }
func (note) WireName() string    { return "bank.Note" }

type account struct{ Sum int }

func (a *account) deposit(ctx *actor.Context, m deposit) (int, error) {
	if a.Sum+m.Amount < 0 {
		return 0, errPoor
	}
	a.Sum += m.Amount
	return a.Sum, nil
}

func (a *account) note(*actor.Context, note) error { return nil }

func (a *account) wait(ctx *actor.Context, m wait) (bool, error) {
	select {
	case <-time.After(m.For):
	case <-ctx.Done():
	}
	return true, nil
}

var (
	errPoor     = rpc.NewError("bank.poor", "not enough money")
	accountKind = actor.Define("account", func() *account { return new(account) },
		actor.Answer((*account).deposit), actor.Handle((*account).note), actor.Answer((*account).wait))
	jobsKind = actor.QueueKind[note]("jobs", queue.Config{Attempts: 1})
)

// world is nodes in memory, in a bubble.
type world struct {
	t   *testing.T
	net *memnet.Network
	reg *static.Registry
}

func newWorld(t *testing.T) *world {
	return &world{t, memnet.New(memnet.Config{Seed: 1}), static.New()}
}

// node starts a node with an admin actor.
func (w *world) node(name string, cfg admin.Config) *actor.System {
	w.t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(actor.Config{Name: name, Registry: w.reg, Transports: []transport.Transport{w.net.Transport("direct", true)},
		Kinds: []*actor.Kind{accountKind, jobsKind}, Logger: cfg.Logger,
		Principals: func(_ string, p transport.Peer) string { return "node:" + p.Node },
		Setup:      func(sys *actor.System) error { return admin.Open(sys, cfg) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	return sys
}

func ask[M actor.Question[R], R any](t *testing.T, c *admin.Cluster, node string, m M) R {
	t.Helper()
	r, err := admin.Ask(t.Context(), c, node, m)
	if err != nil {
		t.Fatalf("%T at %s: %v", m, node, err)
	}
	return r
}

// Nobody but the node's own program may anything, unless the Config names it, and each question has its right.
func TestRights(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		closed := w.node("closed", admin.Config{})
		open := w.node("open", admin.Config{Read: []string{"node:reader"}, Operate: []string{"node:op*"}})
		reader, operator, other := w.node("reader", admin.Config{}), w.node("operator", admin.Config{}), w.node("other", admin.Config{})
		for _, c := range []struct {
			from *actor.System
			to   string
			want [2]bool // it may read, and operate
		}{
			{closed, "closed", [2]bool{true, true}}, {open, "open", [2]bool{true, true}},
			{reader, "open", [2]bool{true, false}}, {operator, "open", [2]bool{true, true}}, {other, "open", [2]bool{}},
			{reader, "closed", [2]bool{}}, {operator, "closed", [2]bool{}}, {open, "closed", [2]bool{}},
		} {
			_, read := admin.Ask(t.Context(), admin.Of(c.from), c.to, admin.Node{})
			_, operate := admin.Ask(t.Context(), admin.Of(c.from), c.to, admin.DiscardLetters{})
			for i, err := range []error{read, operate} {
				if c.want[i] != (err == nil) || err != nil && (rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun) {
					t.Errorf("%s at %s, %d: %v", c.from.Name(), c.to, i, err)
				}
			}
		}
	})
}

// A gateway of the node cannot be used to be taken for the node itself.
func TestBehalfIsNotLocal(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sys := w.node("a", admin.Config{Read: []string{"web:ann"}})
		for who, want := range map[string]rpc.Code{"web:ann": 0, "web:bob": rpc.Denied, "node:a": rpc.Denied} {
			_, err := admin.Ask(t.Context(), admin.Of(sys, rpc.OnBehalfOf(who)), "a", admin.Node{})
			if err == nil && want != 0 || err != nil && rpc.CodeOf(err) != want {
				t.Errorf("%s: %v, want %v", who, err, want)
			}
		}
	})
}

// What there is to see of two nodes.
func TestViews(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.node("a", admin.Config{Read: []string{"node:b"}}), w.node("b", admin.Config{Read: []string{"node:a"}})
		ctx := t.Context()
		for _, name := range []string{"x", "y", "z"} {
			if _, err := a.Spawn(name, accountKind, actor.Expose("accounts")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Spawn("jobs", jobsKind); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := actor.Push(ctx, a.Ref("jobs@b"), note{fmt.Sprint("secret ", i)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := actor.Call(ctx, b.Service("accounts"), deposit{Amount: 5}); err != nil {
			t.Fatal(err)
		}
		if _, err := actor.Submit(ctx, b.Ref("x@a"), deposit{Amount: 5}); err != nil {
			t.Fatal(err)
		}
		if err := actor.Tell(ctx, b.Ref("nobody@a"), note{"secret letter"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c := admin.Of(b)
		if nodes, err := c.Nodes(ctx); err != nil || !reflect.DeepEqual(nodes, []string{"a", "b"}) {
			t.Errorf("nodes %q, %v", nodes, err)
		}
		if i := ask(t, c, "a", admin.Node{}); i.Name != "a" || i.Epoch != a.Epoch() || i.Stats.Actors == 0 || i.Goroutines == 0 || i.Heap == 0 {
			t.Errorf("%+v", i)
		}
		if i := ask(t, c, "", admin.Peers{}); len(i.Peers) != 1 || i.Peers[0].Node != "a" || !i.Peers[0].Up || i.Peers[0].Road != "direct" || i.Peers[0].Requests < 2 || len(i.Peers[0].Links) == 0 {
			t.Errorf("%+v", i)
		}
		if i := ask(t, c, "a", admin.Sessions{}); len(i.Sessions) != 1 || i.Sessions[0].Node != "b" || i.Sessions[0].Principal != "node:b" || i.Sessions[0].Served < 2 {
			t.Errorf("%+v", i)
		}
		services := ask(t, c, "b", admin.Services{}).Services
		if len(services) != 1 || services[0].Name != "accounts" || !services[0].Used || len(services[0].Instances) != 3 || services[0].Policy != "least loaded" {
			t.Errorf("%+v", services)
		}
		if services := ask(t, c, "a", admin.Services{Name: "accounts"}).Services; len(services) != 1 || services[0].Used || len(services[0].Instances) != 3 {
			t.Errorf("%+v", services)
		}
		if i := ask(t, c, "a", admin.Jobs{}); len(i.Jobs) != 1 || i.Jobs[0].Actor != "x" || i.Jobs[0].State != "done" || len(i.Jobs[0].ID) != 8 {
			t.Errorf("%+v", i)
		}
		if i := ask(t, c, "b", admin.Queues{}); len(i.Queues) != 1 || i.Queues[0].Name != "jobs" || i.Queues[0].Depth != 3 || i.Queues[0].Error != "" || !strings.Contains(i.Queues[0].Item, "note") {
			t.Errorf("%+v", i)
		}
		letters := ask(t, c, "a", admin.Letters{}).Letters
		if len(letters) != 1 || letters[0].To != "nobody@a" || letters[0].Code != "not found" || letters[0].State != "undelivered" {
			t.Errorf("%+v", letters)
		}
		events := ask(t, c, "a", admin.Events{})
		if len(events.Events) == 0 || events.Next != events.Events[len(events.Events)-1].Number {
			t.Errorf("%+v", events)
		}
		for _, r := range admin.All(ctx, c, admin.Actors{Kind: "account"}) {
			if want := map[string]int{"a": 3, "b": 0}[r.Node]; r.Err != nil || len(r.Reply.Actors) != want {
				t.Errorf("%+v", r)
			}
		}
	})
}

// A queue is managed, its items are shown to those who may operate only, and their tokens are good for nothing else.
func TestManageQueue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{Read: []string{"node:reader"}})
		reader := w.node("reader", admin.Config{})
		ref, err := a.Spawn("jobs", jobsKind)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := actor.Push(t.Context(), ref, note{fmt.Sprint("secret ", i)}); err != nil {
				t.Fatal(err)
			}
		}
		c := admin.Of(a)
		items := ask(t, c, "a", admin.QueueItems{Queue: "jobs", Content: true}).Items
		if len(items) != 3 || string(items[0].Content) != `{"Text":"secret 0"}` {
			t.Fatalf("%+v", items)
		}
		if _, err := admin.Ask(t.Context(), admin.Of(reader), "a", admin.QueueItems{Queue: "jobs", Content: true}); rpc.CodeOf(err) != rpc.Denied {
			t.Errorf("a reader sees the content: %v", err)
		}
		if items := ask(t, admin.Of(reader), "a", admin.QueueItems{Queue: "jobs"}).Items; len(items) != 3 || items[0].Content != nil {
			t.Errorf("%+v", items)
		}
		if done := ask(t, c, "a", admin.ManageQueue{Queue: "jobs", Do: "cancel", Tokens: []string{items[1].Token, "0-0000000000000000-0000000000000000"}}); done.Count != 1 || len(done.Failed) != 1 {
			t.Errorf("%+v", done)
		}
		ask(t, c, "a", admin.ManageQueue{Queue: "jobs", Do: "pause"})
		if q := ask(t, c, "a", admin.Queues{}).Queues; !q[0].Paused || q[0].Depth != 2 {
			t.Errorf("%+v", q)
		}
		if done := ask(t, c, "a", admin.ManageQueue{Queue: "jobs", Do: "purge"}); done.Count != 2 {
			t.Errorf("%+v", done)
		}
		for _, bad := range []admin.ManageQueue{{Queue: "jobs"}, {Queue: "jobs", Do: "cancel"}, {Queue: "jobs", Do: "pause", Tokens: []string{"0-0-0"}}, {Queue: "jobs", Do: "revive", Tokens: []string{"x"}},
			{Queue: "jobs", Do: "cancel", Tokens: make([]string, admin.MaxPage+1)}, {Queue: "none", Do: "pause"}, {Queue: "admin", Do: "pause"}} {
			if _, err := admin.Ask(t.Context(), c, "a", bad); rpc.Ran(err) == rpc.Unknown || err == nil {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// Messages are sent for the principal that asks, and what becomes of them is told as it is.
func TestInvoke(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		if _, err := a.Spawn("x", accountKind); err != nil {
			t.Fatal(err)
		}
		c := admin.Of(a)
		typ := "bank.Deposit"
		if r := ask(t, c, "a", admin.Invoke{To: "x@a", Type: typ, Body: []byte(`{"Amount": 5}`), Key: "k"}); string(r.Body) != "5" || r.Error != nil || r.Replayed {
			t.Errorf("%+v", r)
		}
		if r := ask(t, c, "a", admin.Invoke{To: "x@a", Type: typ, Body: []byte(`{"Amount": 5}`), Key: "k"}); string(r.Body) != "5" || !r.Replayed {
			t.Errorf("%+v", r)
		}
		if r := ask(t, c, "a", admin.Invoke{To: "x@a", Type: typ, Body: []byte(`{"Amount": -50}`)}); r.Error == nil || r.Error.User != "bank.poor" || r.Error.Ran != "ran" {
			t.Errorf("%+v", r.Error)
		}
		if r := ask(t, c, "a", admin.Invoke{To: "x@a", Type: typ, Body: []byte(`{"Amount": "five"}`)}); r.Error == nil || r.Error.Ran != "not run" {
			t.Errorf("%+v", r.Error)
		}
		if r := ask(t, c, "a", admin.Invoke{To: "x@a", Type: "bank.Note", How: "tell"}); r.Error != nil {
			t.Errorf("%+v", r.Error)
		}
		r := ask(t, c, "a", admin.Invoke{To: "x@a", Type: typ, Body: []byte(`{"Amount": 5}`), How: "submit"})
		if r.Token == "" {
			t.Fatalf("%+v", r)
		}
		if s := ask(t, c, "a", admin.Job{Token: r.Token, Do: "await"}); s.State != "done" || string(s.Result) != "10" {
			t.Errorf("%+v", s)
		}
	})
}

// A node answers up to MaxQuestions questions at a time, refuses one beyond that, and answers again when one is done.
func TestQuestionsAtATime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		c := admin.Of(a)
		last := ask(t, c, "a", admin.Events{}).Next
		results := make(chan error, admin.MaxQuestions)
		for range admin.MaxQuestions {
			go func() {
				_, err := admin.Ask(t.Context(), c, "a", admin.Events{After: last, Wait: 10 * time.Second})
				results <- err
			}()
		}
		synctest.Wait()
		if _, err := admin.Ask(t.Context(), c, "a", admin.Node{}); rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("one question more: %v", err)
		}
		for range admin.MaxQuestions {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		ask(t, c, "a", admin.Node{})
	})
}

// Pages have all there is, each once, and are no larger than they may be.
func TestPages(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		const n = admin.MaxPage + 7
		for i := range n {
			if _, err := a.Spawn(fmt.Sprintf("x%04d", i), accountKind); err != nil {
				t.Fatal(err)
			}
		}
		c := admin.Of(a)
		for _, size := range []int{0, 1, 333, admin.MaxPage, admin.MaxPage + 1} {
			want := size
			if size == 0 {
				want = admin.DefaultPage
			}
			want = min(want, admin.MaxPage)
			seen, pages := 0, 0
			for after := ""; ; pages++ {
				i := ask(t, c, "a", admin.Actors{Prefix: "x", After: after, Limit: size})
				for _, at := range i.Actors {
					if at.Name != fmt.Sprintf("x%04d", seen) {
						t.Fatalf("pages of %d: %s is number %d", size, at.Name, seen)
					}
					seen++
				}
				if after = i.Next; after == "" {
					break
				}
				if len(i.Actors) != want {
					t.Fatalf("a page of %d has %d", size, len(i.Actors))
				}
				if size == 1 && seen > 3 {
					seen = n
					break
				}
			}
			if seen != n {
				t.Errorf("pages of %d have %d of %d", size, seen, n)
			}
		}
	})
}

// The actors that need a look come first.
func TestOrders(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Second)
		defer cancel()
		for i := range 10 {
			ref, err := a.Spawn(fmt.Sprint("x", i), accountKind)
			if err != nil {
				t.Fatal(err)
			}
			if i%4 == 0 {
				go func() { _, _ = actor.Call(ctx, ref, wait{For: time.Duration(100-i) * time.Second}) }()
				synctest.Wait()
				for range i {
					if err := actor.Tell(t.Context(), ref, note{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(5 * time.Second)
		}
		names := func(by string) (s []string) {
			for _, at := range ask(t, admin.Of(a), "a", admin.Actors{Prefix: "x", By: by, Limit: 3}).Actors {
				s = append(s, at.Name)
			}
			return s
		}
		if got := names("busy"); !reflect.DeepEqual(got, []string{"x0", "x4", "x8"}) {
			t.Errorf("busy: %q", got)
		}
		if got := names("waiting"); !reflect.DeepEqual(got, []string{"x8", "x4", "x0"}) {
			t.Errorf("waiting: %q", got)
		}
		if _, err := admin.Ask(t.Context(), admin.Of(a), "a", admin.Actors{By: "luck"}); rpc.CodeOf(err) != rpc.Invalid {
			t.Error(err)
		}
	})
}

// Letters are sent again, and discarded, all that match.
func TestLetters(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		for i := range 5 {
			if err := actor.Tell(t.Context(), a.Ref(fmt.Sprint("late", i%2, "@a")), note{}); err != nil && !errors.Is(err, rpc.NotFound) {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		c := admin.Of(a)
		before := len(ask(t, c, "a", admin.Letters{}).Letters)
		if before != 5 {
			t.Fatalf("%d letters", before)
		}
		if _, err := a.Spawn("late0", accountKind); err != nil {
			t.Fatal(err)
		}
		if r := ask(t, c, "a", admin.ResendLetters{}); r.Sent != 3 || len(r.Failed) != 2 || r.Failed[0].Code != "not found" || r.Failed[0].Ran != "not run" || r.More {
			t.Errorf("%+v", r)
		}
		if r := ask(t, c, "a", admin.ResendLetters{LetterFilter: admin.LetterFilter{Actor: "late1"}, To: "late0@a"}); r.Sent != 2 || len(r.Failed) != 0 {
			t.Errorf("%+v", r)
		}
		if got := ask(t, c, "a", admin.DiscardLetters{LetterFilter: admin.LetterFilter{Code: "not-found"}}); got.Count != 0 {
			t.Errorf("%+v", got)
		}
		if _, err := admin.Ask(t.Context(), c, "a", admin.Letters{LetterFilter: admin.LetterFilter{Code: "bad luck"}}); rpc.CodeOf(err) != rpc.Invalid {
			t.Error(err)
		}
	})
}

// What is wrong with a Config is said.
func TestBadConfig(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		if err := admin.Open(a, admin.Config{Read: []string{""}}); err == nil {
			t.Error("an empty name")
		}
		if err := admin.Open(a, admin.Config{}); !errors.Is(err, actor.ErrNameTaken) {
			t.Error(err)
		}
	})
}

// All that is in the overview of a node, also as JSON, is what the single questions say.
func TestOverview(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node("a", admin.Config{})
		for i := range 30 {
			ref, err := a.Spawn(fmt.Sprintf("x%02d", i), accountKind, actor.Expose("accounts"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			go func() { _, _ = actor.Call(ctx, ref, wait{For: time.Hour}) }()
			time.Sleep(time.Second)
		}
		if _, err := a.Spawn("jobs", jobsKind); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c := admin.Of(a)
		i := ask(t, c, "a", admin.Overview{})
		if i.Name != "a" || len(i.Busy) != 20 || i.Busy[0].Name != "x00" || i.Busy[0].For < 30*time.Second || len(i.Queues) != 1 || len(i.Services) != 1 || len(i.Services[0].Instances) != 30 {
			t.Errorf("%+v", i)
		}
		body, err := c.AskJSON(t.Context(), "", "Overview", nil)
		var same admin.OverviewInfo
		if err == nil {
			err = json.Unmarshal(body, &same)
		}
		if err != nil || same.Name != "a" || len(same.Busy) != 20 || same.Stats.Actors != i.Stats.Actors {
			t.Errorf("%s, %v", body, err)
		}
		if _, err := c.AskJSON(t.Context(), "a", "Nonsense", nil); rpc.CodeOf(err) != rpc.Invalid {
			t.Error(err)
		}
		for name, want := range map[string]admin.Right{"Overview": admin.ToRead, "Letters": admin.ToRead, "StopActor": admin.ToOperate, "Invoke": admin.ToOperate} {
			if r, ok := admin.RightFor(name); r != want || !ok {
				t.Errorf("%s: %v", name, r)
			}
		}
	})
}

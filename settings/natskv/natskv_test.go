package natskv_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// Two operators do not overwrite each other unseen, and who has changed what, when, can be read later.
func TestPut(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s, ctx := create(t, js), servers.Within(t, 30*time.Second)
	again, err := natskv.Create(ctx, js, natskv.Config{Logger: quiet})
	ok(t, err)
	begun := time.Now().Add(-time.Second)
	first := put(t, s, retryKey, attempts(3), 0)
	_, err = again.Put(ctx, retryKey, attempts(4), 0, "bob")
	want(t, "without having seen it", fmt.Sprint(errors.Is(err, natskv.ErrConflict), rpc.CodeOf(err), rpc.Ran(err)), fmt.Sprint(true, rpc.Invalid, rpc.NotRun))
	second, err := again.Write(ctx, retryKey, settings.Document{Author: "bob", Note: "why", Value: attempts(4)}, first)
	ok(t, err)
	third, err := s.Delete(ctx, retryKey, second, "cid")
	ok(t, err)
	_, err = s.Delete(ctx, retryKey, second, "cid")
	want(t, "a deletion without having seen it", errors.Is(err, natskv.ErrConflict), true)
	raw(t, js, "retry", `{"author":"dan","value":{"attempts":-1}}`)
	put(t, s, settings.Key{Section: "log", Node: "till-1"}, settings.Log{}, 0)

	all, err := s.History(ctx, retryKey)
	ok(t, err)
	var got []string
	for _, v := range all {
		got = append(got, fmt.Sprint(v.Revision, v.Author, v.Note, v.Value != nil, v.Deleted, v.Err != nil))
		if v.Time.Before(begun) || v.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("the time of revision %d is %v", v.Revision, v.Time)
		}
	}
	want(t, "history", strings.Join(got, "\n"), fmt.Sprintf("%danntrue false false\n%dbobwhytrue false false\n%dcidfalse true false\n%ddanfalse false true", first, second, third, third+1))
	all, err = s.List(ctx)
	ok(t, err)
	want(t, "list", fmt.Sprint(len(all), all[0].Key, all[0].Revision, all[1].Key, all[1].Author), "2 node.till-1.log 5 retrydan")
}

// A value that is wrong is not stored.
func TestPutChecks(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s, ctx := create(t, js), servers.Within(t, 30*time.Second)
	large := settings.Access{}
	for i := range 10_000 {
		large.List = append(large.List, access.Rule{Effect: access.Allow, Actors: []string{fmt.Sprint("actor ", i)}})
	}
	for what, row := range map[string]struct {
		key    settings.Key
		value  settings.Value
		author string
		code   rpc.Code
	}{
		"a bad value":     {retryKey, attempts(-1), "ann", rpc.Invalid},
		"no author":       {retryKey, attempts(1), "", rpc.Invalid},
		"another section": {settings.Key{Section: "log"}, attempts(1), "ann", rpc.Invalid},
		"no such section": {settings.Key{Section: "logs"}, attempts(1), "ann", rpc.Invalid},
		"no such node":    {settings.Key{Section: "retry", Node: "a.b"}, attempts(1), "ann", rpc.Invalid},
		"too large":       {settings.Key{Section: "access"}, large, "ann", rpc.TooLarge},
	} {
		_, err := s.Put(ctx, row.key, row.value, 0, row.author)
		want(t, what, fmt.Sprint(rpc.CodeOf(err), rpc.Ran(err)), fmt.Sprint(row.code, rpc.NotRun))
	}
	all, err := s.List(ctx)
	want(t, "stored", fmt.Sprint(len(all), err), "0 <nil>")
	for _, cfg := range []natskv.Config{{Cluster: "a.b"}, {Cluster: strings.Repeat("a", 129)}, {History: 65}, {History: -1}, {Replicas: -1}, {Check: -1}} {
		if _, err := natskv.Open(js, cfg); rpc.CodeOf(err) != rpc.Invalid {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := natskv.Open(js, natskv.Config{Cluster: strings.Repeat("a", 128), History: 64}); err != nil {
		t.Error(err)
	}
}

// Without a bucket, and without NATS, calls say so at once, and what did not happen.
func TestAbsent(t *testing.T) {
	srv := servers.Start(t, embedded.Config{})
	js := servers.Connect(t, srv)
	s, err := natskv.Open(js, natskv.Config{})
	ok(t, err)
	ctx := servers.Within(t, 30*time.Second)
	_, err = s.Put(ctx, retryKey, attempts(3), 0, "ann")
	want(t, "a write", fmt.Sprint(errors.Is(err, natskv.ErrNoBucket), rpc.CodeOf(err), rpc.Ran(err)), fmt.Sprint(true, rpc.Unavailable, rpc.NotRun))
	_, err = s.List(ctx)
	want(t, "a list", fmt.Sprint(errors.Is(err, natskv.ErrNoBucket), rpc.CodeOf(err), rpc.Ran(err)), fmt.Sprint(true, rpc.Unavailable, rpc.NotRun))
	srv.Shutdown()
	for js.Conn().IsConnected() {
		time.Sleep(time.Millisecond) // until the client has noticed
	}
	_, err = s.Put(ctx, retryKey, attempts(3), 0, "ann")
	want(t, "a write without NATS", fmt.Sprint(rpc.CodeOf(err), rpc.Ran(err)), fmt.Sprint(rpc.Unavailable, rpc.NotRun))
	_, err = s.History(ctx, retryKey)
	want(t, "a read without NATS", fmt.Sprint(rpc.CodeOf(err), rpc.Ran(err)), fmt.Sprint(rpc.Unavailable, rpc.NotRun))
}

// What others write without a check is refused by each node, and the last good one stays in force.
func TestRawWrites(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := create(t, js)
	good := put(t, s, retryKey, attempts(3), 0)
	a, b := follow(t, js, "a"), follow(t, js, "b")
	bad := raw(t, js, "retry", `{"author":"dan","value":{"attempts":`)
	for _, n := range []*node{a, b} {
		c := n.event(t, settings.Refused)
		want(t, "refused", fmt.Sprint(c.Version.Revision, rpc.CodeOf(c)), fmt.Sprint(bad, rpc.Invalid))
		st := n.Applied()[0]
		want(t, "the state", fmt.Sprint(st.Applied.Revision, st.Refused.Revision, n.Retry().Attempts), fmt.Sprint(good, bad, 3))
	}
	late := follow(t, js, "late") // has never seen the good one, but the bucket remembers it
	want(t, "a node that starts behind it", late.Retry().Attempts, 3)
	next := put(t, s, settings.Key{Section: "retry", Node: "b"}, attempts(5), 0)
	b.revision(t, next)
	deleted, err := s.Delete(t.Context(), retryKey, bad, "ann")
	ok(t, err)
	a.eventWith(t, settings.Changed, func(c *settings.Change) bool { return c.Version == nil && c.Was.Revision == good })
	want(t, "after deletion", fmt.Sprint(deleted > next, a.Retry().Attempts, b.Retry().Attempts), "true 0 5")
}

// Random good, bad and deleted values: in the end all nodes have in force what is the last good one in the order of revisions,
// also one whose connection is cut again and again.
func TestLastGoodOnAllNodes(t *testing.T) {
	srv := servers.Start(t, embedded.Config{})
	js := servers.Connect(t, srv)
	s := create(t, js)
	relay := servers.Between(t, srv)
	nodes := []*node{follow(t, js, "a"), follow(t, servers.Connect(t, srv), "b"), follow(t, relay.Connect(t), "c")}
	random := rand.New(rand.NewPCG(1, 2))
	last, good := uint64(0), 0
	for i := range 150 {
		switch random.IntN(6) {
		case 0:
			last = raw(t, js, "retry", []string{"", "{", `{"author":"x","value":{"attempts":-1}}`, strings.Repeat("[", 10_000)}[random.IntN(4)])
		case 1:
			var err error
			last, err = s.Delete(t.Context(), retryKey, last, "ann")
			ok(t, err)
			good = 0
		case 2:
			relay.Cut()
			fallthrough
		default:
			good = i + 1
			last = put(t, s, retryKey, attempts(good), last)
		}
	}
	final := put(t, s, settings.Key{Section: "log"}, settings.Log{}, 0)
	for _, n := range nodes {
		for done := false; !done; { // the log's value comes behind all others
			for _, st := range n.Applied() {
				done = done || st.Section == "log" && st.Applied.Revision == final
			}
			time.Sleep(time.Millisecond)
		}
		want(t, "node "+n.Name(), n.Retry().Attempts, good)
	}
}

// A node starts while NATS is away, or there is no bucket: with its Config, and later with what the bucket says. If settings are
// required, it does not start.
func TestStartWithoutBucket(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	n := follow(t, js, "a")
	want(t, "away", fmt.Sprint(errors.Is(n.Away(), natskv.ErrNoBucket), n.Retry().Attempts), "true 0")
	src, err := natskv.Open(js, natskv.Config{})
	ok(t, err)
	begun := time.Now()
	_, err = settings.Watch(t.Context(), src, settings.Targets{System: n.System, Required: true, Wait: 200 * time.Millisecond, Logger: quiet})
	want(t, "required", fmt.Sprint(rpc.CodeOf(err), errors.Is(err, natskv.ErrNoBucket), time.Since(begun) < 10*time.Second), fmt.Sprint(rpc.Unavailable, true, true))
	put(t, create(t, js), retryKey, attempts(3), 0)
	n.event(t, settings.Back)
	n.wait(t, 3)
}

// wait waits until so many attempts are in force.
func (n *node) wait(t testing.TB, attempts int) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); n.Retry().Attempts != attempts; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d attempts are in force, want %d; applied: %+v, away: %v", n.Retry().Attempts, attempts, n.Applied(), n.Away())
		}
	}
}

// Close of the connection ends Follow, and says so.
func TestConnectionClosed(t *testing.T) {
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	put(t, create(t, js), retryKey, attempts(3), 0)
	n := follow(t, js, "a")
	js.Conn().Close()
	c := n.event(t, settings.Away)
	want(t, "away", fmt.Sprint(rpc.CodeOf(c), n.Retry().Attempts), fmt.Sprint(rpc.Unavailable, 3))
}

//go:build unix

package interop

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var restarts = flag.Int("interop.restarts", 4, "how often TestRolling restarts a host on each road")

// each runs a test for each pair of builds, on each road.
func each(t *testing.T, test func(t *testing.T, p pair, roads string)) {
	for _, p := range pairs() {
		for _, roads := range []string{"tcp", "nats", "both"} {
			t.Run(p.name+", "+roads, func(t *testing.T) { test(t, p, roads) })
		}
	}
}

// Every pattern works between the builds.
func TestPatterns(t *testing.T) {
	each(t, func(t *testing.T, p pair, roads string) {
		c := newCluster(t, roads)
		c.host("host", p.host)
		wrong := map[string]string{}
		c.user(p.user).do(order{Do: "patterns", Host: "host"}, &wrong)
		if len(wrong) < 16 {
			t.Errorf("only %d patterns were tried", len(wrong))
		}
		for name, what := range wrong {
			if what != "" {
				t.Errorf("%s: %s", name, what)
			}
		}
	})
}

// What a host of one build has written is read by the next start of it, which is of the other build: a key has its outcome, a
// token its result, a queue its items, and a stored actor its state. Who asks then is of the other build, too.
func TestKept(t *testing.T) {
	for _, end := range []string{"left", "killed"} {
		each(t, func(t *testing.T, p pair, roads string) {
			c := newCluster(t, roads)
			first := c.host("host", p.host)
			user := c.user(p.host)
			var got int
			keyed := order{Do: "keyed", Host: "host", Text: "k", N: 1}
			if user.do(keyed, &got); got != 1 {
				t.Errorf("a new key: %d", got)
			}
			var token string
			user.do(order{Do: "submit", Host: "host", N: 2}, &token)
			user.do(order{Do: "push", Host: "host", N: 30}, nil)

			if end == "left" {
				first.leave(10 * time.Second)
			} else {
				first.kill()
			}
			c.host("host", p.user)
			user = c.user(p.user)
			if user.do(keyed, &got); got != 1 {
				t.Errorf("the key again: %d", got)
			}
			if user.do(order{Do: "redeem", Text: token}, &got); got != 2 {
				t.Errorf("the job's result: %d", got)
			}
			var items []int
			user.do(order{Do: "pull", Host: "host", N: 30}, &items)
			if len(items) != 30 || items[29] != 29 {
				t.Errorf("the items: %v", items)
			}
			if ran := c.ran(); ran[1] != 1 || ran[2] != 1 {
				t.Errorf("ran: %v", ran)
			}
		})
	}
}

// A host that leaves while requests wait says its last word: these did not run. So they run at its next start, which is of the
// other build, or are said not to have run. Of the one that runs that start says that nobody knows, unless it was answered.
func TestLastWord(t *testing.T) {
	each(t, func(t *testing.T, p pair, roads string) {
		const more = 40
		c := newCluster(t, roads)
		host, user := c.host("host", p.host), c.user(p.user)
		user.do(order{Do: "hold", Host: "host", N: more}, nil)
		host.leaveLate()
		c.host("host", p.user)
		var fates []fate
		user.do(order{Do: "rest"}, &fates)
		if len(fates) != more+1 {
			t.Fatalf("%d fates", len(fates))
		}
		for _, f := range fates {
			if f.To == "hold" && (f.Done || f.Verdict == "not run") || f.To != "hold" && !f.Done && f.Verdict != "not run" {
				t.Errorf("%+v", f)
			}
		}
		judge(t, fates, c.ran(), nil)
	})
}

// Hosts are restarted while requests are outstanding, again and again, each time as the other build, by order and by SIGKILL.
// Users of both builds ask all the time. Nothing runs twice, and what they are told is true.
func TestRolling(t *testing.T) {
	for _, roads := range []string{"tcp", "nats", "both"} {
		t.Run(roads, func(t *testing.T) {
			c := newCluster(t, roads)
			names := []string{"host-a", "host-b"}
			var hosts, users []*node
			for _, name := range names {
				hosts = append(hosts, c.host(name, builds.other))
			}
			for i, build := range []string{builds.other, builds.this, builds.other, builds.this} {
				u := c.user(build)
				u.do(order{Do: "load", Host: names[i/2]}, nil)
				users = append(users, u)
			}
			for n := range *restarts {
				time.Sleep(300 * time.Millisecond) // the pace of the restarts, not a wait for anything
				at := n % 2
				if n/2%2 == 0 {
					hosts[at].leave(10 * time.Second)
				} else {
					hosts[at].kill()
				}
				// This build takes the other one's place, and is then replaced by it.
				hosts[at] = c.host(names[at], []string{builds.this, builds.other}[n/2%2])
			}
			time.Sleep(300 * time.Millisecond)
			var fates []fate
			for _, u := range users {
				var some []fate
				u.do(order{Do: "rest"}, &some)
				fates = append(fates, some...)
			}
			var stored map[int]int
			users[0].do(order{Do: "done"}, &stored)
			t.Log(judge(t, fates, c.ran(), stored))
			if least := 100 * *restarts; len(fates) < least {
				t.Errorf("%d requests, want at least %d", len(fates), least)
			}
		})
	}
}

// fate is that of the program.
type fate struct {
	ID      int
	To      string
	Done    bool
	Verdict string
	Err     string
}

// judge compares what users know of their requests with what ran, and returns a summary.
func judge(t *testing.T, fates []fate, ran, stored map[int]int) string {
	t.Helper()
	says, kinds := map[string]int{}, []string{}
	for _, f := range fates {
		times := ran[f.ID]
		if f.To == "account" {
			times = stored[f.ID]
		}
		if !slices.Contains(kinds, f.To) {
			kinds = append(kinds, f.To)
		}
		verdict := f.Verdict
		if f.Done {
			verdict = "done"
		}
		says[verdict]++
		if what := wrong(f, verdict, times); what != "" {
			t.Errorf("%s: it ran %d times: %+v", what, times, f)
		}
	}
	slices.Sort(kinds)
	return fmt.Sprintf("%d requests to %v: %v", len(fates), kinds, says)
}

// wrong says what is wrong with what became of a request; nothing: it is right.
func wrong(f fate, verdict string, times int) string {
	switch {
	case times > 1:
		return "twice"
	case f.To == "hold": // nobody has written down that it ran
	case verdict == "done" && times == 0, verdict == "ran" && times == 0:
		return "it is said to have run"
	case verdict == "not run" && times == 1:
		return "it is said not to have run"
	case verdict == "":
		return "no verdict"
	}
	return ""
}

// The judge finds what is wrong.
func TestJudge(t *testing.T) {
	for _, bad := range []struct {
		f     fate
		times int
	}{
		{fate{Done: true}, 2}, {fate{Done: true}, 0}, {fate{Verdict: "ran"}, 0}, {fate{Verdict: "not run"}, 1}, {fate{Verdict: "unknown"}, 2}, {fate{Err: "no type"}, 0},
	} {
		verdict := bad.f.Verdict
		if bad.f.Done {
			verdict = "done"
		}
		if wrong(bad.f, verdict, bad.times) == "" {
			t.Errorf("nothing is said of %+v, which ran %d times", bad.f, bad.times)
		}
	}
}

package queue_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/queue"
	"pgregory.net/rapid"
)

// After any operations, the queue and the model are in the same state and have returned the
// same.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(1, 6)
		policy := rapid.SampledFrom([]queue.Policy{queue.Refuse, queue.DropOldest})
		cfg := queue.Config{Capacity: small.Draw(t, "capacity"), Policy: policy.Draw(t, "policy"), Lease: 10 * time.Second,
			Attempts: rapid.IntRange(1, 3).Draw(t, "attempts"), Dead: rapid.IntRange(1, 3).Draw(t, "dead"), DeadPolicy: policy.Draw(t, "dead policy"),
			Remember: 15 * time.Second, Remembered: small.Draw(t, "remembered"), Waiters: 3}
		q, err := queue.New[int](cfg, salt)
		if err != nil {
			t.Fatal(err)
		}
		m := &model{cfg: cfg, done: map[string]time.Time{}}
		now, value, waiters := start, 0, uint64(0)
		var tokens []queue.Token
		got := func(d queue.Delivery[int], x *thing) {
			t.Helper()
			if x == nil || describe(d) != x.describe() || x.ID != "" && d.ID != x.ID || d.ID == "" {
				t.Fatalf("got %s, want %+v", describe(d), x)
			}
			tokens = append(tokens, d.Token)
		}
		anyToken := func() queue.Token {
			tok := rapid.SampledFrom(append(tokens, queue.Token{Queue: 1, Item: 1, Lease: 1})).Draw(t, "token")
			return tok
		}
		same := func(what string, got, want error) {
			t.Helper()
			if !errors.Is(got, want) || (got == nil) != (want == nil) {
				t.Fatalf("%s: %v, want %v", what, got, want)
			}
		}
		onDelivery := func(name string, call func(queue.Token, time.Duration) error, does func(*thing, time.Duration)) func(*rapid.T) {
			return func(*rapid.T) {
				tok, d := anyToken(), time.Duration(rapid.IntRange(0, 12).Draw(t, "seconds"))*time.Second
				x, want := m.find(now, tok)
				same(name, call(tok, d), want)
				if want == nil {
					does(x, d)
				}
			}
		}
		onDead := func(name string, call func(queue.Token) error, does func(*thing) error) func(*rapid.T) {
			return func(*rapid.T) {
				tok := anyToken()
				want := queue.ErrDone
				var x *thing
				for _, y := range m.items {
					if y.state == "dead" && y.seq == tok.Item && y.lease == tok.Lease {
						x, want = y, nil
					}
				}
				if tok.Queue != salt {
					x, want = nil, queue.ErrForeign
				}
				if x != nil {
					want = does(x)
				}
				same(name, call(tok), want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(*rapid.T) {
				value++
				it := queue.Item[int]{Value: value, ID: rapid.SampledFrom([]string{"", "", "a", "b", "c"}).Draw(t, "id"),
					Priority: rapid.IntRange(-1, 1).Draw(t, "priority"), Delay: time.Duration(rapid.SampledFrom([]int{0, 0, 3, 10}).Draw(t, "delay")) * time.Second}
				p, err := q.Push(now, it)
				dup, dropped, want := m.push(now, it)
				same("push", err, want)
				if p.Duplicate != dup || p.HasDropped != (dropped != 0) || p.Dropped != dropped {
					t.Fatalf("%+v, want duplicate %v, dropped %d", p, dup, dropped)
				}
			},
			"take": func(*rapid.T) {
				n := rapid.IntRange(0, 3).Draw(t, "n")
				m.tick(now)
				for _, d := range q.Take(now, n) {
					got(d, m.take(now))
					n--
				}
				if n > 0 && m.count("ready") > 0 && !m.stats.Paused {
					t.Fatal("items were left")
				}
			},
			"ack": onDelivery("ack", func(tok queue.Token, _ time.Duration) error { return q.Ack(now, tok) },
				func(x *thing, _ time.Duration) { m.end(now, x); m.stats.Acked++ }),
			"nack": onDelivery("nack", func(tok queue.Token, d time.Duration) error { return q.Nack(now, tok, d) },
				func(x *thing, d time.Duration) { m.stats.Nacked++; m.back(x, now, d, queue.Nacked) }),
			"release": onDelivery("release", func(tok queue.Token, d time.Duration) error { return q.Release(now, tok, d) },
				func(x *thing, d time.Duration) {
					m.stats.Released++
					x.attempt--
					x.state = "ready"
					if d > 0 {
						x.state, x.at = "delayed", now.Add(d)
					}
				}),
			"pause":  func(*rapid.T) { q.Pause(); m.stats.Paused = true },
			"resume": func(*rapid.T) { q.Resume(); m.stats.Paused = false },
			"purge": func(*rapid.T) {
				all := m.waiting()
				if n := q.Purge(now); n != len(all) {
					t.Fatalf("purged %d, want %d", n, len(all))
				}
				for _, x := range all {
					m.end(now, x)
					m.stats.Cancelled++
				}
			},
			"cancel": func(*rapid.T) {
				tok, want := anyToken(), queue.ErrDone
				i := slices.IndexFunc(m.items, func(x *thing) bool { return x.seq == tok.Item })
				switch {
				case tok.Queue != salt:
					want = queue.ErrForeign
				case i >= 0 && m.items[i].state == "leased":
					want = queue.ErrTaken
				case i >= 0 && m.items[i].state != "dead":
					want = nil
				}
				same("cancel", q.Cancel(now, tok), want)
				if want == nil {
					m.end(now, m.items[i])
					m.stats.Cancelled++
				}
			},
			"list": func(*rapid.T) {
				all := m.waiting()
				n := rapid.IntRange(0, 5).Draw(t, "n")
				got := q.Waiting(n)
				if len(got) != min(n, len(all)) {
					t.Fatalf("%d are listed, want %d of %d", len(got), n, len(all))
				}
				for i, w := range got {
					x := all[i]
					if w.Token.Item != x.seq || w.Attempts != x.attempt || w.Value != x.Value || w.Due.IsZero() != (x.state == "ready") || !w.Due.IsZero() && !w.Due.Equal(x.at) {
						t.Fatalf("listed %+v, want %+v", w, x)
					}
					tokens = append(tokens, w.Token)
				}
			},
			"undo": onDelivery("undo", func(tok queue.Token, _ time.Duration) error { return q.Undo(now, tok) },
				func(x *thing, _ time.Duration) {
					m.stats.Deliveries--
					if x.attempt > 1 {
						m.stats.Redeliveries--
					}
					x.attempt--
					x.state = "ready"
				}),
			"extend": onDelivery("extend", func(tok queue.Token, d time.Duration) error { return q.Extend(now, tok, d) },
				func(x *thing, d time.Duration) { x.at = now.Add(d) }),
			"revive": onDead("revive", func(tok queue.Token) error { return q.Revive(now, tok) }, func(x *thing) error {
				if m.held() >= cfg.Capacity {
					return queue.ErrFull
				}
				x.attempt, x.since = 0, now
				m.enqueue(x)
				return nil
			}),
			"discard": onDead("discard", func(tok queue.Token) error { return q.Discard(now, tok) }, func(x *thing) error {
				m.end(now, x)
				return nil
			}),
			"wait": func(*rapid.T) {
				waiters++
				w := waiting{waiters, rapid.IntRange(1, 4).Draw(t, "n"), now.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "s")) * time.Second)}
				if err := q.Wait(w.id, w.n, w.until); (err != nil) != (len(m.waiters) == cfg.Waiters) || err != nil && !errors.Is(err, queue.ErrCrowded) {
					t.Fatal(err)
				} else if err == nil {
					m.waiters = append(m.waiters, w)
				}
			},
			"leave": func(*rapid.T) {
				id := uint64(rapid.IntRange(0, int(waiters)).Draw(t, "who"))
				q.Leave(id)
				m.waiters = slices.DeleteFunc(m.waiters, func(w waiting) bool { return w.id == id })
			},
			"serve": func(*rapid.T) {
				m.tick(now)
				shares := map[uint64][]*thing{}
				for dealt := true; dealt; { // one to each in turn
					dealt = false
					for _, w := range m.waiters {
						if len(shares[w.id]) < w.n {
							if x := m.take(now); x != nil {
								shares[w.id], dealt = append(shares[w.id], x), true
							}
						}
					}
				}
				for _, s := range q.Serve(now) {
					i := slices.IndexFunc(m.waiters, func(w waiting) bool { return w.id == s.Waiter })
					if i < 0 || len(s.Items) != len(shares[s.Waiter]) || len(s.Items) == 0 && m.waiters[i].until.After(now) {
						t.Fatalf("waiter %d gets %d, want %d", s.Waiter, len(s.Items), len(shares[s.Waiter]))
					}
					for i, d := range s.Items {
						got(d, shares[s.Waiter][i])
					}
					delete(shares, s.Waiter)
					m.waiters = slices.Delete(m.waiters, i, i+1)
				}
				if len(shares) > 0 || slices.ContainsFunc(m.waiters, func(w waiting) bool { return !w.until.After(now) }) {
					t.Fatalf("some were not served: %v, %v", shares, m.waiters)
				}
			},
			"time passes": func(*rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "s")) * time.Second) },
			"tick":        func(*rapid.T) { q.Tick(now); m.tick(now) },
			"": func(*rapid.T) {
				if s, want := q.Stats(now), m.snapshot(now); s != want {
					t.Fatalf("stats\n%+v, want\n%+v", s, want)
				}
				credit := 0
				next := time.Unix(math.MaxInt32, 0)
				for _, w := range m.waiters {
					credit += w.n
					next = earlier(next, w.until)
				}
				for _, x := range m.items {
					if x.state == "leased" || x.state == "delayed" {
						next = earlier(next, x.at)
					}
				}
				if at, ok := q.NextDue(); ok != (next.Unix() != math.MaxInt32) || ok && !at.Equal(next) {
					t.Fatalf("next due %v, %v, want %v", at, ok, next)
				}
				if q.Credit() != credit {
					t.Fatalf("credit %d, want %d", q.Credit(), credit)
				}
				dead := q.DeadLetters(100)
				if len(dead) != m.count("dead") {
					t.Fatalf("%d dead letters, want %d", len(dead), m.count("dead"))
				}
				for _, d := range dead {
					i := slices.IndexFunc(m.items, func(x *thing) bool { return x.seq == d.Token.Item })
					if x := m.items[i]; x.state != "dead" || x.why != d.Reason || x.attempt != d.Attempts || x.Value != d.Value {
						t.Fatalf("dead letter %+v, want %+v", d, x)
					}
				}
			},
		})
	})
}

func TestConfig(t *testing.T) {
	if _, err := queue.New[int](queue.Config{}, 1); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]queue.Config{
		"Capacity": {Capacity: -1}, "Lease": {Lease: -1}, "Attempts": {Attempts: -1}, "Dead": {Dead: -1}, "Remember": {Remember: -1},
		"Remembered": {Remembered: -1}, "Waiters": {Waiters: -1}, "Policy": {Policy: 2}, "DeadPolicy": {DeadPolicy: 2}, "at most": {Lease: queue.MaxLease + 1},
	} {
		if q, err := queue.New[int](c, 1); q != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if got := fmt.Sprint(queue.Refuse, queue.DropOldest, queue.Policy(9), queue.LeaseExpired, queue.Nacked, queue.Reason(9)); got != "refuse drop-oldest policy(9) lapsed nacked reason(9)" {
		t.Error(got)
	}
}

// Items from an external store keep the numbers and attempts that they have there. Expire
// returns them when their leases end.
func TestRestore(t *testing.T) {
	q, _ := queue.New[string](queue.Config{Lease: time.Second}, 1)
	if !q.Restore(start, 40, 2, queue.Item[string]{Value: "x"}) || q.Restore(start, 40, 2, queue.Item[string]{Value: "x"}) {
		t.Fatal("restored twice, or not at all")
	}
	q.Restore(start, 41, 0, queue.Item[string]{Value: "later", Delay: time.Second})
	ds := q.Take(start, 9)
	if len(ds) != 1 || ds[0].Token.Item != 40 || ds[0].Attempt != 3 {
		t.Fatalf("%+v", ds)
	}
	now := start.Add(time.Second)
	gone := q.Expire(now)
	if len(gone) != 1 || gone[0].Token != ds[0].Token {
		t.Fatalf("lapsed: %+v", gone)
	}
	if err := q.Ack(now, ds[0].Token); !errors.Is(err, queue.ErrDone) {
		t.Error(err)
	}
	if ds := q.Take(now, 9); len(ds) != 1 || ds[0].Value != "later" {
		t.Errorf("%+v", ds)
	}
	if !q.Restore(now, 40, 3, queue.Item[string]{Value: "x"}) {
		t.Error("not restored after it was gone")
	}
	d := q.Take(now, 1)[0]
	if err := q.Surrender(now, d.Token); err != nil || !errors.Is(q.Surrender(now, d.Token), queue.ErrDone) {
		t.Error("surrendered twice, or not at all")
	}
	q.Restore(now, 42, 0, queue.Item[string]{Value: "y"})
	if got := q.Withdraw(); len(got) != 1 || got[0] != 42 || q.Stats(now).Depth != 0 || len(q.Withdraw()) != 0 {
		t.Errorf("withdrawn: %v", got)
	}
}

// Waiters are served in turn, and none gets all items while others wait.
func TestFair(t *testing.T) {
	q, _ := queue.New[int](queue.Config{}, 1)
	for id := range uint64(3) {
		if err := q.Wait(id, 16, start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 8 {
		q.Push(start, queue.Item[int]{Value: n})
	}
	got := ""
	for _, s := range q.Serve(start) {
		for _, d := range s.Items {
			got += fmt.Sprint(d.Value)
		}
		got += " "
	}
	if got != "036 147 25 " {
		t.Errorf("dealt %q", got)
	}
}

// A queue takes as many items as it has room for, and each id once.
func TestPush(t *testing.T) {
	q, err := queue.New[int](queue.Config{Capacity: 3}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if p, err := q.Push(start, queue.Item[int]{ID: fmt.Sprint(n), Value: n}); err != nil || p.Duplicate || p.HasDropped {
			t.Fatalf("item %d: %+v, %v", n, p, err)
		}
	}
	if p, err := q.Push(start, queue.Item[int]{ID: "1", Value: 9}); err != nil || !p.Duplicate {
		t.Errorf("an id again: %+v, %v", p, err)
	}
	if _, err := q.Push(start, queue.Item[int]{ID: "3", Value: 3}); err != queue.ErrFull {
		t.Errorf("one item more than there is room for: %v", err)
	}
	if s := q.Stats(start); s.Depth != 3 || s.Refused != 1 || s.Duplicates != 1 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkPushTakeAck(b *testing.B) {
	q, _ := queue.New[int](queue.Config{}, 1)
	for n := range 1000 {
		q.Push(start, queue.Item[int]{Value: n})
	}
	for b.Loop() {
		q.Push(start, queue.Item[int]{Value: 1})
		for _, d := range q.Take(start, 1) {
			if err := q.Ack(start, d.Token); err != nil {
				b.Fatal(err)
			}
		}
	}
}

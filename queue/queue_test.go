package queue_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/queue"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// model is the queue done the slow way: one list, looked through for everything.
type model struct {
	cfg   queue.Config
	items []*thing // held and dead, in no order
	done  map[string]time.Time
	ended []string // keys of done, the oldest first
	place int
	seq   uint64
	lease uint64
	line  []waiting
	stats queue.Stats
}

type thing struct {
	queue.Item[int]
	seq, lease uint64
	place      int // 0: none yet
	state      string
	attempt    int
	since, at  time.Time
	why        queue.Reason
	diedAs     int
}

type waiting struct {
	id    uint64
	n     int
	until time.Time
}

func (m *model) count(state string) (n int) {
	for _, x := range m.items {
		if x.state == state {
			n++
		}
	}
	return n
}

// waiting returns what no consumer has, as it is to be listed, and purged.
func (m *model) waiting() (all []*thing) {
	for _, x := range m.items {
		if x.state == "ready" || x.state == "delayed" {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *thing) int {
		switch {
		case a.state != b.state:
			return cmp.Compare(b.state, a.state) // ready ones first
		case a.state == "ready":
			return cmp.Or(b.Priority-a.Priority, a.place-b.place)
		}
		return cmp.Or(a.at.Compare(b.at), a.place-b.place, cmp.Compare(a.seq, b.seq))
	})
	return all
}

func (m *model) held() int { return len(m.items) - m.count("dead") }

// best returns the thing in a state that comes before all others, or nil.
func (m *model) best(state string, before func(a, b *thing) bool) (first *thing) {
	for _, x := range m.items {
		if x.state == state && (first == nil || before(x, first)) {
			first = x
		}
	}
	return first
}

func (m *model) enqueue(x *thing) {
	m.place++
	x.place, x.state = m.place, "ready"
}

func (m *model) drop(x *thing) {
	m.items = slices.DeleteFunc(m.items, func(y *thing) bool { return x == y })
}

func (m *model) forget(now time.Time) {
	for len(m.ended) > 0 && now.Sub(m.done[m.ended[0]]) >= m.cfg.Remember {
		delete(m.done, m.ended[0])
		m.ended = m.ended[1:]
	}
}

func (m *model) end(now time.Time, x *thing) {
	m.drop(x)
	if x.ID == "" {
		return
	}
	m.done[x.ID] = now
	m.ended = append(m.ended, x.ID)
	m.forget(now)
	if len(m.ended) > m.cfg.Remembered {
		delete(m.done, m.ended[0])
		m.ended = m.ended[1:]
		m.stats.Forgotten++
	}
}

func (m *model) push(now time.Time, it queue.Item[int]) (dup bool, dropped int, err error) {
	m.forget(now)
	if it.ID != "" {
		_, ended := m.done[it.ID]
		if ended || slices.ContainsFunc(m.items, func(x *thing) bool { return x.ID == it.ID }) {
			m.stats.Duplicates++
			return true, 0, nil
		}
	}
	if m.held() >= m.cfg.Capacity {
		old := m.best("ready", func(a, b *thing) bool {
			return a.Priority < b.Priority || a.Priority == b.Priority && a.place < b.place
		})
		if m.cfg.Policy == queue.Refuse || old == nil || old.Priority > it.Priority {
			m.stats.Refused++
			return false, 0, queue.ErrFull
		}
		m.drop(old)
		m.stats.Dropped++
		dropped = old.Value
	}
	m.stats.Pushed++
	m.seq++
	x := &thing{Item: it, seq: m.seq, since: now}
	m.items = append(m.items, x)
	if it.Delay > 0 {
		x.since = now.Add(it.Delay)
		x.state, x.at = "delayed", x.since
	} else {
		m.enqueue(x)
	}
	return false, dropped, nil
}

// tick does one thing after the other, the earliest first.
func (m *model) tick(now time.Time) {
	for {
		sooner := func(a, b *thing) bool {
			return a.at.Before(b.at) || a.at.Equal(b.at) && (a.place < b.place || a.place == b.place && a.seq < b.seq)
		}
		x := m.best("delayed", sooner)
		if y := m.best("leased", sooner); x == nil || y != nil && sooner(y, x) {
			x = y
		}
		if x == nil || x.at.After(now) {
			return
		}
		switch {
		case x.state == "leased":
			m.stats.Lapsed++
			m.back(x, now, 0, queue.Lapsed)
		case x.place == 0:
			m.enqueue(x)
		default:
			x.state = "ready"
		}
	}
}

func (m *model) back(x *thing, now time.Time, delay time.Duration, why queue.Reason) {
	if x.attempt >= m.cfg.Attempts {
		if m.count("dead") == m.cfg.Dead && m.cfg.DeadPolicy == queue.DropOldest {
			m.end(now, m.best("dead", func(a, b *thing) bool { return a.diedAs < b.diedAs }))
			m.stats.DeadDropped++
		}
		if m.count("dead") < m.cfg.Dead {
			m.stats.Buried++
			x.state, x.why, x.diedAs = "dead", why, int(m.stats.Buried)
			return
		}
		if delay <= 0 {
			m.enqueue(x)
			return
		}
	}
	x.state = "ready"
	if delay > 0 {
		x.state, x.at = "delayed", now.Add(delay)
	}
}

func (m *model) take(now time.Time) *thing {
	x := m.best("ready", func(a, b *thing) bool {
		return a.Priority > b.Priority || a.Priority == b.Priority && a.place < b.place
	})
	if x == nil || m.stats.Paused {
		return nil
	}
	m.lease++
	x.state, x.lease, x.at = "leased", m.lease, now.Add(m.cfg.Lease)
	x.attempt++
	m.stats.Deliveries++
	if x.attempt > 1 {
		m.stats.Redeliveries++
	}
	return x
}

func (m *model) find(now time.Time, t queue.Token) (*thing, error) {
	i := slices.IndexFunc(m.items, func(x *thing) bool { return x.seq == t.Item })
	switch {
	case t.Queue != salt:
		return nil, queue.ErrForeign
	case i < 0:
		return nil, queue.ErrDone
	case m.items[i].state != "leased" || m.items[i].lease != t.Lease || !now.Before(m.items[i].at):
		return nil, queue.ErrLapsed
	}
	return m.items[i], nil
}

func (m *model) snapshot(now time.Time) queue.Stats {
	s := m.stats
	s.Depth, s.Delayed, s.InFlight, s.Dead, s.Waiting = m.count("ready"), m.count("delayed"), m.count("leased"), m.count("dead"), len(m.line)
	if x := m.best("ready", func(a, b *thing) bool { return a.place < b.place }); x != nil {
		s.Oldest = now.Sub(x.since)
	}
	return s
}

const salt = 77

func describe(d queue.Delivery[int]) string {
	return fmt.Sprintln(d.Token.Item, d.Token.Lease, d.Attempt, d.Priority, d.Value, d.Until.Sub(start))
}

func (x *thing) describe() string {
	return fmt.Sprintln(x.seq, x.lease, x.attempt, x.Priority, x.Value, x.at.Sub(start))
}

// The queue does what the model does, whatever happens to it.
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
				if err := q.Wait(w.id, w.n, w.until); (err != nil) != (len(m.line) == cfg.Waiters) || err != nil && !errors.Is(err, queue.ErrCrowded) {
					t.Fatal(err)
				} else if err == nil {
					m.line = append(m.line, w)
				}
			},
			"leave": func(*rapid.T) {
				id := uint64(rapid.IntRange(0, int(waiters)).Draw(t, "who"))
				q.Leave(id)
				m.line = slices.DeleteFunc(m.line, func(w waiting) bool { return w.id == id })
			},
			"serve": func(*rapid.T) {
				m.tick(now)
				shares := map[uint64][]*thing{}
				for dealt := true; dealt; { // one each in turn
					dealt = false
					for _, w := range m.line {
						if len(shares[w.id]) < w.n {
							if x := m.take(now); x != nil {
								shares[w.id], dealt = append(shares[w.id], x), true
							}
						}
					}
				}
				for _, s := range q.Serve(now) {
					i := slices.IndexFunc(m.line, func(w waiting) bool { return w.id == s.Waiter })
					if i < 0 || len(s.Items) != len(shares[s.Waiter]) || len(s.Items) == 0 && m.line[i].until.After(now) {
						t.Fatalf("waiter %d gets %d, want %d", s.Waiter, len(s.Items), len(shares[s.Waiter]))
					}
					for i, d := range s.Items {
						got(d, shares[s.Waiter][i])
					}
					delete(shares, s.Waiter)
					m.line = slices.Delete(m.line, i, i+1)
				}
				if len(shares) > 0 || slices.ContainsFunc(m.line, func(w waiting) bool { return !w.until.After(now) }) {
					t.Fatalf("some were not served: %v, %v", shares, m.line)
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
				for _, w := range m.line {
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

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

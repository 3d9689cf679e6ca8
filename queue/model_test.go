package queue_test

// A model of a queue, with which the tests compare it.

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/queue"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// model does what a Queue does, as plainly as possible: it has one list, and searches it
// for everything.
type model struct {
	cfg     queue.Config
	items   []*thing // held and dead, in no order
	done    map[string]time.Time
	ended   []string // keys of done, the oldest first
	place   int
	seq     uint64
	lease   uint64
	waiters []waiting
	stats   queue.Stats
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

// waiting returns the items that no consumer has, in the order of Queue.Waiting.
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

// best returns the thing in a state that comes before all others, or nil if there is none.
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

// tick ends leases and delays that are over, one after the other, the earliest first.
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
			m.stats.Expired++
			m.back(x, now, 0, queue.LeaseExpired)
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
			m.stats.DeadLettered++
			x.state, x.why, x.diedAs = "dead", why, int(m.stats.DeadLettered)
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
		return nil, queue.ErrLeaseExpired
	}
	return m.items[i], nil
}

func (m *model) snapshot(now time.Time) queue.Stats {
	s := m.stats
	s.Depth, s.Delayed, s.InFlight, s.Dead, s.Waiting = m.count("ready"), m.count("delayed"), m.count("leased"), m.count("dead"), len(m.waiters)
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

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/test/bubble"
)

// The messages of the model are numbers: 16 × which one it is + 4 × its class + its sender.
func placeOfNumber(v *int) Place {
	return Place{Class: Class(*v/4%4) + Low, Sender: Sender{Principal: fmt.Sprint(*v % 4)}}
}

// orderModel is an ordered box written for obviousness: one list of all messages, oldest first.
type orderModel struct {
	Config
	all    []*modeled
	passed [classCount]int
	turns  [classCount][]int // senders, by class, in the order of their turns
	hungry [classCount][]int // those of them that may have a further place
	busy   bool
	closed bool
}

type modeled struct {
	*blocked // with a nil done: nobody waits
	placed   bool
}

func (m *modeled) class() int { return m.v / 4 % 4 }
func (m *orderModel) sender(p *modeled) int {
	if m.Fair {
		return p.v % 4
	}
	return 0
}

// some returns the messages of a class and a sender, oldest first; those of all of them for -1.
func (m *orderModel) some(class, sender int, also func(*modeled) bool) (some []*modeled) {
	for _, p := range m.all {
		if (class < 0 || p.class() == class) && (sender < 0 || m.sender(p) == sender) && also(p) {
			some = append(some, p)
		}
	}
	return some
}

func anyOf(*modeled) bool        { return true }
func isPlaced(p *modeled) bool   { return p.placed }
func isWaiting(p *modeled) bool  { return !p.placed }
func inBacklog(p *modeled) bool  { return !p.placed && p.done == nil }
func isAccepted(p *modeled) bool { return p.placed || p.done == nil }

func (m *orderModel) atMost(p *modeled) bool {
	return m.PerSender > 0 && len(m.some(p.class(), m.sender(p), isPlaced)) >= m.PerSender
}

func (m *orderModel) room(p *modeled) bool {
	return (m.Unbounded || len(m.some(-1, -1, isPlaced)) < m.Capacity) && !m.atMost(p)
}

// settle brings the lists of senders in line with the messages.
func (m *orderModel) settle() {
	for class := range classCount {
		for _, l := range []struct {
			list *[]int
			in   func(sender int) bool
		}{
			{&m.turns[class], func(s int) bool { return len(m.some(class, s, anyOf)) > 0 }},
			{&m.hungry[class], func(s int) bool {
				w := m.some(class, s, isWaiting)
				return len(w) > 0 && !m.atMost(w[0])
			}},
		} {
			*l.list = slices.DeleteFunc(*l.list, func(s int) bool { return !l.in(s) })
			for s := range 4 {
				if l.in(s) && !slices.Contains(*l.list, s) {
					*l.list = append(*l.list, s)
				}
			}
		}
		if len(m.some(class, -1, anyOf)) == 0 {
			m.passed[class] = 0
		}
	}
}

func (m *orderModel) remove(p *modeled) {
	m.all = slices.DeleteFunc(m.all, func(q *modeled) bool { return q == p })
	m.settle()
}

func (m *orderModel) admit(ended func(*blocked, error)) {
	for class := classCount - 1; class >= 0; class-- {
		for len(m.hungry[class]) > 0 && (m.Unbounded || len(m.some(-1, -1, isPlaced)) < m.Capacity) {
			s := m.hungry[class][0]
			p := m.some(class, s, isWaiting)[0]
			p.placed = true
			ended(p.blocked, nil)
			p.done = nil
			m.hungry[class] = m.hungry[class][1:]
			m.settle()
		}
	}
}

func (m *orderModel) victim(p *modeled) *modeled {
	if m.atMost(p) {
		return m.some(p.class(), m.sender(p), isPlaced)[0]
	}
	for class := 0; class <= p.class(); class++ {
		if placed := m.some(class, -1, isPlaced); len(placed) > 0 {
			return placed[0]
		}
	}
	return nil
}

// add adds a message that waits for a place, unless one is free for it and nobody is before it.
func (m *orderModel) add(p *modeled) {
	p.placed = m.room(p) && len(m.some(p.class(), m.sender(p), isWaiting)) == 0
	m.all = append(m.all, p)
	m.settle()
}

// put says what a put of v does, and whether v is to wait for room.
func (m *orderModel) put(v int, policy Policy, joins bool, ended func(*blocked, error)) (put Put[int], err error, waits bool) {
	p := &modeled{blocked: &blocked{v: v}}
	switch {
	case m.closed:
		return put, ErrClosed, false
	case m.room(p):
		m.add(p)
		put.Wake, m.busy = !m.busy, true
		return put, nil, false
	case policy == Block && joins:
		return put, nil, true
	case policy == DropOldest && m.victim(p) != nil:
		old := m.victim(p)
		m.remove(old)
		m.add(p)
		m.admit(ended)
		return Put[int]{Dropped: old.v, HasDropped: true}, nil, false
	case policy == DropNewest || policy == DropOldest:
		return Put[int]{Dropped: v, HasDropped: true, Own: true}, nil, false
	}
	return put, ErrFull, false
}

// next takes the next message out.
func (m *orderModel) next(ended func(*blocked, error)) int {
	turn := -1
	for class := range classCount {
		if len(m.some(class, -1, anyOf)) > 0 {
			if turn = class; m.passed[class] >= m.overtake() {
				break
			}
		}
	}
	for lower := range turn {
		if len(m.some(lower, -1, anyOf)) > 0 {
			m.passed[lower]++
		}
	}
	m.passed[turn] = 0
	s := m.turns[turn][0]
	m.turns[turn] = append(m.turns[turn][1:len(m.turns[turn]):len(m.turns[turn])], s)
	p := m.some(turn, s, anyOf)[0]
	m.remove(p)
	ended(p.blocked, nil)
	m.admit(ended)
	return p.v
}

func TestOrderAgainstModel(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, checkOrderAgainstModel)
	})
}

func checkOrderAgainstModel(t *rapid.T) {
	c := Config{
		Capacity: rapid.IntRange(1, 8).Draw(t, "capacity"),
		Policy:   Policy(rapid.IntRange(0, 3).Draw(t, "policy")),
		Backlog:  rapid.IntRange(1, 3).Draw(t, "backlog"),
		Overtake: rapid.IntRange(1, 4).Draw(t, "overtake"),
		Fair:     rapid.Bool().Draw(t, "fair"),
	}
	if rapid.IntRange(0, 9).Draw(t, "unbounded") == 0 {
		c.Unbounded, c.Capacity, c.Policy = true, 0, Block
	}
	if c.Fair {
		c.PerSender = rapid.IntRange(0, 3).Draw(t, "per sender")
	}
	b, m, n := new(Box[int]), &orderModel{Config: c}, 0
	b.InitOrdered(&c, placeOfNumber)
	defer b.Close()
	var now time.Duration
	var last *Batch[int]
	ended := func(p *blocked, want error) {
		if p.done != nil && (!p.isDone() || !errors.Is(p.err, want) || p.put.Wake) {
			t.Fatalf("blocked put %d: %+v, %v; want %v", p.v, p.put, p.err, want)
		}
	}
	same := func(v int, put, wantPut Put[int], err, wantErr error) {
		if put != wantPut || err != wantErr {
			t.Fatalf("put %d: %+v, %v; want %+v, %v", v, put, err, wantPut, wantErr)
		}
	}
	draw := func(t *rapid.T) int {
		n++
		return 16*n + 4*rapid.IntRange(0, 3).Draw(t, "class") + rapid.IntRange(0, 3).Draw(t, "sender")
	}
	take := func() {
		if last = b.Take(last); (last == nil) != (len(m.all) == 0) {
			t.Fatalf("Take = %v with %d messages", last, len(m.all))
		}
		if last == nil {
			m.busy = false
		} else if want, got := m.next(ended), last.Messages(); len(got) != 1 || got[0] != want || last.IsLast() != (len(m.all) == 0) {
			t.Fatalf("Take = %v, want %d", got, want)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"offer": func(t *rapid.T) {
			v := draw(t)
			put, err := b.Offer(v)
			wantPut, wantErr, _ := m.put(v, m.Policy, false, ended)
			same(v, put, wantPut, err, wantErr)
		},
		"displace": func(t *rapid.T) {
			v := draw(t)
			put, err := b.Displace(v)
			wantPut, wantErr, _ := m.put(v, DropOldest, false, ended)
			same(v, put, wantPut, err, wantErr)
		},
		"push": func(t *rapid.T) {
			v := draw(t)
			room := !m.closed && m.room(&modeled{blocked: &blocked{v: v}})
			wakes := room && !m.busy
			push := func() (bool, bool) { return b.Push(v) }
			if v%2 == 0 {
				push = func() (bool, bool) { return b.PushWith(func(place *int) { *place = v }) }
			}
			if wake, ok := push(); ok != room || wake != wakes {
				t.Fatalf("push %d: %v, %v; want %v, %v", v, wake, ok, wakes, room)
			}
			if room {
				m.put(v, m.Policy, false, ended)
			}
		},
		"enqueue": func(t *rapid.T) {
			v := draw(t)
			put, err := b.Enqueue(v)
			wantPut, wantErr, waits := m.put(v, m.Policy, len(m.some(-1, -1, inBacklog)) < m.Backlog, ended)
			same(v, put, wantPut, err, wantErr)
			if waits {
				m.add(&modeled{blocked: &blocked{v: v}})
			}
		},
		"put": func(t *rapid.T) {
			v := draw(t)
			p := putAside(b, v)
			wantPut, wantErr, waits := m.put(v, m.Policy, true, ended)
			if p.isDone() == waits {
				t.Fatalf("put %d: waits is %v, want %v", v, !waits, waits)
			}
			if waits {
				m.add(&modeled{blocked: p})
				return
			}
			same(v, p.put, wantPut, p.err, wantErr)
		},
		"cancel": func(t *rapid.T) {
			line := m.some(-1, -1, func(p *modeled) bool { return !isAccepted(p) })
			if len(line) == 0 {
				return
			}
			p := line[rapid.IntRange(0, len(line)-1).Draw(t, "who")]
			p.cancel()
			ended(p.blocked, context.Canceled)
			m.remove(p)
		},
		"sweep": func(t *rapid.T) {
			now += 10 * time.Second
			among := rapid.IntRange(1, 5).Draw(t, "among")
			dead := func(v int) bool { return v/16%5 >= 5-among }
			tight := !m.Unbounded && len(m.some(-1, -1, isPlaced)) == m.Capacity || slices.ContainsFunc(m.all, m.atMost)
			gone := b.Sweep(now, func(v *int) bool { return dead(*v) })
			var want []int
			if tight && !m.closed {
				for class := range classCount {
					for _, p := range m.some(class, -1, func(p *modeled) bool { return isAccepted(p) && dead(p.v) }) {
						m.remove(p)
						want = append(want, p.v)
					}
				}
				slices.Sort(want)
				m.admit(ended)
			}
			if !slices.Equal(gone, want) {
				t.Fatalf("Sweep = %v, want %v", gone, want)
			}
		},
		"take":      func(*rapid.T) { take() },
		"take more": func(*rapid.T) { take(); take() },
		"end": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "really") != 0 {
				return
			}
			if m.closed = true; rapid.Bool().Draw(t, "seal") {
				b.Seal()
			} else {
				var want []int
				for _, p := range m.some(-1, -1, isAccepted) {
					want = append(want, p.v)
				}
				if rest, busy := b.Close(); !slices.Equal(rest, want) || busy != m.busy {
					t.Fatalf("Close = %v, %v, want %v", rest, busy, want)
				}
				for _, v := range want {
					m.remove(m.some(-1, -1, func(p *modeled) bool { return p.v == v })[0])
				}
			}
			for _, p := range m.some(-1, -1, func(p *modeled) bool { return !isAccepted(p) }) {
				ended(p.blocked, ErrClosed)
				m.remove(p)
			}
		},
		"": func(*rapid.T) {
			if want := len(m.some(-1, -1, isAccepted)); b.Len() != want {
				t.Fatalf("Len = %d, want %d", b.Len(), want)
			}
		},
	})
}

// TestOrderedProducers: with several producers, some of which give up, and consumers that come and go, nothing is
// lost or doubled, and what one producer sends in one class keeps its order.
func TestOrderedProducers(t *testing.T) {
	const producers, each = 6, 300
	type msg struct{ producer, class, n int }
	place := func(m *msg) Place {
		return Place{Class: Class(m.class) + Low, Sender: Sender{Node: fmt.Sprint(m.producer)}}
	}
	for name, c := range map[string]Config{
		"classes": {Capacity: 3}, "wide": {}, "fair": {Capacity: 20, Fair: true}, "each its part": {Capacity: 20, Fair: true, PerSender: 2},
		"unbounded": {Unbounded: true, Fair: true, PerSender: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var b Box[msg]
			b.InitOrdered(&c, place)
			var next [producers][classCount]int // owned by the one consumer there is at a time
			var wg sync.WaitGroup
			consume := func() {
				for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
					for _, m := range batch.Messages() {
						if next[m.producer][m.class] != m.n {
							t.Errorf("producer %d, class %d: got %d, want %d", m.producer, m.class, m.n, next[m.producer][m.class])
						}
						next[m.producer][m.class] = m.n + 1
					}
				}
			}
			for p := range producers {
				wg.Go(func() {
					for i := range each {
						m := msg{p, i % classCount, i / classCount}
						wake, ok := b.Push(m)
						for gives := i%3 == 0; !ok; gives = false { // some give up at first, perhaps when it is their turn
							ctx, cancel := context.WithCancel(t.Context())
							if gives {
								go cancel()
							}
							put, err := b.Put(ctx, m)
							cancel()
							wake, ok = put.Wake, err == nil
						}
						if wake {
							wg.Go(consume)
						}
					}
				})
			}
			wg.Wait()
			for p := range next {
				for class, n := range next[p] {
					if n != each/classCount {
						t.Errorf("producer %d, class %d: %d of %d came out", p, class, n, each/classCount)
					}
				}
			}
		})
	}
}

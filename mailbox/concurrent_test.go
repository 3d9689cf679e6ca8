package mailbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/test/bubble"
)

// blocked is a Put on its own goroutine.
type blocked struct {
	v      int
	cancel context.CancelFunc
	done   chan struct{}
	put    Put[int]
	err    error
}

// putAside calls Put on a goroutine of its own and returns when that is either
// done or waiting for room.
func putAside(b *Box[int], v int) *blocked {
	ctx, cancel := context.WithCancel(context.Background())
	p := &blocked{v: v, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.put, p.err = b.Put(ctx, v)
	}()
	synctest.Wait()
	return p
}

func (p *blocked) isDone() bool {
	synctest.Wait()
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func TestBlockedPuts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 1})
		offer(t, b, 1, 1)
		second := putAside(b, 2)
		third := putAside(b, 3)
		b.Enqueue(4)
		fifth := putAside(b, 5)
		if second.isDone() || b.Len() != 2 {
			t.Fatalf("a put into a full box did not wait, or Len counts it: %d", b.Len())
		}
		third.cancel()
		if !third.isDone() || !errors.Is(third.err, context.Canceled) {
			t.Fatalf("cancelled put: %v", third.err)
		}
		wantTake(t, b, 1)
		if !second.isDone() || second.err != nil || second.put.Wake {
			t.Fatalf("freed room: %+v, %v", second.put, second.err)
		}
		second.cancel() // too late to matter
		wantTake(t, b, 2)
		wantTake(t, b, 4)
		wantTake(t, b, 5)
		if !fifth.isDone() || fifth.err != nil {
			t.Fatal("fifth", fifth.err)
		}
		wantTake(t, b)
	})
}

func TestBlockedPutsAtClose(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 1})
		offer(t, b, 1, 1)
		second := putAside(b, 2)
		b.Enqueue(3)
		fourth := putAside(b, 4)
		if rest, _ := b.Close(); !slices.Equal(rest, []int{1, 3}) {
			t.Errorf("Close = %v", rest)
		}
		for _, p := range []*blocked{second, fourth} {
			if !p.isDone() || p.err != ErrClosed {
				t.Errorf("put %d: %v", p.v, p.err)
			}
		}
	})
}

func TestDeadlineWhileBlocked(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBox(Config{Capacity: 1})
		offer(t, b, 1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Put(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		wantTake(t, b, 1)
		wantTake(t, b)
	})
}

// TestRoomAndCancelTogether: whatever a put returns when room and the end of
// its ctx come at one moment, it says the truth about its message.
func TestRoomAndCancelTogether(t *testing.T) {
	for range 500 {
		bubble.Test(t, func(t *testing.T) {
			b := newBox(Config{Capacity: 1})
			offer(t, b, 1, 1)
			p := putAside(b, 2)
			var took []int
			go func() { took = b.Take(nil).Messages() }()
			go p.cancel()
			<-p.done
			synctest.Wait()
			if !slices.Equal(took, []int{1}) {
				t.Fatalf("took %v", took)
			}
			if in := b.Len() == 1; in != (p.err == nil) {
				t.Fatalf("Put returned %v, but in the box: %v", p.err, in)
			}
		})
	}
}

// TestGrantBeatsCancel pins the order that the race above only samples: the
// room came first, then the ctx ended, before the putter ran again.
func TestGrantBeatsCancel(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for range 50 { // select picks at random among what is ready
			b := newBox(Config{Capacity: 1})
			offer(t, b, 1, 1)
			p := putAside(b, 2)
			b.mu.Lock() // the putter, woken by its ctx, waits for the lock
			p.cancel()
			w := b.waiters.first
			b.waiters.remove(w)
			b.waiting.shift()
			*b.waiting.tail().slot() = w.v
			w.end(nil)
			b.mu.Unlock()
			if !p.isDone() || p.err != nil {
				t.Fatalf("granted, yet: %v", p.err)
			}
			wantTake(t, b, 2)
		}
	})
}

// TestProducersInOrder: with several producers and consumers that come and go,
// nothing is lost or doubled and each producer's messages keep their order.
func TestProducersInOrder(t *testing.T) {
	const producers, each = 6, 500
	type msg struct{ producer, n int }
	for name, c := range map[string]Config{
		"tight": {Capacity: 2}, "default": {}, "unbounded": {Unbounded: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var b Box[msg]
				b.Init(&c)
				next := make([]int, producers) // owned by the one consumer there is at a time
				consume := func() {
					for batch := b.Take(nil); batch != nil; batch = b.Take(batch) {
						for _, m := range batch.Messages() {
							if next[m.producer] != m.n {
								t.Errorf("producer %d: got %d, want %d", m.producer, m.n, next[m.producer])
							}
							next[m.producer] = m.n + 1
						}
					}
				}
				var wg sync.WaitGroup
				for p := range producers {
					wg.Go(func() {
						for n := range each {
							wake, ok := false, false
							if p%2 == 0 {
								wake, ok = b.Push(msg{p, n})
							}
							if !ok {
								put, err := b.Put(t.Context(), msg{p, n})
								if err != nil {
									t.Error(err)
									return
								}
								wake = put.Wake
							}
							if wake {
								wg.Go(consume)
							}
							if n%100 == p { // let the box go idle now and then
								time.Sleep(time.Millisecond)
							}
						}
					})
				}
				wg.Wait()
				for p, n := range next {
					if n != each {
						t.Errorf("producer %d: %d of %d came out", p, n, each)
					}
				}
			})
		})
	}
}

// model is a Box written for obviousness: one list of what waits, one of who
// waits for room.
type model struct {
	Config
	waiting []int
	queue   []*blocked // with a nil done: backlog
	busy    bool
	closed  bool
}

func (m *model) backlog() (n int) {
	for _, p := range m.queue {
		if p.done == nil {
			n++
		}
	}
	return n
}

// put says what a put of v does, and whether it waits for room.
func (m *model) put(v int, joins bool) (put Put[int], err error, waits bool) {
	switch {
	case m.closed:
		return put, ErrClosed, false
	case m.Unbounded || len(m.waiting) < m.Capacity:
		m.waiting = append(m.waiting, v)
		put.Wake, m.busy = !m.busy, true
		return put, nil, false
	case m.Policy == Block && joins:
		return put, nil, true
	case m.Policy == DropNewest:
		return Put[int]{Dropped: v, HasDropped: true, Own: true}, nil, false
	case m.Policy == DropOldest:
		oldest := m.waiting[0]
		m.waiting = append(m.waiting[1:len(m.waiting):len(m.waiting)], v)
		return Put[int]{Dropped: oldest, HasDropped: true}, nil, false
	}
	return put, ErrFull, false
}

// admit moves messages that wait for room into the box, and has that checked.
func (m *model) admit(ended func(*blocked, error)) {
	for len(m.queue) > 0 && len(m.waiting) < m.Capacity {
		ended(m.queue[0], nil)
		m.waiting = append(m.waiting, m.queue[0].v)
		m.queue = m.queue[1:]
	}
}

func TestAgainstModel(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, checkAgainstModel) // without t.Deadline, which a bubble forbids
	})
}

func checkAgainstModel(t *rapid.T) {
	c := Config{
		Capacity: rapid.OneOf(rapid.IntRange(1, 4), rapid.IntRange(batchSize, 2*batchSize+2)).Draw(t, "capacity"),
		Policy:   Policy(rapid.IntRange(0, 3).Draw(t, "policy")),
		Backlog:  rapid.IntRange(1, 3).Draw(t, "backlog"),
	}
	if rapid.IntRange(0, 9).Draw(t, "unbounded") == 0 {
		c = Config{Unbounded: true}
	}
	b, m, v := newBox(c), &model{Config: c}, 0
	now := time.Duration(0)
	defer b.Close() // or what still blocks would outlive the bubble
	var last *Batch[int]
	same := func(put, wantPut Put[int], err, wantErr error) {
		if put != wantPut || err != wantErr {
			t.Fatalf("put %d: %+v, %v; want %+v, %v", v, put, err, wantPut, wantErr)
		}
	}
	ended := func(p *blocked, want error) {
		if p.done != nil && (!p.isDone() || !errors.Is(p.err, want) || p.put.Wake) {
			t.Fatalf("blocked put %d: %+v, %v; want %v", p.v, p.put, p.err, want)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"offer": func(*rapid.T) {
			v++
			put, err := b.Offer(v)
			wantPut, wantErr, _ := m.put(v, false)
			same(put, wantPut, err, wantErr)
		},
		"push": func(*rapid.T) {
			v++
			room := !m.closed && (m.Unbounded || len(m.waiting) < m.Capacity)
			wakes := room && !m.busy
			if wake, ok := b.Push(v); ok != room || wake != wakes {
				t.Fatalf("push %d: %v, %v; want %v, %v", v, wake, ok, wakes, room)
			}
			if room {
				m.put(v, false)
			}
		},
		"enqueue": func(*rapid.T) {
			v++
			put, err := b.Enqueue(v)
			wantPut, wantErr, waits := m.put(v, m.backlog() < m.Backlog)
			same(put, wantPut, err, wantErr)
			if waits {
				m.queue = append(m.queue, &blocked{v: v})
			}
		},
		"many": func(t *rapid.T) { // so that there is more than a batch
			for range rapid.IntRange(2, 3*batchSize).Draw(t, "many") {
				v++
				put, err := b.Offer(v)
				wantPut, wantErr, _ := m.put(v, false)
				same(put, wantPut, err, wantErr)
			}
		},
		"put": func(*rapid.T) {
			v++
			p := putAside(b, v)
			wantPut, wantErr, waits := m.put(v, true)
			if p.isDone() == waits {
				t.Fatalf("put %d: waits is %v, want %v", v, !waits, waits)
			}
			if waits {
				m.queue = append(m.queue, p)
				return
			}
			same(p.put, wantPut, p.err, wantErr)
		},
		"cancel": func(t *rapid.T) {
			if len(m.queue) == 0 {
				return
			}
			i := rapid.IntRange(0, len(m.queue)-1).Draw(t, "who")
			if p := m.queue[i]; p.done != nil {
				p.cancel()
				ended(p, context.Canceled)
				m.queue = slices.Delete(m.queue, i, i+1)
			}
		},
		"sweep": func(t *rapid.T) {
			now += time.Duration(rapid.IntRange(2, 10).Draw(t, "seconds")) * time.Second // beyond the longest pause
			among := rapid.IntRange(1, 5).Draw(t, "among")
			lives := func(v int) bool { return v%5 < 5-among }
			gone := b.Sweep(now, func(v *int) bool { return !lives(*v) })
			var want []int
			if !m.closed && !m.Unbounded && len(m.waiting) == m.Capacity {
				var rest []int
				for _, v := range m.waiting {
					if lives(v) {
						rest = append(rest, v)
					} else {
						want = append(want, v)
					}
				}
				var line []*blocked
				for _, p := range m.queue {
					if p.done == nil && !lives(p.v) {
						want = append(want, p.v)
					} else {
						line = append(line, p)
					}
				}
				m.waiting, m.queue = rest, line
				m.admit(ended)
			}
			if !slices.Equal(gone, want) {
				t.Fatalf("Sweep = %v, want %v", gone, want)
			}
		},
		"take": func(*rapid.T) {
			if got := takeAll(b, &last); !slices.Equal(got, m.waiting) {
				t.Fatalf("Take = %v, want %v", got, m.waiting)
			}
			m.busy = len(m.waiting) > 0 && !m.closed
			m.waiting = nil
			m.admit(ended)
		},
		"close": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "really") != 0 {
				return
			}
			want := m.waiting
			for _, p := range m.queue {
				if p.done == nil {
					want = append(want, p.v)
				}
			}
			if rest, _ := b.Close(); !slices.Equal(rest, want) {
				t.Fatalf("Close = %v, want %v", rest, want)
			}
			for _, p := range m.queue {
				ended(p, ErrClosed)
			}
			m.closed, m.waiting, m.queue = true, nil, nil
		},
		"": func(*rapid.T) {
			if n := len(m.waiting) + m.backlog(); b.Len() != n {
				t.Fatalf("Len = %d, want %d", b.Len(), n)
			}
		},
	})
}

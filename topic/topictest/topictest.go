// Package topictest is the suite that every topic.Store passes.
//
//	func TestStore(t *testing.T) {
//		topictest.Run(t, func(t *testing.T) topic.Store { return new(actortest.Topics) })
//	}
package topictest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/topic"
)

// Run runs the suite. make makes an empty store, which ends with the test.
func Run(t *testing.T, make func(t *testing.T) topic.Store) {
	for _, row := range []struct {
		name string
		test func(*testing.T, *stage)
	}{
		{"a reader gets what its pattern and type match, in order", matching},
		{"an id is stored once on its topic", once},
		{"a reader begins where it says", from},
		{"a message comes until it is acked, and none before it", untilAcked},
		{"a name keeps its position", position},
		{"readers of one name share, one message at a time", shared},
		{"a message that was put off waits", waits},
		{"Next ends with its context", ends},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			row.test(t, &stage{t, ctx, make(t)})
		})
	}
}

// stage is a store in a test.
type stage struct {
	t     *testing.T
	ctx   context.Context
	store topic.Store
}

func (s *stage) publish(name string, typ uint64, ids ...int) (last uint64) {
	s.t.Helper()
	for _, id := range ids {
		m := topic.Message{ID: fmt.Sprint(id), Topic: name, TypeID: typ, Type: fmt.Sprint("type", typ), Codec: 3, Body: []byte{byte(id)},
			Publisher: "node", Headers: [][2]string{{"k\n", "v\r\n="}}, Trace: []byte{1, 2}}
		at, err := s.store.Publish(s.ctx, m)
		if err != nil || at <= last {
			s.t.Fatalf("publish %d: position %d after %d, %v", id, at, last, err)
		}
		last = at
	}
	return last
}

func (s *stage) open(r topic.Reading) topic.Reader {
	s.t.Helper()
	if r.TypeID == 0 {
		r.TypeID = 1
	}
	rd, err := s.store.Open(s.ctx, r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(rd.Close)
	return rd
}

func (s *stage) next(rd topic.Reader) topic.Message {
	s.t.Helper()
	m, err := rd.Next(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// take takes and acks n messages, and returns their ids.
func (s *stage) take(rd topic.Reader, n int) (ids []string) {
	s.t.Helper()
	for range n {
		ids = append(ids, s.next(rd).ID)
		rd.Ack()
	}
	return ids
}

func (s *stage) want(got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("got %v, want %v", got, want)
	}
}

var start = topic.From{Start: true}

func matching(t *testing.T, s *stage) {
	s.publish("a.b", 1, 1)
	s.publish("a.b", 2, 2)
	s.publish("a.c", 1, 3)
	s.publish("b.c", 1, 4)
	last := s.publish("a.b.ü", 1, 5)
	s.want(s.take(s.open(topic.Reading{Pattern: "a.*", From: start}), 2), "1", "3")
	s.want(s.take(s.open(topic.Reading{Pattern: "*.c", From: start}), 2), "3", "4")
	s.want(s.take(s.open(topic.Reading{Pattern: "a.b", TypeID: 2, From: start}), 1), "2")
	for _, name := range []string{"", "named"} {
		rd := s.open(topic.Reading{Pattern: "a.>", Name: name, From: start})
		s.want(s.take(rd, 2), "1", "3")
		m := s.next(rd)
		if m.ID != "5" || m.Topic != "a.b.ü" || m.TypeID != 1 || m.Type != "type1" || m.Codec != 3 || string(m.Body) != "\x05" || m.Publisher != "node" ||
			string(m.Trace) != "\x01\x02" || len(m.Headers) != 1 || m.Headers[0] != [2]string{"k\n", "v\r\n="} || m.Position != last || m.Attempt != 1 || m.Time.IsZero() {
			t.Errorf("%+v", m)
		}
	}
}

func once(t *testing.T, s *stage) {
	m := topic.Message{ID: "x", Topic: "a", TypeID: 1}
	var all sync.WaitGroup
	positions := make([]uint64, 8)
	for i := range positions {
		all.Go(func() {
			at, err := s.store.Publish(s.ctx, m)
			if positions[i] = at; err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if slices.Min(positions) != slices.Max(positions) {
		t.Errorf("positions %v", positions)
	}
	m.Topic = "b"
	if at, err := s.store.Publish(s.ctx, m); err != nil || at <= positions[0] {
		t.Errorf("on another topic: position %d, %v", at, err)
	}
	rd := s.open(topic.Reading{Pattern: ">", From: start})
	s.want(s.take(rd, 2), "x", "x")
}

func from(t *testing.T, s *stage) {
	s.publish("a", 1, 1)
	rd := s.open(topic.Reading{Pattern: "a", From: start})
	first := s.next(rd).Time
	for !time.Now().After(first) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * time.Millisecond)
	s.publish("a", 1, 2)
	rd.Ack()
	second := s.next(rd).Time
	for _, name := range []string{"", "n"} {
		s.want(s.take(s.open(topic.Reading{Pattern: "a", Name: name, From: topic.From{Time: second}}), 1), "2")
		at := s.open(topic.Reading{Pattern: "a", Name: name + "new"})
		s.publish("a", 1, 3+len(name))
		s.want(s.take(at, 1), fmt.Sprint(3+len(name)))
	}
}

func untilAcked(t *testing.T, s *stage) {
	s.publish("a", 1, 1, 2)
	for _, name := range []string{"", "n"} {
		rd := s.open(topic.Reading{Pattern: "a", Name: name, From: start})
		for attempt := 1; attempt <= 3; attempt++ {
			m := s.next(rd)
			if m.ID != "1" || m.Attempt != attempt {
				t.Errorf("%q: message %s attempt %d, want 1 attempt %d", name, m.ID, m.Attempt, attempt)
			}
			rd.Hold()
			rd.Retry(time.Millisecond)
		}
		s.want(s.take(rd, 2), "1", "2")
	}
}

func position(t *testing.T, s *stage) {
	s.publish("a", 1, 1, 2, 3)
	r := topic.Reading{Pattern: "a", Name: "n", From: start}
	rd := s.open(r)
	s.want(s.take(rd, 1), "1")
	if m := s.next(rd); m.ID != "2" {
		t.Errorf("%+v", m)
	}
	rd.Close()
	rd = s.open(topic.Reading{Pattern: "a", Name: "n"})
	s.want(s.take(rd, 2), "2", "3")
	s.want(s.take(s.open(topic.Reading{Pattern: "a", Name: "other", From: start}), 3), "1", "2", "3")
	s.publish("a", 2, 4)
	s.want(s.take(s.open(topic.Reading{Pattern: "a", TypeID: 2, Name: "n", From: start}), 1), "4")
}

func shared(t *testing.T, s *stage) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards what follows
	var ids []string
	inHand := false
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	for range 3 {
		rd := s.open(topic.Reading{Pattern: "a", Name: "n", From: start})
		all.Go(func() {
			defer rd.Close()
			for {
				m, err := rd.Next(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				if inHand {
					t.Error("two have a message in hand")
				}
				inHand = true
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				if inHand, ids = false, append(ids, m.ID); len(ids) == 9 {
					cancel()
				}
				rd.Ack()
				mu.Unlock()
			}
		})
	}
	s.publish("a", 1, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	all.Wait()
	s.want(ids, "1", "2", "3", "4", "5", "6", "7", "8", "9")
}

func waits(t *testing.T, s *stage) {
	s.publish("a", 1, 1, 2)
	for _, name := range []string{"", "n"} {
		rd := s.open(topic.Reading{Pattern: "a", Name: name, From: start})
		s.next(rd)
		began := time.Now()
		rd.Retry(200 * time.Millisecond)
		if m := s.next(rd); m.ID != "1" || time.Since(began) < 190*time.Millisecond {
			t.Errorf("%q: message %s after %v", name, m.ID, time.Since(began))
		}
	}
}

func ends(t *testing.T, s *stage) {
	for _, name := range []string{"", "n"} {
		rd := s.open(topic.Reading{Pattern: "a", Name: name})
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Millisecond)
		if _, err := rd.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		s.publish("a", 1, 1+len(name))
		s.want(s.take(rd, 1), fmt.Sprint(1+len(name)))
	}
}

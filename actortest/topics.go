package actortest

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-go/tandem/topic"
)

// Topics keeps the messages of durable topics in memory, for actor.Config.Topics of tests. All
// systems that are given the same one publish on the same topics. It forgets nothing, and may be used
// concurrently. The zero Topics is empty.
type Topics struct {
	mu      sync.Mutex // guards what follows
	log     []topic.Message
	ids     map[string]uint64 // positions of what was published, by topic, type and id
	names   map[topic.Reading]*topicsName
	changed chan struct{} // closed when there is something new
	gone    bool
}

// topicsName is what is known of a name of subscriptions.
type topicsName struct {
	done     uint64 // position of the last message that was handled
	attempts int    // at the next one
	due      time.Time
	holder   *topicsReader // who has the next one in hand; nil: nobody
}

var _ topic.Store = (*Topics)(nil)

// Lose has all that was published be gone, as if an operator had deleted the store. Until Accept
// nothing is published or delivered, and the errors wrap topic.ErrGone.
func (s *Topics) Lose() { s.lose(true) }

// Accept accepts the loss.
func (s *Topics) Accept() { s.lose(false) }

func (s *Topics) lose(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone = gone; gone {
		s.log, s.ids, s.names = nil, nil, nil
	}
	s.stir()
}

// stir wakes those that wait for something new. s.mu is held.
func (s *Topics) stir() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Publish implements topic.Store.
func (s *Topics) Publish(_ context.Context, m topic.Message) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return 0, &topic.NotStoredError{Err: topic.ErrGone}
	}
	id := m.Topic + " " + m.Type + " " + m.ID
	if at := s.ids[id]; at > 0 {
		return at, nil
	}
	if s.ids == nil {
		s.ids = map[string]uint64{}
	}
	m.Position, m.Time = uint64(len(s.log)+1), time.Now()
	s.log, s.ids[id] = append(s.log, m), m.Position
	s.stir()
	return m.Position, nil
}

// Open implements topic.Store.
func (s *Topics) Open(_ context.Context, r topic.Reading) (topic.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, topic.ErrGone
	}
	n := &topicsName{done: uint64(len(s.log))}
	for i := len(s.log); i > 0 && (r.From.Start || !r.From.Time.IsZero() && !s.log[i-1].Time.Before(r.From.Time)); i-- {
		n.done = uint64(i - 1)
	}
	r.From = topic.From{}
	if r.Name != "" {
		if s.names == nil {
			s.names = map[topic.Reading]*topicsName{}
		}
		if s.names[r] == nil {
			s.names[r] = n
		}
		n = nil
	}
	return &topicsReader{s: s, what: r, own: n}, nil
}

// topicsReader is a topic.Reader.
type topicsReader struct {
	s    *Topics
	what topic.Reading
	own  *topicsName // nil for a reader with a name
	at   uint64      // position of the message in hand
}

// name is where the reader stands. s.mu is held.
func (r *topicsReader) name() *topicsName {
	if r.own != nil {
		if r.own.done > uint64(len(r.s.log)) { // all is gone
			*r.own = topicsName{}
		}
		return r.own
	}
	n := r.s.names[r.what]
	if n == nil {
		n = new(topicsName)
		if r.s.names == nil {
			r.s.names = map[topic.Reading]*topicsName{}
		}
		r.s.names[r.what] = n
	}
	return n
}

// Next implements topic.Reader.
func (r *topicsReader) Next(ctx context.Context) (topic.Message, error) {
	for {
		m, wait, changed, err := r.look()
		if err != nil || m.Position > 0 {
			return m, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		if timer.Stop(); ctx.Err() != nil {
			return topic.Message{}, ctx.Err()
		}
	}
}

// look returns the next message, if there is one, or how long to wait, and what is closed if it comes before.
func (r *topicsReader) look() (m topic.Message, wait time.Duration, changed chan struct{}, err error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return m, 0, nil, topic.ErrGone
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	n := r.name()
	if wait = time.Until(n.due); wait > 0 {
		return m, wait, s.changed, nil
	}
	if n.holder != nil && n.holder != r {
		return m, time.Minute, s.changed, nil
	}
	for _, m := range s.log[n.done:] {
		if m.TypeID != r.what.TypeID || !topic.Match(r.what.Pattern, m.Topic) {
			n.done = m.Position
			continue
		}
		n.attempts++
		n.holder, r.at, m.Attempt = r, m.Position, n.attempts
		return m, 0, nil, nil
	}
	return m, time.Minute, s.changed, nil
}

// letGo ends the hold of the message in hand, if there is one.
func (r *topicsReader) letGo(do func(*topicsName)) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if n := r.name(); n.holder == r {
		n.holder = nil
		do(n)
		r.s.stir()
	}
}

// Ack implements topic.Reader.
func (r *topicsReader) Ack() { r.letGo(func(n *topicsName) { n.done, n.attempts = r.at, 0 }) }

// Retry implements topic.Reader.
func (r *topicsReader) Retry(delay time.Duration) {
	r.letGo(func(n *topicsName) { n.due = time.Now().Add(delay) })
}

// Hold implements topic.Reader.
func (r *topicsReader) Hold() {}

// Close implements topic.Reader.
func (r *topicsReader) Close() { r.letGo(func(*topicsName) {}) }

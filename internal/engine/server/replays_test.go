package server

import (
	"testing"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/transport"
)

// unread is a link to a peer that does not read: everything that is sent stays in the queue.
type unread struct {
	transport.Link
	sent   int
	handed bool
}

func (l *unread) Send(*transport.Envelope) (uint64, error) { l.sent++; return uint64(l.sent), nil }
func (l *unread) Handed(uint64) bool                       { return l.handed }

// If a client asks again and again what became of its requests and does not read, each answer
// is in the link's queue once.
func TestAnOutcomeWaitsOnceInALinksQueue(t *testing.T) {
	link := &unread{}
	c := &Link{Link: wire.Link{Link: link}}
	s := &session{server: &Server{}}
	ask := func(seq uint64) {
		in := &Inbound{session: s, life: life{stage: finished}, outcome: outcome{body: make([]byte, 24<<10)}}
		in.Seq = seq
		in.replayLocked(c)
	}
	for range 1000 {
		ask(1)
		ask(2)
	}
	if link.sent != 2 {
		t.Errorf("%d answers are in the queue, want 2", link.sent)
	}
	link.handed = true
	ask(1)
	link.handed = false
	ask(1)
	if link.sent != 3 {
		t.Errorf("%d answers, want another one once the first has left", link.sent)
	}
	for seq := range uint64(3 * maxReplays) {
		ask(seq)
	}
	if n := len(c.replays); n > maxReplays {
		t.Errorf("%d are known, want %d at most", n, maxReplays)
	}
}

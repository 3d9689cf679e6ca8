package rpc

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// This file is how a node leaves as a server: Farewell, Linger, LastWords, Close.

// byeBit sets the stamps of pings that ask whether what was said was heard apart from
// those of heartbeats.
const byeBit = 1 << 62

// byeAgain is when it is said again, for a bus may lose it.
const byeAgain = 250 * time.Millisecond

// Farewell tells all peers that this node takes no new requests, and returns when they
// know it, or ctx ends. What reaches it all the same is still the Handler's to judge, which
// should refuse it as Leaving.
func (n *Node) Farewell(ctx context.Context) {
	n.parting.Store(true)
	n.mu.Lock()
	n.phase = max(n.phase, leaving)
	n.mu.Unlock()
	// What its own handlers ask of its own actors goes on. And who has never said a word may
	// have met another start of this node: a bus that delivers an open late brings it to
	// both, and the link has one name.
	conns := slices.DeleteFunc(n.liveConns(), func(c *conn) bool { return c.isLoop() || !c.met.Load() })
	n.tellAll(ctx, conns, func(c *conn) { c.send(&transport.Envelope{Verb: transport.VerbBye}) })
}

func (c *conn) isLoop() bool { return c.link.Road() == LoopbackRoad }

// tellAll calls say for each link, and again, until all have shown that they heard what
// it sent or are closed, or ctx ends. Foreign ones are told and not waited for. It returns
// those that have shown it.
func (n *Node) tellAll(ctx context.Context, conns []*conn, say func(*conn)) (heard []*conn) {
	n.byes++
	stamp := byeBit | n.byes
	tick := time.NewTicker(byeAgain)
	defer tick.Stop()
	for first := true; ; {
		heard = nil
		waits := false
		for _, c := range conns {
			switch {
			case c.heeded.Load() >= stamp:
				heard = append(heard, c)
			case n.isOpen(c):
				if waits = waits || !c.foreign; first {
					say(c)
					c.send(&transport.Envelope{Verb: transport.VerbPing, Seq: stamp})
				}
			}
		}
		if !waits {
			return heard
		}
		first = false
		select {
		case <-n.acked:
		case <-tick.C:
			first = true
		case <-ctx.Done():
			return heard
		}
	}
}

func (n *Node) isOpen(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, open := n.conns[c]
	return open
}

// Linger goes on answering copies until every reply was acked, every link that
// could bring an ack is gone, or ctx ends. It returns how many records were not.
func (n *Node) Linger(ctx context.Context) int {
	for {
		left, lost := 0, 0
		n.mu.Lock()
		for _, s := range n.sessions {
			if records, linked := s.records(); linked {
				left += records
			} else {
				lost += records
			}
		}
		n.mu.Unlock()
		if left == 0 {
			return lost
		}
		select {
		case <-n.acked:
		case <-ctx.Done():
			return left + lost
		}
	}
}

// poke wakes who waits in Linger or tellAll.
func (n *Node) poke() {
	select {
	case n.acked <- struct{}{}:
	default:
	}
}

// LastWords sees to it that nothing of any session runs from here on, and tells each
// client what of its session has run, so that it need not wait for more: on the links
// that there are, until they have heard it or ctx ends. It returns what is to be left
// where the others can read it (Config.LastWord), at most 256 KiB; nil for nothing.
// Requests that this node has answers for are acked first.
func (n *Node) LastWords(ctx context.Context) []byte {
	n.mu.Lock()
	n.phase = max(n.phase, sealed)
	sessions := make([]*session, 0, len(n.sessions))
	for _, s := range n.sessions {
		sessions = append(sessions, s)
	}
	peers := make([]*peer, 0, len(n.peers))
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	n.mu.Unlock()
	for _, p := range peers {
		p.ackNow()
	}
	words := make(map[*session][]byte, len(sessions))
	of := map[*conn][]*session{}
	var conns []*conn
	for _, s := range sessions {
		word, on := s.seal()
		if s.own {
			continue
		}
		if words[s] = word; len(word) > maxWord {
			continue
		}
		for _, c := range on {
			if of[c] == nil {
				conns = append(conns, c)
			}
			of[c] = append(of[c], s)
		}
	}
	heard := n.tellAll(ctx, conns, func(c *conn) {
		for _, s := range of[c] {
			c.send(&transport.Envelope{Verb: transport.VerbBye, Grant: s.grant, Body: words[s]})
		}
	})
	for _, c := range heard {
		for _, s := range of[c] {
			delete(words, s)
		}
	}
	var left []said
	for s, word := range words {
		left = append(left, said{s.grant, word})
	}
	if len(left) == 0 {
		return nil
	}
	return appendWords(nil, left, maxWords)
}

// seal has nothing of the session run from here on, and returns the last word on it and
// the links that it is open on.
func (s *session) seal() (word []byte, on []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = true
	var ran, doubt []uint64
	for seq, in := range s.table.All() {
		switch state, _ := s.table.Lookup(seq); {
		case in.settled && (in.outcome.err == nil || in.outcome.err.Verdict == HasRun):
			ran = append(ran, seq)
		case in.settled && in.outcome.err.Verdict == Unknown:
			doubt = append(doubt, seq)
		case in.settled: // refused
		case state == dedup.Running, in.isKeyed(): // the attempt under its key that is to run may be another session's
			doubt = append(doubt, seq)
		}
	}
	w := lastWord{ran: spansOf(ran), doubt: spansOf(doubt)}
	return w.append(nil), append(on, s.on...)
}

// repeatWord tells a link that comes to a session after its last word was said.
func (s *session) repeatWord(c *conn) {
	if word, _ := s.seal(); len(word) <= maxWord {
		c.send(&transport.Envelope{Verb: transport.VerbBye, Grant: s.grant, Body: word})
	}
}

package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/transport"
)

// This file contains how a node leaves as a server. The order is AnnounceLeaving,
// Server.AwaitAcks, LastWords, Close.

// byeBit is set in the stamps of announce's pings, and distinguishes them from heartbeats.
const byeBit = 1 << 62

// byeRepeat is after what time an announcement is sent again, because a bus may lose it.
const byeRepeat = 250 * time.Millisecond

// AnnounceLeaving tells all peers that this node accepts no new requests, and returns when they
// know it, or when ctx ends. Requests that come all the same still go to the Handler, which
// should refuse them as Leaving.
func (n *Node) AnnounceLeaving(ctx context.Context) {
	n.Client.Part()
	n.mu.Lock()
	n.phase = max(n.phase, leaving)
	n.mu.Unlock()
	n.Server.Open(false)
	// Requests of this node's own handlers to its own actors are still served. A peer from
	// which nothing has come may be connected to another start of this node: a bus that delivers
	// an open late brings it to both, and both links have the same name.
	conns := slices.DeleteFunc(n.liveConns(), func(c *conn) bool { return c.Loop() || !c.everHeard.Load() })
	n.announce(ctx, conns, func(c *conn) { _, _ = c.Post(&transport.Envelope{Verb: transport.VerbBye}) })
}

// announce calls say for each link, repeatedly, until all links have confirmed by the answer to
// a ping that they received it, or are closed, or ctx ends. It does not wait for foreign links.
// It returns the links that have confirmed.
func (n *Node) announce(ctx context.Context, conns []*conn, say func(*conn)) (heard []*conn) {
	n.announcements++
	stamp := byeBit | n.announcements
	tick := time.NewTicker(byeRepeat)
	defer tick.Stop()
	for first := true; ; {
		heard = nil
		waits := false
		for _, c := range conns {
			switch {
			case c.lastAnswered.Load() >= stamp:
				heard = append(heard, c)
			case n.isOpen(c):
				if waits = waits || !c.Foreign; first {
					say(c)
					_, _ = c.Post(&transport.Envelope{Verb: transport.VerbPing, Seq: stamp})
				}
			}
		}
		if !waits {
			return heard
		}
		first = false
		select {
		case <-n.answers:
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

// poke wakes the goroutine that waits in announce.
func (n *Node) poke() {
	select {
	case n.answers <- struct{}{}:
	default:
	}
}

// LastWords makes sure that no request of any session starts from now on, and sends each client
// the last word on its session: which of its requests have run. So clients need not wait for
// the others. It returns when the clients have received it on the links that are open, or when
// ctx ends. The result holds the last words that were not received, which are to be left where
// other nodes can read them (Config.LastWord): at most 256 KiB, nil for nothing. LastWords
// first acks the requests for which this node has the answers.
func (n *Node) LastWords(ctx context.Context) []byte {
	n.mu.Lock()
	n.phase = max(n.phase, sealed)
	n.mu.Unlock()
	n.Server.Open(false)
	n.Client.AckAll()
	left := map[transport.Grant]wire.SessionWord{} // the last words that no client has received
	words := map[*server.Link][]wire.SessionWord{}
	for _, s := range n.Server.Seal() {
		if left[s.Grant] = s.SessionWord; len(s.Word) > wire.MaxWord {
			continue
		}
		for _, l := range s.On {
			words[l] = append(words[l], s.SessionWord)
		}
	}
	conns := slices.DeleteFunc(n.liveConns(), func(c *conn) bool { return words[&c.server] == nil })
	heard := n.announce(ctx, conns, func(c *conn) {
		for _, s := range words[&c.server] {
			_, _ = c.Post(&transport.Envelope{Verb: transport.VerbBye, Grant: s.Grant, Body: s.Word})
		}
	})
	for _, c := range heard {
		for _, s := range words[&c.server] {
			delete(left, s.Grant)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return wire.AppendWords(nil, slices.Collect(maps.Values(left)), wire.MaxWords)
}

package server

import (
	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// seal makes sure that no request of the session starts from now on. It returns the last word
// on the session, and the links on which it is open.
func (s *session) seal() (word []byte, on []*Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = true
	var ran, unknown []uint64
	for seq, in := range s.table.All() {
		switch state, _ := s.table.Lookup(seq); {
		case in.finished() && (in.outcome.err == nil || in.outcome.err.Verdict == rpc.HasRun):
			ran = append(ran, seq)
		case in.finished() && in.outcome.err.Verdict == rpc.Unknown:
			unknown = append(unknown, seq)
		case in.finished(): // refused
		case state == dedup.Running, in.isKeyed(): // the attempt that runs for its key may be another session's
			unknown = append(unknown, seq)
		}
	}
	w := wire.LastWord{Ran: wire.SpansOf(ran), MayHaveRun: wire.SpansOf(unknown)}
	return w.Append(nil), append(on, s.links...)
}

// repeatWord sends the last word on a link on which the session was opened after it was said.
func (s *session) repeatWord(c *Link) {
	if word, _ := s.seal(); len(word) <= wire.MaxWord {
		c.Post(&transport.Envelope{Verb: transport.VerbBye, Grant: s.grant, Body: word})
	}
}

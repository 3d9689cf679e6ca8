package actor

import (
	"strings"
	"sync"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/longcopy"
)

// KeptLetters lists the dead letters that are kept with their messages, deadletter.MaxPage at most.
// The next page is that of a filter with After set to the ID of the last one.
func (s *System) KeptLetters(f deadletter.Filter) []deadletter.Kept {
	k := &s.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.store.List(s.ofLetters(f))
}

// DiscardLetters removes the kept letters that f lets through, and returns how many. A letter
// that is being sent stays.
func (s *System) DiscardLetters(f deadletter.Filter) int {
	k := &s.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.store.Discard(s.ofLetters(f))
}

// ofLetters returns the filter with an address instead of the name of an actor of this node.
func (s *System) ofLetters(f deadletter.Filter) deadletter.Filter {
	if f.Actor != "" && !strings.Contains(f.Actor, "@") {
		f.Actor += "@" + s.cfg.Name
	}
	return f
}

// keptLetters is a store of dead letters with a lock.
type keptLetters struct {
	mu    sync.Mutex // guards store, except for store.Largest
	store *deadletter.Store[letterCarries]

	compacts *compacts // does not change
}

// letterCarries is what the message of a dead letter carries.
type letterCarries struct {
	own  *meta       // with a message of this node; nil for nothing
	came *letterCame // with one of another node, for which it is not nil
}

// letterCame is what a message from another node carries beside its body.
type letterCame struct {
	from    server.Arrival
	foreign bool       // its node has not proved its name
	meta    *wire.Meta // nil for nothing
}

// letterBase is what a letter takes in memory beside its texts and its message.
const letterBase = 512

// keep keeps the message in it, which is that of d, and gives d its id. body is the message if it
// came from another node. owner is the principal
// that is answerable for the memory of a message of which it is not known; empty: this node.
func (k *keptLetters) keep(d *DeadLetter, it item, body []byte, owner string) {
	largest := k.store.Largest()
	if largest == 0 {
		return
	}
	l := deadletter.Kept{Letter: *d, Size: letterBase + len(d.To) + len(d.From) + len(d.Type) + len(d.Reason.Error())}
	var with letterCarries
	in, encoded := it.msg.(*server.Inbound)
	switch {
	case !encoded:
		l.Message, with.own = plainValue(it.msg), it.meta.lasting()
		l.Size += sizeOf(l.Message, largest)
		if with.own != nil {
			if with.own.arrival != nil {
				owner = with.own.arrival.Origin.Principal
			}
			l.Size += sizeOf(with.own.headers, largest)
		}
	case in.Cut():
		return // there was no room for its body
	default:
		with.came = &letterCame{from: in.Arrival(), foreign: in.From() == "", meta: in.Meta}
		if o := with.came.from.Origin; !o.Local {
			owner = o.Principal
		}
		l.Size += len(body) + in.MetaSize()
		if l.Size <= largest {
			cd, named, ok := k.compacts.lasting(in, body)
			if !ok {
				return // of a schema that nobody knows here
			}
			l.Encoded = &deadletter.Encoded{TypeID: in.TypeID, Codec: cd, Body: longcopy.Clone(named)}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d.ID = k.store.Add(owner, l, with)
}

// keepEncoded is keep for a message of this node of which only the encoded form is there.
func (k *keptLetters) keepEncoded(d *DeadLetter, body deadletter.Encoded, came *letterCame) {
	if k.store.Largest() == 0 {
		return
	}
	l := deadletter.Kept{Letter: *d, Size: letterBase + len(d.To) + len(d.From) + len(d.Type) + len(d.Reason.Error()) + len(body.Body)}
	for _, h := range came.meta.Headers {
		l.Size += len(h.Key) + len(h.Value)
	}
	if l.Size <= k.store.Largest() {
		l.Encoded = &body
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	d.ID = k.store.Add("", l, letterCarries{came: came})
}

// lasting returns what is kept of m with a message that nobody waits for; nil for nothing.
func (m *meta) lasting() *meta {
	if m == nil || m.sender.IsZero() && m.trace.IsZero() && len(m.headers) == 0 && m.arrival == nil {
		return nil
	}
	return &meta{sender: m.sender, trace: m.trace, headers: m.headers, arrival: m.arrival}
}

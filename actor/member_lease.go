package actor

import (
	"errors"
	"math"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// tenure is what a node knows of the lease on its own name. Instants are read from the monotonic
// clock, as the time since the node was made. It has no clock and does no I/O.
//
// A lease is certain until it could have ended if the registry had counted it from the moment at
// which the request was sent that confirmed it. So an answer that takes long is worth less, and a
// step of the wall clock does nothing. A process that was stopped finds its lease late as soon as
// it runs again, before it has noticed anything else. While a whole machine sleeps, the monotonic
// clock of some systems stands still (on Linux, too): such a node is wrong until its next renewal.
type tenure struct {
	lease time.Duration // 0: claims are for ever
	state hold
	until time.Duration // the lease is certain before that; 0 unless the name is held
}

// hold is the state of a claim.
type hold uint8

const (
	nameFree  hold = iota // never claimed, or lost: it may be claimed again
	nameHeld              // claimed; perhaps the lease has run out
	nameGiven             // given up for good
)

// standing is what may be said at one moment.
type standing uint8

const (
	leaseLost      standing = iota // the node does not hold its name
	leaseLate                      // the lease may have ended
	leaseConfirmed                 // the lease has not ended
)

// forever is an instant that never comes.
const forever = time.Duration(math.MaxInt64)

// confirm notes that a request which was sent at that instant has claimed the name, or has renewed
// its lease.
func (t tenure) confirm(sent time.Duration) tenure {
	if t.state == nameGiven {
		return t
	}
	t.state = nameHeld
	if t.lease == 0 {
		t.until = forever
	}
	t.until = max(t.until, sent+t.lease)
	return t
}

// lose notes that the registry has said that the name is not this node's.
func (t tenure) lose() tenure {
	if t.state == nameHeld {
		t.state = nameFree
	}
	t.until = 0
	return t
}

// end notes that the node is about to give up its name.
func (t tenure) end() tenure { return tenure{lease: t.lease, state: nameGiven} }

// after notes the answer to a claim or a renewal that was sent at that instant. An answer that
// proves nothing changes nothing: the lease then becomes late by the clock.
func (t tenure) after(sent time.Duration, err error) tenure {
	switch {
	case err == nil:
		return t.confirm(sent)
	case errors.Is(err, registry.ErrLost), errors.Is(err, registry.ErrTaken):
		return t.lose()
	}
	return t
}

// at says what holds at an instant.
func (t tenure) at(now time.Duration) standing {
	switch {
	case t.state != nameHeld:
		return leaseLost
	case now < t.until:
		return leaseConfirmed
	}
	return leaseLate
}

// now is the time on the node's monotonic clock.
func (m *members) now() time.Duration { return time.Since(m.born) }

// answered notes the answer to a claim or a renewal of this node's name that was sent at that instant.
func (m *members) answered(sent time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, now := m.tenure, m.now()
	m.tenure = was.after(sent, err)
	if was.at(now) != leaseConfirmed {
		m.term.Add(1) // before leaseUntil, so that no one takes the new term's end for that of the old one
	}
	m.leaseUntil.Store(int64(m.tenure.until))
}

// turn changes what is known of this node's lease.
func (m *members) turn(change func(tenure) tenure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tenure = change(m.tenure)
	m.leaseUntil.Store(int64(m.tenure.until))
}

// certain reports whether the lease on this node's name cannot have ended yet. It takes no lock.
// Without a registry, it cannot.
func (m *members) certain() bool {
	return m.sys.cfg.Registry == nil || m.now() < time.Duration(m.leaseUntil.Load())
}

// certainIn reports whether the lease has been certain without a gap since that term was the current one,
// and still is. In a gap another node may have taken what this one held.
func (m *members) certainIn(term uint64) bool { return m.certain() && m.term.Load() == term }

// hosted returns the virtual kinds among the kinds of this node, with their version, which is that
// of the program.
func (s *System) hosted() map[string]string {
	var kinds map[string]string
	for _, k := range s.cfg.Kinds {
		if !k.placed {
			continue
		}
		if kinds == nil {
			kinds = map[string]string{}
		}
		kinds[k.name] = s.cfg.Version
	}
	return kinds
}

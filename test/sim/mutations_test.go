//go:build !race

// What is planted here is for the checkers to find, not for the race detector.

package sim

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// mutations break a promise on purpose, each in another place. The checks must find each of
// them.
var mutations = []struct {
	name  string
	cheat func() cheat
	found string // in what is reported
}{
	{"a handler runs its body twice", func() cheat {
		return cheat{handler: func(id uint64) int {
			if id%16 == 3 {
				return 2
			}
			return 1
		}}
	}, "ran 2 times"},

	{"a copy gets a number of its own", onWire(transport.VerbRequest, func(_ *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		copied := *e
		copied.Seq += 1 << 40
		_, _ = send(&copied)
		return send(e)
	}), "ran 2 times"},

	{"two replies are swapped", onWire(transport.VerbReply, func(m *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		if len(e.Body) == 0 || e.Code != 0 {
			return send(e)
		}
		if m.kept == nil {
			m.kept = clone(e)
			return 0, nil
		}
		e.Seq, m.kept.Seq = m.kept.Seq, e.Seq
		_, _ = send(m.kept)
		m.kept = nil
		return send(e)
	}), "got the reply of"},

	{"two tells change places", onWire(transport.VerbTell, func(m *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		if m.kept == nil {
			m.kept = clone(e)
			return 0, nil
		}
		first := m.kept
		m.kept = nil
		later := clone(e)
		if first.Seq+1 == later.Seq {
			first.Seq, later.Seq = later.Seq, first.Seq
			_, _ = send(later)
			return send(first)
		}
		_, _ = send(first)
		return send(later)
	}), "one-way message"},

	{"a reply becomes a refusal", onWire(transport.VerbReply, func(_ *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		if e.Code == 0 {
			e = &transport.Envelope{Verb: e.Verb, Seq: e.Seq, Grant: e.Grant, Code: uint16(rpc.Expired), Flags: transport.FlagNotRun}
		}
		return send(e)
	}), "told that it never would"},

	{"acks get lost, all of them", onWire(0, func(_ *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		if e.Verb == transport.VerbAck || e.Verb == transport.VerbCancel {
			return 0, nil
		}
		if e.Verb == transport.VerbRequest || e.Verb == transport.VerbPing {
			e.Mark = transport.Mark{}
		}
		return send(e)
	}), "at rest"},

	{"no session is ever opened", onWire(transport.VerbOpened, func(*meddler, *transport.Envelope, simulation.Sender) (uint64, error) {
		return 0, nil
	}), "does not answer"},

	{"a lost reply is called a success", func() cheat {
		return cheat{caller: func(o *simulation.Op, reply Done, err error) (Done, error) {
			if rpc.Ran(err) == rpc.Unknown {
				return Done{ID: o.ID}, nil
			}
			return reply, err
		}}
	}, "was answered before it ran"},

	{"unknown is called not run", func() cheat {
		return cheat{caller: func(_ *simulation.Op, reply Done, err error) (Done, error) {
			if err != nil && rpc.Ran(err) == rpc.Unknown {
				err = rpc.Errorf(rpc.Expired, rpc.NotRun, "a lie")
			}
			return reply, err
		}}
	}, "told that it never would"},

	{"not run is called run", func() cheat {
		return cheat{caller: func(_ *simulation.Op, reply Done, err error) (Done, error) {
			if rpc.Ran(err) == rpc.NotRun {
				err = errors.Join(rpc.NewError("lie", "a lie"))
			}
			return reply, err
		}}
	}, "told that it had"},

	{"a lost tell is called accepted", func() cheat {
		return cheat{caller: func(o *simulation.Op, reply Done, err error) (Done, error) {
			if o.Kind == simulation.Acked && rpc.Ran(err) != rpc.HasRun {
				err = nil
			}
			return reply, err
		}}
	}, "said to be in the mailbox"},

	{"a key gets lost on the way", onWire(transport.VerbRequest, func(_ *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		e.Key = ""
		return send(e)
	}), "of a volatile actor"},

	{"a key gets lost on the way to durable actors", onWire(transport.VerbRequest, func(_ *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		e.Key = ""
		return send(e)
	}), "of a durable actor"},

	{"a durable actor's store is empty after a restart", func() cheat {
		return cheat{keeps: func(c ledger.Change) bool { return c.ID.Seq != 0 || c.Op == ledger.Opened }}
	}, "of a durable actor"},

	{"a store loses what began", func() cheat {
		return cheat{keeps: func(c ledger.Change) bool { return c.Op != ledger.Begun && c.Op != ledger.Done }}
	}, "told that it never would"},

	{"a store lets a dead start go on", func() cheat { return cheat{unfenced: true} }, "its beginning is not in the store"},

	{"replies of a key differ", onWire(transport.VerbRequest, func(_ *meddler, e *transport.Envelope, send simulation.Sender) (uint64, error) {
		e.Key = ""
		return send(e)
	}), "under its key, and another one that of run"},

	{"a reply is of no run", func() cheat {
		return cheat{caller: func(_ *simulation.Op, reply Done, err error) (Done, error) {
			reply.Run += 1000
			return reply, err
		}}
	}, "got the reply of a run that it has not had"},

	{"another message under a key is answered", func() cheat {
		return cheat{caller: func(o *simulation.Op, reply Done, err error) (Done, error) {
			if rpc.CodeOf(err) == rpc.IDReused {
				return Done{ID: o.ID ^ 1}, nil
			}
			return reply, err
		}}
	}, "was answered under its key with the reply of"},

	{"another message under a key is said not to have run", func() cheat {
		return cheat{caller: func(_ *simulation.Op, reply Done, err error) (Done, error) {
			if rpc.CodeOf(err) == rpc.IDReused {
				err = rpc.Errorf(rpc.IDReused, rpc.NotRun, "a lie")
			}
			return reply, err
		}}
	}, "its caller was told that nothing ran"},

	{"a request is taken for another one", func() cheat {
		return cheat{caller: func(o *simulation.Op, reply Done, err error) (Done, error) {
			if err != nil && rpc.Ran(err) == rpc.NotRun && o.Key == "" {
				err = rpc.Errorf(rpc.IDReused, rpc.NotRun, "a lie")
			}
			return reply, err
		}}
	}, "another request that there is not"},

	{"all attempts under a key are said not to have run", func() cheat {
		return cheat{caller: func(o *simulation.Op, reply Done, err error) (Done, error) {
			if o.Key != "" {
				err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
			}
			return reply, err
		}}
	}, "all who sent it under its key"},

	{"durable requests begin unrecorded", func() cheat { return cheat{unrecorded: true} }, "its beginning is not in the store"},

	{"callers are told late", func() cheat {
		return cheat{late: func(o *simulation.Op) { time.Sleep(max(0, o.Due-time.Duration(o.Begun)+time.Second)) }}
	}, "ended at"},
}

// meddler is what a mutation keeps for one start of a node on one road.
type meddler struct {
	mu   sync.Mutex // guards what follows
	kept *transport.Envelope
}

// onWire is a mutation of what nodes send: of one verb, or of all if it is 0.
func onWire(verb transport.Verb, fn func(*meddler, *transport.Envelope, simulation.Sender) (uint64, error)) func() cheat {
	return func() cheat {
		return cheat{wire: func() func(*transport.Envelope, simulation.Sender) (uint64, error) {
			m := &meddler{}
			return func(e *transport.Envelope, send simulation.Sender) (uint64, error) {
				if verb != 0 && e.Verb != verb {
					return send(e)
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				copied := *e
				return fn(m, &copied, send)
			}
		}}
	}
}

// clone copies an envelope that is sent later.
func clone(e *transport.Envelope) *transport.Envelope {
	c := *e
	c.Body = slices.Clone(e.Body)
	c.Mark.Except = slices.Clone(e.Mark.Except)
	return &c
}

// oneIn reports true for one call in n, the first among them.
func oneIn[T any](n int, all []T) (some []T) {
	for i := 0; i < len(all); i += max(n, 1) {
		some = append(some, all[i])
	}
	return some
}

// TestMutations shows that the checks can fail.
func TestMutations(t *testing.T) {
	const patience = 100 // seeds
	for _, m := range oneIn(*planted, mutations) {
		t.Run(m.name, func(t *testing.T) {
			for s := range uint64(patience) {
				for _, wrong := range run(t, s+1, m.cheat(), true).wrong {
					if strings.Contains(wrong, m.found) {
						t.Logf("found by seed %d: %s", s+1, wrong)
						return
					}
				}
			}
			t.Errorf("not found by %d seeds", patience)
		})
	}
}

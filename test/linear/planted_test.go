package linear

import (
	"slices"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// planted are ways to break a promise, each in another place. The check must find every one.
var planted = []struct {
	name  string
	cheat func() *cheat
}{
	{"a register adds twice, now and then", func() *cheat {
		var n counter
		return &cheat{register: func(m Op, found, after uint64, r Result) (uint64, Result) {
			if m.Verb == fetchAdd && n.every(16) {
				after += m.A
			}
			return after, r
		}}
	}},
	{"a register answers with what it held before", func() *cheat {
		var mu sync.Mutex
		var n, before uint64
		return &cheat{register: func(m Op, found, after uint64, r Result) (uint64, Result) {
			mu.Lock()
			defer mu.Unlock()
			if m.Verb != read {
				before = found
			} else if n++; n%16 == 0 && before != 0 {
				r.Value = before
			}
			return after, r
		}}
	}},
	{"a write is answered and forgotten", func() *cheat {
		var n counter
		return &cheat{register: func(m Op, found, after uint64, r Result) (uint64, Result) {
			if m.Verb == write && n.every(16) {
				after = found
			}
			return after, r
		}}
	}},
	{"a swap that must fail succeeds", func() *cheat {
		return &cheat{register: func(m Op, found, after uint64, r Result) (uint64, Result) {
			if m.Verb == swap {
				return m.B, Result{Swapped: true}
			}
			return after, r
		}}
	}},
	{"a copy has a number of its own, so that it runs twice", func() *cheat {
		var n counter
		return &cheat{wire: func(e *transport.Envelope, send func(*transport.Envelope)) bool {
			if e.Verb == transport.VerbRequest && n.every(16) {
				copied := *e
				copied.Seq += 1 << 40
				send(&copied)
			}
			return false
		}}
	}},
	{"a request gets the reply of the one before it", func() *cheat {
		var mu sync.Mutex
		var last []byte
		return &cheat{wire: func(e *transport.Envelope, _ func(*transport.Envelope)) bool {
			if e.Verb == transport.VerbReply && e.Code == 0 {
				mu.Lock()
				defer mu.Unlock()
				own := slices.Clone(e.Body)
				if last != nil {
					e.Body = last
				}
				last = own
			}
			return false
		}}
	}},
	{"a server says NotRun of what ran", func() *cheat {
		var n counter
		return &cheat{wire: func(e *transport.Envelope, send func(*transport.Envelope)) bool {
			if e.Verb == transport.VerbReply && e.Code == 0 && n.every(16) {
				send(&transport.Envelope{Verb: e.Verb, Seq: e.Seq, Grant: e.Grant, Code: uint16(rpc.Expired), Flags: transport.FlagNotRun})
				return true
			}
			return false
		}}
	}},
	{"the history takes NotRun for an operation that took effect", verdict(func(_ Op, r Result, err error) (Result, error) {
		if rpc.Ran(err) == rpc.NotRun {
			err = rpc.NewError("lie", "a lie")
		}
		return r, err
	})},
	{"the history takes Unknown for NotRun", verdict(func(_ Op, r Result, err error) (Result, error) {
		if rpc.Ran(err) == rpc.Unknown {
			err = rpc.Errorf(rpc.Expired, rpc.NotRun, "a lie")
		}
		return r, err
	})},
	{"the history takes HasRun for NotRun", verdict(func(_ Op, r Result, err error) (Result, error) {
		if err != nil && rpc.Ran(err) == rpc.HasRun {
			err = rpc.Errorf(rpc.Failed, rpc.NotRun, "a lie")
		}
		return r, err
	})},
	{"the history takes Unknown for an operation that took effect", verdict(func(_ Op, r Result, err error) (Result, error) {
		if rpc.Ran(err) == rpc.Unknown {
			err = rpc.NewError("lie", "a lie")
		}
		return r, err
	})},
}

func verdict(fn func(Op, Result, error) (Result, error)) func() *cheat {
	return func() *cheat { return &cheat{verdict: fn} }
}

type counter struct {
	mu sync.Mutex // guards n
	n  int
}

func (c *counter) every(k int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n%k == 0
}

// TestPlanted proves that the check can fail.
func TestPlanted(t *testing.T) {
	const patience = 60 // seeds
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for s := range uint64(patience) {
				o := run(t, s+1, p.cheat())
				if porcupine.CheckOperationsTimeout(model, o.ops, checkLimit) == porcupine.Illegal {
					t.Logf("found by seed %d", s+1)
					return
				}
			}
			t.Errorf("not found by %d seeds", patience)
		})
	}
}

// TestVerdicts checks what each verdict means for a history, with one small history: a write of
// 1, which ends as the case says, and a later read.
func TestVerdicts(t *testing.T) {
	notRun, hasRun, unknown := rpc.Errorf(rpc.Expired, rpc.NotRun, "it did not"), rpc.NewError("e", "it did"), rpc.Errorf(rpc.Expired, rpc.Unknown, "who knows")
	for _, c := range []struct {
		name  string
		write error
		reads uint64
		want  bool
	}{
		{"answered, seen", nil, 1, true}, {"answered, not seen", nil, 0, false},
		{"not run, seen", notRun, 1, false}, {"not run, not seen", notRun, 0, true},
		{"ran, seen", hasRun, 1, true}, {"ran, not seen", hasRun, 0, false},
		{"unknown, seen", unknown, 1, true}, {"unknown, not seen", unknown, 0, true},
	} {
		h := &history{cheat: &cheat{}, pending: map[string]int{}}
		h.end(0, input{"x", Op{Verb: write, A: 1}}, h.tick(), Result{}, c.write)
		h.end(1, input{"x", Op{}}, h.tick(), Result{Value: c.reads}, nil)
		if got := porcupine.CheckOperations(model, h.ops); got != c.want {
			t.Errorf("%s: linearizable %v, want %v", c.name, got, c.want)
		}
	}
	// An unknown write may also take effect between two later reads, but not twice.
	h := &history{cheat: &cheat{}, pending: map[string]int{}}
	h.end(0, input{"x", Op{Verb: fetchAdd, A: 1}}, h.tick(), Result{}, unknown)
	for value := range uint64(3) {
		h.end(1, input{"x", Op{}}, h.tick(), Result{Value: value}, nil)
		if got, want := porcupine.CheckOperations(model, h.ops), value < 2; got != want {
			t.Errorf("an unknown addition, read as %d: linearizable %v, want %v", value, got, want)
		}
	}
}

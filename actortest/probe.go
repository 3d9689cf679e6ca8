package actortest

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
)

const (
	// Patience is how long Expect waits for a message, if Within does not say otherwise.
	Patience = 5 * time.Second

	// ProbeRoom is how many messages a probe keeps for the test. One more is dropped and fails
	// the test.
	ProbeRoom = 1 << 16
)

// Probe is an actor that keeps the messages that it gets, in their order, for a test to expect.
// It may be sent to from anywhere. What is expected of it must be so from the goroutine of the
// test.
type Probe struct {
	actor.Ref // the probe's address

	t        testing.TB
	sys      *actor.System
	patience time.Duration
	handlers []actor.Handler[*probeState]

	mu      sync.Mutex // guards what follows
	waiting []received
	full    bool          // the test was told that there is no room
	over    bool          // the test has ended
	came    chan struct{} // has a token when waiting was empty and is not
}

// received is a message that a probe got.
type received struct {
	msg    any
	sender actor.Ref
}

// ProbeOption changes one probe. Accepts, Answers and Within make them.
type ProbeOption func(*Probe)

// Accepts lets other nodes send messages of type M to the probe. Within a system a probe takes
// messages of all types.
func Accepts[M any]() ProbeOption {
	return func(p *Probe) { p.handlers = append(p.handlers, actor.Accepts[*probeState, M]()) }
}

// Answers has the probe answer requests of type M with the result of answer, which is called in
// the probe's run loop, one request at a time. The requests can be expected as other messages.
// A request that the probe was not told to answer fails at its sender, and can be expected too.
func Answers[M actor.Question[R], R any](answer func(M) (R, error)) ProbeOption {
	return func(p *Probe) {
		p.handlers = append(p.handlers, actor.Answer(func(s *probeState, ctx *actor.Context, m M) (R, error) {
			s.keep(received{m, ctx.Sender()})
			return answer(m)
		}))
	}
}

// Within sets how long Expect waits for a message of the probe.
func Within(d time.Duration) ProbeOption { return func(p *Probe) { p.patience = d } }

// NewProbe starts a probe under a name on a system; an empty name stands for a random one. It
// lives as long as the system.
func NewProbe(t testing.TB, sys *actor.System, name string, opts ...ProbeOption) *Probe {
	t.Helper()
	p := &Probe{t: t, sys: sys, patience: Patience, came: make(chan struct{}, 1)}
	for _, opt := range opts {
		opt(p)
	}
	kind := actor.Define("actortest.probe", func() *probeState { return &probeState{p} }, p.handlers...)
	p.Ref = Spawn(t, sys, name, kind)
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.over = true
	})
	return p
}

// probeState is the state of the probe's actor. It has a type of its own so that Receive is not
// a method of Probe.
type probeState struct{ *Probe }

// Receive implements actor.Receiver.
func (s *probeState) Receive(ctx *actor.Context) error {
	s.keep(received{ctx.Message(), ctx.Sender()})
	return nil
}

func (p *Probe) keep(r received) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		return
	case len(p.waiting) == ProbeRoom:
		if !p.full {
			p.t.Errorf("actortest: probe %v: %d messages wait to be expected, and there is room for no more; the first that is dropped: %v", p.Ref, ProbeRoom, r)
		}
		p.full = true
		return
	}
	p.waiting = append(p.waiting, r)
	select {
	case p.came <- struct{}{}:
	default:
	}
}

// Expect returns the next message that the probe got, or waits for it. If the message has
// another type than M, or if none comes in time, or none can come because the probe's system
// has ended, the test ends. M may be an interface, as any.
func Expect[M any](p *Probe) M {
	p.t.Helper()
	m, _ := ExpectFrom[M](p)
	return m
}

// ExpectFrom is Expect, and also returns the actor that sent the message: the zero Ref if it
// was no actor.
func ExpectFrom[M any](p *Probe) (M, actor.Ref) {
	p.t.Helper()
	want := reflect.TypeFor[M]()
	r, rest, problem := p.next(p.patience)
	switch {
	case problem != "":
		p.t.Fatalf("actortest: probe %v: want a message of type %v: %s", p.Ref, want, problem)
	default:
		if m, ok := r.msg.(M); ok {
			return m, r.sender
		}
		p.t.Fatalf("actortest: probe %v: want a message of type %v, got %v%s", p.Ref, want, r, list(rest))
	}
	panic("actortest: the test goes on after Fatalf")
}

// ExpectNothing waits for d and fails the test, without ending it, if a message comes meanwhile
// or waits already. Such messages can be expected later.
func (p *Probe) ExpectNothing(d time.Duration) {
	p.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		if waiting := p.all(); len(waiting) > 0 {
			p.t.Errorf("actortest: probe %v: want no message, got %v%s", p.Ref, waiting[0], list(waiting[1:]))
			return
		}
		select {
		case <-p.came:
		case <-timer.C:
			if len(p.all()) == 0 {
				return
			}
		case <-p.sys.Done():
			p.t.Errorf("actortest: probe %v: want no message for %v: its system has ended, so none can come", p.Ref, d)
			return
		}
	}
}

// next takes the oldest message. If there is none in time, it says why; rest are the messages
// behind it.
func (p *Probe) next(patience time.Duration) (r received, rest []received, problem string) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		p.mu.Lock()
		if len(p.waiting) > 0 {
			r, p.waiting = p.waiting[0], p.waiting[1:]
			rest = p.waiting
			p.mu.Unlock()
			return r, rest, ""
		}
		p.mu.Unlock()
		select {
		case <-p.came:
		case <-timer.C:
			if len(p.all()) == 0 {
				return r, nil, fmt.Sprintf("none came within %v", patience)
			}
		case <-p.sys.Done():
			if len(p.all()) == 0 {
				return r, nil, "the probe's system has ended, so none can come"
			}
		}
	}
}

// all returns the messages that wait to be expected.
func (p *Probe) all() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting[:len(p.waiting):len(p.waiting)]
}

// String is the message and its sender as failures show them.
func (r received) String() string {
	s := fmt.Sprintf("%+v (%T)", r.msg, r.msg)
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	if !r.sender.IsZero() {
		s += " from " + r.sender.String()
	}
	return s
}

// list says which messages wait behind another one.
func list(rest []received) string {
	if len(rest) == 0 {
		return ""
	}
	const most = 5
	var lines []string
	for _, r := range rest[:min(len(rest), most)] {
		lines = append(lines, "\n\t"+r.String())
	}
	if len(rest) > most {
		lines = append(lines, fmt.Sprintf("\n\tand %d more", len(rest)-most))
	}
	return "; behind it:" + strings.Join(lines, "")
}

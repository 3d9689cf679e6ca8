package flow

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/rpc"
)

// The actor behind a flow has its record, and starts its runs.

// record is what is kept of a flow.
type record struct {
	Begun   bool
	Parked  bool // no run is to be started before a signal or a time comes
	Input   []byte
	Steps   map[string]step
	Signals map[string][]byte
	Result  result
}

// step is what is kept of a step. A Sleep has a time only.
type step struct {
	Value []byte   `msgpack:",omitempty"`
	Err   *failure `msgpack:",omitempty"`
	Until time.Time
}

// result is how a flow has ended, if it is over.
type result struct {
	Over   bool
	Output []byte
	Err    *failure
}

// failure is an error as it is kept.
type failure struct{ User, Text string }

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error()}
	if e := (*rpc.Error)(nil); errors.As(err, &e) {
		f.User = e.User
	}
	return f
}

func (f *failure) error() error {
	return &rpc.Error{Code: rpc.Failed, Verdict: rpc.HasRun, User: f.User, Message: f.Text}
}

// The messages of the actor.
type (
	start struct {
		actor.Returns[bool]
		Input []byte
	}
	signal struct {
		actor.Returns[bool]
		Name  string
		Value []byte
	}
	ask struct{ actor.Returns[result] }

	// wake has a run started, unless there is one.
	wake struct{}
	// beat keeps the actor from being idle while a run lasts.
	beat struct{}

	// The others come from the run whose name they have, and from nobody else.
	note struct {
		actor.Returns[step]
		Run, Name string
		Step      step
	}
	look struct {
		actor.Returns[looked]
		Run, Name string
	}
	looked struct {
		Found bool
		Value []byte
	}
	park struct {
		actor.Returns[bool] // whether the run is to end
		Run, Signal         string
		Until               time.Time
	}
	end struct {
		actor.Returns[bool]
		Run    string
		Result result
	}
)

func (start) WireName() string  { return "tandem.flow.start" }
func (signal) WireName() string { return "tandem.flow.signal" }
func (ask) WireName() string    { return "tandem.flow.ask" }
func (wake) WireName() string   { return "tandem.flow.wake" }
func (beat) WireName() string   { return "tandem.flow.beat" }
func (note) WireName() string   { return "tandem.flow.note" }
func (look) WireName() string   { return "tandem.flow.look" }
func (looked) WireName() string { return "tandem.flow.looked" }
func (park) WireName() string   { return "tandem.flow.park" }
func (end) WireName() string    { return "tandem.flow.end" }
func (step) WireName() string   { return "tandem.flow.step" }
func (result) WireName() string { return "tandem.flow.result" }

const (
	reminding   = "run"            // the name of the reminder
	wakeEvery   = 30 * time.Second // how often it is looked whether somebody runs the flow
	idleAfter   = time.Minute
	beatEvery   = idleAfter / 3
	parkedAfter = time.Minute // a flow that waits for longer has no run
)

// host is the state of the actor.
type host struct {
	record
	fn  func(*Flow, []byte) ([]byte, error)
	run *run // of this activation; nil: there was none
}

func kindOf(name string, fn func(*Flow, []byte) ([]byte, error)) *actor.Kind {
	return actor.Define(name, func() *host { return &host{fn: fn} },
		actor.Answer((*host).start), actor.Answer((*host).signal), actor.Read((*host).ask), actor.Handle((*host).wake), actor.Handle((*host).beat),
		actor.Answer((*host).note), actor.Read((*host).look), actor.Answer((*host).park), actor.Answer((*host).end)).
		With(actor.Virtual(), actor.Stored(func(h *host) *record { return &h.record }), actor.Idle(idleAfter))
}

// Stopping ends the run of an activation that ends.
func (h *host) Stopping(*actor.Context, error) { h.run.stop() }

// Restarting ends the run of an activation whose state is made anew.
func (h *host) Restarting(*actor.Context, error) { h.run.stop() }

func (h *host) start(ctx *actor.Context, m start) (bool, error) {
	if h.Begun {
		return false, nil
	}
	h.Begun, h.Input, h.Steps, h.Signals = true, m.Input, map[string]step{}, map[string][]byte{}
	return true, h.rouse(ctx)
}

// rouse has a run started when what has changed is written, and again if its node dies.
func (h *host) rouse(ctx *actor.Context) error {
	h.Parked = false
	if err := actor.Remind(ctx, reminding, reminder.Every(wakeEvery), wake{}); err != nil {
		return err
	}
	return actor.Tell(ctx, ctx.Self(), wake{})
}

func (h *host) wake(ctx *actor.Context, _ wake) error {
	switch _, reminded := ctx.Firing(); {
	case !h.Begun || h.Result.Over || h.run.runs():
		return nil
	case h.Parked && reminded: // its time has come
		return h.rouse(ctx)
	case h.Parked:
		return nil
	}
	timer, err := actor.Every(ctx, beatEvery, beat{})
	if err != nil {
		return err
	}
	h.run = newRun(ctx, maps.Clone(h.Steps), timer)
	go h.run.do(h.fn, h.Input)
	return nil
}

func (h *host) beat(*actor.Context, beat) error { return nil }

func (h *host) ask(*actor.Context, ask) (result, error) {
	if !h.Begun {
		return result{}, ErrUnknown
	}
	return h.Result, nil
}

func (h *host) signal(ctx *actor.Context, m signal) (bool, error) {
	switch _, known := h.Signals[m.Name]; {
	case !h.Begun:
		return false, ErrUnknown
	case h.Result.Over:
		return false, ErrOver
	case known:
		return false, nil
	}
	h.Signals[m.Name] = m.Value
	if h.Parked {
		return true, h.rouse(ctx)
	}
	h.run.poke()
	return true, nil
}

// is returns an error unless that run is the one of this activation.
func (h *host) is(run string) error {
	if h.run == nil || h.run.name != run || h.Result.Over || h.Parked {
		return ErrOver
	}
	return nil
}

func (h *host) note(_ *actor.Context, m note) (step, error) {
	if s, ok := h.Steps[m.Name]; ok {
		return s, nil
	}
	if err := h.is(m.Run); err != nil {
		return step{}, err
	}
	h.Steps[m.Name] = m.Step
	return m.Step, nil
}

func (h *host) look(_ *actor.Context, m look) (looked, error) {
	v, found := h.Signals[m.Name]
	return looked{found, v}, nil
}

func (h *host) park(ctx *actor.Context, m park) (bool, error) {
	if err := h.is(m.Run); err != nil {
		return true, err
	}
	if _, come := h.Signals[m.Signal]; come && m.Signal != "" {
		return false, nil
	}
	h.Parked = true
	h.run.stop() // here, so that a signal which comes next starts another run
	if m.Until.IsZero() {
		return true, actor.Forget(ctx, reminding)
	}
	return true, actor.Remind(ctx, reminding, reminder.At(m.Until), wake{})
}

func (h *host) end(ctx *actor.Context, m end) (bool, error) {
	if err := h.is(m.Run); err != nil {
		return false, err
	}
	h.Result = m.Result
	h.Result.Over = true
	h.Signals = nil
	return true, actor.Forget(ctx, reminding)
}

// call asks the actor of a run, again and again until the run ends: the questions of a run can be repeated.
func call[M actor.Question[R], R any](r *run, m M) (reply R, err error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		ctx, cancel := context.WithTimeout(r.ctx, actor.DefaultTimeout)
		reply, err = actor.Call(ctx, r.self, m)
		cancel()
		switch {
		case err == nil:
			return reply, nil
		case errors.Is(err, ErrOver):
			r.stop()
		case rpc.CodeOf(err) == rpc.TooLarge || rpc.CodeOf(err) == rpc.Invalid || rpc.CodeOf(err) == rpc.Undecodable:
			return reply, err
		}
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return reply, r.err()
		}
	}
}

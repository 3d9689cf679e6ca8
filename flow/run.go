package flow

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// run is one run of a flow's function, in a goroutine of its own at the node of the flow's actor.
type run struct {
	name   string
	id     string // of the flow
	self   actor.Ref
	known  map[string]step // the steps that were recorded when it began
	pokes  chan struct{}   // gets a token when a signal has come
	timer  actor.Timer     // keeps the actor active
	ctx    context.Context
	cancel context.CancelFunc
}

func newRun(ctx *actor.Context, known map[string]step, timer actor.Timer) *run {
	id, _, _ := strings.Cut(ctx.Self().String(), "@")
	r := &run{name: rand.Text(), id: id[strings.Index(id, "/")+1:], self: ctx.Self(), known: known, pokes: make(chan struct{}, 1), timer: timer}
	r.ctx, r.cancel = context.WithCancel(context.Background()) // it lasts longer than the handler
	return r
}

// stop ends a run. r may be nil.
func (r *run) stop() {
	if r != nil {
		r.cancel()
		r.timer.Cancel()
	}
}

// runs reports whether a run goes on. r may be nil.
func (r *run) runs() bool { return r != nil && r.ctx.Err() == nil }

// poke tells a run that a signal has come. r may be nil.
func (r *run) poke() {
	if r == nil {
		return
	}
	select {
	case r.pokes <- struct{}{}:
	default:
	}
}

// err returns ErrEnds if the run has ended.
func (r *run) err() error {
	if r.ctx.Err() != nil {
		return ErrEnds
	}
	return nil
}

// do calls the function, and records how it has ended.
func (r *run) do(fn func(*Flow, []byte) ([]byte, error), input []byte) {
	defer r.stop()
	out, err := r.guarded(fn, input)
	if r.ctx.Err() != nil {
		return
	}
	_, err = call(r, end{Run: r.name, Result: result{Output: out, Err: failureOf(err)}})
	if err != nil && r.ctx.Err() == nil { // the output cannot be kept
		_, _ = call(r, end{Run: r.name, Result: result{Err: failureOf(fmt.Errorf("the output: %w", err))}})
	}
}

// guarded calls the function. A panic of it is its error.
func (r *run) guarded(fn func(*Flow, []byte) ([]byte, error), input []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("the function of the flow panicked: %v", p)
		}
	}()
	return fn(&Flow{run: r, used: map[string]bool{}}, input)
}

// record records a step, and returns what is recorded of it.
func (r *run) record(name string, s step) (*step, error) {
	kept, err := call(r, note{Run: r.name, Name: name, Step: s})
	if err != nil {
		return nil, err
	}
	return &kept, nil
}

// sleep waits until a time.
func (r *run) sleep(until time.Time) error {
	d := time.Until(until)
	if d > parkedAfter {
		return r.park(park{Run: r.name, Until: until})
	}
	select {
	case <-time.After(d):
		return r.err()
	case <-r.ctx.Done():
		return r.err()
	}
}

// await waits for a signal.
func (r *run) await(name string) ([]byte, error) {
	limit := time.After(parkedAfter)
	for {
		got, err := call(r, look{Run: r.name, Name: name})
		if err != nil || got.Found {
			return got.Value, err
		}
		select {
		case <-r.pokes:
		case <-r.ctx.Done():
			return nil, r.err()
		case <-limit:
			if err := r.park(park{Run: r.name, Signal: name}); err != nil {
				return nil, err
			}
		}
	}
}

// park ends the run until a time or a signal comes. It returns nil if the signal has come.
func (r *run) park(p park) error {
	if parked, err := call(r, p); err != nil || !parked {
		return err
	}
	return ErrEnds
}

package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// The errors of flows.
var (
	// ErrEnds says that a run ends here, and the flow goes on in another one, now or later.
	ErrEnds = errors.New("flow: this run ends here")
	// ErrTwice says that a run has used one name for two steps.
	ErrTwice error = rpc.NewError("tandem.flow.twice", "two steps of the flow have one name")
	// ErrChanged says that what is recorded of a step is not of the type that the function expects: it was changed.
	ErrChanged error = rpc.NewError("tandem.flow.changed", "the record of a step is of another type")
	// ErrUnknown says that there is no flow of that id.
	ErrUnknown error = rpc.NewError("tandem.flow.unknown", "there is no such flow")
	// ErrOver says that the flow has ended.
	ErrOver error = rpc.NewError("tandem.flow.over", "the flow has ended")
)

var records = codec.Msgpack(codec.Limits{})

// Definition is a sort of flow: a name in the whole cluster, and a function. It may be used concurrently.
type Definition[In, Out any] struct{ kind *actor.Kind }

// Define defines a sort of flow. In and Out are encoded with msgpack: their exported fields are kept. fn is called once or more for each flow,
// by one run at a time, except that the run of a node that is cut off may go on for a while, and record nothing any more. It must be
// deterministic, as the package says. If it panics, the flow ends with an error.
func Define[In, Out any](name string, fn func(*Flow, In) (Out, error)) *Definition[In, Out] {
	run := func(f *Flow, input []byte) ([]byte, error) {
		var in In
		if err := records.Decode(input, &in); err != nil {
			return nil, fmt.Errorf("%w: the input: %w", ErrChanged, err)
		}
		out, err := fn(f, in)
		if err != nil {
			return nil, err
		}
		return records.Append(nil, out)
	}
	return &Definition[In, Out]{kindOf(name, run)}
}

// Kind returns the kind of the actors behind the flows. It belongs into Config.Kinds of each node that is to run them.
func (d *Definition[In, Out]) Kind() *actor.Kind { return d.kind }

// Start begins the flow of an id, which is that of a virtual actor, unless it has begun before. nil means that it has, and will be run to its end. It may be repeated.
func (d *Definition[In, Out]) Start(ctx context.Context, sys *actor.System, id string, in In) error {
	input, err := records.Append(nil, in)
	if err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "the input of flow %s: %w", id, err)
	}
	_, err = actor.Call(ctx, sys.Virtual(d.kind, id), start{Input: input})
	return err
}

// Signal gives a flow the value for which Await waits, or will wait. The first value of a name counts. The error is ErrUnknown
// if there is no such flow, and ErrOver if it has ended.
func (d *Definition[In, Out]) Signal(ctx context.Context, sys *actor.System, id, name string, value any) error {
	body, err := records.Append(nil, value)
	if err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "signal %q of flow %s: %w", name, id, err)
	}
	_, err = actor.Call(ctx, sys.Virtual(d.kind, id), signal{Name: name, Value: body})
	return err
}

// Pauses between two questions of Result.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Result waits until a flow has ended, or ctx has, and returns what its function has returned. It asks again and again, at most
// every 20 ms and at least every 2 s. The error of the function has the text of the original, and its name if that was made by rpc.NewError.
// The result is kept for good.
func (d *Definition[In, Out]) Result(ctx context.Context, sys *actor.System, id string) (out Out, err error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		r, err := actor.Call(ctx, sys.Virtual(d.kind, id), ask{})
		switch {
		case err != nil:
			return out, err
		case r.Over && r.Err != nil:
			return out, r.Err.error()
		case r.Over:
			if err := records.Decode(r.Output, &out); err != nil {
				return out, fmt.Errorf("%w: the output: %w", ErrChanged, err)
			}
			return out, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return out, rpc.FromContext(ctx, rpc.NotRun)
		}
	}
}

// Flow is one run of a flow. It belongs to the goroutine of the function, except for what says otherwise.
type Flow struct {
	run  *run
	used map[string]bool
}

// ID returns the flow's id. Any goroutine may call it.
func (f *Flow) ID() string { return f.run.id }

// Key returns a text for a step which no other step of any flow of this sort has, and which is the same in all runs: for rpc.Key, say. Any goroutine may call it.
func (f *Flow) Key(step string) string { return fmt.Sprintf("%q of %q", step, f.run.id) }

// Context returns a context that ends with the run. Any goroutine may call it.
func (f *Flow) Context() context.Context { return f.run.ctx }

// Step returns what fn has returned when its result was recorded, or calls it and records that, its error too. name is that of no other
// step, Sleep or Await of the flow. fn's context ends with the run; what fn returns then is not recorded. An error that was recorded has the text of the
// original, and its name if that was made by rpc.NewError.
func Step[T any](f *Flow, name string, fn func(context.Context) (T, error)) (v T, err error) {
	s, err := f.once(name)
	if err != nil {
		return v, err
	}
	if s == nil {
		v, err := fn(f.run.ctx)
		if end := f.run.err(); end != nil {
			return v, end
		}
		fresh := step{Err: failureOf(err)}
		if err == nil {
			if fresh.Value, err = records.Append(nil, v); err != nil {
				return v, rpc.Errorf(rpc.Undecodable, rpc.HasRun, "step %q: %w", name, err)
			}
		}
		if s, err = f.run.record(name, fresh); err != nil {
			return v, err
		}
	}
	if s.Err != nil {
		return v, s.Err.error()
	}
	return decoded[T](name, s.Value)
}

// Sleep waits until d has passed since the first run has come here.
func Sleep(f *Flow, name string, d time.Duration) error {
	s, err := f.once(name)
	if err == nil && s == nil {
		s, err = f.run.record(name, step{Until: time.Now().Add(d).Round(0)})
	}
	if err != nil {
		return err
	}
	return f.run.sleep(s.Until)
}

// Await waits for a Signal of that name, and returns its value.
func Await[T any](f *Flow, name string) (v T, err error) {
	if _, err := f.once(name); err != nil {
		return v, err
	}
	body, err := f.run.await(name)
	if err != nil {
		return v, err
	}
	return decoded[T](name, body)
}

// once returns what is recorded of a step, or nil, and refuses a name that this run has used.
func (f *Flow) once(name string) (*step, error) {
	if err := f.run.err(); err != nil {
		return nil, err
	}
	if f.used[name] {
		return nil, fmt.Errorf("step %q: %w", name, ErrTwice)
	}
	f.used[name] = true
	if s, ok := f.run.known[name]; ok {
		return &s, nil
	}
	return nil, nil
}

func decoded[T any](name string, body []byte) (v T, err error) {
	if err := records.Decode(body, &v); err != nil {
		return v, fmt.Errorf("step %q: %w: %w", name, ErrChanged, err)
	}
	return v, nil
}

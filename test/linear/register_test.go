package linear

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// verb is what an operation does to a register.
type verb uint8

const (
	read     verb = iota
	write         // A
	swap          // A for B, if it holds A
	fetchAdd      // of A
)

// Op is an operation on a register.
type Op struct {
	actor.Returns[Result]
	Verb verb
	A, B uint64
	Work time.Duration // between what the handler reads and what it writes
	Rest time.Duration // from then until it answers
	End  int           // 0: a reply; 1: an error; 2: a panic; each after its work
}

// Result is what a register answers.
type Result struct {
	Value   uint64 // before it; of read and fetchAdd
	Swapped bool
}

// apply is the specification.
func (m Op) apply(value uint64) (after uint64, r Result) {
	switch m.Verb {
	case read:
		return value, Result{Value: value}
	case write:
		return m.A, Result{}
	case swap:
		if value == m.A {
			return m.B, Result{Swapped: true}
		}
		return value, Result{}
	default:
		return value + m.A, Result{Value: value}
	}
}

// disk is what registers hold. It outlives the systems.
type disk struct {
	mu     sync.Mutex // guards what follows
	values map[string]uint64
}

func (d *disk) load(key string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.values[key]
}

// store writes, unless the process that wants to write is dead.
func (d *disk) store(key string, value uint64, by *life) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !by.dead {
		d.values[key] = value
	}
}

func (d *disk) isDead(l *life) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return l.dead
}

// register is the actor. It reads and writes in two steps, so the history would be wrong if two
// of its handlers ran at the same time.
type register struct {
	disk  *disk
	key   string
	life  *life
	cheat *cheat
}

var errAsked = errors.New("an error was asked for")

func (r *register) do(ctx *actor.Context, m Op) (Result, error) {
	found := r.disk.load(r.key)
	if m.Work > 0 {
		time.Sleep(m.Work)
	}
	after, result := m.apply(found)
	if r.cheat.register != nil {
		after, result = r.cheat.register(m, found, after, result)
	}
	if m.Verb != read {
		r.disk.store(r.key, after, r.life)
	}
	if m.Rest > 0 {
		time.Sleep(m.Rest)
	}
	switch m.End {
	case 1:
		return Result{}, errAsked
	case 2:
		panic("a panic was asked for")
	}
	return result, nil
}

func kindOf(d *disk, key string, l *life, c *cheat) *actor.Kind {
	return actor.Define("linear.register", func() *register { return &register{d, key, l, c} }, actor.Answer((*register).do)).
		With(actor.Supervise(actor.Strategy{Window: time.Nanosecond}))
}

// input and output are an operation in the form that porcupine takes.
type input struct {
	key string
	op  Op
}

type output struct {
	known  bool
	result Result
	err    error
}

// history is what the callers of a run saw.
type history struct {
	cheat *cheat

	mu      sync.Mutex // guards what follows
	clock   int64      // one tick for each call and each return
	ops     []porcupine.Operation
	pending map[string]int // by key: operations of which nobody knows whether they took effect
	tally   tally
}

// tally counts what happened in a run.
type tally struct{ ops, ok, notRun, hasRun, unknown int }

const never = int64(1) << 62

func (h *history) tick() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

// end enters an operation.
func (h *history) end(caller int, in input, call int64, result Result, err error) {
	if h.cheat.verdict != nil {
		result, err = h.cheat.verdict(in.op, result, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	o := porcupine.Operation{ClientId: caller, Input: in, Call: call, Return: h.clock, Output: output{err == nil, result, err}}
	h.tally.ops++
	switch {
	case err == nil:
		h.tally.ok++
	case rpc.Ran(err) == rpc.NotRun:
		h.tally.notRun++
		return
	case rpc.Ran(err) == rpc.HasRun:
		h.tally.hasRun++
	default:
		h.tally.unknown++
		if in.op.Verb == read {
			return // nothing shows of it in either case
		}
		o.Return = never
		h.pending[in.key]++
	}
	h.ops = append(h.ops, o)
}

// used reports whether anything was done to a register.
func (h *history) used(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.ops, func(o porcupine.Operation) bool { return o.Input.(input).key == key })
}

// dubious counts the operations on a register that may or may not have taken effect. The cost
// of a check depends on them.
func (h *history) dubious(key string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending[key]
}

// model describes to porcupine what registers do: one for each key.
var model = porcupine.Model{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range all {
			key := o.Input.(input).key
			if _, ok := at[key]; !ok {
				at[key] = len(parts)
				parts = append(parts, nil)
			}
			parts[at[key]] = append(parts[at[key]], o)
		}
		return parts
	},
	Init: func() any { return uint64(0) },
	Step: func(state, in, out any) (bool, any) {
		after, want := in.(input).op.apply(state.(uint64))
		o := out.(output)
		return !o.known || o.result == want, after
	},
	DescribeOperation: func(in, out any) string {
		i, o := in.(input), out.(output)
		text := [...]string{"read", "write %d", "swap %d for %d", "add %d"}[i.op.Verb]
		args := []any{i.op.A, i.op.B}
		text = fmt.Sprintf(i.key+": "+text, args[:[...]int{0, 1, 2, 1}[i.op.Verb]]...)
		switch {
		case !o.known:
			return fmt.Sprintf("%s → %v", text, o.err)
		case i.op.Verb == swap:
			return fmt.Sprintf("%s → %v", text, o.result.Swapped)
		case i.op.Verb == write:
			return text
		}
		return fmt.Sprintf("%s → %d", text, o.result.Value)
	},
}

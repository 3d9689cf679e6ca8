package linear

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

var storedSeeds = flag.Int("linear.stored", 60, "how many histories of stored actors to check")

// Peek reads a register with a handler that is made with actor.Read. Op reads it as every other operation does.
type Peek struct {
	actor.Returns[Result]
	Work time.Duration
}

// storedRegister is a register that moves between nodes.
type storedRegister struct{ Value uint64 }

func (r *storedRegister) do(_ *actor.Context, m Op) (Result, error) {
	after, result := m.apply(r.Value)
	r.Value = after
	time.Sleep(m.Work)
	switch m.End {
	case 1:
		return Result{}, errAsked
	case 2:
		panic("a panic was asked for")
	}
	return result, nil
}

// peeker reads a register. A stale one gives, now and then, what another activation has read first.
type peeker struct {
	stale bool

	mu    sync.Mutex // guards what follows
	first map[string]uint64
}

func (p *peeker) peek(r *storedRegister, ctx *actor.Context, m Peek) (Result, error) {
	time.Sleep(m.Work)
	p.mu.Lock()
	defer p.mu.Unlock()
	key := ctx.Self().String()
	if _, ok := p.first[key]; !ok {
		p.first[key] = r.Value
	}
	if p.stale {
		return Result{Value: p.first[key]}, nil
	}
	return Result{Value: r.Value}, nil
}

// Tenure asks an actor that is not stored for the token of its activation.
type Tenure struct {
	actor.Returns[uint64]
	Work time.Duration
}

// tenures describes to porcupine what such answers show: tokens never go back.
var tenures = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, _, out any) (bool, any) { return out.(uint64) >= state.(uint64), out },
}

// storedRun makes the history of one seed in a bubble of its own: of the registers, and of the answers of one actor that
// is not stored. The nodes die, are cut off from each other and from what they share, and come back.
func storedRun(t *testing.T, seed uint64, stale bool) (hist *history, tokens []porcupine.Operation, wrong []string) {
	bubble.Test(t, func(t *testing.T) {
		r := draw.From(seed, "stored")
		plan := simulation.NewPlan(r)
		plan.Nodes, plan.Length, plan.Gap = 3, draw.Span(r, 15*time.Second, 40*time.Second), 3*time.Second
		for _, f := range []string{"cut", "isolate", "hold", "reset", "delay", "suspend"} {
			if draw.Chance(r, 0.3) {
				plan.Faults = append(plan.Faults, f)
			}
		}
		truth := simulation.NewTruth(true)
		w := simulation.New(seed, plan, truth)
		hosting := simulation.NewHosting(w, 3*time.Second)
		hosting.Slow, hosting.Losses = draw.Pick(r, time.Millisecond, 20*time.Millisecond), draw.Pick(r, 0, 0.05)
		reader := &peeker{stale: stale, first: map[string]uint64{}}
		idle := actor.Idle(draw.Pick(r, time.Second, time.Hour))
		kind := actor.Define("linear.stored", func() *storedRegister { return new(storedRegister) }, actor.Answer((*storedRegister).do), actor.Read(reader.peek)).
			With(actor.Virtual(), actor.Stored(func(r *storedRegister) *storedRegister { return r }), idle, actor.Supervise(actor.Strategy{Window: time.Nanosecond}))
		guest := actor.Define("linear.guest", func() int { return 0 }, actor.Answer(func(_ int, ctx *actor.Context, m Tenure) (uint64, error) {
			time.Sleep(m.Work)
			return ctx.FencingToken(), nil
		})).With(actor.Virtual(), idle)
		w.Configure = func(n *simulation.Node, l *simulation.Life, cfg *actor.Config) {
			hosting.Attach(n, l, cfg)
			cfg.Kinds = []*actor.Kind{kind, guest}
		}
		w.Settle()
		for _, n := range w.Nodes {
			_ = w.Start(n) // the truth says so
		}
		hist = &history{cheat: &cheat{}, pending: map[string]int{}}
		var mu sync.Mutex // guards tokens
		end := truth.Start.Add(plan.Length)
		var callers sync.WaitGroup
		for no := range 8 {
			callers.Go(func() {
				r, home, seen := w.RNG(fmt.Sprint("caller ", no)), w.Nodes[no%len(w.Nodes)], uint64(0)
				for n := uint64(1); time.Now().Before(end); n++ {
					time.Sleep(time.Duration(r.ExpFloat64() * float64(400*time.Millisecond)))
					l := home.Live()
					if l == nil {
						continue
					}
					ctx, cancel := context.WithTimeout(context.Background(), draw.Pick(r, time.Second, 5*time.Minute, 5*time.Minute))
					if draw.Chance(r, 0.3) {
						call := hist.tick()
						token, err := actor.Call(ctx, l.Sys.Virtual(guest, "g"), Tenure{Work: draw.Pick(r, 0, draw.Span(r, 0, 2*time.Second))})
						if err == nil && !hosting.IsDead(l) {
							mu.Lock()
							tokens = append(tokens, porcupine.Operation{ClientId: no, Call: call, Return: hist.tick(), Output: token})
							mu.Unlock()
						}
					} else {
						seen = storedDo(ctx, r, hist, hosting, l, l.Sys.Virtual(kind, fmt.Sprint(r.IntN(4))), no, n, seen)
					}
					cancel()
				}
			})
		}
		var faults sync.WaitGroup
		faults.Go(func() { hosting.Inject(w.RNG("hosting"), simulation.HostingFaults, 4*time.Second, end) })
		w.Inject()
		faults.Wait()
		hosting.Calm()
		w.Calm()
		callers.Wait()
		time.Sleep(time.Minute)
		w.End()
		hosting.End()
		wrong = truth.Wrong()
	})
	return hist, tokens, wrong
}

// storedDo does one operation, and enters it into the history. It returns what the register held, as far as is known.
func storedDo(ctx context.Context, r *rand.Rand, hist *history, hosting *simulation.Hosting, l *simulation.Life, to actor.Ref, no int, n, seen uint64) uint64 {
	own := uint64(no+1)<<32 | n<<12
	m := Op{Verb: draw.Pick(r, read, read, write, swap, fetchAdd, fetchAdd), A: own, Work: draw.Pick(r, 0, draw.Span(r, 0, 20*time.Millisecond))}
	switch m.Verb {
	case read:
		m.A = 0
	case swap:
		m.A, m.B = seen, own
	}
	if m.Verb != read {
		m.End = draw.Pick(r, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2)
	}
	call := hist.tick()
	var result Result
	var err error
	if m.Verb == read && draw.Chance(r, 0.7) {
		result, err = actor.Call(ctx, to, Peek{Work: m.Work})
	} else {
		result, err = actor.Call(ctx, to, m)
	}
	switch {
	case hosting.IsDead(l): // and so is the caller: nobody was told
		err = rpc.Errorf(rpc.Unavailable, rpc.Unknown, "the caller's process is dead")
	case err != nil && rpc.Ran(err) == rpc.HasRun: // what a handler of a stored actor has changed is undone if it fails
		err = rpc.Errorf(rpc.Failed, rpc.NotRun, "it has changed nothing: %w", err)
	}
	hist.end(no, input{to.String(), m}, call, result, err)
	if err == nil {
		seen, _ = m.apply(result.Value)
	}
	return seen
}

// TestStoredLinearizable checks registers of stored actors, which are read with actor.Read, too, while they move; and that
// no activation of an actor that is not stored answers after a later one has.
func TestStoredLinearizable(t *testing.T) {
	ok, all, moves := 0, 0, map[uint64]bool{}
	for s := *from; s < *from+uint64(*storedSeeds); s++ {
		hist, tokens, wrong := storedRun(t, s, false)
		for _, text := range wrong {
			t.Errorf("seed %d: %s", s, text)
		}
		if got := porcupine.CheckOperationsTimeout(model, hist.ops, checkLimit); got != porcupine.Ok {
			t.Errorf("seed %d: the registers: %v", s, got)
		}
		if got := porcupine.CheckOperationsTimeout(tenures, tokens, checkLimit); got != porcupine.Ok {
			t.Errorf("seed %d: activations that are not stored: %v", s, got)
		}
		for _, o := range tokens {
			moves[s<<32|o.Output.(uint64)] = true
		}
		ok, all = ok+hist.tally.ok, all+hist.tally.ops
	}
	t.Logf("%d histories: %d operations, %d ok; %d activations of the actors that are not stored", *storedSeeds, all, ok, len(moves))
	if ok*2 < all {
		t.Errorf("%d of %d operations succeeded: such histories show little", ok, all)
	}
}

// TestStoredPlanted proves that the checks can fail.
func TestStoredPlanted(t *testing.T) {
	hist, _, _ := storedRun(t, 1, true)
	if porcupine.CheckOperationsTimeout(model, hist.ops, checkLimit) != porcupine.Illegal {
		t.Error("readers that tell of the past were not found")
	}
	at := func(client int, call, end int64, token uint64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Call: call, Return: end, Output: token}
	}
	if !porcupine.CheckOperations(tenures, []porcupine.Operation{at(1, 1, 4, 5), at(2, 2, 3, 7)}) {
		t.Error("two answers at one time")
	}
	if porcupine.CheckOperations(tenures, []porcupine.Operation{at(1, 1, 2, 7), at(2, 3, 4, 5)}) {
		t.Error("an answer of an activation after that of a later one was not found")
	}
}

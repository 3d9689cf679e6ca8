package actor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// serial is answered with the number of the activation, after a while.
type serial struct {
	actor.Returns[uint64]
	After time.Duration
}

func (serial) WireName() string { return "virtual.serial" }

// slowClaims are claims whose store answers late, or not at all although the write was made.
type slowClaims struct {
	placement.Claims
	mu   sync.Mutex
	rand *rand.Rand
}

var errNoAnswer = &placement.Error{Op: "write", Kind: placement.ErrUnknown}

// pause returns whether the write is made, and its answer is lost.
func (c *slowClaims) pause(ctx context.Context) (made, lost bool) {
	c.mu.Lock()
	d, n := time.Duration(c.rand.ExpFloat64()*float64(20*time.Millisecond)), c.rand.IntN(20)
	c.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return n > 0, n < 2
}

func (c *slowClaims) Get(ctx context.Context, key placement.Key) (placement.Held, error) {
	c.pause(ctx)
	return c.Claims.Get(ctx, key)
}

func (c *slowClaims) Create(ctx context.Context, key placement.Key, claim placement.Claim) (placement.Token, error) {
	return c.write(ctx, func() (placement.Token, error) { return c.Claims.Create(ctx, key, claim) })
}

func (c *slowClaims) Replace(ctx context.Context, key placement.Key, claim placement.Claim, before placement.Token) (placement.Token, error) {
	return c.write(ctx, func() (placement.Token, error) { return c.Claims.Replace(ctx, key, claim, before) })
}

func (c *slowClaims) write(ctx context.Context, do func() (placement.Token, error)) (token placement.Token, err error) {
	made, lost := c.pause(ctx)
	if made {
		token, err = do()
	}
	if lost {
		return 0, errNoAnswer
	}
	c.pause(ctx)
	return token, err
}

// order judges the answers of activations, which are numbered in the order in which they are made: after the
// answer of one was received, no request that begins gets the answer of an earlier one.
type order struct {
	mu    sync.Mutex
	floor map[string]uint64
	wrong []string
	got   int
}

func (o *order) begin(id string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.floor[id]
}

func (o *order) end(id, by string, floor, serial uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if serial < floor {
		o.wrong = append(o.wrong, fmt.Sprintf("%s asked %s, and was answered by activation %d after %d had answered", by, id, serial, floor))
	}
	o.floor[id] = max(o.floor[id], serial)
	o.got++
}

// heldClaims are claims whose store answers a write only when it is told to.
type heldClaims struct {
	placement.Claims
	answer chan struct{}
}

func (c heldClaims) Create(ctx context.Context, key placement.Key, claim placement.Claim) (placement.Token, error) {
	token, err := c.Claims.Create(ctx, key, claim)
	<-c.answer
	return token, err
}

// While the store of claims hangs, a bounded number of activations waits; one more is refused, and did not run.
// When the store answers again, those that waited are activated.
func TestVirtualManyWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		held := heldClaims{memory.New(), make(chan struct{})}
		sys := newSystem(t, actor.Config{Name: "a", Registry: newLeases(), Claims: held, Kinds: []*actor.Kind{counterKind}, Logger: quiet,
			Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}})
		const most = 64 + 1<<14 // those whose claims are under way, and those that wait
		for i := range most {
			if err := actor.Tell(t.Context(), sys.Virtual(counterKind, fmt.Sprint(i)), bump{}); err != nil {
				t.Fatal(i, err)
			}
			if i < 64 {
				synctest.Wait() // until its claim is under way
			}
		}
		once := rpc.WithRetry(rpc.Retry{Attempts: 1})
		_, err := actor.Call(t.Context(), sys.Virtual(counterKind, "more"), total{}, once)
		if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("one more: %v", err)
		}
		close(held.answer)
		synctest.Wait()
		for _, id := range []string{"0", fmt.Sprint(most - 1)} {
			if n, err := actor.Call(t.Context(), sys.Virtual(counterKind, id), total{}, once); n != 1 || err != nil {
				t.Errorf("%s has counted %d, %v", id, n, err)
			}
		}
		if n, err := actor.Call(t.Context(), sys.Virtual(counterKind, "more"), total{}, once); n != 0 || err != nil {
			t.Errorf("one more: %d, %v", n, err)
		}
	})
}

// A claim that was made before a gap in the node's lease is worth nothing after it: in the gap another node
// may have replaced it.
func TestVirtualClaimedBeforeAGap(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, all, first := memnet.New(memnet.Config{Seed: 1}), memory.New(), newLeases()
		held := heldClaims{all, make(chan struct{})}
		mine := first.view()
		node := func(name string, reg leases, claims placement.Claims) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: reg, Claims: claims, Kinds: []*actor.Kind{counterKind}, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true)}})
		}
		a := node("a", mine, held)
		slow := actor.Ask(t.Context(), a.Virtual(counterKind, "x"), where{}) // a is the only node yet
		b := node("b", first, all)
		mine.cut.off()
		time.Sleep(leaseTime + time.Second)
		if at, err := actor.Call(t.Context(), b.Virtual(counterKind, "x"), where{}); at != "b" || err != nil {
			t.Fatalf("when a is gone: %s, %v", at, err)
		}
		mine.cut.on()
		time.Sleep(leaseTime / 2)
		close(held.answer)
		if at, err := slow.Await(t.Context()); at != "b" || err != nil {
			t.Errorf("when a is back: %s, %v", at, err)
		}
	})
}

// frozen is a registry that reports no changes, as a cache that lags behind.
type frozen struct{ leases }

func (frozen) Watch(ctx context.Context) (<-chan registry.Event, error) {
	ch := make(chan registry.Event)
	context.AfterFunc(ctx, func() { close(ch) })
	return ch, nil
}

// A holder that a node has not heard of yet is not taken for dead: the node looks it up.
func TestVirtualHolderIsNew(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, claims, reg := memnet.New(memnet.Config{Seed: 1}), memory.New(), newLeases()
		node := func(name string, reg registry.Registry) *actor.System {
			return newSystem(t, actor.Config{Name: name, Registry: reg, Claims: claims, Kinds: []*actor.Kind{counterKind}, Logger: quiet,
				Transports: []transport.Transport{net.Transport("direct", true)}})
		}
		a := node("a", frozen{reg.view()})
		b := node("b", frozen{reg.view()})
		for i := range 20 {
			id := string(rune('A' + i))
			at, err := actor.Call(t.Context(), b.Virtual(counterKind, id), where{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := actor.Call(t.Context(), a.Virtual(counterKind, id), where{}); got != at || err != nil {
				t.Errorf("%s is on %s, and from a: %s, %v", id, at, got, err)
			}
		}
		if st := b.Stats().Virtual; st.Begun == 0 {
			t.Error("b has none, so nothing was tested")
		}
	})
}

// Whatever is cut off, hangs, leaves or comes back, never do two activations of one actor answer: after
// the answer of a later one, none of an earlier one is received. When all is well again, every node
// reaches every actor, and all reach the same activation.
func TestVirtualUnderFaults(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	answers := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { answers += virtualFaults(t, seed) })
		})
	}
	t.Logf("%d answers", answers)
}

func virtualFaults(t *testing.T, seed uint64) int {
	const nodes, ids = 4, 6
	r := rand.New(rand.NewPCG(seed, 1))
	var made atomic.Uint64
	kind := actor.Define("numbered", func() *uint64 { n := made.Add(1); return &n },
		actor.Answer(func(n *uint64, _ *actor.Context, m serial) (uint64, error) {
			time.Sleep(m.After)
			return *n, nil
		})).With(actor.Virtual(), actor.Idle(3*time.Second))
	net, first := memnet.New(memnet.Config{Seed: seed}), newLeases()
	claims := &slowClaims{Claims: memory.New(), rand: rand.New(rand.NewPCG(seed, 2))}
	var mu sync.Mutex
	sys, reg := map[string]*actor.System{}, map[string]leases{}
	var names []string
	start := func(name string) {
		s, err := actor.NewSystem(actor.Config{Name: name, Registry: reg[name], Claims: claims, Kinds: []*actor.Kind{kind}, Logger: quiet,
			Transports: []transport.Transport{net.Transport("direct", true), net.Transport("bus", false)}})
		if err != nil {
			t.Errorf("start of %s: %v", name, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		sys[name] = s
	}
	of := func(name string) *actor.System {
		mu.Lock()
		defer mu.Unlock()
		return sys[name]
	}
	for i := range nodes {
		name := string(rune('a' + i))
		names = append(names, name)
		reg[name] = first.view()
		start(name)
	}
	judge := &order{floor: map[string]uint64{}}
	over := make(chan struct{})
	var callers sync.WaitGroup
	for i, name := range names {
		for k := range 3 {
			r := rand.New(rand.NewPCG(seed, uint64(10+3*i+k)))
			callers.Go(func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(time.Duration(r.ExpFloat64() * float64(200*time.Millisecond))):
					}
					id := string(rune('A' + r.IntN(ids)))
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					floor := judge.begin(id)
					var m serial
					if r.IntN(8) == 0 {
						m.After = time.Duration(r.IntN(1000)) * time.Millisecond
					}
					if n, err := actor.Call(ctx, of(name).Virtual(kind, id), m); err == nil {
						judge.end(id, name, floor, n)
					}
					cancel()
				}
			})
		}
	}
	isolate := func(name string, do func(road, a, b string)) {
		for _, other := range names {
			if other != name {
				do("direct", name, other)
				do("bus", name, other)
			}
		}
	}
	for range 8 {
		name := names[r.IntN(nodes)]
		long := time.Duration(2+r.IntN(25)) * time.Second
		switch r.IntN(4) {
		case 0: // it does not reach the registry
			reg[name].cut.off()
			time.Sleep(long)
			reg[name].cut.on()
		case 1: // it does not reach another node
			other := names[r.IntN(nodes)]
			net.Partition("direct", name, other)
			net.Partition("bus", name, other)
			time.Sleep(long)
			net.Heal("direct", name, other)
			net.Heal("bus", name, other)
		case 2: // it is restarted
			_ = of(name).Shutdown(t.Context())
			start(name)
		case 3: // it reaches nobody, dies, and comes back
			reg[name].cut.off()
			isolate(name, net.Partition)
			time.Sleep(long)
			gone, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = of(name).Shutdown(gone)
			cancel()
			time.Sleep(leaseTime)
			reg[name].cut.on()
			isolate(name, net.Heal)
			start(name)
		}
		time.Sleep(time.Duration(r.IntN(5)) * time.Second)
	}
	close(over)
	callers.Wait()
	time.Sleep(2 * leaseTime)
	for i := range ids {
		id, at := string(rune('A'+i)), map[uint64]bool{}
		for _, name := range names {
			n, err := actor.Call(t.Context(), of(name).Virtual(kind, id), serial{})
			if err != nil {
				t.Errorf("%s from %s: %v [%v]", id, name, err, rpc.Ran(err))
			}
			at[n] = true
		}
		if len(at) != 1 {
			t.Errorf("%s has the activations %v", id, at)
		}
	}
	for _, w := range judge.wrong {
		t.Error(w)
	}
	if judge.got < 200 || made.Load() < 2*ids {
		t.Errorf("only %d answers, and %d activations", judge.got, made.Load())
	}
	for _, s := range sys {
		_ = s.Shutdown(t.Context())
	}
	return judge.got
}

// That an activation ends for want of a lease is told once, however long its handler takes to return.
func TestVirtualFencedOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		reg := newLeases()
		kind := actor.Define("slow", func() *counter { return new(counter) }, actor.Answer(func(*counter, *actor.Context, total) (int, error) {
			time.Sleep(4 * leaseTime)
			return 1, nil
		})).With(actor.Virtual())
		sys := newSystem(t, actor.Config{Name: "n", Registry: reg, Claims: memory.New(), Kinds: []*actor.Kind{kind}, Logger: quiet,
			Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}})
		events := sys.Events(t.Context(), actor.ActivationsFenced)
		late := actor.Ask(t.Context(), sys.Virtual(kind, "x"), total{})
		synctest.Wait()
		reg.cut.off()
		time.Sleep(3 * leaseTime)
		if st := sys.Stats().Virtual; len(events) != 1 || st.Fenced != 1 {
			t.Errorf("%d events, %+v", len(events), st)
		}
		reg.cut.on()
		if _, err := late.Await(context.Background()); err == nil {
			t.Error("it was answered")
		}
		time.Sleep(2 * leaseTime)
	})
}

// While a node that is the only one cannot confirm its lease, calls of its virtual actors wait, and use no processor
// time for that.
func TestVirtualAloneAndUncertain(t *testing.T) {
	spins := time.AfterFunc(20*time.Second, func() { panic("a call that waits goes round and round") })
	defer spins.Stop()
	bubble.Test(t, func(t *testing.T) {
		reg := newLeases()
		sys := newSystem(t, actor.Config{Name: "n", Registry: reg, Claims: memory.New(), Kinds: []*actor.Kind{counterKind}, Logger: quiet,
			Transports: []transport.Transport{memnet.New(memnet.Config{}).Transport("direct", true)}})
		reg.cut.off()
		time.Sleep(2 * leaseTime)
		brief, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := actor.Call(brief, sys.Virtual(counterKind, "x"), total{}); rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("without a lease: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		time.AfterFunc(2*time.Second, reg.cut.on)
		if _, err := actor.Call(t.Context(), sys.Virtual(counterKind, "x"), total{}); err != nil {
			t.Errorf("when the lease is back: %v", err)
		}
	})
}

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A term is another kind of run than a world: one service lives through restarts, joins, leaves
// and failures of its instances, one after the other. Nothing else goes wrong, so the promise
// about each of them can be checked.
type term struct {
	seed  uint64
	plan  termPlan
	truth *simulation.Truth
	net   *memnet.Network
	reg   *static.Registry
	cheat string

	customers []*customer // nodes without an instance, where the callers are
	callers   sync.WaitGroup
	stop      atomic.Bool

	mu       sync.Mutex // guards what follows
	hosts    []*host
	episodes []*episode
	changed  time.Duration // when the number of instances last fell
	before   int           // and what it was until then
	figures  figures
}

// host is a node with an instance of the service, and with an actor of its own.
type host struct {
	name string

	// Guarded by the term's mu.
	now     *tenancy // nil: it is down
	past    []*tenancy
	starts  int
	opened  time.Duration            // when the last start was up
	claimed bool                     // its name is taken, so that calls of its own actor wait for it
	present bool                     // the service has it, or is about to
	served  map[string]time.Duration // when its instance first ran something for a customer, since it was well
}

// tenancy is one start of a host.
type tenancy struct {
	no    int
	sys   *actor.System
	gates []*simulation.Gate
	ready atomic.Bool // Setup is through

	mu   sync.Mutex    // guards what follows
	slow time.Duration // that requests take there
	well chan struct{} // closed when hung requests may go on; nil: they are not hung
}

// customer is a node where callers are.
type customer struct {
	name string
	sys  *actor.System
	out  map[string]int           // instances it has ejected, and which start of their host; guarded by the term's mu
	shut map[string]time.Duration // when it last ejected one
}

// figures are measurements that show how far the limits of the checks are from being reached.
type figures struct {
	calls, restarts, joins, leaves, sick int
	troubled                             int           // most slow or failed calls of one caller in one illness
	back                                 time.Duration // longest until an instance that was ejected got a call
	forgot                               time.Duration // and one that was not
}

func (f *figures) add(o figures) {
	f.calls, f.restarts, f.joins, f.leaves, f.sick = f.calls+o.calls, f.restarts+o.restarts, f.joins+o.joins, f.leaves+o.leaves, f.sick+o.sick
	f.troubled, f.back, f.forgot = max(f.troubled, o.troubled), max(f.back, o.back), max(f.forgot, o.forgot)
}

// firm is the service, ownActor the actor that lives on each of its hosts.
const (
	firm     = "firm"
	ownActor = "own"
)

// Errand is a request to the firm, or to a host's own actor.
type Errand struct {
	actor.Returns[Done]
	ID   uint64
	From string // customer
	Work time.Duration
}

// Siesta makes an instance do nothing until it works again.
type Siesta struct{ N int }

func newTerm(seed uint64, cheat string, silent bool) *term {
	w := &term{seed: seed, truth: simulation.NewTruth(silent), reg: static.New(), net: memnet.New(memnet.Config{Seed: seed}), cheat: cheat}
	w.plan = newTermPlan(w.rng("plan"))
	w.truth.Note("%+v", w.plan)
	for _, road := range w.plan.Roads {
		w.net.SetFaults(road, "", "", memnet.Faults{MaxDelay: w.plan.Delay})
	}
	return w
}

// run is the whole term.
func (w *term) run() {
	var starts sync.WaitGroup
	for range w.plan.Hosts {
		h := w.newHost()
		starts.Go(func() { w.open(h, step{}) })
	}
	starts.Wait()
	for i := range w.plan.Customers {
		w.newCustomer(fmt.Sprintf("c%d", i))
	}
	if len(w.truth.Wrong()) > 0 {
		panic(strings.Join(w.truth.Wrong(), "\n"))
	}
	time.Sleep(time.Second)
	for i := range w.customers {
		for k := range w.plan.Callers + 1 {
			w.callers.Go(func() { w.call(i, k) })
		}
	}
	time.Sleep(2 * time.Second)
	for i := range w.plan.Steps {
		w.step(&w.plan.Steps[i])
	}
	time.Sleep(settled)
	w.stop.Store(true)
	w.callers.Wait()
	w.judge()
	w.end()
	w.truth.Judge(false, false, func(*simulation.Op) bool { return false })
}

func (w *term) newHost() *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &host{name: fmt.Sprintf("s%d", len(w.hosts)), served: map[string]time.Duration{}}
	w.hosts = append(w.hosts, h)
	return h
}

// system makes the system of a node.
func (w *term) system(name string, setup func(*actor.System) error) (*actor.System, []*simulation.Gate, error) {
	cfg := actor.Config{Name: name, Registry: w.reg, Logger: quiet, Setup: setup, AckWait: time.Second, Balance: map[string]balance.Policy{firm: w.plan.Policy}}
	r := w.rng("pauses of " + name)
	var mu sync.Mutex
	cfg.RPC.Random = func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
	var gates []*simulation.Gate
	for _, road := range w.plan.Roads {
		g := &simulation.Gate{Transport: w.net.Transport(road, road == "direct")}
		gates = append(gates, g)
		cfg.Transports = append(cfg.Transports, g)
	}
	sys, err := actor.NewSystem(cfg)
	return sys, gates, err
}

// open starts a host. Its actors are spawned in Setup, one after the other.
func (w *term) open(h *host, s step) {
	w.mu.Lock()
	h.starts++
	l := &tenancy{no: h.starts}
	w.mu.Unlock()
	sys, gates, err := w.system(h.name, func(sys *actor.System) error {
		w.mu.Lock()
		h.claimed = true
		w.mu.Unlock()
		time.Sleep(s.Setup[0])
		if _, err := sys.Spawn(ownActor, w.errands(h, l)); err != nil {
			return err
		}
		time.Sleep(s.Setup[1])
		if _, err := sys.Spawn("server", w.errands(h, l), actor.Expose(firm), actor.Mailbox(mailbox.Config{Capacity: room, Policy: mailbox.Refuse})); err != nil {
			return err
		}
		time.Sleep(s.Setup[2])
		w.mu.Lock()
		h.present = true
		w.mu.Unlock()
		l.ready.Store(!w.cheats("a node serves before it is set up"))
		return nil
	})
	if err != nil {
		w.truth.Bad("starting %s: %v", h.name, err)
		return
	}
	l.sys, l.gates = sys, gates
	w.truth.Note("%s is up as %s", h.name, sys.Epoch())
	w.mu.Lock()
	defer w.mu.Unlock()
	h.now, h.opened = l, w.truth.Now()
}

// room is the capacity of an instance's mailbox, which refuses more messages.
const room = 32

// errands is the kind of the firm's instances, and of hosts' own actors.
func (w *term) errands(h *host, l *tenancy) *actor.Kind {
	return actor.Define("sim.errands", func() *struct{} { return new(struct{}) },
		actor.Answer(func(_ *struct{}, ctx *actor.Context, m Errand) (Done, error) {
			if !l.ready.Load() {
				w.truth.Bad("%s ran %x before it was set up", address(ctx), m.ID)
			}
			run := w.truth.Handled(&simulation.Turn{ID: m.ID, On: address(ctx)}, simulation.Place{})
			if w.cheats("an errand runs twice") && m.ID%64 == 7 {
				w.truth.Handled(&simulation.Turn{ID: m.ID, On: address(ctx)}, simulation.Place{})
			}
			defer w.truth.HandledUntil(run)
			if ctx.Self().String() != ownActor+"@"+h.name {
				w.mu.Lock()
				if _, known := h.served[m.From]; !known {
					h.served[m.From] = w.truth.Now()
				}
				w.mu.Unlock()
				l.suffer()
			}
			time.Sleep(m.Work)
			return Done{ID: m.ID, Run: run.No}, nil
		}),
		actor.Handle(func(*struct{}, *actor.Context, Siesta) error {
			l.suffer()
			return nil
		}))
}

// suffer does what a failing instance does with a message.
func (l *tenancy) suffer() {
	l.mu.Lock()
	slow, well := l.slow, l.well
	l.mu.Unlock()
	time.Sleep(slow)
	if well != nil {
		<-well
	}
}

func (w *term) newCustomer(name string) {
	sys, _, err := w.system(name, nil)
	if err != nil {
		w.truth.Bad("starting %s: %v", name, err)
		return
	}
	c := &customer{name: name, sys: sys, out: map[string]int{}, shut: map[string]time.Duration{}}
	w.customers = append(w.customers, c)
	events := sys.Events(context.Background(), actor.InstanceEjected, actor.InstanceBack)
	go func() {
		for e := range events {
			w.truth.Note("%s: %s %s %v", name, e.Type, e.Peer, e.Err)
			w.sees(c, e)
		}
	}()
}

// sees checks that no customer ejects more than half of the instances.
func (w *term) sees(c *customer, e actor.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == actor.InstanceBack {
		if !w.cheats("an instance stays out beside others") {
			delete(c.out, e.Peer)
		}
		return
	}
	now := w.truth.Now()
	all, out := 0, 0
	for _, h := range w.hosts {
		if h.name == e.Peer {
			c.shut[e.Peer] = now
		}
		if h.name == e.Peer && (h.starts == 1 || now > h.opened+linksDie) { // else it may be the start before
			c.out[e.Peer] = h.starts
		}
		if h.present {
			all++
		}
		if h.present && c.out[h.name] == h.starts {
			out++
		}
	}
	if now < w.changed+noticed {
		all = max(all, w.before)
	}
	if out > all/2 {
		w.truth.Bad("%s has ejected %d of %d instances", c.name, out, all)
	}
}

// gone notes that the service does not have an instance any more.
func (w *term) gone(h *host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = 0
	for _, h := range w.hosts {
		if h.present {
			w.before++
		}
	}
	h.present, w.changed = false, w.truth.Now()
}

// call is a caller: the last one of each customer calls the hosts' own actors, the others
// call the firm.
func (w *term) call(customer, k int) {
	c, own := w.customers[customer], k == w.plan.Callers
	r := w.rng(fmt.Sprintf("caller %d.%d", customer, k))
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := uint64(1); !w.stop.Load(); n++ {
		time.Sleep(time.Duration(r.ExpFloat64() * float64(w.plan.Pace)))
		m := Errand{ID: uint64(customer*16+k+1)<<32 | n, From: c.name, Work: draw.Span(r, time.Millisecond, 4*time.Millisecond)}
		o := &simulation.Op{ID: m.ID, Kind: simulation.Call, From: c.name, To: firm, Stream: fmt.Sprintf("%s.%d", c.name, k), N: int(n)}
		ref, due := c.sys.Service(firm), patienceOfAll
		if own {
			h := w.anyHost(r)
			if h == "" {
				continue
			}
			o.To, due = ownActor+"@"+h, patienceOfOne
			if draw.Chance(r, 0.02) {
				m.Work = draw.Span(r, 0, time.Second)
			}
			ref = c.sys.Ref(o.To)
		}
		do := func() {
			ctx, cancel := context.WithTimeout(context.Background(), due)
			defer cancel()
			o.Due = w.truth.Now() + due
			w.truth.Begin(o)
			done, err := actor.Call(ctx, ref, m)
			done, err = w.meddle(o, done, err)
			w.truth.End(o, done.reply(), err)
		}
		if own { // one host that is away must not keep it from the others
			calls.Go(do)
			time.Sleep(4 * w.plan.Pace)
		} else {
			do()
		}
	}
}

const (
	patienceOfAll = 20 * time.Second // of a caller of the firm
	patienceOfOne = 40 * time.Second // of a caller of a host's own actor, which may be away
)

// anyHost draws a host whose own actor is there, or will be.
func (w *term) anyHost(r *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := r.IntN(len(w.hosts))
	for i := range w.hosts {
		if h := w.hosts[(x+i)%len(w.hosts)]; h.claimed {
			return h.name
		}
	}
	return ""
}

// end shuts all systems down, also those that were killed.
func (w *term) end() {
	var owned sync.WaitGroup
	shut := func(sys *actor.System) {
		owned.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := sys.Shutdown(ctx); err != nil && sys.Err() == nil {
				w.truth.Bad("shutdown of %s: %v", sys.Name(), err)
			}
		})
	}
	for _, c := range w.customers {
		shut(c.sys)
	}
	for _, h := range w.hosts {
		for _, l := range h.past {
			shut(l.sys)
		}
		if h.now != nil {
			shut(h.now.sys)
		}
	}
	owned.Wait()
}

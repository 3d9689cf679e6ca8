package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A term is a run of another sort than a world: one service lives through restarts, joins,
// leaves and illnesses of its instances, one after the other. Nothing else goes wrong, so
// what is promised of each of them can be asked for.
type term struct {
	seed  uint64
	plan  termPlan
	truth *truth
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

// termPlan is what a term is made of.
type termPlan struct {
	Hosts, Customers, Callers int // callers of the service, on each customer
	Roads                     []string
	Delay                     time.Duration
	Pace                      time.Duration
	Policy                    balance.Policy
	Steps                     []step
}

// step is something that befalls the service.
type step struct {
	What    string           // restart, join, leave, sick
	Host    int              // of those that there are
	Ailment string           // of an illness; of a restart, "cut": no answer comes through any more, for a while before it leaves
	Hosts   int              // how many are ill at once
	For     time.Duration    // an illness lasts, or a node is away
	Setup   [3]time.Duration // before the actor of its own, before the instance, and behind it
	Beside  *step            // that begins while this one lasts
	After   time.Duration    // it has begun; or a restart has, and the node leaves
	Known   bool             // the registry learns of a death at once
	Word    bool             // links learn of it
}

// ailments are the ways in which an instance is sick.
var ailments = []string{"slow", "hung", "refusing", "silent", "cut", "cut on one road", "killed"}

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
	gates []*gate
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

// episode is a step as it came about.
type episode struct {
	step
	host     string
	from, to time.Duration // to: all is as before, or an instance is well
	over     bool
	alone    bool // nothing else befell the service
}

func (e *episode) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s of %s", e.What, e.Ailment, e.host))
}

// figures are what the limits of the checks are to be seen against.
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

// Siesta has an instance do nothing until it is well.
type Siesta struct{ N int }

func (w *term) rng(what string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

func newTermPlan(r *rand.Rand) termPlan {
	p := termPlan{
		Hosts: 2 + r.IntN(4), Customers: 1 + r.IntN(2), Callers: pick(r, 1, 2, 3, 8),
		Roads: pick(r, []string{"direct", "bus"}, []string{"direct", "bus"}, []string{"direct"}, []string{"bus"}),
		Delay: pick(r, 0, time.Millisecond, 10*time.Millisecond), Pace: pick(r, 20*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond),
		Policy: pick(r, balance.LeastLoaded(), balance.LeastLoaded(), balance.LeastLoaded(), balance.RoundRobin(), balance.Random(), balance.Weighted()),
	}
	for range 3 + r.IntN(3) {
		s := newStep(r, p, pick(r, "restart", "restart", "join", "sick", "sick"))
		if s.What == "sick" && s.Hosts == 1 && chance(r, 0.2) {
			beside := newStep(r, p, pick(r, "restart", "join"))
			s.Beside, s.After = &beside, span(r, 0, s.For)
		}
		if p.Steps = append(p.Steps, s); s.What == "join" {
			s.What = "leave"
			p.Steps = append(p.Steps, s)
		}
	}
	return p
}

func newStep(r *rand.Rand, p termPlan, what string) step {
	s := step{What: what, Host: r.IntN(p.Hosts), Hosts: 1, Known: chance(r, 0.3), Word: chance(r, 0.5)}
	for i := range s.Setup {
		s.Setup[i] = pick(r, 0, 50*time.Millisecond, span(r, 0, 2*time.Second))
	}
	switch what {
	case "restart":
		if chance(r, 0.3) {
			s.Ailment, s.After = "cut", span(r, 0, 500*time.Millisecond)
		}
		s.For = pick(r, 0, span(r, 0, time.Second), span(r, 0, 5*time.Second))
	case "sick":
		s.For, s.Ailment = pick(r, span(r, 100*time.Millisecond, 3*time.Second), span(r, 3*time.Second, 12*time.Second)), pick(r, ailments...)
		if s.Ailment == "hung" && chance(r, 0.3) { // for longer than callers wait
			s.For += patienceOfAll
		}
		if chance(r, 0.25) { // more of them than may be left out
			s.Ailment = pick(r, "refusing", "silent", "cut")
			s.Hosts = p.Hosts - r.IntN(2)
		}
	}
	return s
}

func newTerm(seed uint64, cheat string, silent bool) *term {
	w := &term{seed: seed, truth: newTruth(silent), reg: static.New(), net: memnet.New(memnet.Config{Seed: seed}), cheat: cheat}
	w.plan = newTermPlan(w.rng("plan"))
	w.truth.note("%+v", w.plan)
	for _, road := range w.plan.Roads {
		w.net.SetFaults(road, "", "", memnet.Faults{MaxDelay: w.plan.Delay})
	}
	return w
}

// run is the whole of a term.
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
	if len(w.truth.wrong) > 0 {
		panic(strings.Join(w.truth.wrong, "\n"))
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
	w.truth.judge(false, false, func(*op) bool { return false })
}

func (w *term) newHost() *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &host{name: fmt.Sprintf("s%d", len(w.hosts)), served: map[string]time.Duration{}}
	w.hosts = append(w.hosts, h)
	return h
}

// system makes one of a node.
func (w *term) system(name string, setup func(*actor.System) error) (*actor.System, []*gate, error) {
	cfg := actor.Config{Name: name, Registry: w.reg, Logger: quiet, Setup: setup, Linger: time.Second, Balance: map[string]balance.Policy{firm: w.plan.Policy}}
	r := w.rng("pauses of " + name)
	var mu sync.Mutex
	cfg.Tune = func(c *rpc.Config) {
		c.Random = func() float64 {
			mu.Lock()
			defer mu.Unlock()
			return r.Float64()
		}
	}
	var gates []*gate
	for _, road := range w.plan.Roads {
		g := &gate{Transport: w.net.Transport(road, road == "direct")}
		gates = append(gates, g)
		cfg.Transports = append(cfg.Transports, g)
	}
	sys, err := actor.NewSystem(cfg)
	return sys, gates, err
}

// open starts a host. What it hosts comes in Setup, one after the other.
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
		w.truth.bad("starting %s: %v", h.name, err)
		return
	}
	l.sys, l.gates = sys, gates
	w.truth.note("%s is up as %s", h.name, sys.Epoch())
	w.mu.Lock()
	defer w.mu.Unlock()
	h.now, h.opened = l, w.truth.now()
}

// room is that of an instance's mailbox, which refuses what is more.
const room = 32

// errands is the kind of the firm's instances, and of hosts' own actors.
func (w *term) errands(h *host, l *tenancy) *actor.Kind {
	return actor.Define("sim.errands", func() *struct{} { return new(struct{}) },
		actor.Answer(func(_ *struct{}, ctx *actor.Context, m Errand) (Done, error) {
			if !l.ready.Load() {
				w.truth.bad("%s ran %x before it was set up", address(ctx), m.ID)
			}
			run := w.truth.handled(&turn{id: m.ID, on: address(ctx)}, place{})
			if w.cheats("an errand runs twice") && m.ID%64 == 7 {
				w.truth.handled(&turn{id: m.ID, on: address(ctx)}, place{})
			}
			defer w.truth.handledUntil(run)
			if ctx.Self().String() != ownActor+"@"+h.name {
				w.mu.Lock()
				if _, known := h.served[m.From]; !known {
					h.served[m.From] = w.truth.now()
				}
				w.mu.Unlock()
				l.suffer()
			}
			time.Sleep(m.Work)
			return Done{ID: m.ID, Run: run.no}, nil
		}),
		actor.Handle(func(*struct{}, *actor.Context, Siesta) error {
			l.suffer()
			return nil
		}))
}

// suffer is what a sick instance does with a message.
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
		w.truth.bad("starting %s: %v", name, err)
		return
	}
	c := &customer{name: name, sys: sys, out: map[string]int{}, shut: map[string]time.Duration{}}
	w.customers = append(w.customers, c)
	events := sys.Events(context.Background(), actor.InstanceEjected, actor.InstanceBack)
	go func() {
		for e := range events {
			w.truth.note("%s: %s %s %v", name, e.Type, e.Peer, e.Err)
			w.sees(c, e)
		}
	}()
}

// sees checks that no customer leaves out more than half of the instances.
func (w *term) sees(c *customer, e actor.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == actor.InstanceBack {
		if !w.cheats("an instance stays out beside others") {
			delete(c.out, e.Peer)
		}
		return
	}
	now := w.truth.now()
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
		w.truth.bad("%s has ejected %d of %d instances", c.name, out, all)
	}
}

// gone has the service be without an instance.
func (w *term) gone(h *host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = 0
	for _, h := range w.hosts {
		if h.present {
			w.before++
		}
	}
	h.present, w.changed = false, w.truth.now()
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
		m := Errand{ID: uint64(customer*16+k+1)<<32 | n, From: c.name, Work: span(r, time.Millisecond, 4*time.Millisecond)}
		o := &op{id: m.ID, kind: call, from: c.name, to: firm, stream: fmt.Sprintf("%s.%d", c.name, k), n: int(n)}
		ref, due := c.sys.Service(firm), patienceOfAll
		if own {
			h := w.anyHost(r)
			if h == "" {
				continue
			}
			o.to, due = ownActor+"@"+h, patienceOfOne
			if chance(r, 0.02) {
				m.Work = span(r, 0, time.Second)
			}
			ref = c.sys.Ref(o.to)
		}
		do := func() {
			ctx, cancel := context.WithTimeout(context.Background(), due)
			defer cancel()
			o.due = w.truth.now() + due
			w.truth.begin(o)
			done, err := actor.Call(ctx, ref, m)
			done, err = w.meddle(o, done, err)
			w.truth.end(o, done, err)
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

// anyHost draws one whose own actor is there, or will be.
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

// step does one, and waits until all is as before.
func (w *term) step(s *step) {
	e := w.begin(s, s.Beside == nil)
	if s.Beside != nil {
		var beside sync.WaitGroup
		beside.Go(func() {
			time.Sleep(s.After)
			b := w.begin(s.Beside, false)
			w.act(b)
			if b.What == "join" {
				l := w.begin(&step{What: "leave"}, false)
				w.act(l)
			}
		})
		defer beside.Wait()
	}
	w.act(e)
	time.Sleep(e.aftermath() + settled)
}

// settled is how long after a step nothing of it is left.
const settled = 3 * time.Second

func (w *term) begin(s *step, alone bool) *episode {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[s.Host]
	if s.What == "leave" {
		for _, h = range slices.Backward(w.hosts) {
			if h.now != nil {
				break
			}
		}
	} else if s.What == "restart" && !alone && h.name == w.episodes[len(w.episodes)-1].host {
		h = w.hosts[(s.Host+1)%w.plan.Hosts]
	}
	e := &episode{step: *s, host: h.name, from: w.truth.now(), alone: alone}
	if s.What == "join" {
		e.host = fmt.Sprintf("s%d", len(w.hosts))
	}
	w.episodes = append(w.episodes, e)
	w.truth.note("STEP %+v", *e)
	return e
}

func (w *term) act(e *episode) {
	switch e.What {
	case "restart":
		h := w.host(e.host)
		if e.Ailment == "cut" {
			w.net.PartitionOneWay("", h.name, "")
			time.Sleep(e.After)
		}
		w.closeDown(h, false)
		w.net.Heal("", h.name, "")
		time.Sleep(e.For)
		w.open(h, e.step)
	case "join":
		w.open(w.newHost(), e.step)
	case "leave":
		w.closeDown(w.host(e.host), true)
	case "sick":
		w.sick(e)
		return
	}
	w.ended(e)
}

func (w *term) host(name string) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })]
}

func (w *term) ended(e *episode) {
	w.mu.Lock()
	e.to, e.over = w.truth.now(), true
	w.mu.Unlock()
	w.truth.note("STEP %v is over", e)
}

// closeDown ends a start of a host in good order.
func (w *term) closeDown(h *host, forGood bool) {
	w.mu.Lock()
	l := h.now
	h.now = nil
	h.past = append(h.past, l)
	h.claimed = !forGood
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.sys.Shutdown(ctx); err != nil {
		w.truth.bad("shutdown of %s: %v", h.name, err)
	}
	w.gone(h)
}

// sick has instances fall ill and get well.
func (w *term) sick(e *episode) {
	var ill sync.WaitGroup
	var all []*host
	for i := range e.Hosts {
		h := w.host(fmt.Sprintf("s%d", (e.Host+i)%w.plan.Hosts))
		all = append(all, h)
		ill.Go(func() { w.befall(e, h) })
	}
	ill.Wait()
	w.ended(e)
	w.mu.Lock()
	for _, h := range all {
		clear(h.served)
	}
	w.mu.Unlock()
	for _, h := range all {
		for _, c := range w.customers {
			w.getsCalls(e, h, c)
		}
	}
}

func (w *term) befall(e *episode, h *host) {
	w.mu.Lock()
	l := h.now
	w.mu.Unlock()
	names := []string{""}
	if e.Host%2 == 0 && e.Ailment == "cut" { // from customers alone
		names = nil
		for _, c := range w.customers {
			names = append(names, c.name)
		}
	}
	heal := func(road string) {
		for _, name := range names {
			w.net.Heal(road, h.name, name)
		}
	}
	switch e.Ailment {
	case "slow":
		l.set(time.Second+e.For/4, nil)
		time.Sleep(e.For)
		l.set(0, nil)
	case "hung", "refusing":
		well := make(chan struct{})
		l.set(0, well)
		if e.Ailment == "refusing" {
			for n := 0; ; n++ { // the first ones are taken out at once
				if err := actor.Tell(context.Background(), l.sys.Ref("server@"+h.name), Siesta{N: n}); err != nil && n > 0 {
					break
				}
				if n == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}
		time.Sleep(e.For)
		l.set(0, nil)
		close(well)
	case "silent":
		w.net.Hold("", h.name, "")
		w.net.Hold("", "", h.name)
		for _, g := range l.gates {
			g.stop(e.For)
		}
		time.Sleep(e.For)
		w.net.Heal("", h.name, "")
	case "cut", "cut on one road":
		road := ""
		if e.Ailment == "cut on one road" {
			road = w.plan.Roads[0]
		}
		for _, name := range names {
			w.net.Partition(road, h.name, name)
		}
		time.Sleep(e.For)
		heal(road)
	case "killed":
		w.mu.Lock()
		h.now = nil
		h.past = append(h.past, l)
		w.mu.Unlock()
		for _, g := range l.gates {
			g.close(e.Word)
		}
		if e.Known {
			w.gone(h)
			_ = w.reg.Evict(context.Background(), h.name, l.sys.Epoch())
		}
		time.Sleep(e.For)
		if !e.Known {
			_ = w.reg.Evict(context.Background(), h.name, l.sys.Epoch())
			w.gone(h)
		}
		w.open(h, e.step)
	}
}

func (l *tenancy) set(slow time.Duration, well chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow, l.well = slow, well
}

// end shuts all systems down, the dead ones among them.
func (w *term) end() {
	var owned sync.WaitGroup
	shut := func(sys *actor.System) {
		owned.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := sys.Shutdown(ctx); err != nil && sys.Err() == nil {
				w.truth.bad("shutdown of %s: %v", sys.Name(), err)
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

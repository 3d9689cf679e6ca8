//go:build unix

package procs

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	reminders "github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/rpc"
	states "github.com/tandem-go/tandem/state/jetstream"
)

// payers are the nodes that have accounts make transfers. They host no accounts, and nobody kills them.
var payers = []string{"ann", "bob"}

// payerOf is the i-th of them, as records name it.
func payerOf(i int) who { return who(i + 40) }

// The accounts. The last of them are seldom asked, and end when they are idle.
const (
	accounts   = 24
	busy       = 16   // of these, those that most transfers are from
	capital    = 1000 // of each account in the beginning
	payCallers = 4    // callers in each payer
	payPace    = 15 * time.Millisecond
	payWithin  = 2 * time.Minute // longer than any fault, so that nobody ever has to give up
	payPause   = time.Second     // the longest between two attempts at one request
	cheatEvery = 16              // transfers of a caller, of each sort of cheating
	auditPace  = 200 * time.Millisecond
)

// How an account is asked.
const (
	paying    = calling  // a transfer, by Call
	promising = asking   // a transfer, by Ask
	failing   = telling  // a transfer whose handler fails in the end: it returns an error, or panics
	reading   = sweeping // how many transfers there were
)

// payee is the account that a transfer goes to, and amountOf what it gets.
func payee(op uint64) int      { return (idOf(op) + 1 + countOf(op)%(accounts-1)) % accounts }
func amountOf(op uint64) int64 { return int64(1 + countOf(op)%5) }

// Pay is a transfer. It is answered with twice the number of transfers that the account has made.
type Pay struct {
	actor.Returns[Receipt]
	ID uint64
}

// Height is answered with one more than the last transfer was.
type Height struct {
	actor.Returns[Receipt]
	ID uint64
}

// Receipt is an answer, which start of which host has handled the request, and under which fencing token.
type Receipt struct {
	Height uint64
	By     who
	Life   uint16
	Token  uint64
}

// Credit is what the payee of a transfer gets.
type Credit struct {
	ID     uint64
	Amount int64
	Height uint64 // of the payer's account
}

// Book asks for all that is stored of an account.
type Book struct{ actor.Returns[Kept] }

// Kept is what is stored of an account.
type Kept struct {
	Balance int64
	Height  uint64            // transfers that have had their effect
	Gave    map[uint64]uint64 // how often each of them has
	Got     map[uint64]uint64 // how often the credit of each transfer to this account was handled
	Heard   map[int]uint64    // the height of the latest one, by account
	Upset   uint64            // credits that came after a later one
	Rung    Rung
}

// account is a stored actor.
type account struct {
	kept Kept
	host *storedHost
}

// storedHost is a process that hosts accounts.
type storedHost struct {
	role role
	kind *actor.Kind
}

func (h *storedHost) receipt(ctx *actor.Context, height uint64) Receipt {
	return Receipt{height, h.role.Who, h.role.Life, ctx.FencingToken()}
}

// accountKind is the kind of the accounts that a host has; of a node that has none, the host is nil.
func accountKind(h *storedHost) *actor.Kind {
	fresh := func() *account {
		return &account{Kept{Balance: capital, Gave: map[uint64]uint64{}, Got: map[uint64]uint64{}, Heard: map[int]uint64{}, Rung: Rung{Once: map[uint64]uint64{}}}, h}
	}
	return actor.Define("procs.account", fresh, actor.Answer((*account).pay), actor.Handle((*account).credit),
		actor.Handle((*account).chime), actor.Handle((*account).tick), actor.Read((*account).height), actor.Read((*account).book)).
		With(actor.Virtual(), actor.Stored(func(a *account) *Kept { return &a.kept }), actor.Idle(idleAfter), actor.Supervise(actor.Strategy{Window: time.Nanosecond}))
}

// accountRef is one of the accounts.
func accountRef(sys *actor.System, kind *actor.Kind, id int) actor.Ref {
	return sys.Virtual(kind, strconv.Itoa(id))
}

func (a *account) pay(ctx *actor.Context, m Pay) (Receipt, error) {
	k, c := &a.kept, Credit{ID: m.ID, Amount: amountOf(m.ID)}
	k.Balance -= c.Amount
	k.Gave[m.ID]++
	k.Height++
	c.Height = k.Height
	answer, times := 2*k.Height, 1
	if a.host.role.Cheat == dishonest {
		switch countOf(m.ID) % cheatEvery {
		case 1:
			k.Gave[m.ID]++
		case 3:
			times = 0
		case 5:
			times = 2
		case 7:
			c.Amount++
		case 9:
			c.Height = 0
		case 11:
			answer = 2
		}
	}
	for range times {
		if err := actor.Tell(ctx, accountRef(ctx.System(), a.host.kind, payee(m.ID)), c); err != nil {
			return Receipt{}, err
		}
	}
	if err := a.remind(ctx, m.ID); err != nil {
		return Receipt{}, err
	}
	if verbOf(m.ID) == failing {
		if countOf(m.ID)%2 == 0 {
			panic("a panic was asked for")
		}
		return Receipt{}, errAsked
	}
	return a.host.receipt(ctx, answer), nil
}

func (a *account) credit(_ *actor.Context, m Credit) error {
	k, from := &a.kept, idOf(m.ID)
	k.Balance += m.Amount
	k.Got[m.ID]++
	if m.Height <= k.Heard[from] {
		k.Upset++
	}
	k.Heard[from] = max(k.Heard[from], m.Height)
	return nil
}

func (a *account) height(ctx *actor.Context, _ Height) (Receipt, error) {
	return a.host.receipt(ctx, 2*a.kept.Height+1), nil
}

func (a *account) book(*actor.Context, Book) (Kept, error) { return a.kept, nil }

// hostStored is a process with accounts.
func (r role) hostStored(end <-chan struct{}) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg, js, done, err := r.hosting(log)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	store, err := states.Open(ctx, js, states.Config{Cluster: r.cluster(), Replicas: len(r.Bus), Logger: log})
	if err != nil {
		cancel()
		return err
	}
	rung, err := reminders.Open(ctx, js, reminders.Config{Cluster: r.cluster(), Replicas: len(r.Bus), Logger: log})
	cancel()
	if err != nil {
		return err
	}
	written, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	fate := newFate(r.Dies)
	cfg.Claims, cfg.States, cfg.Reminders = fatedClaims{cfg.Claims, fate}, fatedStates{store, fate, r, written}, fatedReminders{rung, fate}
	for i, t := range cfg.Transports {
		if t.Direct() {
			cfg.Transports[i] = fatedRoad{t, fate}
		}
	}
	h := &storedHost{role: r}
	h.kind = accountKind(h)
	cfg.Kinds = []*actor.Kind{h.kind}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return err
	}
	ready("")
	fate.armed.Store(true)
	var looking sync.WaitGroup
	looking.Go(func() { h.look(sys, written, end) })
	<-end
	looking.Wait()
	return shut(sys)
}

// look reads busy accounts one after the other until the end, wherever they are. To one that this process has, the way is so
// short that an answer arrives also if it may not be given any more.
func (h *storedHost) look(sys *actor.System, written journal, end <-chan struct{}) {
	for id := 0; ; id = (id + 1) % busy {
		select {
		case <-end:
			return
		case <-time.After(payPace):
		}
		r := record{sort: looked, who: h.role.Who, life: h.role.Life, op: uint64(id), at: monotonic()}
		ctx, cancel := context.WithTimeout(context.Background(), visitWithin)
		got, err := actor.Call(ctx, accountRef(sys, h.kind, id), Height{})
		cancel()
		if r.aux = got.Token; err == nil {
			written.put(r)
		}
	}
}

// payer is a process that asks accounts.
type payer struct {
	role    role
	journal journal // of what is asked
	found   journal // of what the accounts have in the end
	sys     *actor.System
	kind    *actor.Kind
}

// do makes one request, and writes down what became of it.
func (p *payer) do(op uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), payWithin)
	defer cancel()
	r := record{who: p.role.Who, life: p.role.Life, op: op}
	r.sort, r.at = asked, monotonic()
	p.journal.put(r)
	to, again := accountRef(p.sys, p.kind, idOf(op)), rpc.WithRetry(rpc.Retry{Attempts: 1000, MaxPause: payPause})
	var got Receipt
	var err error
	switch verbOf(op) {
	case promising:
		got, err = actor.Ask(ctx, to, Pay{ID: op}, again).Await(context.Background())
	case reading:
		got, err = actor.Call(ctx, to, Height{ID: op}, again)
	default:
		got, err = actor.Call(ctx, to, Pay{ID: op}, again)
	}
	if err == nil {
		p.journal.put(record{sort: under, who: got.By, life: got.Life, op: op, aux: got.Token})
	}
	r.who, r.life, r.aux = got.By, got.Life, got.Height
	r.sort, r.at, r.verdict, r.code = told, monotonic(), rpc.Ran(err), rpc.CodeOf(err)
	if err != nil && verbOf(op) != failing || r.verdict == rpc.Unknown {
		p.role.logger().Error("a request has failed", "op", nameOp(op), "verdict", r.verdict, "err", err)
	}
	if p.role.Cheat == dishonest {
		switch countOf(op) % cheatEvery {
		case 13:
			r.verdict, r.code = rpc.NotRun, rpc.Unavailable
		case 14:
			r.verdict, r.code = rpc.Unknown, rpc.OutcomeUnknown
		case 15:
			return
		}
	}
	p.journal.put(r)
}

// call is a caller, which has random accounts make transfers until nothing new is to begin.
func (p *payer) call(resting context.Context, no uint16) {
	self := life{p.role.Who, p.role.Life}
	r := rand.New(rand.NewPCG(p.role.Seed, uint64(self.who)<<32|uint64(no)))
	for n := uint32(1); ; n++ {
		select {
		case <-resting.Done():
			return
		case <-time.After(time.Duration(r.ExpFloat64() * float64(payPace))):
		}
		id := r.IntN(busy)
		if r.IntN(20) == 0 {
			id = busy + r.IntN(accounts-busy)
		}
		verbs := [...]verb{paying, paying, paying, promising, promising, promising, failing, reading}
		p.do(visitID(self, no, n, verbs[r.IntN(len(verbs))], id))
	}
}

// audit writes down what the accounts have, and what is new since the round before, until the end.
func (p *payer) audit(end <-chan struct{}) {
	known := map[sort]map[uint64]uint64{spent: {}, arrived: {}, rung: {}}
	for {
		whole := true
		for id := range accounts {
			ctx, cancel := context.WithTimeout(context.Background(), visitWithin)
			k, err := actor.Call(ctx, accountRef(p.sys, p.kind, id), Book{})
			cancel()
			if err != nil {
				whole = false
				continue
			}
			for what, now := range map[sort]map[uint64]uint64{spent: k.Gave, arrived: k.Got, rung: k.Rung.Once} {
				for op, n := range now {
					if known[what][op] != n {
						p.found.put(record{sort: what, who: p.role.Who, op: op, aux: n})
					}
				}
				maps.Copy(known[what], now)
			}
			p.found.put(record{sort: held, who: p.role.Who, op: uint64(id), aux: uint64(k.Balance)})
			p.found.put(record{sort: upset, who: p.role.Who, op: uint64(id), aux: k.Upset})
			for _, r := range k.Rung.records(id, p.role.Who) {
				p.found.put(r)
			}
		}
		if whole {
			p.found.put(record{sort: audited, who: p.role.Who})
		}
		select {
		case <-end:
			return
		case <-time.After(auditPace):
		}
	}
}

// pay is a process with callers. The first payer audits the accounts when its callers are at rest.
func (r role) pay(rest, end <-chan struct{}) error {
	p := &payer{role: r, kind: accountKind(nil)}
	var err error
	if p.journal, err = openJournal(r.Dir, askedFile); err != nil {
		return err
	}
	if p.found, err = openJournal(r.Dir, ranFile); err != nil {
		return err
	}
	cfg, done, err := r.config(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer done()
	cfg.RPC = rpc.Limits{Heartbeat: heartbeat, SessionLease: lease}
	cfg.Retry = rpc.Retry{Burst: 1 << 20} // hosts die so often that the default budget of retries would be used up
	if p.sys, err = actor.NewSystem(cfg); err != nil {
		return err
	}
	ready("")
	resting, goOn := context.WithCancel(context.Background())
	defer goOn()
	var all sync.WaitGroup
	for no := range payCallers {
		all.Go(func() { p.call(resting, uint16(no)) })
	}
	<-rest
	goOn()
	all.Wait()
	if r.Who == payerOf(0) {
		p.audit(end)
	} else {
		<-end
	}
	return shut(p.sys)
}

//go:build unix

package procs

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// The virtual actors. The last of them are seldom called, and end when they are idle.
const (
	virtualIDs  = 40
	wakeful     = 32 // of these, which only end with their node
	idleAfter   = 300 * time.Millisecond
	visitors    = 4 // callers in each process
	visitPace   = 15 * time.Millisecond
	visitWithin = 3 * time.Second
	sweeper     = 255 // the caller that reaches all ids in the end
)

// verb is how a virtual actor is addressed.
type verb uint8

const (
	calling verb = iota
	asking
	telling
	sweeping // a Call when all is well
)

// visitID names the n-th operation of a caller, whatever it does and to whom.
func visitID(l life, caller uint16, n uint32, v verb, id int) uint64 {
	return opID(l.n, uint16(l.who)<<8|caller, n<<8|uint32(v)<<6|uint32(id))
}

func idOf(op uint64) int    { return int(op & 63) }
func verbOf(op uint64) verb { return verb(op >> 6 & 3) }
func countOf(op uint64) int { return int(uint32(op) >> 8) }

// Visit is answered with the fencing token of the activation.
type Visit struct {
	actor.Returns[uint64]
	ID   uint64
	Work time.Duration // that its handler takes
}

// Hint is a one-way message.
type Hint struct{ ID uint64 }

// virtualHost is a process that hosts virtual actors and calls them.
type virtualHost struct {
	role    role
	journal journal // of what is asked
	handled journal // of what is handled
	sys     *actor.System
	kinds   [2]*actor.Kind // those that stay, and those that end when they are idle
}

// visited is a virtual actor.
type visited struct{ *virtualHost }

func (v visited) visit(ctx *actor.Context, m Visit) (uint64, error) {
	token := v.effect(ctx, m.ID)
	time.Sleep(m.Work)
	return token, nil
}

func (v visited) hint(ctx *actor.Context, m Hint) error {
	v.effect(ctx, m.ID)
	return nil
}

// effect writes down that the actor has handled op, and under which token.
func (v visited) effect(ctx *actor.Context, op uint64) (token uint64) {
	token = ctx.FencingToken()
	times := 1
	if v.role.Cheat == dishonest {
		switch idOf(op) % 4 {
		case 1:
			token -= uint64(countOf(op) % 2)
		case 2:
			token = 1
		}
		if countOf(op)%16 == 3 {
			times++
		}
	}
	for range times {
		v.handled.put(record{sort: ran, who: v.role.Who, life: v.role.Life, op: op, at: monotonic(), aux: token})
	}
	return token
}

// ref is one of the virtual actors.
func (v *virtualHost) ref(id int) actor.Ref {
	name, kind := string(rune('A'+id%26))+string(rune('a'+id/26)), v.kinds[0]
	if id >= wakeful {
		kind = v.kinds[1]
	}
	return v.sys.Virtual(kind, name)
}

// do makes one operation, and writes down what became of it.
func (v *virtualHost) do(op uint64, within, work time.Duration, acked bool) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r := record{who: v.role.Who, life: v.role.Life, op: op}
	r.sort, r.at = asked, monotonic()
	v.journal.put(r)
	to, m := v.ref(idOf(op)), Visit{ID: op, Work: work}
	var err error
	switch verbOf(op) {
	case asking:
		r.aux, err = actor.Ask(ctx, to, m).Await(context.Background())
	case telling:
		var opts []rpc.Option
		if acked {
			opts = append(opts, rpc.Acked())
		}
		err = actor.Tell(ctx, to, Hint{op}, opts...)
	default:
		r.aux, err = actor.Call(ctx, to, m)
	}
	r.sort, r.at, r.verdict, r.code = told, monotonic(), rpc.Ran(err), rpc.CodeOf(err)
	if v.role.Cheat == dishonest {
		switch countOf(op) % 16 {
		case 5:
			r.verdict, r.code = rpc.NotRun, rpc.Unavailable
		case 7:
			return
		}
	}
	v.journal.put(r)
}

// call is a caller, which calls random actors until nothing new is to begin.
func (v *virtualHost) call(resting context.Context, no uint16) {
	self := life{v.role.Who, v.role.Life}
	r := rand.New(rand.NewPCG(v.role.Seed, uint64(self.who)<<32|uint64(self.n)<<16|uint64(no)))
	for n := uint32(1); ; n++ {
		select {
		case <-resting.Done():
			return
		case <-time.After(time.Duration(r.ExpFloat64() * float64(visitPace))):
		}
		id := r.IntN(wakeful)
		if r.IntN(40) == 0 {
			id = wakeful + r.IntN(virtualIDs-wakeful)
		}
		within, work := visitWithin, time.Duration(0)
		if r.IntN(20) == 0 {
			within = time.Duration(1+r.IntN(100)) * time.Millisecond
		}
		switch x := r.IntN(100); {
		case x < 10:
			work = time.Duration(r.IntN(50)) * time.Millisecond
		case x < 11: // so that some run whenever a fault comes
			work = time.Duration(r.IntN(1500)) * time.Millisecond
		}
		verbs := [...]verb{calling, calling, asking, telling}
		v.do(visitID(self, no, n, verbs[r.IntN(len(verbs))], id), within, work, r.IntN(2) == 0)
	}
}

// sweep calls all actors again and again.
func (v *virtualHost) sweep(end <-chan struct{}) {
	for n := uint32(1); ; n++ {
		for id := range virtualIDs {
			select {
			case <-end:
				return
			default:
				v.do(visitID(life{v.role.Who, v.role.Life}, sweeper, n, sweeping, id), visitWithin, 0, false)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// hostVirtuals is a process with virtual actors and callers.
func (r role) hostVirtuals(rest, end <-chan struct{}) error {
	v := &virtualHost{role: r}
	var err error
	if v.journal, err = openJournal(r.Dir, askedFile); err != nil {
		return err
	}
	if v.handled, err = openJournal(r.Dir, ranFile); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg, _, done, err := r.hosting(log)
	if err != nil {
		return err
	}
	defer done()
	kind := func(name string, opts ...actor.KindOption) *actor.Kind {
		return actor.Define(name, func() visited { return visited{v} }, actor.Answer(visited.visit), actor.Handle(visited.hint)).With(append(opts, actor.Virtual())...)
	}
	v.kinds = [2]*actor.Kind{kind("procs.wakeful"), kind("procs.sleepy", actor.Idle(idleAfter))}
	cfg.Kinds = v.kinds[:]
	if (uint16(r.Who)+r.Life)%3 == 0 { // now and then what a start sends goes over the bus alone
		cfg.Roads = rpc.BusOnly
	}
	if v.sys, err = actor.NewSystem(cfg); err != nil {
		return err
	}
	ready("")
	resting, goOn := context.WithCancel(context.Background())
	defer goOn()
	var all sync.WaitGroup
	for no := range visitors {
		all.Go(func() { v.call(resting, uint16(no)) })
	}
	select {
	case <-rest:
		goOn()
		all.Wait()
		v.sweep(end)
	case <-end:
		goOn()
		all.Wait()
	}
	return shut(v.sys)
}

//go:build unix

package procs

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

const (
	callers = 16
	pace    = 10 * time.Millisecond // mean pause between two requests of a caller
	burst   = 6                     // requests that a caller asks at once, sometimes
)

// ask is a client: callers that ask until it is to end.
func (r role) ask(end <-chan struct{}) error {
	j, err := openJournal(r.Dir, askedFile)
	if err != nil {
		return err
	}
	sys, nc, _, err := r.system(nil)
	if err != nil {
		return err
	}
	ready("")
	var all sync.WaitGroup
	for i := range callers {
		c := &caller{role: r, no: uint16(i), sys: sys, journal: j, end: end, r: rand.New(rand.NewPCG(r.Seed, uint64(r.Life)<<32|uint64(i)))}
		all.Go(c.run)
	}
	all.Wait() // each operation ends by its deadline, whatever happens
	return leave(sys, nc)
}

// caller is a goroutine of the application.
type caller struct {
	role    role
	no      uint16
	sys     *actor.System
	journal journal
	end     <-chan struct{}
	r       *rand.Rand
	n       uint32
}

func (c *caller) run() {
	for {
		select {
		case <-c.end:
			return
		case <-time.After(time.Duration(c.r.ExpFloat64() * float64(pace))):
		}
		if c.r.IntN(10) > 0 {
			c.step()()
			continue
		}
		var ends []func()
		for range burst {
			ends = append(ends, c.step())
		}
		for _, end := range ends {
			end()
		}
	}
}

// step asks for one operation, and returns what waits for its end.
func (c *caller) step() (await func()) {
	c.n++
	m := Op{ID: opID(c.role.Life, c.no, c.n)}
	name, to := "quick", serverA
	switch x := c.r.IntN(100); {
	case x < 45:
		name = cast[1+c.r.IntN(len(cast)-1)]
		m.Work = time.Duration(1+c.r.IntN(20)) * time.Millisecond
	case x < 55:
		to = serverB
	case x < 70:
		to = anyone
	}
	switch x := c.r.IntN(100); {
	case x < 2:
		m.End = badly
	case x < 7 && c.role.Panics:
		m.End = inPanic
	}
	within := time.Duration(1000+c.r.IntN(4000)) * time.Millisecond
	if c.r.IntN(20) == 0 {
		within = time.Duration(1+c.r.IntN(100)) * time.Millisecond
	}
	var opts []rpc.Option
	if c.r.IntN(10) == 0 {
		opts = append(opts, rpc.Hedge(5*time.Millisecond))
	}
	if c.role.Cheat == idempotent {
		opts = append(opts, rpc.Idempotent())
	}
	if c.role.Records == inTransaction {
		m.End = well // a handler that fails does not commit, and yet it ran
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	if c.r.IntN(30) == 0 {
		time.AfterFunc(time.Duration(c.r.IntN(30))*time.Millisecond, cancel)
	}
	c.journal.put(record{sort: asked, who: to, life: c.role.Life, op: m.ID, aux: uint64(time.Now().Add(within).UnixNano())})
	if to != anyone && c.r.IntN(8) == 0 {
		c.tell(ctx, m.ID, to, name, c.r.IntN(2) == 0)
		cancel()
		return func() {}
	}
	f := actor.Ask(ctx, c.ref(to, name), m, opts...)
	return func() {
		done, err := f.Await(context.Background())
		cancel()
		c.told(m.ID, to, done.ID, err)
	}
}

func (c *caller) ref(to who, name string) actor.Ref {
	switch to {
	case serverB:
		return c.sys.Ref(name + "@" + nodeB)
	case anyone:
		return c.sys.Service(crew)
	}
	return c.sys.Ref(name + "@" + nodeA)
}

// tell sends a one-way message.
func (c *caller) tell(ctx context.Context, id uint64, to who, name string, safely bool) {
	e := record{sort: sent, who: to, life: c.role.Life, op: id}
	var opts []rpc.Option
	if safely {
		e.sort, opts = accepted, []rpc.Option{rpc.Acked()}
	}
	if err := actor.Tell(ctx, c.ref(to, name), Note{id}, opts...); err != nil {
		c.told(id, to, 1, err)
		return
	}
	c.journal.put(e)
}

// told records what the caller learned.
func (c *caller) told(id uint64, to who, aux uint64, err error) {
	e := record{sort: told, who: to, life: c.role.Life, op: id, verdict: rpc.Ran(err), code: rpc.CodeOf(err), aux: aux}
	switch {
	case c.role.Cheat == mute && c.n%16 == 0:
		return
	case c.role.Cheat == lying && e.verdict == rpc.Unknown:
		e.verdict = rpc.NotRun
	}
	c.journal.put(e)
}

//go:build unix

package procs

import (
	"errors"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// crew is the service of both servers' quick actors.
const crew = "crew"

// cast is the actors of a server. The slow ones have waiting and running requests whenever a
// fault comes.
var cast = []string{"quick", "slow0", "slow1", "slow2", "slow3"}

// Op is a request. Its ID is the ground truth.
type Op struct {
	actor.Returns[Done]
	ID   uint64
	Work time.Duration // that its handler takes
	End  end
}

// Done is the reply to the Op of that ID.
type Done struct{ ID uint64 }

// Note is a one-way message.
type Note struct{ ID uint64 }

// end is how a handler ends.
type end uint8

const (
	well end = iota
	badly
	inPanic
)

var errAsked = errors.New("an error was asked for")

// worker is an actor of a server.
type worker struct {
	role    role
	no      uint64 // of the actor, from 1
	journal journal
	commits commits
}

// op has its effect at once: a record that no kill undoes.
func (w *worker) op(_ *actor.Context, m Op) (Done, error) {
	w.effect(m.ID, 0)
	if m.Work > 0 {
		time.Sleep(m.Work)
	}
	switch m.End {
	case badly:
		return Done{}, errAsked
	case inPanic:
		panic("a panic was asked for")
	}
	if w.role.Cheat == absentMinds && m.ID%64 == 1 {
		m.ID--
	}
	return Done{m.ID}, nil
}

// transaction has its effect half-way, in one with its record.
func (w *worker) transaction(ctx *actor.Context, m Op) (Done, error) {
	time.Sleep(m.Work / 2)
	id, outcome, err := actor.Completion(ctx, Done{m.ID})
	if err == nil {
		err = w.commits.commit(id, m.ID, outcome)
	}
	if err != nil {
		return Done{}, err
	}
	time.Sleep(m.Work / 2)
	return Done{m.ID}, nil
}

func (w *worker) note(_ *actor.Context, m Note) error {
	w.effect(m.ID, w.no)
	return nil
}

func (w *worker) effect(id, no uint64) {
	w.journal.put(record{sort: ran, who: w.role.Who, life: w.role.Life, op: id, aux: no})
}

// serve is a server.
func (r role) serve(end <-chan struct{}) error {
	j, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	c := commits{r.Dir}
	var kinds []*actor.Kind
	for i, name := range cast {
		op, opts := (*worker).op, []actor.KindOption(nil)
		switch r.Records {
		case inTransaction:
			op, opts = (*worker).transaction, []actor.KindOption{actor.Transactional(c)}
		case inStore:
			opts = []actor.KindOption{actor.Durable()}
		}
		k := actor.Define("procs."+name, func() *worker { return &worker{r, uint64(i + 1), j, c} },
			actor.Answer(op), actor.Handle((*worker).note)).With(append(opts, actor.Supervise(actor.Strategy{Window: time.Nanosecond}))...)
		kinds = append(kinds, k)
	}
	sys, nc, addr, err := r.system(kinds)
	if err != nil {
		return err
	}
	for i, name := range cast {
		if _, err := sys.Spawn(name, kinds[i]); err != nil {
			return err
		}
	}
	ready(addr)
	<-end
	return leave(sys, nc)
}

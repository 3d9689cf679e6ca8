//go:build unix

package procs

import (
	"errors"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// crew is the service of both servers' quick actors.
const crew = "crew"

// cast is the actors of a server. The slow ones have requests waiting in their
// mailboxes and under way whenever a fault comes.
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
	journal journal
}

// op has its effect first: a record that no kill undoes.
func (w *worker) op(_ *actor.Context, m Op) (Done, error) {
	w.journal.put(record{sort: ran, who: w.role.Who, life: w.role.Life, op: m.ID})
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

// serve is a server.
func (r role) serve(end <-chan struct{}) error {
	j, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	sys, nc, addr, err := r.system()
	if err != nil {
		return err
	}
	kind := actor.Define("procs.worker", func() *worker { return &worker{r, j} }, actor.Answer((*worker).op))
	for _, name := range cast {
		if _, err := sys.Spawn(name, kind); err != nil {
			return err
		}
	}
	ready(addr)
	<-end
	return leave(sys, nc)
}

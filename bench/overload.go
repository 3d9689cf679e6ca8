package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// A strain is something that can do only so much: actors on another node, reached over a
// road, and callers with some way to deal with too much.
type strain struct {
	name    string
	about   string
	service time.Duration // that a handler waits; 0: it answers at once
	actors  int
	busy    int // requests under way that keep it busy, to find the capacity
	ways    []way
}

// A way is how a program deals with more than it can do.
type way struct {
	name     string
	about    string
	advised  bool           // held against the targets
	slots    int            // requests that the sender has under way
	patience time.Duration  // deadline of each
	once     bool           // refused requests are not made anew
	box      mailbox.Config // of the actors
}

// echoSlots is how many requests under way keep two nodes busy.
const echoSlots = 128

// crowdLimit is how many callers a program has at most that does not think of it.
const crowdLimit = 50_000

const serviceTime = 4 * time.Millisecond

func strains() []strain {
	defaults := way{name: "defaults", about: "nothing is set but a deadline of 1 s", slots: crowdLimit, patience: time.Second}
	return []strain{
		{name: "service", about: fmt.Sprintf("8 actors that each take %v for a request, at random", serviceTime), service: serviceTime, actors: 8, busy: 4 * 8, ways: []way{
			defaults,
			{name: "deadline", about: fmt.Sprintf("a deadline of %v", 20*serviceTime), slots: crowdLimit, patience: 20 * serviceTime},
			{name: "refuse", about: "mailboxes of 6 that refuse, no retries", advised: true, slots: crowdLimit, patience: time.Second, once: true,
				box: mailbox.Config{Capacity: 6, Policy: mailbox.Refuse}},
		}},
		{name: "echo", about: "one actor that answers at once: the CPU is the limit, and the sender needs it, too", actors: 1, busy: echoSlots, ways: []way{
			defaults,
			{name: "limit", about: fmt.Sprintf("the sender has %d under way and refuses the rest itself, no retries", echoSlots), advised: true, slots: echoSlots, patience: time.Second, once: true,
				box: mailbox.Config{Policy: mailbox.Refuse}},
		}},
	}
}

// loads are multiples of the capacity.
var loads = []float64{0.5, 0.8, 1, 2, 10}

// worker is the actor under strain.
type worker struct {
	service time.Duration
	ran     *tally
}

func (w *worker) echo(_ *actor.Context, q echo) (echoed, error) {
	w.ran.add()
	if w.service > 0 {
		time.Sleep(w.service)
	}
	return echoed{q.Data}, nil
}

// stress is a strain that was started, over one road and in one way.
type stress struct {
	both *nodes
	refs []actor.Ref
	way  way
	busy int
	ran  *tally

	ok, unsure uint64 // of all runs
}

func startStress(s strain, w way, both *nodes) (*stress, error) {
	t := &stress{both: both, way: w, busy: s.busy, ran: new(tally)}
	kind := actor.Define("bench.worker", func() *worker { return &worker{s.service, t.ran} }, actor.Answer((*worker).echo))
	for i := range s.actors {
		name := "w" + strconv.Itoa(i)
		if _, err := both.server.Spawn(name, kind, actor.Mailbox(w.box)); err != nil {
			return nil, err
		}
		t.refs = append(t.refs, both.client.Ref(name+"@server"))
	}
	return t, nil
}

// run sends requests at a rate, or as many as can be served if rate is 0.
func (t *stress) run(rate float64, d time.Duration, seed uint64) *flow {
	slots := t.way.slots
	actorOf := func(n uint64) uint64 { return mix(seed, n) % uint64(len(t.refs)) }
	if rate == 0 {
		slots = t.busy
		actorOf = func(n uint64) uint64 { return n % uint64(len(t.refs)) } // none is idle
	}
	var opts []rpc.Option
	if t.way.once {
		opts = append(opts, rpc.WithRetry(rpc.Retry{Attempts: 1}))
	}
	data := make([]byte, 64)
	f := openLoop{rate: rate, d: d, slots: slots, seed: seed, ask: func(n uint64) error {
		ctx, cancel := context.WithTimeout(context.Background(), t.way.patience)
		defer cancel()
		return reply(actor.Call(ctx, t.refs[actorOf(n)], echo{Data: data}, opts...))
	}}.run()
	t.ok += f.ok
	t.unsure += f.unsure
	return f
}

// mix is splitmix64: which actor request n goes to.
func mix(seed, n uint64) uint64 {
	z := (seed<<32 + n) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// close ends it, and says if a request was executed that had no answer for it, or the
// other way round.
func (t *stress) close() error {
	t.both.close()
	if ran := t.ran.n.Load(); ran < t.ok || ran > t.ok+t.unsure {
		return fmt.Errorf("%d requests were answered and of %d nobody can say, but %d were executed", t.ok, t.unsure, ran)
	}
	return nil
}

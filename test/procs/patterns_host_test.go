//go:build unix

package procs

import (
	"context"
	"iter"
	"runtime"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	store "github.com/tandem-go/tandem/queue/jetstream"
)

// Item is what lies in queues.
type Item struct{ ID uint64 }

// Feed asks for a stream of numbers from 1: Count of them, or without end.
type Feed struct {
	actor.Streams[uint64]
	ID    uint64
	Count uint64
}

// Chore is a job.
type Chore struct {
	actor.Returns[Done]
	ID   uint64
	Work time.Duration
}

// Queues, as records name them.
const (
	inNode who = iota + 100 // its items live and die with its node
	inNATS
)

const (
	itemLease = time.Second
	feedPace  = 2 * time.Millisecond
)

// host is the actor of a host that streams and does jobs.
type host struct {
	role    role
	journal journal
}

func (h *host) feed(ctx *actor.Context, m Feed) (iter.Seq2[uint64, error], error) {
	return func(yield func(uint64, error) bool) {
		h.journal.put(record{sort: producing, who: h.role.Who, life: h.role.Life, op: m.ID})
		pace := time.NewTicker(feedPace)
		defer pace.Stop()
		for n := uint64(1); m.Count == 0 || n <= m.Count; n++ {
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
			if !yield(n, nil) {
				break
			}
		}
		if h.role.Cheat == dishonest && m.ID%2 == 0 {
			return // for all that anybody knows it goes on
		}
		h.journal.put(record{sort: produced, who: h.role.Who, life: h.role.Life, op: m.ID})
	}, nil
}

func (h *host) chore(_ *actor.Context, m Chore) (Done, error) {
	done := record{sort: worked, who: h.role.Who, life: h.role.Life, op: m.ID}
	h.journal.put(done)
	if h.role.Cheat == dishonest && m.ID%8 == 0 {
		h.journal.put(done)
	}
	time.Sleep(m.Work)
	return Done{m.ID}, nil
}

// host is a node with a queue in memory, a front of one in NATS, streams and durable jobs.
func (r role) host(end <-chan struct{}) error {
	j, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	chores := actor.Define("procs.chores", func() *host { return &host{r, j} },
		actor.Answer((*host).chore)).With(actor.Durable())
	feeds := actor.Define("procs.feeds", func() *host { return &host{r, j} }, actor.Produce((*host).feed))
	cfg := queue.Config{Lease: itemLease, Attempts: 1000}
	line := actor.QueueKind[Item]("procs.line", cfg)
	sys, nc, addr, err := r.system([]*actor.Kind{chores})
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	jobs, err := store.Open(ctx, js, store.Config{Name: "jobs", Replicas: 3, Queue: cfg})
	if err != nil {
		return err
	}
	for name, k := range map[string]*actor.Kind{"chores": chores, "feeds": feeds, "line": line, "jobs": actor.StoredQueueKind[Item]("procs.jobs", jobs)} {
		if _, err := sys.Spawn(name, k); err != nil {
			return err
		}
	}
	base := vitals()
	ready(addr)
	<-end
	j.note(r, base)
	err = leave(sys, nc)
	jobs.Close()
	return err
}

// vital is what a process has.
type vital struct{ goroutines, heap uint64 }

func vitals() vital {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return vital{uint64(runtime.NumGoroutine()), m.HeapAlloc}
}

// What a process may have in the end beyond what it had in the beginning.
const (
	moreGoroutines = 24 // of links that stay, and of their peers
	moreHeap       = 16 << 20
)

// note writes down what the process has gained, once that has become little or time is up.
func (j journal) note(r role, base vital) {
	for limit := time.Now().Add(recoverLimit); ; time.Sleep(50 * time.Millisecond) {
		now := vitals()
		fine := now.goroutines <= base.goroutines+moreGoroutines && now.heap <= base.heap+moreHeap
		if fine || time.Now().After(limit) {
			j.put(record{sort: gained, who: r.Who, life: r.Life, op: now.goroutines - min(now.goroutines, base.goroutines), aux: now.heap - min(now.heap, base.heap)})
			return
		}
	}
}

// Workqueue hands out jobs to worker processes. Two of them are killed with kill -9 in the middle
// of their work, and no job is lost.
//
//	go run ./examples/workqueue
//
// The main process hosts a queue and a tally (tally.go). The workers (worker.go) pull
// jobs from the queue, 16 at a time, report the results to the tally, and ack. The jobs that a
// dead worker has pulled come back when their leases end, and other workers get them. Each worker
// is killed between the result of a job and its ack. So that job is done twice: the queue promises
// that each job is done at least once. A few jobs cannot be done at all; after three attempts they
// become dead letters.
//
// The program fails unless each job was done or is a dead letter.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// Job is an item of the queue: the Number has to be hashed, Rounds times.
type Job struct {
	Number int
	Rounds int
	Broken bool // it cannot be done
}

// A type of package main needs a name to travel to another node.
func (Job) WireName() string { return "workqueue.Job" }

const (
	workers  = 3
	kills    = 2
	attempts = 3
	lease    = time.Second
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("workqueue: ")
	jobs := flag.Int("jobs", 1000, "how many to push")
	worker := flag.String("worker", "", "be the worker of that `name`; the program starts them itself")
	desk := flag.String("desk", "", "the TCP `address` of the queue, for a worker")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if *worker != "" {
		err = work(ctx, *worker, *desk, os.Stdin)
	} else {
		err = run(ctx, os.Stdout, *jobs)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, jobs int) (err error) {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	sys, err := actor.NewSystem(actor.Config{Name: "desk", Registry: static.New(),
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: address})},
		AckWait:    100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}) // dead workers confirm nothing
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Shutdown(ctx)) }()
	q, err := sys.Spawn("jobs", actor.QueueKind[Job]("workqueue.jobs", queue.Config{Lease: lease, Attempts: attempts}))
	if err != nil {
		return err
	}
	crew := &crew{address: address, out: out}
	tally, err := sys.Spawn("tally", tallyKind(jobs, crew.kill))
	if err != nil {
		return err
	}
	broken := 0
	for n := range jobs {
		job := Job{Number: n, Rounds: 2000, Broken: n%300 == 150}
		if job.Broken {
			broken++
		}
		if err := actor.Push(ctx, q, job, actor.PushID(fmt.Sprint("job-", n))); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d jobs are in the queue; %d workers begin.\n", jobs, workers)
	defer crew.dismiss()
	if err := crew.start(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := emptied(ctx, q); err != nil {
		return err
	}
	took := time.Since(began)
	sum, err := actor.Call(ctx, tally, Sum{})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The queue is empty after %v.\n\n", took.Round(time.Millisecond))
	return report(ctx, out, q, sum, jobs, broken)
}

// emptied waits until the queue has no items any more, and none of them waits for an ack.
func emptied(ctx context.Context, q actor.Ref) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := actor.QueueStats[Job](ctx, q)
		if err != nil || s.Depth+s.Delayed+s.InFlight == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("with %d jobs waiting and %d in flight: %w", s.Depth, s.InFlight, ctx.Err())
		}
	}
}

// report prints what happened to the jobs. It fails if one was lost, or if too little happened for
// a job to be lost.
func report(ctx context.Context, out io.Writer, q actor.Ref, sum Totals, jobs, broken int) error {
	s, err := actor.QueueStats[Job](ctx, q)
	if err != nil {
		return err
	}
	dead, err := actor.DeadItems[Job](ctx, q, actor.Max(actor.MaxPull))
	if err != nil {
		return err
	}
	for _, d := range dead {
		if !d.Message.Broken {
			err = errors.Join(err, fmt.Errorf("job %d is a dead letter after %d attempts, and could be done", d.Message.Number, d.Attempts))
		}
	}
	lost := jobs - sum.Done - len(dead)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "pushed\tdone\tdead letters\tlost\tredelivered\tdone twice (at least once!)\tworkers killed\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", s.Pushed, sum.Done, len(dead), lost, s.Redeliveries, sum.Twice, sum.Killed)
	w.Flush()
	switch {
	case err != nil:
	case lost != 0 || len(dead) != broken:
		err = fmt.Errorf("%d jobs were lost; %d dead letters, want %d", lost, len(dead), broken)
	case sum.Killed != kills || sum.Twice < kills || s.Expired < kills:
		err = fmt.Errorf("%d workers were killed, %d leases ended, %d jobs were done twice: this shows nothing", sum.Killed, s.Expired, sum.Twice)
	default:
		fmt.Fprintln(out, "\nEvery job was done at least once, or is a dead letter.")
	}
	return err
}

func freeAddress() (string, error) {
	for range 100 { // below the ports that systems give to connections, which might take it between two starts
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no port is free")
}

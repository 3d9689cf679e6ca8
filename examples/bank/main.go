// Bank makes transfers between accounts that are stored actors, while the processes that host the accounts are
// killed one after another. No money is lost, no transfer is made twice, and no sender gets an error for it.
//
//	go run ./examples/bank
//
// All that is about money is in account.go. Three processes host the accounts (process.go), and keep them in
// a cluster of three NATS servers (nats.go). The main process runs the NATS servers, and makes transfers all the time
// (desk.go). Meanwhile it kills the three processes in turn with kill -9. Every other time it starts the process
// again at once; otherwise the other processes take over its accounts first.
//
// The program fails unless each transfer was made as its sender was told: once, or not at all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"sync"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bank: ")
	kills := flag.Int("kills", 6, "how often to kill a process")
	name := flag.String("bank", "", "be the bank process of that `name`; the program starts them itself")
	nats := flag.String("nats", "", "`URLs` of the NATS servers, for a bank process")
	flag.Parse()
	var err error
	if *name != "" {
		err = serve(context.Background(), *name, *nats, os.Stdin, os.Stdout)
	} else {
		err = run(context.Background(), os.Stdout, *kills)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, kills int) (err error) {
	urls, stop, err := startNATS()
	defer stop()
	if err != nil {
		return err
	}
	system, err := join(ctx, "desk", urls)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Shutdown(ctx)) }()
	life, end := context.WithCancel(ctx) // of the bank processes
	defer end()
	banks := make([]*exec.Cmd, 3)
	for i := range banks {
		if banks[i], err = start(life, i, urls); err != nil {
			return err
		}
	}
	d := &desk{system: system, outcomes: map[int]error{}}
	before, err := d.open(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d accounts have %d in all. The transfers begin.\n", accounts, before)
	var work sync.WaitGroup
	work.Go(func() { d.work(ctx) })
	err = harass(life, out, banks, urls, kills)
	d.closing.Store(true)
	work.Wait()
	if err != nil {
		return err
	}
	found, err := d.audit(ctx)
	if err != nil {
		return err
	}
	return d.report(out, before, found, kills, system.Stats().RPC.Retries)
}

// Bank makes transfers between accounts that are stored actors, while the processes that host them are
// killed one after the other. No money is lost, no transfer is made twice, and no caller gets an error.
//
//	go run ./examples/bank
//
// The accounts (account.go) are all that an application has to write. Three processes host them, and have them
// stored in a cluster of three NATS servers (node.go). The main process runs the NATS servers, starts the bank processes
// (process.go), and makes transfers all the time (desk.go). Meanwhile it kills the processes in turn with kill -9.
// Half of them are started again at once, and half when the others have taken over their accounts. In the
// end it compares the accounts with what was said to the senders (audit.go). It fails unless each transfer was made
// once, or was refused.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

const banks = 3

func main() {
	log.SetFlags(0)
	log.SetPrefix("bank: ")
	kills := flag.Int("kills", 6, "how often to kill a process")
	name := flag.String("bank", "", "be the bank process of that `name`; the program starts them itself")
	nats := flag.String("nats", "", "`URLs` of the NATS servers, for a bank process")
	flag.Parse()
	var err error
	if *name != "" {
		err = runBank(context.Background(), *name, *nats, os.Stdin, os.Stdout)
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute+time.Duration(*kills)*10*time.Second)
		defer cancel()
		err = run(ctx, os.Stdout, *kills)
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
	sys, leave, err := join(ctx, "desk", urls)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	var all []*process
	for i := range banks {
		p := &process{name: fmt.Sprint("bank-", i+1), nats: urls}
		defer func() { err = errors.Join(err, p.end()) }()
		if err := p.start(ctx); err != nil {
			return err
		}
		all = append(all, p)
	}
	d := &desk{system: sys, outcomes: map[int]outcome{}}
	r := result{planned: kills}
	if r.before, err = d.open(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d accounts with %d in all, in %d processes. The transfers begin.\n", accounts, r.before, banks)
	closing, worked := make(chan struct{}), make(chan error, 1)
	go func() { worked <- d.work(ctx, closing) }()
	r.kills, err = d.harass(ctx, out, all, kills)
	close(closing)
	if err = errors.Join(err, <-worked); err != nil {
		return err
	}
	r.again = sys.Stats().RPC.Retries
	settle, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r.books, err = d.audit(settle); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return d.report(out, r)
}

// harass kills the processes in turn, under load, and starts them again. It returns how often it has killed one.
func (d *desk) harass(ctx context.Context, out io.Writer, all []*process, kills int) (n int, err error) {
	for n < kills {
		p := all[n%len(all)]
		if err := d.reach(ctx, d.count()+100, time.Second); err != nil {
			return n, err
		}
		if err := p.kill(); err != nil {
			return n, err
		}
		fmt.Fprintf(out, "kill -9 %s, after %d transfers.\n", p.name, d.count())
		if n++; n%2 == 0 { // the others take over its accounts
			if err := d.reach(ctx, d.count()+100, lease+time.Second); err != nil {
				return n, err
			}
		}
		if err := p.start(ctx); err != nil {
			return n, err
		}
	}
	return n, d.reach(ctx, d.count()+100, time.Second)
}

// reach waits until that many transfers have an outcome, and for that long.
func (d *desk) reach(ctx context.Context, transfers int, least time.Duration) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); d.count() < transfers || time.Since(begun) < least; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after %d transfers: %w", d.count(), ctx.Err())
		}
	}
	return nil
}

// startNATS starts a cluster of NATS servers in this process. stop stops those that were started, also after an error.
func startNATS() (urls string, stop func(), err error) {
	var servers []*embedded.Server
	stop = func() {
		for _, s := range servers {
			s.Shutdown()
		}
	}
	var ports [replicas]int
	var routes []string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return "", stop, err
		}
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	var all []string
	for i, port := range ports {
		s, err := embedded.Start(embedded.Config{Name: fmt.Sprint("nats-", i+1), Cluster: &embedded.ClusterConfig{Name: cluster, Port: port, Routes: routes}})
		if err != nil {
			return "", stop, err
		}
		servers, all = append(servers, s), append(all, s.URL())
	}
	return strings.Join(all, ","), stop, nil
}

// freePort returns a port on which a server can listen.
func freePort() (int, error) {
	for range 100 { // below the ports that systems give to connections
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			return l.Addr().(*net.TCPAddr).Port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// Bank makes transfers between accounts that are stored actors, while the processes that host the accounts are
// killed one after another. No money is lost, no transfer is made twice, and no sender gets an error for it.
//
//	go run ./examples/bank
//
// The accounts are in account.go, which is all that is about money. Three processes host them (process.go), and keep
// them in a cluster of three NATS servers. The main process runs the NATS servers, and makes
// transfers all the time (desk.go). Meanwhile it kills the three in turn with kill -9. Every other time it starts
// the process again at once; otherwise the other processes take over its accounts first.
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
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

const (
	banks = 3
	pace  = time.Second // from a start to the next kill, and from a kill to a late start
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

func run(ctx context.Context, out io.Writer, planned int) (err error) {
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
	var all []*exec.Cmd
	defer func() {
		for _, p := range all {
			_ = kill(p) // one that could not be started again has ended
		}
	}()
	for i := range banks {
		p, err := start(nameOf(i), urls)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	d := &desk{system: system, outcomes: map[int]error{}}
	before, err := d.open(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d accounts have %d in all. The transfers begin.\n", accounts, before)
	var work sync.WaitGroup
	closing := make(chan struct{})
	work.Go(func() { d.work(ctx, closing) })
	kills, err := harass(out, all, urls, planned)
	close(closing)
	work.Wait()
	if err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	b, err := d.read(soon)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	return d.report(out, before, b, kills, planned)
}

func nameOf(i int) string { return fmt.Sprint("bank-", i+1) }

// harass kills the processes in turn, and starts them again. It returns how often it has killed one.
func harass(out io.Writer, all []*exec.Cmd, urls string, planned int) (kills int, err error) {
	for kills < planned {
		time.Sleep(pace)
		i, late := kills%banks, kills%2 == 1
		if err := kill(all[i]); err != nil {
			return kills, err
		}
		kills++
		fmt.Fprintf(out, "kill -9 %s\n", nameOf(i))
		if late {
			time.Sleep(pace)
		}
		p, err := start(nameOf(i), urls)
		if err != nil {
			return kills, err
		}
		all[i] = p
	}
	time.Sleep(pace)
	return kills, nil
}

// startNATS starts a cluster of three NATS servers in this process. stop stops those that run, also after an error.
func startNATS() (urls string, stop func(), err error) {
	var servers []*embedded.Server
	stop = func() {
		for _, s := range servers {
			s.Shutdown()
		}
	}
	var ports [3]int
	var routes, clients []string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return "", stop, err
		}
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", ports[i]))
	}
	for i, port := range ports {
		s, err := embedded.Start(embedded.Config{Name: fmt.Sprint("nats-", i+1),
			Cluster: &embedded.ClusterConfig{Name: "bank", Port: port, Routes: routes}})
		if err != nil {
			return "", stop, err
		}
		servers, clients = append(servers, s), append(clients, s.URL())
	}
	return strings.Join(clients, ","), stop, nil
}

func freePort() (int, error) {
	for range 100 { // below the ports that systems give to connections
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10000+rand.IntN(20000)))
		if err == nil {
			return l.Addr().(*net.TCPAddr).Port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

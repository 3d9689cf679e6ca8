// Ledger is a bank whose money is in an SQL database. Its process is killed again and again, and
// no transfer is lost or made twice.
//
// The actor that keeps the books (bank.go) writes a record of each request that it completes in
// the transaction that moves the money (completions.go). So if the bank dies between the commit
// and the reply, its next start finds the reply. A request that was not committed is voided: it
// can never be committed any more, so it is safe to retry.
//
// The program starts the bank in another process (process.go), sends it transfers over TCP and
// NATS (desk.go), kills it with kill -9 several times in the middle, and then audits the books
// (books.go). Every other time the bank kills itself, right after a commit. The program fails
// unless each transfer is in the books as often as its sender was told: once, or not at all.
//
//	go run -C examples/ledger .
//
// It is a module of its own, because Tandem itself needs no database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("ledger: ")
	var o bankOptions
	transfers := flag.Int("transfers", 2000, "how many to make")
	kills := flag.Int("kills", 5, "how often to kill the bank meanwhile")
	bank := flag.Bool("bank", false, "be the bank; the program starts it itself, with the flags below")
	flag.StringVar(&o.file, "file", "", "the database")
	flag.StringVar(&o.listen, "listen", "", "the TCP `address`")
	flag.StringVar(&o.nats, "nats", "", "`URL` of the NATS server")
	flag.IntVar(&o.start, "start", 0, "how often it has been started")
	flag.StringVar(&o.die, "die", "", "as by kill -9, `when`: before or after a commit")
	flag.IntVar(&o.dieAt, "die-at", 0, "of which commit since the start")
	flag.BoolVar(&o.forgetful, "forgetful", false, "enter no records, for tests")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if *bank {
		err = runBank(context.Background(), o, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Stdout, *transfers, *kills)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// branch is a bank process, and a desk that knows where it is.
type branch struct {
	process
	desk
}

// open starts a branch. shut ends what open has started.
func open(ctx context.Context, o bankOptions, transfers int) (b *branch, shut func() error, err error) {
	var closing []func() error
	shut = func() error {
		var errs []error
		for i := len(closing) - 1; i >= 0; i-- {
			errs = append(errs, closing[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, shut())
		}
	}()
	dir, err := os.MkdirTemp("", "ledger-")
	if err != nil {
		return nil, shut, err
	}
	closing = append(closing, func() error { return os.RemoveAll(dir) })
	nats, err := embedded.Start(embedded.Config{})
	if err != nil {
		return nil, shut, err
	}
	closing = append(closing, func() error { nats.Shutdown(); return nil })
	o.file, o.nats = filepath.Join(dir, "books.db"), nats.URL()
	if o.listen, err = freeAddress(); err != nil {
		return nil, shut, err
	}
	b = &branch{process: process{bankOptions: o}, desk: desk{outcomes: make([]outcome, transfers)}}
	nodes := static.New(registry.Node{Name: "bank", Addrs: map[string]string{"tcp": o.listen}})
	if b.system, err = join("desk", "127.0.0.1:0", o.nats, nodes); err != nil {
		return nil, shut, err
	}
	closing = append(closing, func() error { return b.system.Shutdown(ctx) })
	b.bank = b.system.Ref("ledger@bank")
	closing = append(closing, b.kill)
	return b, shut, nil
}

// restart starts the bank, for the first time or again.
func (b *branch) restart(ctx context.Context) error {
	b.desk.start.Add(1)
	return b.launch(ctx)
}

func run(ctx context.Context, out io.Writer, transfers, kills int) (err error) {
	b, shut, err := open(ctx, bankOptions{}, transfers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shut()) }()
	if err := b.restart(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "Sending %d transfers ...\n", transfers)
	begun := time.Now()
	worked := make(chan error, 1)
	go func() { worked <- b.work(ctx) }()
	share := transfers / (kills + 1) // for each start of the bank
	for i := range kills {
		if err := b.lose(ctx, out, int64((i+1)*share)); err != nil {
			return err
		}
		if b.die = ""; i%2 == 0 && i+1 < kills {
			b.die, b.dieAt = "after", share/2
		}
		if err := b.restart(ctx); err != nil {
			return err
		}
	}
	if err := <-worked; err != nil {
		return err
	}
	took := time.Since(begun)
	if err := b.end(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d transfers and %d restarts in %v.\n\n", transfers, kills, took.Round(time.Millisecond))
	return b.report(ctx, out, kills/2)
}

// lose waits until the bank has killed itself, if it has been told to. Otherwise it waits until
// that many transfers are done, and kills the bank.
func (b *branch) lose(ctx context.Context, out io.Writer, done int64) error {
	if b.die != "" {
		b.died()
		fmt.Fprintf(out, "The bank died between a commit and its reply, after %d transfers.\n", b.done.Load())
		return nil
	}
	if err := b.reach(ctx, done); err != nil {
		return err
	}
	fmt.Fprintf(out, "kill -9, after %d transfers.\n", b.done.Load())
	return b.kill()
}

// reach waits until that many transfers are done.
func (d *desk) reach(ctx context.Context, done int64) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for d.done.Load() < done {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("after %d transfers: %w", d.done.Load(), ctx.Err())
		}
	}
	return nil
}

// report prints which transfers were requested and what is in the books. It fails if these do not
// agree, or if fewer replies were replayed than were certainly lost.
func (b *branch) report(ctx context.Context, out io.Writer, lost int) error {
	books, err := openBooks(ctx, b.file)
	if err != nil {
		return err
	}
	defer books.Close()
	found, err := auditBooks(ctx, books)
	if err != nil {
		return err
	}
	count := map[outcome]int{}
	var wrong []error
	for number, o := range b.outcomes {
		count[o]++
		times := found.times[number]
		switch {
		case times > 1:
			wrong = append(wrong, fmt.Errorf("transfer %d was made %d times", number, times))
		case o == paid && times == 0:
			wrong = append(wrong, fmt.Errorf("transfer %d has a receipt, and was not made", number))
		case (o == declined || o == unasked) && times == 1:
			wrong = append(wrong, fmt.Errorf("transfer %d was made, and its sender was told that it was not", number))
		}
	}
	const money = accounts * opening
	if found.sum != money || found.wrong > 0 {
		wrong = append(wrong, fmt.Errorf("the balances are wrong: %d in all, and %d accounts that do not agree with their transfers", found.sum, found.wrong))
	}
	if n := int(b.replayed.Load()); n < lost {
		wrong = append(wrong, fmt.Errorf("%d replies were replayed, %d lost", n, lost))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "asked\tpaid\tdeclined\tunknown\treplayed after a restart\tretried\tin the books\tmoney expected\tmoney found\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", len(b.outcomes), count[paid], count[declined], count[unknown],
		b.replayed.Load(), b.system.Stats().RPC.Retries, len(found.times), money, found.sum)
	w.Flush()
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	fmt.Fprintln(out, "\nEvery transfer is in the books as often as its sender was told: once, or not at all.")
	return nil
}

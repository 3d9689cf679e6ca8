package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

const (
	accounts = 20
	opening  = 200 // what each account has at first
	tellers  = 16
	patience = 30 * time.Second // the deadline of a transfer
)

// outcome is what the desk knows of a transfer.
type outcome int

const (
	answered outcome = iota // it was made
	refused                 // there was not enough money, so it was not made
	unknown                 // nobody knows
)

// desk sends transfers to accounts. It does not know in which processes these are.
type desk struct {
	system *actor.System

	mu       sync.Mutex // guards what follows
	last     int        // the number of the last transfer that was begun
	outcomes map[int]outcome
	longest  time.Duration // that a transfer has waited for its outcome
}

func (d *desk) account(i int) actor.Ref {
	return d.system.Virtual(AccountKind, fmt.Sprint("account-", i))
}

// open puts money into the accounts, and returns how much all have then.
func (d *desk) open(ctx context.Context) (total int64, err error) {
	for i := range accounts {
		if _, err := actor.Call(ctx, d.account(i), Deposit{Amount: opening}); err != nil {
			return 0, err
		}
	}
	for i := range accounts {
		balance, err := actor.Call(ctx, d.account(i), Balance{})
		if err != nil {
			return 0, err
		}
		total += balance
	}
	return total, nil
}

// work makes one transfer after the other, at several tellers, until closing is closed.
func (d *desk) work(ctx context.Context, closing <-chan struct{}) error {
	var all sync.WaitGroup
	errs := make([]error, tellers)
	for teller := range errs {
		all.Go(func() {
			for errs[teller] == nil {
				select {
				case <-closing:
					return
				default:
					errs[teller] = d.transfer(ctx)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// transfer makes a transfer, and writes down its outcome.
func (d *desk) transfer(ctx context.Context) error {
	d.mu.Lock()
	d.last++
	number := d.last
	d.mu.Unlock()
	from := rand.IntN(accounts)
	m := Transfer{Number: number, Amount: 1 + rand.Int64N(60), To: d.account((from + 1 + rand.IntN(accounts-1)) % accounts)}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	_, err := actor.Call(ctx, d.account(from), m)
	o := answered
	switch {
	case err == nil:
	case errors.Is(err, ErrFunds):
		o = refused
	case rpc.Ran(err) == rpc.Unknown:
		o = unknown
	default:
		return fmt.Errorf("transfer %d: %w", number, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcomes[number] = o
	d.longest = max(d.longest, time.Since(begun))
	return nil
}

// count returns how many transfers have an outcome.
func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.outcomes)
}

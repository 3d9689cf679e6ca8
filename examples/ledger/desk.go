package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// patient makes Tandem retry transfers while the bank is away, and only where that cannot move
// money twice.
var patient = rpc.Retry{Attempts: 1000, MaxPause: 200 * time.Millisecond, Burst: 100_000}

// outcome is what the desk knows of a transfer.
type outcome int

const (
	unasked  outcome = iota
	paid             // there is a receipt
	declined         // the account did not have enough money
	unknown          // nobody knows whether it was made
)

// desk sends transfers to the bank, from several goroutines.
type desk struct {
	system *actor.System
	bank   actor.Ref
	start  atomic.Int64 // the number of the bank's latest start

	outcomes []outcome    // by number; each belongs to one goroutine until all are done
	done     atomic.Int64 // how many transfers have an outcome
	replayed atomic.Int64 // how many receipts are from an earlier start of the bank
}

const tellers = 64

// work sends all transfers, and returns when it knows all outcomes.
func (d *desk) work(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, tellers)
	for teller := range tellers {
		all.Go(func() {
			for number := teller; number < len(d.outcomes) && errs[teller] == nil; number += tellers {
				d.outcomes[number], errs[teller] = d.transfer(ctx, number)
				d.done.Add(1)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// transfer sends one transfer. Those with odd numbers have a key.
//
// After a crash, Tandem asks the bank what became of a transfer without a key, and retries it if
// it did not run. For a transfer with a key there is no final answer to that question, since
// others may send it too. But under its key it does not run twice, so it can be retried whenever
// the outcome is unknown, and the desk does that.
func (d *desk) transfer(ctx context.Context, number int) (outcome, error) {
	from := rand.IntN(accounts)
	m := Transfer{Number: number, From: account(from), To: account((from + 1 + rand.IntN(accounts-1)) % accounts), Amount: 1 + rand.Int64N(50)}
	var opts []rpc.Option
	if number%2 == 1 {
		opts = []rpc.Option{rpc.Key(fmt.Sprint("transfer-", number)), rpc.Idempotent()}
	}
	receipt, err := actor.Call(ctx, d.bank, m, opts...)
	switch {
	case err == nil:
		if receipt.Start < int(d.start.Load()) {
			d.replayed.Add(1)
		}
		return paid, nil
	case errors.Is(err, ErrFunds):
		return declined, nil
	case rpc.Ran(err) == rpc.Unknown:
		return unknown, nil
	}
	return unasked, fmt.Errorf("transfer %d: %w", number, err)
}

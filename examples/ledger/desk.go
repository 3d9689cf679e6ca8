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

// patient is when the desk makes a transfer anew: while the bank is away. Tandem does it
// by itself, and only where that cannot move money twice.
var patient = rpc.Retry{Attempts: 1000, MaxPause: 200 * time.Millisecond, Burst: 100_000}

// outcome is what the desk knows of a transfer.
type outcome int

const (
	unasked  outcome = iota
	paid             // there is a receipt
	declined         // for want of funds
	unknown          // nobody can say
)

// desk sends transfers to the bank, from several goroutines.
type desk struct {
	system *actor.System
	bank   actor.Ref
	start  atomic.Int64 // of the bank, the latest

	outcomes []outcome    // by number; each its goroutine's own until all are done
	done     atomic.Int64 // transfers
	replayed atomic.Int64 // receipts that a dead start of the bank had made out
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

// transfer sends one transfer. Odd ones have a key.
//
// For a plain one the bank is asked after a crash what became of it, and Tandem makes it
// anew if nothing did. For one with a key that question has no final answer, since
// others may send it too; but made anew under its key it does not run twice, so it may
// be wherever the outcome is unknown, and the desk says so.
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

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

const (
	accounts = 20
	opening  = 200 // what each account has at first
	tellers  = 16
)

// desk makes transfers. It does not know in which processes the accounts are.
type desk struct {
	system  *actor.System
	last    atomic.Int64 // the number of the latest transfer
	closing atomic.Bool

	mu       sync.Mutex    // guards what follows
	outcomes map[int]error // of the transfers
	longest  time.Duration // from a request to its outcome
}

func (d *desk) account(i int) actor.Ref {
	return d.system.Virtual(AccountKind, fmt.Sprint("account-", i))
}

// open opens the accounts, and returns how much money is in them.
func (d *desk) open(ctx context.Context) (total int64, err error) {
	for i := range accounts {
		if _, err := actor.Call(ctx, d.account(i), Deposit{Amount: opening}); err != nil {
			return 0, err
		}
		balance, err := actor.Call(ctx, d.account(i), Balance{})
		if err != nil {
			return 0, err
		}
		total += balance
	}
	return total, nil
}

// work makes transfers, several at the same time, until the desk is closing.
func (d *desk) work(ctx context.Context) {
	var all sync.WaitGroup
	for range tellers {
		all.Go(func() {
			for range time.Tick(10 * time.Millisecond) {
				if d.closing.Load() {
					return
				}
				d.transfer(ctx)
			}
		})
	}
	all.Wait()
}

func (d *desk) transfer(ctx context.Context) {
	number, from := int(d.last.Add(1)), rand.IntN(accounts)
	to := d.account((from + 1 + rand.IntN(accounts-1)) % accounts)
	begun := time.Now()
	_, err := actor.Call(ctx, d.account(from), Transfer{Number: number, Amount: 1 + rand.Int64N(60), To: to})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcomes[number] = err
	d.longest = max(d.longest, time.Since(begun))
}

// books are the contents of all accounts: how much money is in them, and how often each transfer.
type books struct {
	total          int64
	sent, received map[int]int
}

// audit reads the accounts, and waits until all that was sent has arrived, but not for ever.
func (d *desk) audit(ctx context.Context) (books, error) {
	for try := 1; ; try++ {
		b := books{sent: map[int]int{}, received: map[int]int{}}
		for i := range accounts {
			a, err := actor.Call(ctx, d.account(i), Statement{})
			if err != nil {
				return b, err
			}
			b.total += a.Balance
			for _, number := range a.Sent {
				b.sent[number]++
			}
			for _, number := range a.Received {
				b.received[number]++
			}
		}
		delete(b.received, cash)
		if len(b.received) >= len(b.sent) || try == 300 {
			return b, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// report compares the books with the outcomes. It fails unless each transfer was made once, or was refused and not made.
// It also fails if no
// request had to be made again.
func (d *desk) report(out io.Writer, before int64, b books, kills int, again uint64) error {
	var errs []error
	var answered, refused, unknown, twice, lost int
	for number, err := range d.outcomes {
		sent, received, want := b.sent[number], b.received[number], 1
		switch {
		case err == nil:
			answered++
		case errors.Is(err, ErrFunds):
			refused++
			want = 0
		default:
			errs = append(errs, fmt.Errorf("transfer %d: %w", number, err))
			if want = min(sent, 1); rpc.Ran(err) == rpc.Unknown {
				unknown++
			}
		}
		if max(sent, received) > want {
			twice++
		} else if min(sent, received) < want {
			lost++
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\ntransfers\tanswered\trefused\tkills\tmade again\tunknown\ttwice\tlost\tlongest wait\tmoney before\tmoney after\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%d\t%d\t\n", len(d.outcomes), answered, refused, kills, again,
		unknown, twice, lost, d.longest.Round(time.Millisecond), before, b.total)
	w.Flush()
	if twice > 0 || lost > 0 || before != accounts*opening || b.total != before {
		errs = append(errs, fmt.Errorf("%d transfers were made too often, %d were lost, and %d has become %d", twice, lost, before, b.total))
	}
	if kills == 0 || again == 0 || refused == 0 {
		errs = append(errs, fmt.Errorf("%d kills, %d requests made again, %d refused: this shows nothing", kills, again, refused))
	}
	if errs == nil {
		fmt.Fprintln(out, "\nEvery transfer was made once, or was refused. All that its sender has noticed is a wait.")
	}
	return errors.Join(errs...)
}

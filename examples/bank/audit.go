package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// books is the content of all accounts together.
type books struct {
	total          int64
	sent, received map[int]int // how often each transfer is in the accounts
}

// audit reads the accounts when all the money that was sent has arrived. If it does not arrive, audit returns what is there when
// ctx ends.
func (d *desk) audit(ctx context.Context) (b books, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		b = books{sent: map[int]int{}, received: map[int]int{}}
		for i := range accounts {
			a, err := actor.Call(context.WithoutCancel(ctx), d.account(i), Audit{})
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
		delete(b.received, 0) // cash
		if len(b.received) >= len(b.sent) {
			return b, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return b, nil
		}
	}
}

// result is what the program has found.
type result struct {
	kills, planned int
	again          uint64 // requests that were made again
	before         int64  // the money at first
	books
}

// report prints the result. It fails unless each transfer was made as its sender was told, or if too little happened for
// that to mean anything.
func (d *desk) report(out io.Writer, r result) error {
	var wrong []error
	count := map[outcome]int{}
	twice, lost := 0, 0
	for number := 1; number <= d.last; number++ {
		sent, received := r.sent[number], r.received[number]
		o := d.outcomes[number]
		count[o]++
		switch {
		case sent > 1 || received > 1:
			twice++
		case o == answered && sent == 0, sent != received:
			lost++
		case o == refused && sent > 0:
			wrong = append(wrong, fmt.Errorf("transfer %d was refused, and was made", number))
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "transfers\tanswered\trefused\tkills\tmade again\tunknown\ttwice\tlost\tlongest wait\tmoney before\tmoney after\t")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%d\t%d\t\n", d.last, count[answered], count[refused], r.kills, r.again,
		count[unknown], twice, lost, d.longest.Round(time.Millisecond), r.before, r.total)
	w.Flush()
	if twice+lost+count[unknown] > 0 || r.before != accounts*opening || r.total != r.before {
		wrong = append(wrong, fmt.Errorf("%d transfers were made twice, %d were lost, of %d it is not known whether they were made; %d has become %d",
			twice, lost, count[unknown], r.before, r.total))
	}
	if r.kills < r.planned || r.again == 0 || count[refused] == 0 {
		wrong = append(wrong, fmt.Errorf("%d processes of %d were killed, %d requests were made again, %d were refused: this shows nothing",
			r.kills, r.planned, r.again, count[refused]))
	}
	if len(wrong) == 0 {
		fmt.Fprintln(out, "\nEvery transfer was made once, or was refused. No caller has noticed more than a wait.")
	}
	return errors.Join(wrong...)
}

package stored_test

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
)

// A deposit and what its audit is told are one commit, for which the reply waits. A copy of the request
// gets the same reply from a later activation.
func Example() {
	ctx, now := context.Background(), time.Now()
	store, alice := memory.New(memory.Config{}), state.Key{Kind: "bank.account", ID: "alice"}
	cfg, err := stored.Config{TypeVersion: 1, MaxRecord: memory.DefaultMaxRecord}.WithDefaults()
	if err != nil {
		log.Fatal(err)
	}
	deposit := stored.Name{Caller: "till-1", Counter: 17}

	a, err := stored.New[string](&cfg, stored.Loaded{Key: alice, None: true, Token: 1, State: []byte("0")})
	if err != nil {
		log.Fatal(err)
	}
	ad := a.Admit(deposit, "deposit of 5", now)
	fmt.Println(ad.Decision)
	_, before := a.State()
	balance, _ := strconv.Atoi(string(before)) // there is none yet: 0
	fate, _ := a.Handled("deposit of 5", ad.Request, stored.Result{
		State:   strconv.AppendInt(nil, int64(balance+5), 10),
		Outcome: stored.Outcome{Body: []byte("5 €")},
		Outbox:  []state.Message{{Verb: state.Tell, To: "audit", Body: []byte("+5 €")}},
	})
	fmt.Println(fate)

	commit, _ := a.Next(now)
	rev, err := store.Commit(ctx, alice, commit.Record, commit.After)
	if err != nil {
		log.Fatal(err)
	}
	done := a.Committed(rev)
	for _, r := range done.Replies {
		o, _, _ := stored.Parse(r.Outcome)
		fmt.Printf("%s: %s\n", r.Handle, o.Body)
	}
	for _, m := range done.Send {
		fmt.Printf("%v %s %s, as (%d, %d)\n", m.Verb, m.To, m.Body, m.Since, m.Index)
	}

	rec, rev, err := store.Load(ctx, alice) // by the successor
	if err != nil {
		log.Fatal(err)
	}
	b, err := stored.New[string](&cfg, stored.Loaded{Key: alice, Record: rec, Revision: rev, Token: 2})
	if err != nil {
		log.Fatal(err)
	}
	fence, _ := b.Next(now)
	if rev, err = store.Commit(ctx, alice, fence.Record, fence.After); err != nil {
		log.Fatal(err)
	}
	b.Committed(rev)
	ad = b.Admit(deposit, "a late copy", now)
	o, _, _ := stored.Parse(ad.Outcome)
	fmt.Printf("%v: %s\n", ad.Decision, o.Body)
	m := b.Outbox()[0]
	fmt.Printf("%s again, as (%d, %d)\n", m.To, m.Since, m.Index)
	// Output:
	// run
	// waits
	// deposit of 5: 5 €
	// tell audit +5 €, as (1, 0)
	// replay: 5 €
	// audit again, as (1, 0)
}

package state_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
)

// Of two holders, the one with the higher token goes on, and the other one learns that it has lost.
func ExampleStore() {
	ctx := context.Background()
	var store state.Store = memory.New(memory.Config{})
	alice := state.Key{Kind: "bank.account", ID: "alice"}

	_, rev, err := store.Load(ctx, alice)
	fmt.Println(errors.Is(err, state.ErrNone))
	rev, err = store.Commit(ctx, alice, state.Record{Token: 7, State: []byte("5 €")}, rev)
	if err != nil {
		log.Fatal(err)
	}

	rec, seen, err := store.Load(ctx, alice) // by the successor
	if err != nil {
		log.Fatal(err)
	}
	rec.Token, rec.ID = 8, state.ID{}
	if _, err = store.Commit(ctx, alice, rec, seen); err != nil {
		log.Fatal(err)
	}

	_, err = store.Commit(ctx, alice, state.Record{Token: 7, State: []byte("6 €")}, rev)
	fmt.Println(errors.Is(err, state.ErrFenced), errors.Is(err, state.ErrNotStored))
	fmt.Println(err)
	rec, _, err = store.Load(ctx, alice)
	fmt.Printf("%s, token %d, %v\n", rec.State, rec.Token, err)
	// Output:
	// true
	// true true
	// state: commit of bank.account/alice: not stored: somebody else has committed under a higher token (the last commit is 2, under the token 8): the token is 7
	// 5 €, token 8, <nil>
}

// An outcome and a message are stored together with the state that belongs to them.
func ExampleRecord() {
	rec := state.Record{
		Token:    1,
		State:    []byte("4 €"),
		Outcomes: []state.Outcome{{Caller: "till-1", Counter: 17, Body: []byte("paid")}},
		Outbox:   []state.Message{{Verb: state.Tell, To: "audit", Body: []byte("-1 €")}},
	}
	st, err := state.Next(state.Key{Kind: "bank.account", ID: "alice"}, rec, state.Revision{})
	if err != nil {
		log.Fatal(err)
	}
	got, err := state.ParseStored(st.Append(nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v %s %s %v %s\n", got.Key, got.State, got.Outcomes[0].Body, got.Outbox[0].Verb, got.Outbox[0].To)
	// Output: bank.account/alice 4 € paid tell audit
}

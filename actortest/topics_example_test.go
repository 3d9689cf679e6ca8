package actortest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// Payments are all payments, and are kept.
var Payments = actor.NewTopic[Paid]("payments").Durable()

// Durable topics of a test are kept in memory. They can be lost, as if an operator had deleted them.
func ExampleTopics_Lose() {
	inTest(func(t *testing.T) {
		store := new(actortest.Topics)
		sys := actortest.NewSystem(t, actor.Config{Topics: store})
		payments := Payments.Bind(sys)
		fmt.Println(actor.Publish(t.Context(), payments, Paid{5}))
		store.Lose()
		err := actor.Publish(t.Context(), payments, Paid{6})
		fmt.Println(errors.Is(err, topic.ErrGone), rpc.Ran(err))
		store.Accept()
		fmt.Println(actor.Publish(t.Context(), payments, Paid{7}))
	})
	// Output:
	// <nil>
	// true not run
	// <nil>
}

// The store can be used without a system, as any topic.Store.
func ExampleTopics_Open() {
	inTest(func(t *testing.T) {
		store := new(actortest.Topics)
		const typeID = 1
		for _, id := range []string{"a", "b", "b"} { // what is published again is stored once
			position, err := store.Publish(t.Context(), topic.Message{ID: id, Topic: "payments", TypeID: typeID})
			fmt.Println(position, err)
		}
		r, err := store.Open(t.Context(), topic.Reading{Pattern: ">", TypeID: typeID, From: topic.From{Start: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range 2 {
			m, err := r.Next(t.Context())
			fmt.Println(m.ID, m.Position, err)
			r.Ack()
		}
	})
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 2 <nil>
	// a 1 <nil>
	// b 2 <nil>
}

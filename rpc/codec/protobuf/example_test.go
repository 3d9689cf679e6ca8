package protobuf_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
)

// Till is the state of an actor. Its messages are generated.
type Till struct{ amount int64 }

func (t *Till) Deposit(ctx *actor.Context, m *bankpb.Deposit) (*bankpb.Balance, error) {
	t.amount += m.Amount
	return &bankpb.Balance{Amount: t.amount}, nil
}

var TillKind = actor.Define("example.till", func() *Till { return new(Till) },
	actor.AnswerAs((*Till).Deposit))

func ExampleNew() {
	ctx := context.Background()
	sys, err := actor.NewSystem(actor.Config{Codec: protobuf.New(codec.Limits{})}) // and Transports, for other nodes
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Shutdown(ctx)
	till, err := sys.Spawn("till", TillKind)
	if err != nil {
		log.Fatal(err)
	}
	balance, err := actor.CallAs[*bankpb.Balance](ctx, till, &bankpb.Deposit{Account: "alice", Amount: 5})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(balance.Amount)
	// Output: 5
}

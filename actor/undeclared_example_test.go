package actor_test

import (
	"context"
	"fmt"
	"iter"
	"log"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/state/memory"
)

// Imagine that these types are generated: they cannot embed actor.Returns. Package rpc/codec/protobuf
// carries those of protobuf.
type (
	PayRequest  struct{ Cents int64 }
	PayReply    struct{ Balance int64 }
	SaldoQuery  struct{}
	ListRequest struct{ Above int64 }
	Payment     struct{ Cents int64 }
	BatchHead   struct{ Name string }
	LiveHead    struct{}
)

type Wallet struct {
	Balance  int64
	payments []*Payment
}

func (w *Wallet) Pay(ctx *actor.Context, m *PayRequest) (*PayReply, error) {
	w.Balance += m.Cents
	w.payments = append(w.payments, &Payment{m.Cents})
	return &PayReply{w.Balance}, nil
}

func (w *Wallet) Saldo(ctx *actor.Context, m *SaldoQuery) (*PayReply, error) {
	return &PayReply{w.Balance}, nil
}

func (w *Wallet) List(ctx *actor.Context, m *ListRequest) (iter.Seq2[*Payment, error], error) {
	payments := append([]*Payment(nil), w.payments...)
	return func(yield func(*Payment, error) bool) {
		for _, p := range payments {
			if p.Cents > m.Above && !yield(p, nil) {
				return
			}
		}
	}, nil
}

func (w *Wallet) Batch(ctx *actor.Context, m *BatchHead, in iter.Seq2[*Payment, error]) (func() (*PayReply, error), error) {
	return func() (*PayReply, error) {
		sum := new(PayReply)
		for p, err := range in {
			if err != nil {
				return nil, err
			}
			sum.Balance += p.Cents
		}
		return sum, nil
	}, nil
}

func (w *Wallet) Live(ctx *actor.Context, m *LiveHead, in iter.Seq2[*Payment, error]) (iter.Seq2[*PayReply, error], error) {
	return func(yield func(*PayReply, error) bool) {
		sum := int64(0)
		for p, err := range in {
			if err != nil {
				return
			}
			if sum += p.Cents; !yield(&PayReply{sum}, nil) {
				return
			}
		}
	}, nil
}

var WalletKind = actor.Define("example.wallet", func() *Wallet { return new(Wallet) },
	actor.AnswerAs((*Wallet).Pay),
	actor.ReadAs((*Wallet).Saldo),
	actor.ProduceAs((*Wallet).List),
	actor.CollectAs((*Wallet).Batch),
	actor.ConverseAs((*Wallet).Live))

// The message does not say how it is answered, so the caller does.
func ExampleCallAs() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	wallet := must(sys.Spawn("wallet", WalletKind))
	reply, err := actor.CallAs[*PayReply](ctx, wallet, &PayRequest{Cents: 500})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Balance)

	_, err = actor.CallAs[string](ctx, wallet, &PayRequest{Cents: 500}) // on the same node the handler does not run
	fmt.Println(err)
	// Output:
	// 500
	// rpc: wrong reply: the caller of example.wallet wants a string, its handler answers a *actor_test.PayRequest with a *actor_test.PayReply [not run]
}

// A kind with stored state is read without a write.
func ExampleReadAs() {
	ctx := context.Background()
	kind := actor.Define("example.purse", func() *Wallet { return new(Wallet) }, actor.AnswerAs((*Wallet).Pay), actor.ReadAs((*Wallet).Saldo)).
		With(actor.Virtual(), actor.Stored(func(w *Wallet) *Wallet { return w }))
	sys := must(actor.NewSystem(actor.Config{Kinds: []*actor.Kind{kind}, States: memory.New(memory.Config{})}))
	defer sys.Shutdown(ctx)
	wallet := sys.Virtual(kind, "alice")
	must(actor.CallAs[*PayReply](ctx, wallet, &PayRequest{Cents: 500}))
	fmt.Println(must(actor.CallAs[*PayReply](ctx, wallet, &SaldoQuery{})).Balance)
	// Output: 500
}

func ExampleAskAs() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	wallet := must(sys.Spawn("wallet", WalletKind))
	first := actor.AskAs[*PayReply](ctx, wallet, &PayRequest{Cents: 500})
	second := actor.AskAs[*PayReply](ctx, wallet, &PayRequest{Cents: 100})
	fmt.Println(must(first.Await(ctx)).Balance, must(second.Await(ctx)).Balance)
	// Output: 500 600
}

func ExampleSubmitAs() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	token := must(actor.SubmitAs[*PayReply](ctx, must(sys.Spawn("wallet", WalletKind)), &PayRequest{Cents: 500}))
	fmt.Println(must(token.Await(ctx)).Balance)
	// Output: 500
}

func ExampleStreamAs() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	wallet := must(sys.Spawn("wallet", WalletKind))
	for _, cents := range []int64{500, 20, 700} {
		must(actor.CallAs[*PayReply](ctx, wallet, &PayRequest{Cents: cents}))
	}
	for p, err := range actor.StreamAs[*Payment](ctx, wallet, &ListRequest{Above: 100}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Cents)
	}
	// Output:
	// 500
	// 700
}

func ExampleOpenAs() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	batch := must(actor.OpenAs[*Payment, *PayReply](ctx, must(sys.Spawn("wallet", WalletKind)), &BatchHead{Name: "June"}))
	for _, cents := range []int64{500, 20, 700} {
		if err := batch.Send(ctx, &Payment{cents}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(must(batch.CloseAndReceive(ctx)).Balance)
	// Output: 1220
}

func ExampleTalkAs() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	live := must(actor.TalkAs[*Payment, *PayReply](ctx, must(sys.Spawn("wallet", WalletKind)), &LiveHead{}))
	for _, cents := range []int64{500, 20} {
		if err := live.Send(ctx, &Payment{cents}); err != nil {
			log.Fatal(err)
		}
	}
	if err := live.CloseSend(ctx); err != nil {
		log.Fatal(err)
	}
	for reply, err := range live.Items() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(reply.Balance)
	}
	// Output:
	// 500
	// 520
}

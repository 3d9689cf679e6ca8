package actor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Messages that do not say how they are answered.
type (
	bid         struct{ N int }  // a value
	offer       struct{ N int }  // sent by pointer
	keepAside   struct{ N int }  // it waits until a bid comes
	answerLater struct{ N int }  // it is answered later
	nilReply    struct{ N int }  // it is answered with nil
	rise        struct{ To int } // opens a stream
	pile        struct{}         // the same
	babble      struct{}         // the same
)

// auction keeps the pointers that it gets.
type auction struct {
	offers []*offer
	bids   int
	ran    int
}

func (a *auction) bid(ctx *actor.Context, m bid) (int, error) {
	a.bids++
	a.ran++
	if m.N < 0 {
		return 0, errors.New("too low")
	}
	ctx.Unstash()
	return m.N + 1, nil
}

func (a *auction) offer(_ *actor.Context, m *offer) (*offer, error) {
	a.ran++
	a.offers = append(a.offers, m)
	sum := 0
	for _, o := range a.offers {
		sum += o.N
	}
	return &offer{sum}, nil
}

func (a *auction) keepAside(ctx *actor.Context, m *keepAside) (*offer, error) {
	if a.bids == 0 {
		return nil, ctx.Stash()
	}
	return &offer{m.N}, nil
}

func (a *auction) answerLater(ctx *actor.Context, m *answerLater) (*offer, error) {
	later := actor.Defer[*offer](ctx)
	go func() { _ = later.Answer(&offer{m.N}) }()
	return nil, nil
}

func (a *auction) nilReply(*actor.Context, *nilReply) (*offer, error) { return nil, nil }
func (a *auction) count(*actor.Context, Count) (int, error)           { return a.ran, nil }

func (a *auction) rise(_ *actor.Context, m rise) (iter.Seq2[*offer, error], error) {
	return func(yield func(*offer, error) bool) {
		for i := range m.To {
			if !yield(&offer{i}, nil) {
				return
			}
		}
	}, nil
}

func (a *auction) pile(_ *actor.Context, _ pile, in iter.Seq2[*offer, error]) (func() (bid, error), error) {
	return func() (sum bid, err error) {
		for o, err := range in {
			if err != nil {
				return sum, err
			}
			sum.N += o.N
		}
		return sum, nil
	}, nil
}

func (a *auction) babble(_ *actor.Context, _ babble, in iter.Seq2[*offer, error]) (iter.Seq2[*offer, error], error) {
	return in, nil
}

var auctionKind = actor.Define("test.auction", func() *auction { return new(auction) },
	actor.AnswerAs((*auction).bid), actor.AnswerAs((*auction).offer), actor.AnswerAs((*auction).keepAside), actor.AnswerAs((*auction).answerLater),
	actor.AnswerAs((*auction).nilReply), actor.Answer((*auction).count),
	actor.ProduceAs((*auction).rise), actor.CollectAs((*auction).pile), actor.ConverseAs((*auction).babble)).With(actor.Stash(8))

// eachUndeclared runs a test with an actor on the caller's node and on another one, with interceptors on both sides and without.
func eachUndeclared(t *testing.T, run func(t *testing.T, sys *actor.System, ref actor.Ref, far bool)) {
	pass := func(ctx context.Context, _ *intercept.Operation, next func(context.Context) error) error {
		return next(ctx)
	}
	for name, change := range map[string]func(*actor.Config){
		"plain":       func(*actor.Config) {},
		"intercepted": func(c *actor.Config) { c.Outgoing, c.Incoming = []intercept.Func{pass}, []intercept.Func{pass} },
		"copied":      func(c *actor.Config) { c.CopyLocal = true },
	} {
		world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
			t.Log(name)
			run(t, b, spawn(t, b, "near", auctionKind, actor.Expose("auctions")), false)
			spawn(t, b, "far", auctionKind)
			run(t, a, a.Ref("far@b"), true)
		}, change)
	}
}

func TestUndeclared(t *testing.T) {
	eachUndeclared(t, func(t *testing.T, sys *actor.System, ref actor.Ref, far bool) {
		ctx := t.Context()
		check := func(what string, got, want any, err error) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
				t.Errorf("far: %v: %s: got %v, %v; want %v", far, what, got, err, want)
			}
		}
		aside := actor.AskAs[*offer](ctx, ref, &keepAside{7})
		n, err := actor.CallAs[int](ctx, ref, bid{1})
		check("a value", n, 2, err)
		o, err := aside.Await(ctx)
		check("put aside", o.N, 7, err)
		for i := range 20 { // each is another one, although they are kept
			o, err = actor.CallAs[*offer](ctx, ref, &offer{1})
			check("a pointer", o.N, i+1, err)
		}
		o, err = actor.CallAs[*offer](ctx, ref, &answerLater{3})
		check("answered later", o.N, 3, err)
		token, err := actor.SubmitAs[int](ctx, ref, bid{4})
		check("Submit", nil, nil, err)
		n, err = token.Await(ctx)
		check("its result", n, 5, err)
		check("Tell", nil, nil, actor.Tell(ctx, ref, bid{1}))
		_, err = actor.CallAs[int](ctx, ref, bid{-1})
		wantErr(t, "an error of the handler", err, rpc.Failed, rpc.HasRun)

		var items []int
		for o, err := range actor.StreamAs[*offer](ctx, ref, rise{5}) {
			check("Stream", nil, nil, err)
			items = append(items, o.N)
		}
		check("items", items, []int{0, 1, 2, 3, 4}, nil)
		sink, err := actor.OpenAs[*offer, bid](ctx, ref, pile{})
		check("Open", nil, nil, err)
		for i := range 5 {
			check("Send", nil, nil, sink.Send(ctx, &offer{i}))
		}
		sum, err := sink.CloseAndReceive(ctx)
		check("its result", sum.N, 10, err)
		d, err := actor.TalkAs[*offer, *offer](ctx, ref, babble{})
		check("Talk", nil, nil, err)
		check("Send", nil, nil, d.Send(ctx, &offer{1}))
		check("CloseSend", nil, nil, d.CloseSend(ctx))
		for o, err := range d.Items() {
			check("an item", o.N, 1, err)
		}
	})
}

// What does not belong together is refused; on one node before the handler runs.
func TestUndeclaredMisuse(t *testing.T) {
	eachUndeclared(t, func(t *testing.T, sys *actor.System, ref actor.Ref, far bool) {
		ctx := t.Context()
		after := rpc.NotRun
		if far {
			after = rpc.HasRun
		}
		before, err := actor.Call(ctx, ref, Count{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = actor.CallAs[string](ctx, ref, bid{1})
		wantErr(t, "Call: another reply", err, rpc.WrongReply, after)
		_, err = actor.AskAs[*bid](ctx, ref, &offer{1}).Await(ctx)
		wantErr(t, "Ask: another reply", err, rpc.WrongReply, after)
		ran, err := actor.Call(ctx, ref, Count{})
		if want := before + map[bool]int{true: 2}[far]; ran != want || err != nil {
			t.Errorf("far: %v: %d handlers ran, want %d (%v)", far, ran, want, err)
		}
		token, err := actor.SubmitAs[string](ctx, ref, bid{1})
		if err == nil {
			_, err = token.Await(ctx)
		}
		wantErr(t, "Submit: another reply", err, rpc.WrongReply, rpc.HasRun)
		_, err = actor.CallAs[*offer](ctx, ref, &nilReply{})
		wantErr(t, "a nil reply", err, rpc.Undecodable, rpc.HasRun)
		_, err = actor.CallAs[*offer](ctx, ref, (*offer)(nil))
		wantErr(t, "Call: nil", err, rpc.Invalid, rpc.NotRun)
		_, err = actor.AskAs[*offer](ctx, ref, (*offer)(nil)).Await(ctx)
		wantErr(t, "Ask: nil", err, rpc.Invalid, rpc.NotRun)
		_, err = actor.SubmitAs[*offer](ctx, ref, (*offer)(nil))
		wantErr(t, "Submit: nil", err, rpc.Invalid, rpc.NotRun)
		_, err = actor.OpenAs[*offer, bid](ctx, ref, (*pile)(nil))
		wantErr(t, "Open: nil", err, rpc.Invalid, rpc.NotRun)
		_, err = actor.CallAs[string](ctx, ref, Count{})
		wantErr(t, "the message declares another reply", err, rpc.WrongReply, rpc.NotRun)
		if n, err := actor.CallAs[int](ctx, ref, Count{}); n == 0 || err != nil {
			t.Errorf("the message declares this reply: %v, %v", n, err)
		}
		_, err = actor.OpenAs[*bid, bid](ctx, ref, pile{})
		wantErr(t, "Open: other items", err, rpc.WrongReply, rpc.HasRun)
		_, err = actor.OpenAs[*offer, offer](ctx, ref, pile{})
		wantErr(t, "Open: another result", err, rpc.WrongReply, rpc.HasRun)
		_, err = actor.TalkAs[*offer, *bid](ctx, ref, babble{})
		wantErr(t, "Talk: other items", err, rpc.WrongReply, rpc.HasRun)
		for _, err := range actor.StreamAs[*bid](ctx, ref, rise{1}) {
			wantErr(t, "Stream: other items", err, rpc.WrongReply, rpc.HasRun)
		}
		for _, err := range actor.StreamAs[*bid](ctx, ref, List{}) {
			wantErr(t, "Stream: the message declares others", err, rpc.WrongReply, rpc.NotRun)
		}
		_, err = actor.CallAs[int](ctx, ref, rise{1})
		if rpc.Ran(err) != after || err == nil { // from afar it is seen by the reply
			t.Errorf("Call: a message that opens a stream: %v", err)
		}
		_, err = actor.CallAs[int](ctx, ref, fmt.Errorf("x"))
		if rpc.Ran(err) != rpc.NotRun {
			t.Errorf("a message without a handler: %v", err)
		}
	})
}

func TestUndeclaredIsNotDefined(t *testing.T) {
	for what, make := range map[string]func() actor.Handler[int]{
		"another reply": func() actor.Handler[int] {
			return actor.AnswerAs(func(int, *actor.Context, Count) (string, error) { return "", nil })
		},
		"a stream answered": func() actor.Handler[int] {
			return actor.AnswerAs(func(int, *actor.Context, List) (string, error) { return "", nil })
		},
		"other items": func() actor.Handler[int] {
			return actor.ProduceAs(func(int, *actor.Context, List) (iter.Seq2[string, error], error) { return nil, nil })
		},
		"a reply streamed": func() actor.Handler[int] {
			return actor.ProduceAs(func(int, *actor.Context, Count) (iter.Seq2[int, error], error) { return nil, nil })
		},
		"an interface": func() actor.Handler[int] {
			return actor.AnswerAs(func(int, *actor.Context, fmt.Stringer) (int, error) { return 0, nil })
		},
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "message") {
					t.Errorf("%s: %s", what, r)
				}
			}()
			actor.Define("k", func() int { return 0 }, make())
		}()
	}
	kind := actor.Define("k", func() int { return 0 }, actor.AnswerAs(func(int, *actor.Context, Count) (int, error) { return 4, nil }))
	sys := newSystem(t, actor.Config{Logger: quiet})
	if n, err := actor.Call(t.Context(), spawn(t, sys, "x", kind), Count{}); n != 4 || err != nil {
		t.Errorf("a message that declares the same: %v, %v", n, err)
	}
}

// A service takes such messages, too.
func TestUndeclaredElsewhere(t *testing.T) {
	eachUndeclared(t, func(t *testing.T, sys *actor.System, ref actor.Ref, far bool) {
		svc := sys.Service("auctions")
		if n, err := actor.CallAs[int](t.Context(), svc, bid{1}); n != 2 || err != nil {
			t.Errorf("Call: %v, %v", n, err)
		}
		if n, err := actor.AskAs[int](t.Context(), svc, bid{1}).Await(t.Context()); n != 2 || err != nil {
			t.Errorf("Ask: %v, %v", n, err)
		}
		token, err := actor.SubmitAs[int](t.Context(), svc, bid{1})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := token.Await(t.Context()); n != 2 || err != nil {
			t.Errorf("Submit: %v, %v", n, err)
		}
		var items []int
		for o, err := range actor.StreamAs[*offer](t.Context(), svc, rise{3}) {
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, o.N)
		}
		if !slices.Equal(items, []int{0, 1, 2}) {
			t.Errorf("items %v", items)
		}
	})
}

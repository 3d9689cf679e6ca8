package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of the orders actor. Strays has no handler.
type (
	Basket struct {
		actor.Returns[int]
		Lines map[string]int
		More  map[any]any
	}
	Numbers struct {
		actor.Returns[[]int64]
		Sent  []int64
		Reply int // how many numbers the reply has
	}
	Tick   struct{ N int }
	Strays struct{ actor.Returns[int] }
)

// orders is the state of an actor that counts what it ran.
type orders struct{ ran atomic.Int64 }

func (o *orders) kind() *actor.Kind {
	return actor.Define("test.orders", func() *orders { return o },
		actor.Answer(func(o *orders, _ *actor.Context, m Basket) (int, error) { return int(o.ran.Add(1)), nil }),
		actor.Answer(func(o *orders, _ *actor.Context, m Numbers) ([]int64, error) {
			o.ran.Add(int64(len(m.Sent)))
			return make([]int64, m.Reply), nil
		}),
		actor.Handle(func(o *orders, _ *actor.Context, m Tick) error { o.ran.Add(int64(m.N)); return nil }))
}

// anOrder returns the same order each time, with maps that were filled in another sequence.
func anOrder(turn int) Basket {
	o := Basket{Lines: map[string]int{}, More: map[any]any{}}
	for i := range 12 {
		i = (i*5 + turn) % 12
		o.Lines[fmt.Sprint("line ", i)] = i
		o.More[i] = map[string]string{"a": "b", "c": "d"}
	}
	return o
}

// A message that holds maps is sent several times under one key: from another node, from the
// same node, and as a job. It runs once.
func TestSameMessageUnderAKeyRunsOnce(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		o := new(orders)
		ref := spawn(t, b, "shop", o.kind())
		for i, from := range []*actor.System{a, b} {
			key := rpc.Key(fmt.Sprint("order ", i))
			for turn := range 50 {
				if n, err := actor.Call(t.Context(), from.Ref("shop@b"), anOrder(turn), key); n != i+1 || err != nil {
					t.Fatalf("turn %d: %d, %v", turn, n, err)
				}
			}
			other := anOrder(0)
			other.Lines["line 0"]++
			_, err := actor.Call(t.Context(), from.Ref("shop@b"), other, key)
			wantErr(t, "another order", err, rpc.IDReused, rpc.HasRun)
		}
		for i, to := range []actor.Ref{ref, a.Ref("shop@b")} {
			first := ""
			for turn := range 50 {
				tok, err := actor.Submit(t.Context(), to, anOrder(turn), rpc.Key(fmt.Sprint("job ", i)))
				if err != nil || first != "" && tok.String() != first {
					t.Fatalf("turn %d: %v, %v, the first was %s", turn, tok, err, first)
				}
				if first = tok.String(); turn == 49 {
					if n, err := tok.Await(t.Context()); n != i+3 || err != nil {
						t.Errorf("job %d: %d, %v", i, n, err)
					}
				}
			}
		}
		if n := o.ran.Load(); n != 4 {
			t.Errorf("%d orders ran, want 4", n)
		}
	})
}

// A message that is held by an interface is sent with its dynamic type, to another node and
// on this one.
func TestMessageInAnInterfaceIsSentAsWhatItIs(t *testing.T) {
	type question interface{ actor.Question[int] }
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		o := new(orders)
		spawn(t, b, "shop", o.kind())
		for i, from := range []*actor.System{a, b} {
			to := from.Ref("shop@b")
			if err := actor.Tell(t.Context(), to, any(Tick{10}), rpc.Acked()); err != nil {
				t.Error(err)
			}
			if err := actor.Tell(t.Context(), to, any(Tick{10})); err != nil {
				t.Error(err)
			}
			want := 21*i + 21
			if n, err := actor.Call(t.Context(), to, question(anOrder(0))); n != want || err != nil {
				t.Errorf("%d, %v, want %d", n, err, want)
			}
		}
		var nothing any
		wantErr(t, "nothing", actor.Tell(t.Context(), a.Ref("shop@b"), nothing), rpc.Invalid, rpc.NotRun)
		if tok, err := actor.Submit(t.Context(), a.Ref("shop@b"), question(anOrder(0))); err != nil {
			t.Error(err)
		} else if n, err := tok.Await(t.Context()); n != 43 || err != nil {
			t.Errorf("the job: %d, %v", n, err)
		}
	})
}

// If a message is too large, its sender gets an error before a handler runs. If a reply is
// too large, the error says that the handler ran.
func TestSenderLearnsOfTooLarge(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		o := new(orders)
		spawn(t, b, "shop", o.kind())
		to := a.Ref("shop@b")
		if got, err := actor.Call(t.Context(), to, Numbers{Sent: make([]int64, 70_000), Reply: 80_000}); len(got) != 80_000 || err != nil {
			t.Errorf("%d numbers came, %v", len(got), err)
		}
		if n := o.ran.Swap(0); n != 70_000 {
			t.Errorf("%d numbers were seen", n)
		}
		_, err := actor.Call(t.Context(), to, Numbers{Sent: make([]int64, 1_100_000)})
		wantErr(t, "too many numbers", err, rpc.TooLarge, rpc.NotRun)
		_, err = actor.Submit(t.Context(), to, Numbers{Sent: make([]int64, 1_100_000)})
		wantErr(t, "too many numbers, as a job", err, rpc.TooLarge, rpc.NotRun)
		wantErr(t, "told", actor.Tell(t.Context(), to, Numbers{Sent: make([]int64, 1_100_000)}), rpc.TooLarge, rpc.NotRun)
		if n := o.ran.Load(); n != 0 {
			t.Errorf("a handler has seen %d numbers", n)
		}
		_, err = actor.Call(t.Context(), to, Numbers{Sent: []int64{1}, Reply: 1_100_000})
		wantErr(t, "too many for a reply", err, rpc.ReplyDropped, rpc.HasRun)
		if n := o.ran.Load(); n != 1 {
			t.Errorf("the handler has seen %d numbers, want 1", n)
		}
	}, func(c *actor.Config) { c.Limits = codec.Limits{Bytes: 8 << 20} })
}

// The error for an unhandled message names its type, although the receiving node does not
// know the type.
func TestUnknownTypeIsNamed(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		spawn(t, b, "shop", new(orders).kind())
		_, called := actor.Call(t.Context(), a.Ref("shop@b"), Strays{})
		_, asked := actor.Ask(t.Context(), a.Ref("shop@b"), Strays{}).Await(t.Context())
		_, submitted := actor.Submit(t.Context(), a.Ref("shop@b"), Strays{})
		told := actor.Tell(t.Context(), a.Ref("shop@b"), Strays{}, rpc.Acked())
		for what, err := range map[string]error{"Call": called, "Ask": asked, "Submit": submitted, "Tell": told} {
			wantErr(t, what, err, rpc.Unhandled, rpc.NotRun)
			if !strings.Contains(err.Error(), "actor_test.Strays") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// narrow is a codec that can encode one message, one job and one reply type only.
type narrow struct{ codec.Codec }

func (narrow) ID() uint8    { return codec.FirstUserID }
func (narrow) Name() string { return "narrow" }
func (narrow) Append(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case Tick:
		return append(dst, byte(v.N)), nil
	case narrowJob:
		return append(dst, byte(v.N)), nil
	case int:
		return append(dst, byte(v)), nil
	}
	return dst, fmt.Errorf("no %T", v)
}
func (narrow) Decode(body []byte, v any) error {
	switch v := v.(type) {
	case *Tick:
		v.N = int(body[0])
	case *narrowJob:
		v.N = int(body[0])
	case *int:
		*v = int(body[0])
	default:
		return errors.New("not that")
	}
	return nil
}

type narrowJob struct {
	actor.Returns[int]
	N int
}

// The messages of the job server are not encoded by the application's codec. A codec that is
// configured twice is accepted; two codecs with one id are not.
func TestSubmitDoesNotNeedTheCodecOfTheApplication(t *testing.T) {
	c := narrow{codec.Raw(codec.Limits{})}
	world(t, []string{"bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		spawn(t, b, "w", actor.Define("test.narrow", func() int { return 0 },
			actor.Answer(func(_ int, ctx *actor.Context, m narrowJob) (int, error) { return m.N + 1, nil })))
		for _, from := range []*actor.System{a, b} {
			tok, err := actor.Submit(t.Context(), from.Ref("w@b"), narrowJob{N: 6}, rpc.Key("k"+from.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := tok.Await(t.Context()); n != 7 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
	}, func(cfg *actor.Config) { cfg.Codec, cfg.Codecs = c, []codec.Codec{c} })
	bubble.Test(t, func(t *testing.T) {
		if _, err := actor.NewSystem(actor.Config{Codec: c, Codecs: []codec.Codec{narrow{codec.JSON(codec.Limits{})}}}); err == nil {
			t.Error("two codecs of one id were accepted")
		}
		m := codec.Msgpack(codec.Limits{})
		sys, err := actor.NewSystem(actor.Config{Codec: m, Codecs: []codec.Codec{m, c, c}})
		if err != nil {
			t.Fatal(err)
		}
		_ = sys.Shutdown(context.Background())
	})
}

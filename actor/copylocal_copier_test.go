package actor_test

// The actor that the tests of CopyLocal use, and its messages.

import (
	"context"
	"errors"
	"iter"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// The messages of a copier.
type (
	table   map[string]int
	Keep    struct{ M table }
	KeepAsk struct {
		actor.Returns[int]
		M table
	}
	KeepList struct {
		actor.Streams[int]
		M table
	}
	KeepAll     struct{ actor.Collects[table, int] }
	KeepEach    struct{ actor.Converses[table, int] }
	Have        struct{ actor.Returns[table] }
	HaveAny     struct{ actor.Returns[any] }
	HaveLate    struct{ actor.Returns[table] }
	HaveLateAny struct{ actor.Returns[any] }
	HaveList    struct{ actor.Streams[table] }
	HaveSum     struct{ actor.Collects[int, table] }
	HaveEach    struct{ actor.Converses[int, table] }
	HaveRaw     struct{ actor.Returns[table] } // handled by Receive
	Enlist      struct{ actor.Returns[int] }
)

// copier is an actor that keeps what it is sent, and returns what it has. It shares both with
// its test.
type copier struct {
	have  table
	kept  chan table
	offer *actor.Offer[table]
}

// keep keeps a map that was sent, and returns its length.
func (c *copier) keep(m table) int {
	n := len(m) // read now, because the test writes to the map later
	c.kept <- m
	return n
}

func (c *copier) Receive(ctx *actor.Context) error {
	switch m := ctx.Message().(type) {
	case HaveRaw:
		return ctx.Reply(c.have)
	case *Keep:
		c.keep(m.M)
	}
	return nil
}

// kind returns the kind with all handlers of a copier.
func (c *copier) kind() *actor.Kind {
	ended := func(yield func(table, error) bool) { yield(c.have, nil) }
	return actor.Define("test.copier", func() *copier { return c },
		actor.Accepts[*copier, HaveRaw](), actor.Accepts[*copier, *Keep](),
		actor.ServePull(func(c *copier) *actor.Offer[table] { return c.offer }),
		actor.ServePush(func(c *copier) *actor.Offer[table] { return c.offer }),
		actor.Handle(func(c *copier, _ *actor.Context, m Keep) error { c.keep(m.M); return nil }),
		actor.Handle(func(c *copier, _ *actor.Context, m table) error { c.keep(m); return nil }),
		actor.Answer(func(c *copier, _ *actor.Context, m KeepAsk) (int, error) { return c.keep(m.M), nil }),
		actor.Answer(func(c *copier, _ *actor.Context, _ Have) (table, error) { return c.have, nil }),
		actor.Answer(func(c *copier, _ *actor.Context, _ HaveAny) (any, error) { return 7, nil }),
		actor.Answer(func(c *copier, ctx *actor.Context, _ HaveLate) (table, error) {
			return nil, actor.Defer[table](ctx).Answer(c.have)
		}),
		actor.Answer(func(c *copier, ctx *actor.Context, _ HaveLateAny) (any, error) {
			return nil, actor.Defer[any](ctx).Answer(7)
		}),
		actor.Answer(func(c *copier, ctx *actor.Context, _ Enlist) (int, error) { return 1, c.offer.Push(ctx, c.have) }),
		actor.Produce(func(c *copier, _ *actor.Context, _ HaveList) (iter.Seq2[table, error], error) { return ended, nil }),
		actor.Produce(func(c *copier, _ *actor.Context, m KeepList) (iter.Seq2[int, error], error) {
			c.keep(m.M)
			return func(func(int, error) bool) {}, nil
		}),
		actor.Collect(func(c *copier, _ *actor.Context, _ KeepAll, in iter.Seq2[table, error]) (func() (int, error), error) {
			return func() (n int, err error) {
				for m, err := range in {
					if err != nil {
						return n, err
					}
					n += c.keep(m)
				}
				return n, nil
			}, nil
		}),
		actor.Converse(func(c *copier, _ *actor.Context, _ KeepEach, in iter.Seq2[table, error]) (iter.Seq2[int, error], error) {
			return func(yield func(int, error) bool) {
				for m, err := range in {
					if err != nil || !yield(c.keep(m), nil) {
						return
					}
				}
			}, nil
		}),
		actor.Collect(func(c *copier, _ *actor.Context, _ HaveSum, in iter.Seq2[int, error]) (func() (table, error), error) {
			return func() (table, error) { return c.have, nil }, nil
		}),
		actor.Converse(func(c *copier, _ *actor.Context, _ HaveEach, in iter.Seq2[int, error]) (iter.Seq2[table, error], error) {
			return ended, nil
		}))
}

func newCopier() *copier {
	return &copier{have: table{"a": 1}, kept: make(chan table, 4), offer: actor.NewOffer[table](queue.Config{})}
}

// first returns the first item of a stream.
func first[T any](items iter.Seq2[T, error]) (v T, err error) {
	for v, err := range items {
		return v, err
	}
	return v, errors.New("no item")
}

// awaited returns the result of a job.
func awaited[R any](ctx context.Context, tok rpc.Token[R], err error) (R, error) {
	if err != nil {
		var none R
		return none, err
	}
	return tok.Await(ctx)
}

// pulled returns the next item of a queue.
func pulled(ctx context.Context, ref actor.Ref) (table, error) {
	d, err := actor.Pull[table](ctx, ref)
	if err != nil || len(d) != 1 {
		return nil, errors.Join(err, errors.New("not one item"))
	}
	return d[0].Message, d[0].Ack(ctx)
}

// shared reports whether a and b are the same map.
func shared(a, b table) bool {
	a["probe"] = 1
	_, is := b["probe"]
	delete(a, "probe")
	return is
}

package actor

import (
	"errors"
	"iter"
	"reflect"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Streams declares that a message which embeds it is answered with a stream of T:
//
//	type List struct{ actor.Streams[Item] }
//
// Produce makes its handler, and Stream opens it:
//
//	for item, err := range actor.Stream(ctx, ref, List{}) { ... }
//
// All streams promise this: items come in order, none twice and none left out, whatever
// happens to links and roads meanwhile. A stream that does not reach its end always ends with
// an error. A slow reader slows the writer of its own stream and nobody else, because what
// lies between the two is bounded, see MaxStreams.
//
// A stream is cut, with code Unavailable, when the node that produces it stops, or when the
// two nodes have not reached each other for about a minute. Its verdict is HasRun, like that
// of every error of a stream that was opened: the handler ran, at least in part.
type Streams[T any] struct{}

// Collects declares that a message which embeds it opens a stream of In to the actor,
// which answers the whole stream with one R:
//
//	type Upload struct{ actor.Collects[Chunk, Summary] }
//
// Collect makes its handler, and Open opens it.
type Collects[In, R any] struct{}

// Converses declares that a message which embeds it opens a stream of In to the actor
// and one of Out back, each at its own pace:
//
//	type Chat struct{ actor.Converses[Line, Line] }
//
// Converse makes its handler, and Talk opens it.
type Converses[In, Out any] struct{}

func (Streams[T]) streams(T)                 {}
func (Collects[In, R]) collects(In, R)       {}
func (Converses[In, Out]) converses(In, Out) {}

func (Streams[T]) isStreaming()          {}
func (Collects[In, R]) isCollecting()    {}
func (Converses[In, Out]) isConversing() {}

// Streaming, Collecting and Conversing are satisfied by the messages that embed Streams,
// Collects and Converses.
type (
	Streaming[T any]        interface{ streams(T) }
	Collecting[In, R any]   interface{ collects(In, R) }
	Conversing[In, Out any] interface{ converses(In, Out) }
)

// openers are the interfaces of the messages that open a stream, whatever its types are.
var openers = [...]reflect.Type{
	reflect.TypeFor[interface{ isStreaming() }](),
	reflect.TypeFor[interface{ isCollecting() }](),
	reflect.TypeFor[interface{ isConversing() }](),
}

// streamMisuse returns what is wrong with a handler's message and cannot be seen by the
// compiler, or nil.
func (h *handler) streamMisuse() error {
	if h.wrong != nil {
		return h.wrong
	}
	declared := 0
	for _, t := range openers {
		if h.typ.Implements(t) {
			declared++
		}
	}
	question := h.typ.Implements(reflect.TypeFor[question]())
	switch {
	case declared > 1 || declared == 1 && question:
		return errors.New("message " + h.typ.String() + " declares two kinds of answer")
	case declared == 1 && !h.opens:
		return errors.New("message " + h.typ.String() + " opens a stream: use Produce, Collect or Converse")
	}
	return nil
}

// Produce makes a handler of a method that answers a message with a stream. The method
// itself runs in the actor's turn and may use the state. The sequence that it
// returns is iterated once, by a goroutine beside the actor, and must not touch the
// state. So a slow reader never holds up the mailbox.
//
//	func (s *Shop) List(ctx *actor.Context, m List) (iter.Seq2[Item, error], error) {
//		items := slices.Clone(s.items)
//		return func(yield func(Item, error) bool) {
//			for _, it := range items {
//				if !yield(it, nil) {
//					return
//				}
//			}
//		}, nil
//	}
//
// ctx lasts as long as the stream. When the reader stops, its context ends or its
// node is gone, ctx ends and yield returns false. A sequence that waits for anything
// other than yield must watch ctx. It may send to the actor like anybody else, for instance
// with Call(ctx, ctx.Self(), ...), to get more of its state.
//
// An error that the sequence yields ends the stream, and reaches the reader like an error
// of a handler; so does a panic. A shutdown ends the streams of its node.
func Produce[S any, M Streaming[T], T any](fn func(S, *Context, M) (iter.Seq2[T, error], error)) Handler[S] {
	return producing(fn, false)
}

// producing is Produce for messages of any type.
func producing[S, M, T any](fn func(S, *Context, M) (iter.Seq2[T, error], error), told bool) Handler[S] {
	return opener(streamTypes{items: reflect.TypeFor[T]()}, told, func(state S, c *Context, m M, st *stream) (func() error, error) {
		seq, err := fn(state, c, m)
		if seq == nil {
			return nil, err
		}
		return func() error { return produce(st, seq) }, err
	})
}

// Collect makes a handler of a method that receives a stream and answers it with one
// result. The method itself runs in the actor's turn; the function that it returns runs
// once, beside the actor, under the same rules as the sequence of Produce. There it ranges over
// in, which waits for the sender. An error from in says that the sender has cancelled or was
// lost, and nothing follows it. The function may return before in has ended.
//
//	func (s *Store) Upload(ctx *actor.Context, m Upload, in iter.Seq2[Chunk, error]) (func() (Summary, error), error) {
//		return func() (sum Summary, err error) {
//			for chunk, err := range in {
//				if err != nil {
//					return sum, err
//				}
//				sum.Bytes += len(chunk.Data)
//			}
//			return sum, actor.Tell(ctx, ctx.Self(), Uploaded{sum})
//		}, nil
//	}
func Collect[S any, M Collecting[In, R], In, R any](fn func(S, *Context, M, iter.Seq2[In, error]) (func() (R, error), error)) Handler[S] {
	return collecting(fn, false)
}

// collecting is Collect for messages of any type.
func collecting[S, M, In, R any](fn func(S, *Context, M, iter.Seq2[In, error]) (func() (R, error), error), told bool) Handler[S] {
	return opener(streamTypes{inputs: reflect.TypeFor[In](), result: reflect.TypeFor[R]()}, told, func(state S, c *Context, m M, st *stream) (func() error, error) {
		collect, err := fn(state, c, m, incoming[In](st))
		if collect == nil {
			return nil, err
		}
		return func() error {
			r, err := collect()
			if err == nil {
				err = st.put(r)
			}
			return err
		}, err
	})
}

// Converse makes a handler of a method that receives a stream and answers it with
// another one. in is as for Collect, and the sequence that it returns as for Produce. What
// it yields may depend on what it has received, or not.
func Converse[S any, M Conversing[In, Out], In, Out any](fn func(S, *Context, M, iter.Seq2[In, error]) (iter.Seq2[Out, error], error)) Handler[S] {
	return conversing(fn, false)
}

// conversing is Converse for messages of any type.
func conversing[S, M, In, Out any](fn func(S, *Context, M, iter.Seq2[In, error]) (iter.Seq2[Out, error], error), told bool) Handler[S] {
	return opener(streamTypes{inputs: reflect.TypeFor[In](), items: reflect.TypeFor[Out]()}, told, func(state S, c *Context, m M, st *stream) (func() error, error) {
		seq, err := fn(state, c, m, incoming[In](st))
		if seq == nil {
			return nil, err
		}
		return func() error { return produce(st, seq) }, err
	})
}

// streamTypes are the types of what a stream carries; nil: it carries nothing that way.
type streamTypes struct{ inputs, items, result reflect.Type }

// ids are the ids of the types of the items to the actor, and from it; 0 for nil. The result of a
// stream that is collected is an item from the actor.
func (t streamTypes) ids(s *System) (in, out uint64) {
	id := func(typ reflect.Type) uint64 {
		if typ == nil {
			return 0
		}
		return s.types.get(typ).id
	}
	return id(t.inputs), max(id(t.items), id(t.result))
}

// opener makes the handler of a message that opens a stream. begin runs in the actor's
// turn; the function that it returns runs beside the actor. With told the client is
// told of which types the items are.
func opener[S, M any](types streamTypes, told bool, begin func(S, *Context, M, *stream) (func() error, error)) Handler[S] {
	return Handler[S]{h: &handler{
		typ:    reflect.TypeFor[M](),
		decode: codec.Value[M](),
		opens:  true,
		stream: types,
		run: func(state any, c *Context, msg any, _ *reusableValues) {
			st, refusal := c.System().newStream(c)
			if refusal != nil {
				c.System().handBack(c.cell.self.addr, item{msg: msg, req: c.req, meta: c.meta}, refusal)
				c.life.answer()
				return
			}
			started := false
			defer func() { // begin may panic
				if !started {
					st.close(nil)
					st.ran(nil)
				}
			}()
			run, err := begin(state.(S), st.ctx, valueOf[M](msg), st)
			if err == nil && run == nil {
				err = errors.New("the handler returned nothing that could be run")
			}
			if err != nil {
				c.finish(msg, err)
				return
			}
			started = true
			st.start(run)
			var says streamTypes
			if told {
				says = types
			}
			st.opened(c.req, says)
			c.life.answer()
		},
		wrap: func() handle {
			return opener(types, told, func(s S, c *Context, m M, st *stream) (func() error, error) {
				own := func(s S, c *Context, m M) (func() error, error) { return begin(s, c, m, st) }
				fns := c.receivers()
				if len(fns) == 0 {
					return own(s, c, m)
				}
				return new(arriving[S, M, func() error]).through(fns, own, s, c, m)
			}).h.run
		},
	}}
}

// produce iterates over a sequence, and puts its items into a stream.
func produce[T any](st *stream, seq iter.Seq2[T, error]) error {
	for v, err := range seq {
		if err == nil {
			err = st.put(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// incoming is the sequence of the items that a stream receives. A second range over it goes on
// where the first one ended.
func incoming[In any](st *stream) iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		for {
			v, more, err := take[In](st)
			if !more && err == nil || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// errNotOpened is the error of a message that opens a stream, but was sent by another verb.
var errNotOpened = rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message that opens a stream was sent in another way: use Stream, Open or Talk")

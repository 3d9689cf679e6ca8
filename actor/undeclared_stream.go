package actor

import (
	"context"
	"iter"
	"reflect"

	"github.com/tandem-go/tandem/rpc"
)

// Streams for messages of types that cannot embed Streams, Collects or Converses. The two ends
// compare the types of their items when a stream is opened, because an item does not say its type.

// ProduceAs is Produce for a message whose type declares no stream. The reader names the type of
// the items with StreamAs; another one than T is refused when the stream is opened.
func ProduceAs[S, M, T any](fn func(S, *Context, M) (iter.Seq2[T, error], error)) Handler[S] {
	return declaredAs[M, Streaming[T]](producing(fn, true))
}

// CollectAs is Collect for a message whose type declares no stream; the other side uses OpenAs.
func CollectAs[S, M, In, R any](fn func(S, *Context, M, iter.Seq2[In, error]) (func() (R, error), error)) Handler[S] {
	return declaredAs[M, Collecting[In, R]](collecting(fn, true))
}

// ConverseAs is Converse for a message whose type declares no stream; the other side uses TalkAs.
func ConverseAs[S, M, In, Out any](fn func(S, *Context, M, iter.Seq2[In, error]) (iter.Seq2[Out, error], error)) Handler[S] {
	return declaredAs[M, Conversing[In, Out]](conversing(fn, true))
}

// declaredAs returns h, of messages of type M, which are answered as D declares it.
func declaredAs[M, D, S any](h Handler[S]) Handler[S] {
	h.h.wrong = misdeclared(reflect.TypeFor[M](), reflect.TypeFor[D]())
	return h
}

// StreamAs is Stream for a message whose type declares no stream: T is the type of the items, see
// ProduceAs. If the actor's items are of another type, or m is a nil pointer, the error says so.
func StreamAs[T, M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		f, err := openAs[Streaming[T]](ctx, to, m, streamTypes{items: reflect.TypeFor[T]()}, opts)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		r := reader[T]{from: f}
		r.each(yield)
	}
}

// OpenAs is Open for a message whose type declares no stream: In is the type of the items, and R
// that of the result. See CollectAs and StreamAs.
func OpenAs[In, R, M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (*Sink[In, R], error) {
	f, err := openAs[Collecting[In, R]](ctx, to, m, streamTypes{inputs: reflect.TypeFor[In](), result: reflect.TypeFor[R]()}, opts)
	if err != nil {
		return nil, err
	}
	return &Sink[In, R]{out: newWriter(f), in: reader[R]{from: f}}, nil
}

// TalkAs is Talk for a message whose type declares no stream: In is the type of the items to the
// actor, and Out that of those from it. See ConverseAs and StreamAs.
func TalkAs[In, Out, M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (*Dialogue[In, Out], error) {
	f, err := openAs[Conversing[In, Out]](ctx, to, m, streamTypes{inputs: reflect.TypeFor[In](), items: reflect.TypeFor[Out]()}, opts)
	if err != nil {
		return nil, err
	}
	return &Dialogue[In, Out]{out: newWriter(f), in: reader[Out]{from: f}}, nil
}

// openAs opens a stream that is to have items of these types. D is what m declares, if it does.
func openAs[D, M any](ctx context.Context, to Ref, m M, want streamTypes, opts []rpc.Option) (*clientStream, error) {
	if err := mayAsk[D](m); err != nil {
		return nil, err
	}
	f, err := open(ctx, ctx, to, m, reflect.TypeFor[M](), opts)
	if err != nil {
		return nil, err
	}
	if in, out := want.ids(f.to.to.sys); f.opened.In|f.opened.Out != 0 && (f.opened.In != in || f.opened.Out != out) {
		f.close(errBrokenOff)
		return nil, rpc.Errorf(rpc.WrongReply, rpc.HasRun, "the stream of %v has items of other types than %v", to, want)
	}
	return f, nil
}

// Package misuse must not compile: in each line with a "want", and in no other.
package misuse

import (
	"context"
	"iter"

	"github.com/tandem-go/tandem/actor"
)

type (
	list   struct{ actor.Streams[int] }
	upload struct{ actor.Collects[int, string] }
	chat   struct{ actor.Converses[int, string] }
	ask    struct{ actor.Returns[int] }
	tell   struct{}
	state  struct{}
)

func answers[M any](state, *actor.Context, M) (int, error)                      { return 0, nil }
func ints[M any](state, *actor.Context, M) (iter.Seq2[int, error], error)       { return nil, nil }
func strings[M any](state, *actor.Context, M) (iter.Seq2[string, error], error) { return nil, nil }
func collects[M any](state, *actor.Context, M, iter.Seq2[int, error]) (func() (string, error), error) {
	return nil, nil
}
func converses[M any](state, *actor.Context, M, iter.Seq2[int, error]) (iter.Seq2[string, error], error) {
	return nil, nil
}

func _(ctx context.Context, to actor.Ref) {
	actor.Produce(ints[list])
	actor.Collect(collects[upload])
	actor.Converse(converses[chat])
	actor.Answer(answers[ask])

	actor.Produce(strings[list])      // want: another item
	actor.Produce(ints[upload])       // want: it takes a stream in
	actor.Produce(ints[ask])          // want: one reply
	actor.Produce(ints[tell])         // want: nothing
	actor.Produce(answers[list])      // want: no sequence
	actor.Answer(answers[list])       // want: a stream
	actor.Answer(answers[upload])     // want: it takes a stream in
	actor.Collect(collects[chat])     // want: it answers with a stream
	actor.Collect(collects[list])     // want: it takes none in
	actor.Converse(converses[upload]) // want: it answers with one result
	actor.Converse(converses[list])   // want: it takes none in

	for range actor.Stream(ctx, to, list{}) {
	}
	for range actor.Stream(ctx, to, ask{}) { // want: no stream
	}
	for range actor.Stream(ctx, to, chat{}) { // want: it takes a stream in
	}
	_, _ = actor.Call(ctx, to, list{})   // want: a stream
	_, _ = actor.Call(ctx, to, upload{}) // want: it takes a stream in
	_ = actor.Ask(ctx, to, list{})       // want: a stream
	_, _ = actor.Open(ctx, to, list{})   // want: it takes none in
	_, _ = actor.Talk(ctx, to, upload{}) // want: it answers with one result
	up, _ := actor.Open(ctx, to, upload{})
	_ = up.Send(ctx, "text") // want: another item
	var n int
	n, _ = up.CloseAndReceive(ctx) // want: another result
	_ = n
}

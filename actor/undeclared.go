package actor

import (
	"context"
	"fmt"
	"reflect"

	"github.com/tandem-go/tandem/rpc"
)

// Messages of types that cannot embed Returns, because they are generated, or belong to others.
// The functions whose names end in As are the ordinary ones, except that they name the type of
// the reply: the handler by its result, and the caller as a type argument.
//
//	actor.AnswerAs((*Account).Deposit) // func (*Account) Deposit(*actor.Context, *pb.Deposit) (*pb.Balance, error)
//
//	balance, err := actor.CallAs[*pb.Balance](ctx, ref, &pb.Deposit{Amount: 5})
//
// The compiler cannot compare the two. On one node they are compared before the handler runs; a
// node that asks another one learns it from the reply.

// AnswerAs is Answer for a message whose type declares no reply. A caller names the type of the
// reply with CallAs, AskAs or SubmitAs. If it is another one than R, the caller gets an error of
// code rpc.WrongReply. On one node the handler has then not run. On another node it has, and so it has as
// a job.
//
// The handler must not answer with a nil pointer, which most codecs cannot send: that is an error,
// also for callers on the same node. Define panics if M declares another reply.
func AnswerAs[S, M, R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	h := answeringAs(func(s S, c *Context, m M) (R, error) {
		r, err := fn(s, c, m)
		if err == nil && isNil(r) && c.mustAnswer() && c.deferred() == nil {
			err = errNilReply
		}
		return r, err
	})
	h.h.wrong = misdeclared(reflect.TypeFor[M](), reflect.TypeFor[Question[R]]())
	return h
}

// errNilReply is the error of a handler that has answered with nil, as it is if its codec refuses that.
var errNilReply error = unsent{rpc.Errorf(rpc.Undecodable, rpc.HasRun, "the handler answered with nil")}

// answeringAs is answering with a look at what the caller wants, if it is on this node.
func answeringAs[S, M, R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	made := answering(fn)
	run := made.h.run
	made.h.run = func(state any, c *Context, msg any, spare *reusableValues) {
		if a, ok := c.req.(asker); ok && a.wants() != reflect.TypeFor[R]() {
			refusal := rpc.Errorf(rpc.WrongReply, rpc.NotRun, "the caller of %s wants a %v, its handler answers a %v with a %v", c.cell.kind.name, a.wants(), reflect.TypeFor[M](), reflect.TypeFor[R]())
			c.System().handBack(c.cell.self.addr, item{msg: valueOf[M](msg), req: c.req, meta: c.meta}, refusal)
			c.life.answer()
			return
		}
		run(state, c, msg, spare)
	}
	made.h.wrap = func() handle { return answeringAs(passing(fn)).h.run }
	return made
}

// ReadAs is Read for a message whose type declares no reply, see AnswerAs.
func ReadAs[S, M, R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	h := AnswerAs(fn)
	h.h.reads = true
	return h
}

// CallAs is Call of a message whose type declares no reply: R is what the handler answers with, see
// AnswerAs. A nil pointer is no message: it is refused as rpc.Invalid.
func CallAs[R, M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (R, error) {
	if err := mayAsk[Question[R]](m); err != nil {
		var none R
		return none, err
	}
	return callWith[M, R](ctx, to, m, opts)
}

// AskAs is Ask of a message whose type declares no reply, see CallAs.
func AskAs[R, M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) *rpc.Future[R] {
	if err := mayAsk[Question[R]](m); err != nil {
		return failed[R](err)
	}
	return askWith[M, R](ctx, to, m, opts)
}

// SubmitAs is Submit of a message whose type declares no reply, see CallAs.
func SubmitAs[R, M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (rpc.Token[R], error) {
	if err := mayAsk[Question[R]](m); err != nil {
		return rpc.Token[R]{}, err
	}
	return submitWith[M, R](ctx, to, m, opts)
}

// mayAsk returns an error if m is a nil pointer, or if its type declares how it is answered, and not
// as D does.
func mayAsk[D, M any](m M) error {
	if isNil(m) {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a nil %v is no message", reflect.TypeFor[M]())
	}
	switch any(m).(type) {
	case question, interface{ isStreaming() }, interface{ isCollecting() }, interface{ isConversing() }:
		if _, same := any(m).(D); !same {
			return rpc.Errorf(rpc.WrongReply, rpc.NotRun, "a %v declares another answer", reflect.TypeFor[M]())
		}
	}
	return nil
}

// misdeclared returns what is wrong with a handler for messages of type m that answers them as d
// does, or nil.
func misdeclared(m, d reflect.Type) error {
	if m.Kind() == reflect.Interface {
		return fmt.Errorf("message %v is an interface: name the type that is sent", m)
	}
	for _, declares := range append(openers[:], reflect.TypeFor[question]()) {
		if m.Implements(declares) && !m.Implements(d) {
			return fmt.Errorf("message %v declares another answer than its handler gives", m)
		}
	}
	return nil
}

// isNil reports whether v is a nil pointer.
func isNil[T any](v T) bool {
	return reflect.TypeFor[T]().Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil()
}

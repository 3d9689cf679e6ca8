package actor

import (
	"context"
	"errors"
	"io"
	"iter"
	"reflect"
	"sync"

	"github.com/tandem-go/tandem/rpc"
)

// ErrStreamOver is the error of a Send on a stream whose other side has returned and
// takes no more: what it returned says why, see Sink.CloseAndReceive and Dialogue.Items.
var ErrStreamOver = errors.New("actor: the other side of the stream has finished")

// Open opens a stream to an actor, which answers all of it with one result:
//
//	up, err := actor.Open(ctx, ref, Upload{Name: "log"})
//	...
//	err = up.Send(ctx, Chunk{data})
//	...
//	summary, err := up.CloseAndReceive(ctx)
//
// The stream lasts until CloseAndReceive, Cancel or the end of ctx: one of these must
// come, or it is kept alive for ever. What is promised is said at Streams, and what
// Stream says of items and options holds here too.
func Open[M Collecting[In, R], In, R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (*Sink[In, R], error) {
	f, err := open(ctx, to, m, reflect.TypeFor[M](), opts)
	if err != nil {
		return nil, err
	}
	return &Sink[In, R]{out: newWriter(f), in: reader[R]{from: f}}, nil
}

// Sink is the client's side of a stream that is collected into one result. Its methods
// are for one goroutine at a time, save Cancel.
type Sink[In, R any] struct {
	out *writer
	in  reader[R]
}

// Send sends an item; nil means that it is on its way. It waits, while the other side
// does not keep up, until ctx ends: then the item was not sent, and the stream goes on.
// ErrStreamOver says that the other side wants no more.
func (s *Sink[In, R]) Send(ctx context.Context, v In) error { return s.out.send(ctx, v) }

// CloseAndReceive says that no more items come, and waits for the result. If ctx ends
// first the stream ends with it.
func (s *Sink[In, R]) CloseAndReceive(ctx context.Context) (R, error) {
	defer s.out.to.close(errLeft)
	stop := context.AfterFunc(ctx, func() { s.out.to.close(rpc.FromContext(ctx, rpc.HasRun)) })
	defer stop()
	var none R
	if err := s.out.end(ctx); err != nil {
		return none, err
	}
	v, err := s.in.next()
	if err == io.EOF {
		err = rpc.Errorf(rpc.Internal, rpc.HasRun, "the stream ended without a result")
	}
	return v, err
}

// Cancel breaks the stream off. It does nothing once the stream has ended.
func (s *Sink[In, R]) Cancel() { s.out.to.close(errLeft) }

// Talk opens a stream to an actor and one back:
//
//	d, err := actor.Talk(ctx, ref, Chat{})
//	go func() {
//		_ = d.Send(ctx, Line{"hello"})
//		_ = d.CloseSend(ctx)
//	}()
//	for line, err := range d.Items() { ... }
//
// It lasts until Items has come to its end or was left, Cancel, or the end of ctx: one of
// these must come, or it is kept alive for ever. What is promised is said at Streams, and
// what Stream says of items and options holds here too.
func Talk[M Conversing[In, Out], In, Out any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (*Dialogue[In, Out], error) {
	f, err := open(ctx, to, m, reflect.TypeFor[M](), opts)
	if err != nil {
		return nil, err
	}
	return &Dialogue[In, Out]{out: newWriter(f), in: reader[Out]{from: f}}, nil
}

// Dialogue is the client's side of a stream both ways. One goroutine at a time may send,
// and another one receive.
type Dialogue[In, Out any] struct {
	out *writer
	in  reader[Out]
}

// Send sends an item, as Sink.Send does.
func (d *Dialogue[In, Out]) Send(ctx context.Context, v In) error { return d.out.send(ctx, v) }

// CloseSend says that no more items come; what comes back goes on.
func (d *Dialogue[In, Out]) CloseSend(ctx context.Context) error { return d.out.end(ctx) }

// Items is what comes back, under the terms of Stream: to leave the loop ends the stream
// both ways. To receive one item at a time, use iter.Pull2.
func (d *Dialogue[In, Out]) Items() iter.Seq2[Out, error] { return d.in.each }

// Cancel breaks the stream off. It does nothing once the stream has ended.
func (d *Dialogue[In, Out]) Cancel() { d.out.to.close(errLeft) }

// writer sends the items of a stream. While fewer than streamDepth batches are under way
// an item leaves at once; else items gather, as many as a batch holds.
type writer struct {
	to   *far
	enc  encoder       // the sender's own
	room chan struct{} // a token when a batch was taken

	mu     sync.Mutex // guards what follows
	buf    chunk
	n      uint64 // number of the latest batch
	under  int    // batches under way
	last   bool   // nothing more is added to buf
	closed bool   // the batch that says so has left
	over   bool   // the other side takes no more
}

func newWriter(f *far) *writer {
	return &writer{to: f, enc: encoder{codec: f.codec}, room: make(chan struct{}, 1)}
}

func (w *writer) send(ctx context.Context, v any) error {
	b, refused := w.enc.encode(v)
	if refused != nil {
		refused.Verdict = rpc.NotRun
		return refused
	}
	for {
		w.mu.Lock()
		switch {
		case w.to.ctx.Err() != nil:
			w.mu.Unlock()
			return w.ended()
		case w.over:
			w.mu.Unlock()
			return ErrStreamOver
		case w.last:
			w.mu.Unlock()
			return errClosed
		case w.buf.fits(len(b)):
			w.buf.add(b, v)
			w.flush()
			return nil
		}
		w.mu.Unlock()
		select {
		case <-w.room:
		case <-w.to.ctx.Done():
		case <-ctx.Done():
			return rpc.FromContext(ctx, rpc.NotRun)
		}
	}
}

var errClosed = rpc.Errorf(rpc.Invalid, rpc.NotRun, "the stream was closed for sending")

// ended is what a sender gets once the stream has ended.
func (w *writer) ended() error {
	if context.Cause(w.to.ctx) == errWhole { // the receiver may learn before the sender that the other side has returned
		return ErrStreamOver
	}
	return w.to.failure(nil)
}

// end sends what has gathered, and that it was the last.
func (w *writer) end(ctx context.Context) error {
	for {
		w.mu.Lock()
		w.last = true
		w.flush()
		w.mu.Lock()
		done := w.closed || w.over
		w.mu.Unlock()
		switch {
		case w.to.ctx.Err() != nil:
			if err := w.ended(); err != ErrStreamOver {
				return err
			}
			return nil
		case done:
			return nil
		}
		select {
		case <-w.room:
		case <-w.to.ctx.Done():
		case <-ctx.Done():
			return rpc.FromContext(ctx, rpc.HasRun)
		}
	}
}

// flush sends what has gathered, if there is credit. It is called with w.mu, and gives
// it back.
func (w *writer) flush() {
	if w.under == streamDepth || w.closed || w.over || w.buf.n == 0 && !w.last {
		w.mu.Unlock()
		return
	}
	w.n++
	w.under++
	w.closed = w.last
	m := streamPush{N: w.n, Items: w.buf.bytes, vals: w.buf.vals, Last: w.last}
	w.buf = chunk{}
	w.mu.Unlock()
	Ask(patient{w.to.ctx}, w.to.to, m, w.to.opts...).Then(w.taken)
}

// taken takes in what became of a batch.
func (w *writer) taken(t streamTaken, err error) {
	if err != nil {
		w.to.close(w.to.failure(err))
	}
	w.mu.Lock()
	w.under--
	w.over = w.over || t.Over
	w.flush()
	wake(w.room)
}

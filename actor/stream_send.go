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
// accepts no more items. What it has returned is found with Sink.CloseAndReceive or
// Dialogue.Items.
var ErrStreamOver = errors.New("actor: the other side of the stream has finished")

// Open opens a stream to an actor, which answers the whole stream with one result:
//
//	up, err := actor.Open(ctx, ref, Upload{Name: "log"})
//	...
//	err = up.Send(ctx, Chunk{data})
//	...
//	summary, err := up.CloseAndReceive(ctx)
//
// The stream lasts until CloseAndReceive, Cancel or the end of ctx. Without any of these it is
// kept alive for ever. For the promise see Streams; what Stream says about items and options
// applies here too.
func Open[M Collecting[In, R], In, R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (*Sink[In, R], error) {
	f, err := open(ctx, ctx, to, m, reflect.TypeFor[M](), opts)
	if err != nil {
		return nil, err
	}
	return &Sink[In, R]{out: newWriter(f), in: reader[R]{from: f}}, nil
}

// Sink is the client's side of a stream that is collected into one result. Only one goroutine
// at a time may call its methods, except Cancel.
type Sink[In, R any] struct {
	out *writer
	in  reader[R]
}

// Send sends an item; nil means that it is on its way. While the other side does not keep up,
// Send waits until ctx ends; then the item was not sent, and the stream goes on.
// ErrStreamOver says that the other side accepts no more items.
func (s *Sink[In, R]) Send(ctx context.Context, v In) error { return s.out.send(ctx, v) }

// CloseAndReceive says that no more items come, and waits for the result. If ctx ends
// first, the stream ends too.
func (s *Sink[In, R]) CloseAndReceive(ctx context.Context) (R, error) {
	defer s.out.to.close(errBrokenOff)
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

// Cancel ends the stream early. It does nothing once the stream has ended.
func (s *Sink[In, R]) Cancel() { s.out.to.close(errBrokenOff) }

// Talk opens a stream to an actor and one back:
//
//	d, err := actor.Talk(ctx, ref, Chat{})
//	go func() {
//		_ = d.Send(ctx, Line{"hello"})
//		_ = d.CloseSend(ctx)
//	}()
//	for line, err := range d.Items() { ... }
//
// It lasts until the loop over Items ends or is left, Cancel, or the end of ctx. Without any of
// these it is kept alive for ever. For the promise see Streams; what Stream says about items and
// options applies here too.
func Talk[M Conversing[In, Out], In, Out any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (*Dialogue[In, Out], error) {
	f, err := open(ctx, ctx, to, m, reflect.TypeFor[M](), opts)
	if err != nil {
		return nil, err
	}
	return &Dialogue[In, Out]{out: newWriter(f), in: reader[Out]{from: f}}, nil
}

// Dialogue is the client's side of a stream in both directions. One goroutine at a time may
// send, while another one receives.
type Dialogue[In, Out any] struct {
	out *writer
	in  reader[Out]
}

// Send sends an item, as Sink.Send does.
func (d *Dialogue[In, Out]) Send(ctx context.Context, v In) error { return d.out.send(ctx, v) }

// CloseSend says that no more items come. The other direction goes on.
func (d *Dialogue[In, Out]) CloseSend(ctx context.Context) error { return d.out.end(ctx) }

// Items is the sequence of the items from the actor, as for Stream. Leaving the loop ends the
// stream in both directions. To receive one item at a time, use iter.Pull2.
func (d *Dialogue[In, Out]) Items() iter.Seq2[Out, error] { return d.in.each }

// Cancel ends the stream early. It does nothing once the stream has ended.
func (d *Dialogue[In, Out]) Cancel() { d.out.to.close(errBrokenOff) }

// writer sends the items of a stream. While fewer than streamDepth batches are outstanding, an
// item is sent at once; otherwise items are gathered, up to the size of a batch.
type writer struct {
	to   *clientStream
	enc  encoder       // only the sending goroutine uses it
	room chan struct{} // gets a token when a batch was accepted

	mu     sync.Mutex // guards what follows
	buf    chunk
	n      uint64 // number of the latest batch
	under  int    // batches that are outstanding
	last   bool   // nothing more is added to buf
	closed bool   // the last batch was sent
	over   bool   // the other side accepts no more
}

func newWriter(f *clientStream) *writer {
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

// ended is the error of a sender once the stream has ended.
func (w *writer) ended() error {
	if context.Cause(w.to.ctx) == errComplete { // the receiving goroutine learned before this one that the other side has returned
		return ErrStreamOver
	}
	return w.to.failure(nil)
}

// end sends the gathered items as the last batch.
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

// flush sends the gathered items if there is credit. It is called with w.mu held, and unlocks
// it.
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

// taken handles the answer to a batch.
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

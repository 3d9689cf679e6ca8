package actor

import (
	"context"
	"errors"
	"io"
	"iter"
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Stream opens the stream that a message asks for, and iterates over its items:
//
//	for item, err := range actor.Stream(ctx, ref, List{}) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// After an error nothing follows; it says that the stream did not reach its end, see Streams.
// Leaving the loop ends the producer, and so does the end of ctx. Each range opens a stream of
// its own. On the same node items are passed without a copy, between nodes they are encoded.
// rpc.Key cannot be given.
//
// A handler that iterates keeps its actor waiting, as with Call.
func Stream[M Streaming[T], T any](ctx context.Context, to Ref, m M, opts ...rpc.Option) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		f, err := open(ctx, ctx, to, m, reflect.TypeFor[M](), opts)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		r := reader[T]{from: f}
		r.each(yield)
	}
}

// clientStream is the client's side of a stream.
type clientStream struct {
	ctx    context.Context // the context of all its requests
	cancel context.CancelCauseFunc
	unhook func() bool // stops watching ctx
	to     Ref         // the hidden actor that serves it
	opts   []rpc.Option
	codec  codec.Codec  // of the items; nil on the same node
	opened streamOpened // what the other side has said
	sign   *time.Timer  // sends the next sign of life
	once   sync.Once

	at      *routedCall // the call of the service that has chosen the instance; nil: the caller has named the actor
	release func()      // ends the count of at.hold
}

// errComplete is the cause of the end of a stream whose client has received all items.
var errComplete = errors.New("actor: the stream has come to its end")

// errBrokenOff is the cause of the end of a stream whose client has stopped before its end.
var errBrokenOff = errors.New("actor: the stream was left")

// open opens a stream under ctx, which lasts until life ends.
func open(ctx, life context.Context, to Ref, m any, typ reflect.Type, options []rpc.Option) (*clientStream, error) {
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err != nil {
		return nil, err
	}
	if fns := t.sys.intercepts(ctx, from, t); fns != nil {
		return openThrough(ctx, fns, t, to, m, typ, options)
	}
	opts := settingsOf(options)
	if opts.IsKeyed() {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a stream cannot have a key: it is not one outcome")
	}
	s, f := t.sys, &clientStream{}
	var o streamOpened
	if t.addr.routed() {
		o, err = f.openService(ctx, from, t, m, typ, opts)
	} else {
		o, err = f.openAt(ctx, from, nil, t, m, typ, opts)
	}
	if err != nil {
		return nil, err
	}
	f.opened = o
	if f.to = s.Ref(o.Actor); f.to.IsZero() {
		return nil, rpc.Errorf(rpc.WrongReply, rpc.HasRun, "a stream at address %q", o.Actor)
	}
	frame, err := s.codecs.ByID(codec.IDMsgpack)
	if err != nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.HasRun, "%w", err)
	}
	f.opts = []rpc.Option{rpc.WithCodec(frame), rpc.WithRetry(streamRetry), rpc.Idempotent()}
	if opts != nil {
		f.opts = append(f.opts, rpc.OnBehalfOf(opts.Behalf), byRoad(opts.Road))
	}
	if f.at != nil {
		f.release = f.at.hold()
	}
	f.ctx, f.cancel = context.WithCancelCause(life)
	f.sign = time.AfterFunc(streamBeat, f.live)
	f.unhook = context.AfterFunc(f.ctx, func() { f.close(errBrokenOff) })
	return f, nil
}

// openAt opens the stream at one actor. at is the call of a service that has chosen it, or nil.
func (f *clientStream) openAt(ctx context.Context, from *Context, at *routedCall, t *target, m any, typ reflect.Type, opts *settings) (streamOpened, error) {
	s, c := t.sys, t.cell.Load()
	switch {
	case c != nil && from.isIn(c):
		return streamOpened{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v opens a stream to itself and would wait for ever", t.addr)
	case c != nil && !opts.ByRoad():
		if s.cfg.CopyLocal {
			f.codec = s.codecFor(t.addr.name, opts)
		}
		return openLocal(ctx, from, c, m, opts)
	case c == nil && t.addr.node == s.cfg.Name:
		return streamOpened{}, s.noActor(from, t.addr)
	}
	f.codec = s.codecFor(t.addr.name, opts)
	return s.openRemote(ctx, from, at, t, m, typ, opts)
}

func openLocal(ctx context.Context, from *Context, c *cell, m any, opts *settings) (streamOpened, error) {
	a := newAsking[streamOpened](ctx, c.self.sys)
	if err := put(ctx, from, c, m, a, metaOf(ctx, from, opts), opts, false); err != nil {
		a.end(streamOpened{}, err)
	}
	a.future.Wait(nil)
	return a.future.Result()
}

func (s *System) openRemote(ctx context.Context, from *Context, at *routedCall, t *target, m any, typ reflect.Type, opts *settings) (v streamOpened, err error) {
	x := s.node.Client.Exchange()
	if err := s.request(ctx, from, at, t, m, typ, wording{}, opts, x.Request()); err != nil {
		return v, err
	}
	reply, err := x.Do(ctx)
	if err == nil {
		err = s.decodeReply(reply, s.types.get(reflect.TypeFor[streamOpened]()), &v)
	}
	x.Free()
	return v, err
}

// close ends the stream for both sides. The first cause counts.
func (f *clientStream) close(why error) {
	first := false
	f.once.Do(func() {
		first = true
		f.unhook()
		f.sign.Stop()
		f.cancel(why)
		if f.release != nil {
			f.release()
		}
	})
	if first { // outside of once.Do, so that others do not wait while Ask waits for room
		Ask(context.WithoutCancel(f.ctx), f.to, streamSign{Stop: true}, f.opts...) // if it is lost, the other side ends for lack of signs of life
	}
}

// live sends a sign of life to the other side, and finds out whether that is alive.
func (f *clientStream) live() {
	ctx, cancel := context.WithTimeout(f.ctx, streamWait)
	defer cancel()
	if _, err := Call(ctx, f.to, streamSign{}, f.opts...); err != nil {
		f.close(f.failure(err))
		return
	}
	f.sign.Reset(streamBeat)
}

// failure is the error that the application gets when a request of the stream has failed.
func (f *clientStream) failure(err error) error {
	if f.ctx.Err() != nil {
		var own *rpc.Error
		if cause := context.Cause(f.ctx); errors.As(cause, &own) {
			return own
		}
		return rpc.FromContext(f.ctx, rpc.HasRun)
	}
	code := rpc.CodeOf(err)
	if at, ok := f.ctx.Deadline(); ok && code == rpc.Expired && time.Until(at) < time.Second {
		return rpc.Errorf(rpc.Expired, rpc.HasRun, "the stream's deadline passed") // each request has the same deadline, and may notice it first
	}
	switch code {
	case rpc.NotFound, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Stale, rpc.Expired, rpc.Canceled:
		code = rpc.Unavailable
	}
	return rpc.Errorf(code, rpc.HasRun, "the stream was cut: %w", err)
}

// patient is a stream's context for requests that may wait very long: without a deadline of the
// stream's own they get streamPatience.
type patient struct{ context.Context }

func (p patient) Deadline() (time.Time, bool) {
	if at, ok := p.Context.Deadline(); ok {
		return at, true
	}
	return time.Now().Add(streamPatience), true
}

// reader receives the items of a stream. It is not for concurrent use.
type reader[T any] struct {
	from  *clientStream
	asked [streamDepth]*rpc.Future[streamBatch] // the outstanding requests for batches, by number
	n     uint64                                // number of the batch that is being read
	items chunk
	last  error // what the stream ends with after items; nil: more batches come
	err   error // what the stream has ended with
}

// next returns the next item, or the error that the stream ends with, which is io.EOF at its
// regular end.
func (r *reader[T]) next() (v T, err error) {
	for r.err == nil && (r.from.ctx.Err() != nil || r.items.empty()) {
		switch {
		case r.from.ctx.Err() != nil:
			r.err = r.from.failure(nil)
		case r.last != nil:
			r.err = r.last
		default:
			r.err = r.fetch()
		}
	}
	if r.err == nil {
		v, r.err = pop[T](&r.items, r.from.codec)
	}
	return v, r.err
}

// fetch waits for the next batch, and keeps as many requests outstanding as there is credit for.
func (r *reader[T]) fetch() error {
	for n := r.n + 1; n <= r.n+streamDepth; n++ {
		if r.asked[n%streamDepth] == nil {
			r.asked[n%streamDepth] = r.ask(n)
		}
	}
	r.n++
	f := &r.asked[r.n%streamDepth]
	b, err := (*f).Await(context.Background()) // it ends with the stream's context
	if rpc.CodeOf(err) == rpc.ReplyDropped {   // the answer was too large to be kept for copies, but the batch itself is still there
		b, err = r.ask(r.n).Await(context.Background())
	}
	*f = nil
	if err != nil {
		return r.from.failure(err)
	}
	if r.from.codec != nil {
		b.err = nil // use the encoded error, as a client on another node does
	}
	r.items = chunk{bytes: b.Items, vals: b.vals}
	if b.Done {
		r.last = b.failure(r.from.to.Node())
	}
	return nil
}

func (r *reader[T]) ask(n uint64) *rpc.Future[streamBatch] {
	return Ask(patient{r.from.ctx}, r.from.to, streamNext{N: n}, r.from.opts...)
}

// each yields all items, and at the end the error, unless it is the regular end.
func (r *reader[T]) each(yield func(T, error) bool) {
	defer r.from.close(errBrokenOff)
	for {
		v, err := r.next()
		if err == io.EOF {
			r.from.close(errComplete)
			return
		}
		if !yield(v, err) || err != nil {
			return
		}
	}
}

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
// An error is the last thing that comes, and says that the stream did not come to its
// end; see Streams. To leave the loop, or the end of ctx, ends the producer. Each range
// opens a stream of its own. On the same node items are handed over as they are, between
// nodes encoded; rpc.Key cannot be given.
//
// A handler that iterates keeps its actor waiting, as with Call.
func Stream[M Streaming[T], T any](ctx context.Context, to Ref, m M, opts ...rpc.Option) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		f, err := open(ctx, to, m, reflect.TypeFor[M](), opts)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		r := reader[T]{from: f}
		r.each(yield)
	}
}

// far is a stream as its client holds it.
type far struct {
	ctx    context.Context // of all its requests
	cancel context.CancelCauseFunc
	unhook func() bool // takes back what watches ctx
	to     Ref         // the hidden actor that serves it
	opts   []rpc.Option
	codec  codec.Codec // of the items; nil on the same node
	sign   *time.Timer // has the next sign of life sent
	once   sync.Once

	at      *visit // of a service that has led to the instance; nil: it was asked for
	release func() // of that
}

// errWhole is the cause of the end of a stream whose client has got all that there was.
var errWhole = errors.New("actor: the stream has come to its end")

// errLeft is the cause of the end of a stream whose client has all it wanted.
var errLeft = errors.New("actor: the stream was left")

// open opens a stream.
func open(ctx context.Context, to Ref, m any, typ reflect.Type, opts []rpc.Option) (*far, error) {
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err != nil {
		return nil, err
	}
	if keyed(opts) {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a stream cannot have a key: it is not one outcome")
	}
	s, f := t.sys, &far{}
	var o streamOpened
	if t.addr.node == anyNode {
		o, err = f.openService(ctx, from, t, m, typ, opts)
	} else {
		o, err = f.openAt(ctx, from, nil, t, m, typ, opts)
	}
	if err != nil {
		return nil, err
	}
	if f.to = s.Ref(o.Actor); f.to.IsZero() {
		return nil, rpc.Errorf(rpc.WrongReply, rpc.HasRun, "a stream at address %q", o.Actor)
	}
	frame, err := s.codecs.ByID(codec.IDMsgpack)
	if err != nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.HasRun, "%w", err)
	}
	f.opts = []rpc.Option{rpc.WithCodec(frame), rpc.WithRetry(streamRetry), rpc.Idempotent()}
	if f.at != nil {
		f.release = f.at.hold()
	}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	f.sign = time.AfterFunc(streamBeat, f.live)
	f.unhook = context.AfterFunc(f.ctx, func() { f.close(errLeft) })
	return f, nil
}

// openAt opens it at one actor, which at has chosen if it is of a service.
func (f *far) openAt(ctx context.Context, from *Context, at *visit, t *target, m any, typ reflect.Type, opts []rpc.Option) (streamOpened, error) {
	s, c := t.sys, t.cell.Load()
	switch {
	case c != nil && from.isIn(c):
		return streamOpened{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%v opens a stream to itself and would wait for ever", t.addr)
	case c != nil:
		if s.cfg.CopyLocal {
			f.codec = s.codecFor(t.addr.name, rpc.Apply(opts).Codec)
		}
		return openLocal(ctx, from, c, m, opts)
	case t.addr.node == s.cfg.Name:
		return streamOpened{}, s.noActor(from, t.addr)
	}
	if f.codec = rpc.Apply(opts).Codec; f.codec == nil {
		f.codec = s.cfg.Codec
	}
	return s.openRemote(ctx, from, at, t, m, typ, opts)
}

func openLocal(ctx context.Context, from *Context, c *cell, m any, opts []rpc.Option) (streamOpened, error) {
	a := &ask[streamOpened]{deadline: c.self.sys.deadline(ctx)}
	a.watch(ctx)
	if err := put(ctx, from, c, m, a, metaOf(ctx, from, opts), opts, false); err != nil {
		a.end(streamOpened{}, err)
	}
	return a.promise.Future().Await(context.Background())
}

func (s *System) openRemote(ctx context.Context, from *Context, at *visit, t *target, m any, typ reflect.Type, opts []rpc.Option) (v streamOpened, err error) {
	x := s.node.Exchange()
	if err := s.request(ctx, from, at, t, m, typ, opts, x.Request()); err != nil {
		return v, err
	}
	reply, err := x.Do(ctx)
	if err == nil {
		err = s.decodeReply(reply, s.types.of(reflect.TypeFor[streamOpened]()), &v)
	}
	x.Free()
	return v, err
}

// close ends the stream for both sides. The first cause counts.
func (f *far) close(why error) {
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
	if first { // and nobody else waits, if there is no room for one more request
		Ask(context.WithoutCancel(f.ctx), f.to, streamSign{Stop: true}, f.opts...) // if it is lost, silence says the same
	}
}

// live tells the other side that this one lives, and finds out the same of it.
func (f *far) live() {
	ctx, cancel := context.WithTimeout(f.ctx, streamWait)
	defer cancel()
	if _, err := Call(ctx, f.to, streamSign{}, f.opts...); err != nil {
		f.close(f.failure(err))
		return
	}
	f.sign.Reset(streamBeat)
}

// failure is what the application gets when a request of the stream has failed.
func (f *far) failure(err error) error {
	if f.ctx.Err() != nil {
		var own *rpc.Error
		if cause := context.Cause(f.ctx); errors.As(cause, &own) {
			return own
		}
		return rpc.FromContext(f.ctx, rpc.HasRun)
	}
	code := rpc.CodeOf(err)
	if at, ok := f.ctx.Deadline(); ok && code == rpc.Expired && time.Until(at) < time.Second {
		return rpc.Errorf(rpc.Expired, rpc.HasRun, "the stream's deadline passed") // a request has it too, and may notice it first
	}
	switch code {
	case rpc.NotFound, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Stale, rpc.Expired, rpc.Canceled:
		code = rpc.Unavailable
	}
	return rpc.Errorf(code, rpc.HasRun, "the stream was cut: %w", err)
}

// patient is a stream's context for requests that wait as long as it takes.
type patient struct{ context.Context }

func (p patient) Deadline() (time.Time, bool) {
	if at, ok := p.Context.Deadline(); ok {
		return at, true
	}
	return time.Now().Add(streamPatience), true
}

// reader takes the items of a stream in. It is not for concurrent use.
type reader[T any] struct {
	from  *far
	asked [streamDepth]*rpc.Future[streamBatch] // by number
	n     uint64                                // number of the batch that is read
	items chunk
	last  error // what the stream ends with after items; nil: more comes
	err   error // what it has ended with
}

// next returns the next item; an error is what the stream ends with, io.EOF for its
// proper end.
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

// fetch takes in the next batch, and keeps as many under way as there is credit for.
func (r *reader[T]) fetch() error {
	for n := r.n + 1; n <= r.n+streamDepth; n++ {
		if r.asked[n%streamDepth] == nil {
			r.asked[n%streamDepth] = r.ask(n)
		}
	}
	r.n++
	f := &r.asked[r.n%streamDepth]
	b, err := (*f).Await(context.Background()) // it ends with the stream's context
	if rpc.CodeOf(err) == rpc.ReplyDropped {   // a copy of the answer could not be kept, but the batch was
		b, err = r.ask(r.n).Await(context.Background())
	}
	*f = nil
	if err != nil {
		return r.from.failure(err)
	}
	if r.from.codec != nil {
		b.err = nil // its text has come
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

// each yields all items, and an error at the end if it is not the proper one.
func (r *reader[T]) each(yield func(T, error) bool) {
	defer r.from.close(errLeft)
	for {
		v, err := r.next()
		if err == io.EOF {
			r.from.close(errWhole)
			return
		}
		if !yield(v, err) || err != nil {
			return
		}
	}
}

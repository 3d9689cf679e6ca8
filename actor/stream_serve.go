package actor

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// MaxStreams is how many streams a node serves for one principal of other nodes; more are
// refused as Overloaded. A stream holds, for each direction, one batch of items that are ready
// and two that are in flight. A batch is at most 64 KiB, or one larger item, and counts in its
// principal's share of the memory (rpc.Limits.MemoryBytes).
const MaxStreams = 1024

// stream is the server's side of a stream. It connects the client's requests, which come to a
// hidden actor, with the goroutine that runs the application's function. Its methods may be
// called concurrently.
type stream struct {
	sys       *System
	ctx       *Context // the context of the application's function
	self      *cell    // the hidden actor
	principal string   // who has opened it; nobody else may use it
	remote    bool     // it is from another node, and so it is counted
	memory    streamMemory
	addr      netip.Addr // the address from which it was opened
	opener    uint64     // type of the message that has opened it
	codec     codec.Codec
	enc       encoder     // only the application's goroutine uses it
	reading   chunk       // items that the application has yet to read; only its goroutine uses it
	beside    atomic.Bool // the application's goroutine runs, so the actor's turn has ended

	room    chan struct{} // gets a token when there may be room for an item
	arrived chan struct{} // gets a token when there may be an item to read
	gone    chan struct{} // closed when the stream has ended

	mu     sync.Mutex // guards what follows
	out    outflow
	in     inflow
	over   bool       // the stream has ended
	why    *rpc.Error // why it has ended; nil if the application's function could not be started
	ended  bool       // the application's goroutine has returned, or never ran
	cancel func()     // cancels ctx
	timer  *time.Timer
	silent int // beats since the client was last heard of
}

// outflow is the direction to the client. It has no lock or clock; the stream's lock guards it.
type outflow struct {
	buf   chunk
	asked []waiting[streamBatch]   // requests that wait for batches, lowest number first
	next  uint64                   // number of the next batch to give, less 1
	kept  [streamDepth]streamBatch // the last batches given, by number
	done  bool                     // no more items are put
	err   *rpc.Error               // with done: the error that the stream ends with; nil for none
	gone  int                      // bytes of items that are gone, which are to be freed
}

// inflow is the direction from the client. The stream's lock guards it too.
type inflow struct {
	buf    chunk
	pushed []waiting[streamTaken] // requests with batches that wait for room
	next   uint64                 // number of the next batch to accept, less 1
	last   bool                   // the last batch was accepted
	unused bool                   // the application reads no more
	gone   int                    // bytes of items that are gone, which are to be freed
}

// waiting is a request that waits for its turn.
type waiting[R any] struct {
	n     uint64
	req   request
	items chunk // of a push
	last  bool  // the push is the last one
}

// answer is an outcome that is to be given when no lock is held.
type answer struct {
	req   request
	batch *streamBatch // nil: the answer is taken
	taken streamTaken
	err   *rpc.Error // in place of both
}

// streamName is the prefix of the names of the hidden actors; a unique id follows.
const streamName = hidden + "stream-"

// streamKind is the kind of the hidden actors. Their state is the *stream.
var streamKind = Define("tandem.stream", func() *stream { return nil },
	streamHandler((*stream).handleNext), streamHandler((*stream).handlePush), streamHandler((*stream).handleSign)).With(systems())

// streamHandler makes a handler of the hidden actors. fn answers the request itself, or
// returns an error that says that the request did not run.
func streamHandler[M Question[R], R any](fn func(*stream, M, request) *rpc.Error) Handler[*stream] {
	return Handler[*stream]{h: &handler{
		typ:    reflect.TypeFor[M](),
		reply:  reflect.TypeFor[R](),
		decode: codec.Value[M](),
		asked:  true,
		run: func(state any, c *Context, msg any, _ *reusableValues) {
			if c.req == nil {
				return
			}
			st, _ := state.(*stream)
			var refusal *rpc.Error
			switch {
			case st == nil:
				refusal = errGone
			case c.Principal() != st.principal || isRemote(c.req) != st.remote:
				refusal = c.foreign("the stream")
			default:
				refusal = fn(st, valueOf[M](msg), c.req)
			}
			if refusal != nil {
				c.req.Fail(refusal)
			}
			c.life.answer()
		},
	}}
}

// newStream makes the stream that the message of c opens, or returns why it cannot.
func (s *System) newStream(c *Context) (*stream, *rpc.Error) {
	st := &stream{sys: s, principal: c.Principal(), remote: isRemote(c.req), room: make(chan struct{}, 1), arrived: make(chan struct{}, 1), gone: make(chan struct{})}
	switch r := c.req.(type) {
	case *ask[streamOpened]:
	case *copied:
		cd, err := s.codecs.ByID(r.codec)
		if _, opens := r.asker.(*ask[streamOpened]); !opens || err != nil {
			return nil, errNotOpened
		}
		st.codec, st.enc.codec = cd, cd
	case *server.Inbound:
		cd, err := s.codecs.ByID(r.Codec)
		if err != nil {
			return nil, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
		}
		st.codec, st.enc.codec = cd, cd
		st.addr, st.opener = r.Arrival().Addr, r.TypeID
	default:
		return nil, errNotOpened
	}
	st.ctx = &Context{cell: c.cell, req: st, origin: c.origin, asks: true}
	st.ctx.life.answer() // nobody answers st through its context
	if m := c.meta; m != nil {
		st.ctx.meta = &meta{sender: m.sender, trace: m.trace}
		for _, h := range m.headers { // cloned, because they refer to a link's read buffer
			st.ctx.meta.headers = append(st.ctx.meta.headers, transport.Header{Key: strings.Clone(h.Key), Value: strings.Clone(h.Value)})
		}
	}
	if err := s.streams.enter(st); err != nil {
		return nil, err
	}
	st.self = &cell{kind: streamKind, state: st}
	st.self.more.Store(&annex{role: &role{stream: st}})
	if _, err := s.enter(streamName+uuid.NewString(), st.self); err != nil {
		s.streams.leave(st)
		return nil, errShutdown
	}
	st.mu.Lock()
	st.timer = time.AfterFunc(streamBeat, st.beat)
	st.mu.Unlock()
	return st, nil
}

func isRemote(req request) bool {
	_, ok := req.(*server.Inbound)
	return ok
}

// opened tells the client the address of its stream, in msgpack, whatever the client's codec is.
func (st *stream) opened(req request, says streamTypes) {
	v := streamOpened{Actor: st.self.self.addr.String()}
	v.In, v.Out = says.ids(st.sys)
	switch r := req.(type) {
	case *ask[streamOpened]:
		r.end(v, nil)
	case *copied:
		r.asker.(*ask[streamOpened]).end(v, nil)
	case *server.Inbound:
		typ := st.sys.types.get(reflect.TypeFor[streamOpened]())
		cd, err := st.sys.codecs.ByID(codec.IDMsgpack)
		var body []byte
		if err == nil {
			body, err = cd.Append(nil, v)
		}
		if err != nil {
			r.Fail(rpc.Errorf(rpc.Undecodable, rpc.HasRun, "encoding the answer: %w", err))
			return
		}
		r.Reply(typ.id, codec.IDMsgpack, body)
	}
}

// start runs the application's function in a goroutine beside the actor.
func (st *stream) start(run func() error) {
	st.beside.Store(true)
	st.sys.busy.Add(1) // a shutdown waits for it
	go func() {
		defer st.sys.idle()
		returned := false
		var err error
		defer func() {
			if !returned {
				reason := recover()
				if reason == nil {
					reason = "it called runtime.Goexit"
				}
				st.sys.stats.panics.Add(1)
				err := panicked("the function behind a stream", reason)
				st.sys.faults.note(DeadLetter{Time: time.Now(), To: st.ctx.Self().String(), Type: "stream", Reason: err}, st.ctx.cell.kind.name)
				st.endWith(st.sys.forCaller(st, err))
			}
			st.ran(err)
		}()
		err = run()
		returned = true
	}()
}

// errOver tells the application's function that its client is gone.
var errOver = errors.New("actor: the stream is over")

// put adds an item for the client. It waits while the client is slow.
func (st *stream) put(v any) error {
	b, bad := st.enc.encode(v)
	if bad != nil {
		if quiet := st.sys.hidePanic(bad, st.ctx.cell.self.addr, "item of a stream"); quiet != error(bad) {
			bad = rpc.Errorf(rpc.Undecodable, rpc.HasRun, "encoding an item of a stream: %w", quiet)
		}
		st.endWith(bad)
		return bad
	}
	size, err := st.afford(len(b))
	if err != nil {
		return err
	}
	for {
		st.mu.Lock()
		switch {
		case st.over:
			st.mu.Unlock()
			return errOver
		case st.out.buf.fits(len(b)):
			st.out.buf.add(b, v)
			st.out.buf.held += size
			st.memory.ahead -= size
			answers := st.out.give(nil)
			st.freeGone()
			st.mu.Unlock()
			st.answer(answers)
			return nil
		}
		st.mu.Unlock()
		select {
		case <-st.room:
		case <-st.gone:
		}
	}
}

// take waits for the next item from the client and returns it. Without an item, more is false:
// without an error the client has sent all items.
func take[T any](st *stream) (v T, more bool, err error) {
	if !st.beside.Load() {
		return v, false, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a stream was read in the actor's turn")
	}
	for st.reading.empty() {
		st.mu.Lock()
		st.in.gone += st.reading.held
		st.reading, st.in.buf = st.in.buf, chunk{}
		answers := st.in.admit(nil)
		st.freeGone()
		last, over, why := st.in.last && st.in.buf.empty(), st.over, st.why
		st.mu.Unlock()
		st.answer(answers)
		switch {
		case !st.reading.empty():
		case last:
			return v, false, nil
		case over && why == nil:
			return v, false, errOver
		case over:
			return v, false, why
		default:
			select {
			case <-st.arrived:
			case <-st.gone:
			}
		}
	}
	v, err = pop[T](&st.reading, st.codec)
	return v, err == nil, err
}

// ran is called when the application's function has returned err.
func (st *stream) ran(err error) {
	st.mu.Lock()
	st.ended, st.out.done = true, true
	if err != nil && st.out.err == nil {
		st.out.err = handlerError(err)
	}
	st.in.unused = true
	answers := st.in.admit(st.out.give(nil))
	st.freeGone()
	over := st.over
	st.mu.Unlock()
	st.answer(answers)
	st.ctx.release()
	if over {
		st.sys.streams.leave(st)
	}
}

// endWith sets the error that the stream ends with, whatever the application's function returns.
func (st *stream) endWith(err *rpc.Error) {
	st.mu.Lock()
	st.out.err = err
	st.mu.Unlock()
}

// close ends the stream: it answers the waiting requests, and cancels the context of the
// application's function.
func (st *stream) close(why *rpc.Error) {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return
	}
	st.over, st.why = true, why
	answers := st.in.end(st.out.end(why))
	st.freeGone()
	cancel, ended := st.cancel, st.ended
	st.mu.Unlock()
	st.timer.Stop()
	close(st.gone)
	st.answer(answers)
	if cancel != nil {
		cancel()
	}
	st.self.end(nil)
	if ended {
		st.sys.streams.leave(st)
	}
}

// beat ends the stream of a client that has been silent for too long. It counts beats instead of
// time, so that after this process was suspended its clients still have time to be heard.
func (st *stream) beat() {
	st.mu.Lock()
	st.silent++
	lost := st.silent > streamBeats
	if !lost && !st.over {
		st.timer.Reset(streamBeat)
	}
	st.mu.Unlock()
	if lost {
		st.close(rpc.Errorf(rpc.Unavailable, rpc.HasRun, "the stream's other side was not heard of for %v", streamBeats*streamBeat))
	}
}

// handleNext handles a request for a batch.
func (st *stream) handleNext(m streamNext, req request) *rpc.Error {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return errGone
	}
	st.silent = 0
	answers, err := st.out.ask(m.N, req)
	st.freeGone()
	waits := err == nil && len(answers) == 0
	st.mu.Unlock()
	st.answer(answers)
	if waits {
		req.OnCancel(func() { st.drop(req) })
	}
	return err
}

// handlePush handles a request that brings a batch.
func (st *stream) handlePush(m streamPush, req request) *rpc.Error {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return errGone
	}
	st.silent = 0
	m.held = takeWeight(req)
	answers, err := st.in.push(m, req)
	st.freeGone()
	waits := err == nil && len(answers) == 0
	st.mu.Unlock()
	st.answer(answers)
	if waits {
		req.OnCancel(func() { st.drop(req) })
	}
	return err
}

// handleSign handles a sign that the client is alive, or has stopped.
func (st *stream) handleSign(m streamSign, req request) *rpc.Error {
	st.mu.Lock()
	st.silent = 0
	st.mu.Unlock()
	if m.Stop {
		st.close(rpc.Errorf(rpc.Canceled, rpc.HasRun, "the stream's other side broke it off"))
	}
	st.answer([]answer{{req: req}})
	return nil
}

// drop ends a request that its client has cancelled. Without an outcome the request would count
// as running, and its session would never end.
func (st *stream) drop(req request) {
	st.mu.Lock()
	waiting := len(st.out.asked) + len(st.in.pushed)
	st.out.asked = without(st.out.asked, req)
	st.in.drop(req)
	st.freeGone()
	dropped := len(st.out.asked)+len(st.in.pushed) < waiting
	st.mu.Unlock()
	if dropped {
		req.Fail(errGivenUp)
	}
}

// answer gives the outcomes. It must be called without a lock.
func (st *stream) answer(answers []answer) {
	for _, a := range answers {
		switch {
		case a.err != nil:
			a.req.Fail(a.err)
		case a.batch != nil:
			respond(st.sys, a.req, *a.batch)
			wake(st.room)
		default:
			respond(st.sys, a.req, a.taken)
			wake(st.arrived)
		}
	}
}

func respond[R any](s *System, req request, v R) {
	var err error
	switch r := req.(type) {
	case *ask[R]:
		r.end(v, nil)
	case *server.Inbound:
		err = s.reply(r, v, reflect.TypeFor[R]())
	}
	if err != nil {
		req.Fail(handlerError(err))
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Start, WillNotRun, PutBack, Fail, Deadline and OnCancel implement request: the stream is the request
// in the Context of the application's function.
func (st *stream) Start() bool                 { return true }
func (st *stream) WillNotRun() bool            { return false }
func (st *stream) PutBack() bool               { return false }
func (st *stream) Fail(*rpc.Error)             {}
func (st *stream) Deadline() (time.Time, bool) { return time.Time{}, false }

func (st *stream) OnCancel(fn func()) {
	st.mu.Lock()
	st.cancel = fn
	over := st.over
	st.mu.Unlock()
	if over {
		fn()
	}
}

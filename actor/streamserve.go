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

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// MaxStreams is how many streams a node holds for one principal of other nodes; more are
// refused as Overloaded. One takes, for each direction, a batch of items that are ready
// and two that are under way: at most 64 KiB each, or one item,
// which count in its principal's share of the memory (rpc.Config.MemoryBytes).
const MaxStreams = 1024

// stream is one stream on the node that serves it: what lies between its client's
// requests, which come to a hidden actor, and the goroutine that runs the application's
// part. Its methods may be called concurrently.
type stream struct {
	sys       *System
	ctx       *Context // the application's
	self      *cell    // the hidden actor
	principal string   // who opened it: nobody else may use it
	remote    bool     // from another node, and so counted
	memory    streamMemory
	addr      netip.Addr // from which it was opened
	opener    uint64     // type of the message that did
	codec     codec.Codec
	enc       encoder     // the application's goroutine's own
	reading   chunk       // likewise: what it took and has not returned yet
	beside    atomic.Bool // that goroutine runs, so the actor's turn is over

	room    chan struct{} // a token when what was put may have been taken
	arrived chan struct{} // a token when there may be something to take
	gone    chan struct{} // closed when it is over

	mu     sync.Mutex // guards what follows
	out    outflow
	in     inflow
	over   bool       // nothing passes any more
	why    *rpc.Error // then: why; nil if its client has all it wanted
	ended  bool       // the application's goroutine has returned, or never ran
	cancel func()     // ends ctx
	timer  *time.Timer
	silent int // beats since its client's last word
}

// outflow is the direction to the client. Pure: the stream's lock guards it.
type outflow struct {
	buf   chunk
	asked []waiting[streamBatch]   // what waits for batches, oldest number first
	next  uint64                   // number of the next batch to give, less 1
	kept  [streamDepth]streamBatch // the last ones given, by number
	done  bool                     // nothing more is put
	err   *rpc.Error               // then: with what it ends
	gone  int                      // bytes that count no more, to be given back
}

// inflow is the direction from the client, likewise.
type inflow struct {
	buf    chunk
	pushed []waiting[streamTaken] // what waits to be taken
	next   uint64                 // number of the next one to take, less 1
	last   bool                   // the last one was taken
	unused bool                   // nobody takes any more
	gone   int                    // bytes that count no more, to be given back
}

// asked is a request that waits for its turn.
type waiting[R any] struct {
	n     uint64
	req   request
	items chunk // of a push
	last  bool
}

// answer is an outcome that is to be given once no lock is held.
type answer struct {
	req   request
	batch *streamBatch // nil: taken
	taken streamTaken
	err   *rpc.Error // in place of both
}

// streamName begins the names of the hidden actors, which go on with one of a kind.
const streamName = hidden + "stream-"

// streamKind is the kind of the hidden actors. They have no state that a panic could
// spoil: the stream is all they know.
var streamKind = Define("tandem.stream", func() *stream { return nil },
	streamHandler((*stream).handleNext), streamHandler((*stream).handlePush), streamHandler((*stream).handleSign)).With(systems())

// streamHandler makes a handler of the hidden actors. fn answers the request itself,
// unless it returns an error, with which the request did not run.
func streamHandler[M Question[R], R any](fn func(*stream, M, request) *rpc.Error) Handler[*stream] {
	return Handler[*stream]{&handler{
		typ:    reflect.TypeFor[M](),
		reply:  reflect.TypeFor[R](),
		decode: codec.Value[M](),
		asked:  true,
		run: func(state any, c *Context, msg any, _ *boxes) {
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
				refusal = fn(st, unboxed[M](msg), c.req)
			}
			if refusal != nil {
				c.req.Refuse(refusal)
			}
			c.done = true
		},
	}}
}

// newStream makes the stream that the message of c opens, or says why it cannot.
func (s *System) newStream(c *Context) (*stream, *rpc.Error) {
	st := &stream{sys: s, principal: c.Principal(), remote: isRemote(c.req), room: make(chan struct{}, 1), arrived: make(chan struct{}, 1), gone: make(chan struct{})}
	switch r := c.req.(type) {
	case *ask[streamOpened]:
	case *copied:
		cd, err := s.codecs.ByID(r.codec)
		if _, opens := r.asker.(*ask[streamOpened]); !opens || err != nil {
			return nil, errTold
		}
		st.codec, st.enc.codec = cd, cd
	case *rpc.Inbound:
		cd, err := s.codecs.ByID(r.Codec)
		if err != nil {
			return nil, rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
		}
		st.codec, st.enc.codec = cd, cd
		st.addr, st.opener = r.Arrival().Addr, r.TypeID
	default:
		return nil, errTold
	}
	st.ctx = &Context{cell: c.cell, req: st, origin: c.origin, asks: true, done: true}
	if m := c.meta; m != nil {
		st.ctx.meta = &meta{sender: m.sender, trace: m.trace}
		for _, h := range m.headers { // which refer to a link's read buffer
			st.ctx.meta.headers = append(st.ctx.meta.headers, transport.Header{Key: strings.Clone(h.Key), Value: strings.Clone(h.Value)})
		}
	}
	if err := s.streams.enter(st); err != nil {
		return nil, err
	}
	st.self = &cell{kind: streamKind, state: st, traits: &traits{stream: st}}
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
	_, ok := req.(*rpc.Inbound)
	return ok
}

// opened tells the client where its stream is: in msgpack, whatever its own codec.
func (st *stream) opened(req request) {
	v := streamOpened{Actor: st.self.self.addr.String()}
	switch r := req.(type) {
	case *ask[streamOpened]:
		r.end(v, nil)
	case *copied:
		r.asker.(*ask[streamOpened]).end(v, nil)
	case *rpc.Inbound:
		typ := st.sys.types.of(reflect.TypeFor[streamOpened]())
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

// start runs the application's part beside the actor.
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
				st.blame(st.sys.forCaller(st, err))
			}
			st.ran(err)
		}()
		err = run()
		returned = true
	}()
}

// errOver tells the application's part that its client is gone.
var errOver = errors.New("actor: the stream is over")

// put hands an item to the client, waiting while it is slow.
func (st *stream) put(v any) error {
	b, bad := st.enc.encode(v)
	if bad != nil {
		if quiet := st.sys.unsaid(bad, st.ctx.cell.self.addr, "item of a stream"); quiet != error(bad) {
			bad = rpc.Errorf(rpc.Undecodable, rpc.HasRun, "encoding an item of a stream: %w", quiet)
		}
		st.blame(bad)
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
			st.giveBack()
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

// take returns the next item of the client, waiting for one. Without more and without an
// error it has sent all.
func take[T any](st *stream) (v T, more bool, err error) {
	if !st.beside.Load() {
		return v, false, rpc.Errorf(rpc.Invalid, rpc.HasRun, "a stream was read in the actor's turn")
	}
	for st.reading.empty() {
		st.mu.Lock()
		st.in.gone += st.reading.held
		st.reading, st.in.buf = st.in.buf, chunk{}
		answers := st.in.admit(nil)
		st.giveBack()
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

// ran takes note that the application's part has returned.
func (st *stream) ran(err error) {
	st.mu.Lock()
	st.ended, st.out.done = true, true
	if err != nil && st.out.err == nil {
		st.out.err = rpc.HandlerError(err)
	}
	st.in.unused = true
	answers := st.in.admit(st.out.give(nil))
	st.giveBack()
	over := st.over
	st.mu.Unlock()
	st.answer(answers)
	st.ctx.letGo()
	if over {
		st.sys.streams.leave(st)
	}
}

// blame says with what the stream ends, whatever the application's part returns.
func (st *stream) blame(err *rpc.Error) {
	st.mu.Lock()
	st.out.err = err
	st.mu.Unlock()
}

// close ends the stream: what waits is answered, and the application's part is told.
func (st *stream) close(why *rpc.Error) {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return
	}
	st.over, st.why = true, why
	answers := st.in.end(st.out.end(why))
	st.giveBack()
	cancel, ended := st.cancel, st.ended
	st.mu.Unlock()
	st.timer.Stop()
	close(st.gone)
	st.answer(answers)
	if cancel != nil {
		cancel()
	}
	st.self.stop()
	if ended {
		st.sys.streams.leave(st)
	}
}

// beat ends the stream of a client that is silent for too long. It counts beats, not
// time, so that a process that stood still gives its clients time to be heard.
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

// handleNext is asked for a batch.
func (st *stream) handleNext(m streamNext, req request) *rpc.Error {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return errGone
	}
	st.silent = 0
	answers, err := st.out.ask(m.N, req)
	st.giveBack()
	waits := err == nil && len(answers) == 0
	st.mu.Unlock()
	st.answer(answers)
	if waits {
		req.OnCancel(func() { st.drop(req) })
	}
	return err
}

// handlePush is brought a batch.
func (st *stream) handlePush(m streamPush, req request) *rpc.Error {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return errGone
	}
	st.silent = 0
	m.held = takeWeight(req)
	answers, err := st.in.push(m, req)
	st.giveBack()
	waits := err == nil && len(answers) == 0
	st.mu.Unlock()
	st.answer(answers)
	if waits {
		req.OnCancel(func() { st.drop(req) })
	}
	return err
}

// handleSign hears that the client lives, or is through.
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

// drop ends a request that its client has given up: without an outcome it would count as
// running, and keep its session for ever.
func (st *stream) drop(req request) {
	st.mu.Lock()
	waiting := len(st.out.asked) + len(st.in.pushed)
	st.out.asked = without(st.out.asked, req)
	st.in.drop(req)
	st.giveBack()
	dropped := len(st.out.asked)+len(st.in.pushed) < waiting
	st.mu.Unlock()
	if dropped {
		req.Refuse(errGivenUp)
	}
}

// answer gives outcomes. No lock is held.
func (st *stream) answer(answers []answer) {
	for _, a := range answers {
		switch {
		case a.err != nil:
			a.req.Refuse(a.err)
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
	case *rpc.Inbound:
		err = s.reply(r, v, reflect.TypeFor[R]())
	}
	if err != nil {
		req.Fail(rpc.HandlerError(err))
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Start, Lapsed, Refuse, Fail, Deadline and OnCancel make a stream what its application's context
// is the context of.
func (st *stream) Start() bool                 { return true }
func (st *stream) Lapsed() bool                { return false }
func (st *stream) Refuse(*rpc.Error)           {}
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

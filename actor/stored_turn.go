package actor

import (
	"bytes"
	"reflect"
	"sync"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
)

// transaction is one message to a stored actor: what its handler has answered and sent waits here until it
// may leave. In the handler's Context it stands for the request, also if the message is one-way.
type transaction struct {
	cell  *cell
	req   request                       // the request that it stands for; nil: the message is one-way
	reads bool                          // its handler only reads
	asked *stored.Request[*transaction] // nil: the request has no name

	mu      sync.Mutex // guards what follows: a Deferred that is not allowed may be answered by anybody
	stage   turnStage
	answer  encodedReply
	err     *rpc.Error      // of the handler
	sending []state.Message // what the handler has sent
	sole    bool            // nobody else refers to the request any more, and the reply is in its memory
}

// encodedReply is what a handler has answered.
type encodedReply struct {
	typ    reflect.Type // nil: there is no reply, or it comes from the store
	typeID uint64
	codec  uint8
	body   []byte
}

// turnStage is how far the handling of a message has come. It only ever changes to a later stage.
type turnStage uint8

const (
	turnOpen    turnStage = iota // the handler runs, and has not answered
	turnEnded                    // there is a reply or an error
	turnSettled                  // the handler has returned, and nothing changes any more
	turnLeft                     // the reply has left
)

// Start, WillNotRun, PutBack, Deadline, OnCancel and Fail implement request.
func (t *transaction) Start() bool      { return true }
func (t *transaction) WillNotRun() bool { return t.req != nil && t.req.WillNotRun() }
func (t *transaction) PutBack() bool    { return false }

func (t *transaction) Deadline() (at time.Time, ok bool) {
	if t.req != nil {
		at, ok = t.req.Deadline()
	}
	return at, ok
}

func (t *transaction) OnCancel(fn func()) {
	if t.req != nil {
		t.req.OnCancel(fn)
	}
}

func (t *transaction) Fail(err *rpc.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stage == turnOpen {
		t.stage, t.err = turnEnded, err
	}
}

// fails notes an error of a handler that has ended in another way before.
func (t *transaction) fails(err *rpc.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stage < turnSettled {
		t.stage, t.err = turnEnded, err
	}
}

// reply implements encodes.
func (t *transaction) reply(v any, typ reflect.Type) error {
	a := encodedReply{typ: typ}
	if t.isAnswered() {
		s := t.cell.self.sys
		a.codec = s.cfg.Codec.ID()
		var into []byte
		if in, ok := t.req.(*server.Inbound); ok {
			a.codec, into = replyCodec(in), in.Storage()
		}
		var err error
		if a.typeID, a.body, err = s.encodeAs(a.codec, v, typ, into); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stage != turnOpen {
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "the handler of a stored actor has answered, or has returned")
	}
	t.stage, t.answer = turnEnded, a
	return nil
}

// isAnswered reports whether somebody wants the handler's reply, and not only to know that it has run.
func (t *transaction) isAnswered() bool {
	switch r := t.req.(type) {
	case nil, *delivery:
		return false
	case *server.Inbound:
		return !wantsNoReply(r)
	}
	return true
}

// handled notes that the handler of a message has returned that nobody wants a reply to.
func (t *transaction) handled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stage == turnOpen {
		t.stage = turnEnded
	}
}

// settle has nothing change any more, and returns false if the message has not been handled.
func (t *transaction) settle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ended := t.stage == turnEnded
	t.stage = turnSettled
	return ended
}

// left notes that the reply has left, and released that only t refers to the request any more. After both its memory
// is free.
func (t *transaction) left() {
	t.mu.Lock()
	t.stage = turnLeft
	free := t.sole
	t.mu.Unlock()
	t.free(free)
}

func (t *transaction) released() {
	t.mu.Lock()
	t.sole = true
	free := t.stage == turnLeft
	t.mu.Unlock()
	t.free(free)
}

func (t *transaction) free(now bool) {
	if in, remote := t.req.(*server.Inbound); remote && now {
		in.Free()
	}
}

// outcome is what is kept of how the message ended.
func (t *transaction) outcome() stored.Outcome {
	if e := t.err; e != nil {
		return stored.Outcome{Verdict: uint8(e.Verdict), Code: uint16(e.Code), User: e.User, Message: e.Message}
	}
	return stored.Outcome{Type: t.answer.typeID, Codec: t.answer.codec, Body: t.answer.body}
}

// leave gives the request its outcome.
func (t *transaction) leave() {
	s := t.cell.self.sys
	switch r := t.req.(type) {
	case nil:
	case replier: // from another node, or copied
		if t.err != nil {
			t.req.Fail(t.err)
		} else {
			r.Reply(t.answer.typeID, t.answer.codec, t.answer.body)
			t.left()
		}
	default:
		switch near, waits := t.req.(asker); {
		case t.err != nil:
			t.req.Fail(t.err)
		case waits:
			near.endEncoded(s, &promise.Reply{TypeID: t.answer.typeID, Codec: t.answer.codec, Node: s.cfg.Name, Body: t.answer.body})
		default:
			t.pass(r)
		}
	}
}

// pass gives a job, or what else takes a value, its reply.
func (t *transaction) pass(to request) {
	taker, ok := to.(interface{ answer(any) error })
	var err error
	switch {
	case !ok:
		err = rpc.Errorf(rpc.Invalid, rpc.HasRun, "a reply to a %T", to)
	case t.answer.typ == nil:
		err = taker.answer(nil)
	default:
		v := reflect.New(t.answer.typ)
		cd, unknown := t.cell.self.sys.codecs.ByID(t.answer.codec)
		if err = unknown; err == nil {
			err = cd.Decode(t.answer.body, v.Interface())
		}
		if err == nil {
			err = taker.answer(v.Elem().Interface())
		}
	}
	if err != nil {
		to.Fail(failure(err))
	}
}

// leaveWith gives the request the outcome that is stored.
func (t *transaction) leaveWith(outcome []byte) {
	o, _, err := stored.Parse(outcome)
	switch {
	case err != nil:
		t.err = rpc.Errorf(rpc.Undecodable, rpc.HasRun, "the stored outcome cannot be decoded: %w", err)
	case o.Code != 0:
		t.err = &rpc.Error{Code: rpc.Code(o.Code), Verdict: rpc.Verdict(o.Verdict), User: o.User, Message: o.Message}
	default:
		t.answer = encodedReply{typeID: o.Type, codec: o.Codec, body: o.Body}
	}
	if in, far := t.req.(*server.Inbound); far {
		in.Recorded()
	}
	t.leave()
}

// refuse gives the request an error.
func (t *transaction) refuse(err *rpc.Error) {
	t.err = err
	t.leave()
}

// refusals are the errors of requests that are not admitted.
var refusals = map[stored.Decision]*rpc.Error{
	stored.Stale:   rpc.Errorf(rpc.Stale, rpc.Unknown, "the caller has said that it needs no outcome of this request, or the time of its key is over"),
	stored.Reused:  rpc.Errorf(rpc.IDReused, rpc.Unknown, "another request has this name"),
	stored.Full:    rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the actor keeps as many outcomes for its callers as it may"),
	stored.Invalid: rpc.Errorf(rpc.Invalid, rpc.NotRun, "the name of the request is beyond the limits of a store"),
	stored.Ended:   errSuperseded,
}

// transact has a message to a stored actor handled.
func (c *cell) transact(ctx *Context, w *worker, it *item, h *handler) {
	st := c.place().store
	t := w.transaction()
	t.cell, t.req = c, it.req
	if in, ok := it.msg.(*server.Inbound); ok {
		if in.Receipt {
			in.Reply(0, 0, nil)
			return
		}
		h = w.last.kind.handlerOf(c.self.sys, in.TypeID)
	}
	t.reads = h != nil && h.reads
	if !t.reads && !st.admit(c, t, it) {
		return
	}
	ctx.req, ctx.asks = t, true
	c.handle(ctx, w, it, h)
	if d := ctx.deferred(); d != nil {
		t.fails(rpc.Errorf(rpc.Invalid, rpc.NotRun, "the answer of a stored actor cannot be put off"))
	}
	ctx.end() // so that only t refers to the request, if the Context was not kept
	if c.conclude(t) {
		w.freeTransaction(t)
	}
}

// transaction returns an empty one.
func (w *worker) transaction() *transaction {
	t := w.spare
	if w.spare = nil; t == nil {
		t = new(transaction)
	}
	return t
}

// freeTransaction keeps the memory of one for which the record does nothing any more, if nobody else refers to it.
func (w *worker) freeTransaction(t *transaction) {
	t.mu.Lock()
	free := t.sole && t.stage == turnLeft
	t.mu.Unlock()
	if free {
		*t = transaction{}
		w.spare = t
	}
}

// conclude decides what becomes of a message whose handler has returned. It returns whether that was all, because the
// handler has only read, and no write has to come before its reply.
func (c *cell) conclude(t *transaction) (over bool) {
	st := c.place().store
	if !t.settle() { // it was refused before it came to its handler
		st.withdraw(t, errNotHandled)
		return false
	}
	if !c.holds() {
		st.setBack(c)
		t.refuse(errUncertain)
		st.withdraw(t, errUncertain)
		return false
	}
	var res stored.Result
	switch {
	case t.err != nil && !t.reads:
		st.setBack(c)
	case t.err == nil && !t.reads:
		data, err := c.kind.keeps.encode(c.state)
		if err != nil {
			st.setBack(c)
			t.err = bodyError(err, rpc.NotRun, "the state of "+c.self.addr.name)
		}
		res.State, res.Outbox = data, t.sending
	}
	if t.err != nil && t.err.Verdict == rpc.NotRun {
		t.leave()
		st.withdraw(t, t.err)
		return false
	}
	res.Outcome = t.outcome()
	fate, joined := st.act.Handled(t, t.asked, res)
	switch fate {
	case stored.Waits:
	case stored.Leaves:
		t.leave()
		if t.reads {
			return true
		}
		for _, other := range joined {
			other.err, other.answer = t.err, t.answer
			other.answer.body = bytes.Clone(t.answer.body)
			other.leave()
		}
	default:
		st.setBack(c)
		err := fates[fate]
		t.refuse(err)
		for _, other := range joined {
			other.refuse(err)
		}
	}
	st.next(c)
	return false
}

// fates are the errors of messages that were handled and come to nothing.
var fates = map[stored.Fate]*rpc.Error{
	stored.TooLarge: rpc.Errorf(rpc.TooLarge, rpc.NotRun, "the state, its outcomes and its messages would be larger than the store takes, or the reply is too large to be kept"),
	stored.Crowded:  rpc.Errorf(rpc.Overloaded, rpc.NotRun, "there is no room for the reply or the messages, before others have left"),
	stored.Wrong:    rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message of the handler is beyond the limits of a store"),
	stored.Late:     errSuperseded,
}

var (
	errSuperseded = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the actor may be active elsewhere")
	errNotHandled = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the copy of the request that was to be handled was refused")
)

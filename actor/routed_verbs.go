package actor

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// The verbs for services: they try one instance after another, until one has run the request
// or another attempt would be of no use.

// callService is Call to a service.
func callService[M, R any](ctx context.Context, from *Context, to *target, m M, opts *settings) (R, error) {
	v := to.sys.routedCall(ctx, from, to, opts)
	opts, err := v.name(ctx, to, opts, true)
	if err != nil {
		var none R
		return none, err
	}
	defer v.free()
	v.key = keyOf(v, m)
	v.excludeSender(from)
	v.waits = from.waits()
	return callNext[M, R](ctx, from, v, m, opts)
}

// refuseKey returns an error if a one-way message or a job whose node is not fixed has a key: another instance or
// activation would not know what it names.
func refuseKey(to *target, opts *settings) error {
	if !opts.IsKeyed() {
		return nil
	}
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a request at one actor of one node, and %v is none", to.addr)
}

// callNext makes the attempts of a Call to a service that remain for v.
func callNext[M, R any](ctx context.Context, from *Context, v *routedCall, m M, opts *settings) (R, error) {
	for {
		t, none := v.nextOrWait(ctx)
		if none != nil {
			var r R
			return r, v.judged(none)
		}
		r, last, err := callOnce[M, R](ctx, from, v, t, m, opts)
		if last || err == nil || !v.waitAgain(ctx, err) {
			return r, v.judged(err)
		}
	}
}

// callOnce makes one attempt. last says that the caller must not make another one.
func callOnce[M, R any](ctx context.Context, from *Context, v *routedCall, t *target, m M, opts *settings) (r R, last bool, err error) {
	c := t.cell.Load()
	var w *calling
	if v.waits {
		if w, err = from.waitFor(t, c); err != nil {
			v.end(err)
			return r, false, err
		}
		defer w.end(from.cell)
	}
	if c == nil && t.addr.node != t.sys.cfg.Name || opts.ByRoad() {
		r, err = call[M, R](ctx, from, w, v, t, m, opts)
		v.end(err) // only if it was not sent; otherwise the engine has ended it
		last = true
	} else {
		r, err = callHere[M, R](ctx, from, w, t, c, m, opts)
		v.end(err)
	}
	if err != nil {
		w.failed(from, err)
	}
	return r, last, err
}

// callHere is Call to an actor of this system, which is c unless it is nil.
func callHere[M, R any](ctx context.Context, from *Context, w *calling, t *target, c *cell, m M, opts *settings) (R, error) {
	if c == nil {
		var r R
		return r, t.sys.noActor(from, t.addr)
	}
	return callLocal[M, R](ctx, from, w, c, m, opts)
}

// askService is Ask of a service.
func askService[M, R any](ctx context.Context, from *Context, to *target, m M, opts *settings) *rpc.Future[R] {
	v := to.sys.routedCall(ctx, from, to, opts)
	opts, err := v.name(ctx, to, opts, false)
	if err != nil {
		return failed[R](err)
	}
	f := askNext[M, R](ctx, from, v, to, m, opts)
	if v.named.open != nil {
		f.Then(func(R, error) { v.named.end() })
	}
	return f
}

// askNext makes the attempts of an Ask.
func askNext[M, R any](ctx context.Context, from *Context, v *routedCall, to *target, m M, opts *settings) *rpc.Future[R] {
	v.key = keyOf(v, m)
	kept := opts.Clone() // for a retry after the sender has gone on
	m, err := snapshot(to.sys, m, to.addr.name, opts)
	if err != nil {
		return failed[R](err)
	}
	for {
		t, none := v.next()
		if none != nil {
			return failed[R](none)
		}
		c := t.cell.Load()
		if c == nil && t.addr.node != to.sys.cfg.Name || opts.ByRoad() {
			return askFar[M, R](ctx, from, v, t, m, opts)
		}
		f, err := askHere[M, R](ctx, from, v, t, c, m, kept)
		if err == nil {
			return f
		}
		v.end(err)
		if !v.waitAgain(ctx, err) {
			return failed[R](err)
		}
	}
}

// askHere is Ask of an actor of this system, which is c unless it is nil. After an error the
// request was not sent.
func askHere[M, R any](ctx context.Context, from *Context, v *routedCall, t *target, c *cell, m M, opts *settings) (*rpc.Future[R], error) {
	if c == nil {
		return nil, t.sys.noActor(from, t.addr)
	}
	a := newAsking[R](ctx, t.sys)
	a.future.OnEnd(func() {
		_, err := a.future.Result()
		v.end(err)
	})
	a.elsewhere = func(err *rpc.Error) bool {
		v.end(err)
		pause, again := v.again(err)
		return again && askOn(ctx, from, a, v, pause, m, opts)
	}
	if err := put(ctx, from, c, m, a, metaOf(ctx, from, opts), opts, false); err != nil {
		var none R
		a.end(none, err)
		return nil, err
	}
	return future(a.future), nil
}

// askOn retries a at other instances, in a goroutine of its own, after an actor of this system
// has accepted it and not run it, after a pause. It returns false if the request or the system has ended.
func askOn[M, R any](ctx context.Context, from *Context, a *ask[R], v *routedCall, pause time.Duration, m M, opts *settings) bool {
	base := context.WithoutCancel(ctx)
	if from != nil {
		base = from.Detached()
	}
	sys := v.system()
	on, cancel := context.WithDeadline(base, a.deadline)
	if !a.goesOn(cancel) || !sys.services.run(func() {
		defer cancel()
		defer context.AfterFunc(sys.ctx, cancel)()
		sleep(on, pause)
		r, err := callNext[M, R](on, from, v, m, opts)
		a.end(r, v.judged(err))
	}) {
		cancel()
		return false
	}
	return true
}

// tellService is tell to a service.
func tellService[M any](ctx context.Context, from *Context, to *target, m M, opts *settings) error {
	s, acked := to.sys, opts.IsAcked()
	v := s.routedCall(ctx, from, to, opts)
	defer v.free()
	if err := refuseKey(to, opts); err != nil {
		return err
	}
	if opts.ByRoad() && !acked {
		return errUnacked
	}
	if err := v.malformed(); err != nil {
		return err
	}
	v.key = keyOf(v, m)
	for {
		t, none := v.next()
		if none != nil {
			if acked {
				return none
			}
			s.handBack(to.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, none)
			return nil
		}
		var err error
		c := t.cell.Load()
		here := t.addr.node == s.cfg.Name
		if c == nil && !acked && v.isVirtual() { // while this node tries to activate the actor itself, messages that came earlier are there
			c = s.refs.live(v.search.name)
		}
		if c != nil && !opts.ByRoad() {
			v.sent = true
			err = put(ctx, from, c, m, nil, metaOf(ctx, from, opts), opts, true) // if it has stopped, another instance gets the message
		} else {
			if !acked && v.isVirtual() && s.virtuals.sending.Load() > 0 { // after its node is known: that is learned when those before it are in line
				if sent, err := s.virtuals.sendBehind(to, item{msg: m, meta: metaOf(ctx, from, opts)}); sent || err != nil {
					return err
				}
			}
			v.sent = !acked
			err = tellAt(ctx, from, v, t, m, opts)
			if err == nil && v.isVirtual() && !acked { // it is still on its way, and the engine has v
				return nil
			}
		}
		v.end(err)
		switch {
		case err == errDropped && !acked:
			s.handBack(t.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, errDropped)
			return nil
		case err == nil || err == errDropped || acked && !here || !v.waitAgain(ctx, err): // for another node, the engine has made the other attempts
			if !acked && err == errGone {
				s.handBack(t.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, errGone)
				return nil
			}
			return err
		}
	}
}

// submitService is Submit to a service.
func submitService[M, R any](ctx context.Context, from *Context, to *target, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var none rpc.Token[R]
	set := settingsOf(opts)
	if err := refuseKey(to, set); err != nil {
		return none, err
	}
	v := to.sys.routedCall(ctx, from, to, set)
	defer v.free()
	v.key = keyOf(v, m)
	for {
		t, err := v.nextOrWait(ctx)
		if err != nil {
			return none, err
		}
		its := opts
		if v.Untried() { // there are other instances: do not spend time on this one
			its = append(slices.Clip(opts), rpc.LinkWait(linkWait), rpc.WithRetry(rpc.Retry{Attempts: 1}))
		}
		token, failure := submitAt[M, R](ctx, t, m, its)
		v.end(failure)
		if failure == nil || !v.waitAgain(ctx, failure) {
			return token, failure
		}
	}
}

// openService opens a stream at a service.
func (f *clientStream) openService(ctx context.Context, from *Context, to *target, m any, typ reflect.Type, opts *settings) (streamOpened, error) {
	v := to.sys.routedCall(ctx, from, to, opts)
	v.key = keyOf(v, m)
	v.excludeSender(from)
	for {
		t, none := v.nextOrWait(ctx)
		if none != nil {
			return streamOpened{}, none
		}
		f.at = v
		o, err := f.openAt(ctx, from, f.at, t, m, typ, opts)
		v.end(err)
		if err == nil || t.addr.node != to.sys.cfg.Name || !v.waitAgain(ctx, err) {
			return o, err
		}
	}
}

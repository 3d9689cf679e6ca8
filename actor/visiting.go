package actor

import (
	"context"
	"reflect"
	"slices"

	"github.com/tandem-go/tandem/rpc"
)

// This file is the verbs to services: to one instance after another, until one has run
// what was sent, or it is of no use to go on.

// callService is Call to a service.
func callService[M Question[R], R any](ctx context.Context, from *Context, to *target, m M, opts []rpc.Option) (R, error) {
	v := to.sys.visit(ctx, from, to, opts)
	v.key = keyOf(&v, m)
	v.setNot(from)
	v.waits = from.waits()
	return callVisit[M, R](ctx, from, &v, m, opts)
}

// callVisit is Call to a service from v on.
func callVisit[M Question[R], R any](ctx context.Context, from *Context, v *visit, m M, opts []rpc.Option) (R, error) {
	for {
		t, none := v.nextWhen(ctx)
		if none != nil {
			var r R
			return r, none
		}
		r, last, err := callOnce[M, R](ctx, from, v, t, m, opts)
		if last || err == nil || !v.again(err) {
			return r, err
		}
	}
}

// callOnce is an attempt of callVisit's. last says that no other one may follow.
func callOnce[M Question[R], R any](ctx context.Context, from *Context, v *visit, t *target, m M, opts []rpc.Option) (r R, last bool, err error) {
	c := t.cell.Load()
	var w *calling
	if v.waits {
		if w, err = from.waitFor(t, c); err != nil {
			v.over(err)
			return r, false, err
		}
		defer w.over(from.cell)
	}
	if c == nil && t.addr.node != t.sys.cfg.Name || keyed(opts) {
		far := v.split()
		r, err = call[M, R](ctx, from, w, &far, t, m, opts)
		far.over(err) // if it was not sent
		last = true
	} else {
		r, err = callHere[M, R](ctx, from, w, t, c, m, opts)
		v.over(err)
	}
	if err != nil {
		w.failed(from, err)
	}
	return r, last, err
}

// callHere is Call to an actor of this system, c unless that is nil.
func callHere[M Question[R], R any](ctx context.Context, from *Context, w *calling, t *target, c *cell, m M, opts []rpc.Option) (R, error) {
	if c == nil {
		var r R
		return r, t.sys.noActor(from, t.addr)
	}
	return callLocal[M, R](ctx, from, w, c, m, opts)
}

// askService is Ask of a service.
func askService[M Question[R], R any](ctx context.Context, from *Context, to *target, m M, opts []rpc.Option) *rpc.Future[R] {
	v := new(visit)
	*v = to.sys.visit(ctx, from, to, opts)
	v.key = keyOf(v, m)
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
		if c == nil && t.addr.node != to.sys.cfg.Name || keyed(opts) {
			return askFar[M, R](ctx, from, v, t, m, opts)
		}
		f, err := askHere[M, R](ctx, from, v, t, c, m, opts)
		if err == nil {
			return f
		}
		v.over(err)
		if !v.again(err) {
			return failed[R](err)
		}
	}
}

// askHere is Ask of an actor of this system, c unless that is nil. An error says that it
// was not asked.
func askHere[M Question[R], R any](ctx context.Context, from *Context, v *visit, t *target, c *cell, m M, opts []rpc.Option) (*rpc.Future[R], error) {
	if c == nil {
		return nil, t.sys.noActor(from, t.addr)
	}
	a := &ask[R]{deadline: t.sys.deadline(ctx)}
	a.promise.Of(a)
	a.watch(ctx)
	f := a.promise.Future()
	a.promise.OnEnd(func() {
		_, err := f.Await(context.Background()) // it is decided
		v.over(err)
	})
	a.elsewhere = func(err *rpc.Error) bool {
		v.over(err)
		return v.again(err) && askOn(ctx, from, a, v, m, opts)
	}
	if err := put(ctx, from, c, m, a, metaOf(ctx, from, opts), opts, false); err != nil {
		var none R
		a.end(none, err)
		return nil, err
	}
	return f, nil
}

// askOn has a, which an actor of this system has taken in and not run, made anew elsewhere,
// beside whoever asked. False: it is over, or the system is.
func askOn[M Question[R], R any](ctx context.Context, from *Context, a *ask[R], v *visit, m M, opts []rpc.Option) bool {
	base := context.WithoutCancel(ctx)
	if from != nil {
		base = from.Detached()
	}
	sys := v.svc.sys
	on, cancel := context.WithDeadline(base, a.deadline)
	if !a.goesOn(cancel) || !sys.services.run(func() {
		defer cancel()
		defer context.AfterFunc(sys.ctx, cancel)()
		r, err := callVisit[M, R](on, from, v, m, opts)
		a.end(r, err)
	}) {
		cancel()
		return false
	}
	return true
}

// tellService is tell to a service.
func tellService[M any](ctx context.Context, from *Context, to *target, m M, opts []rpc.Option) error {
	s, acked := to.sys, isAcked(opts)
	v := s.visit(ctx, from, to, opts)
	v.key = keyOf(&v, m)
	for {
		t, none := v.next()
		if none != nil {
			if acked {
				return none
			}
			s.deadLetter(DeadLetter{To: to.addr.String(), Type: reflect.TypeFor[M]().String(), Reason: none})
			return nil
		}
		var err error
		c := t.cell.Load()
		here := t.addr.node == s.cfg.Name
		if c != nil && !keyed(opts) {
			v.sent = true
			err = put(ctx, from, c, m, nil, metaOf(ctx, from, opts), opts, true) // if it has stopped another one gets it
		} else {
			far := v.split()
			far.sent = !acked
			err = tellAt(ctx, from, &far, t, m, opts)
			v = far
		}
		v.over(err)
		switch {
		case err == errDropped && !acked: // it is a dead letter
			return nil
		case err == nil || err == errDropped || acked && !here || !v.again(err): // rpc has made the other attempts
			if !acked && err == errGone {
				s.handBack(t.addr, item{msg: m, meta: metaOf(ctx, from, opts)}, errGone)
				return nil
			}
			return err
		}
	}
}

// submitService is Submit to a service.
func submitService[M Question[R], R any](ctx context.Context, from *Context, to *target, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var none rpc.Token[R]
	if keyed(opts) {
		return none, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a key names a job of one actor, and service %s is many", to.addr.name)
	}
	v := to.sys.visit(ctx, from, to, opts)
	v.key = keyOf(&v, m)
	for {
		t, err := v.nextWhen(ctx)
		if err != nil {
			return none, err
		}
		its := opts
		if v.Untried() { // then no time is lost here
			its = append(slices.Clip(opts), rpc.LinkWait(linkWait), rpc.WithRetry(rpc.Retry{Attempts: 1}))
		}
		token, failure := submitAt[M, R](ctx, t, m, its)
		v.over(failure)
		if failure == nil || !v.again(failure) {
			return token, failure
		}
	}
}

// openService opens a stream at a service.
func (f *far) openService(ctx context.Context, from *Context, to *target, m any, typ reflect.Type, opts []rpc.Option) (streamOpened, error) {
	v := to.sys.visit(ctx, from, to, opts)
	v.key = keyOf(&v, m)
	v.setNot(from)
	for {
		t, none := v.nextWhen(ctx)
		if none != nil {
			return streamOpened{}, none
		}
		f.at = &v
		o, err := f.openAt(ctx, from, f.at, t, m, typ, opts)
		v.over(err)
		if err == nil || t.addr.node != to.sys.cfg.Name || !v.again(err) {
			return o, err
		}
	}
}

package actor

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The interceptors of senders, Config.Outgoing. A verb that finds some runs them. The innermost next
// then goes on with Tell and Call, from pooled memory; the other verbs it calls again, under a context
// that says so.

// passedKey is the key of the value of a context under which a verb has run the interceptors: a
// *sendopt.Report, which learns how the request to another node went.
type passedKey struct{}

// intercepts returns the interceptors that are still to run for a message that is sent to t under ctx.
func (s *System) intercepts(ctx context.Context, from *Context, t *target) []intercept.Func {
	if !s.interceptors.sends {
		return nil
	}
	fns := s.senders(ctx, from)
	if len(fns) > 0 && !hasToPass(ctx, t) {
		return nil
	}
	return fns
}

func hasToPass(ctx context.Context, t *target) bool {
	return !strings.HasPrefix(t.addr.name, hidden) && ctx.Value(passedKey{}) == nil
}

// senders returns the interceptors for a message that is sent under ctx, by the handler from or by none.
func (s *System) senders(ctx context.Context, from *Context) []intercept.Func {
	if w := s.interceptors.sampled; w != nil && w(ctx, intercept.Where{Side: intercept.Outgoing, Handler: from != nil}) {
		return s.interceptors.withSampled
	}
	return s.cfg.Outgoing
}

// interceptions are what a system knows of its interceptors.
type interceptions struct {
	sends       bool                                        // there are some for what is sent
	sampled     func(context.Context, intercept.Where) bool // says whether withSampled are to run for what is sent; nil: never
	withSampled []intercept.Func                            // the one of Config.Sampled, and inside of it those of Config.Outgoing
}

// init reads the configuration.
func (i *interceptions) init(cfg Config) {
	if fn := cfg.Sampled.Outgoing; fn != nil && cfg.Sampled.Wants != nil {
		i.sampled, i.withSampled = cfg.Sampled.Wants, slices.Concat([]intercept.Func{fn}, cfg.Outgoing)
	}
	i.sends = i.sampled != nil || len(cfg.Outgoing) > 0
}

// tellThrough is Tell with interceptors.
func tellThrough[M any](ctx context.Context, fns []intercept.Func, from *Context, t *target, m M, set *settings) error {
	mt := sentType(t.sys, m)
	p, ok := mt.tells.Get().(*telling[M])
	if !ok {
		p = new(telling[M])
	}
	p.begin(from, t, mt, m, set, access.Send)
	err := p.passage.Run(ctx, fns, &p.op, p)
	p.reset()
	mt.tells.Put(p)
	return err
}

// callThrough is Call with interceptors.
func callThrough[M, R any](ctx context.Context, fns []intercept.Func, from *Context, t *target, m M, set *settings) (R, error) {
	mt := sentType(t.sys, m)
	p, ok := mt.calls.Get().(*requesting[M, R])
	if !ok {
		p = new(requesting[M, R])
	}
	p.begin(from, t, mt, m, set, access.Call)
	err := p.passage.Run(ctx, fns, &p.op, p)
	var none R
	r := p.r
	p.r = none
	p.reset()
	mt.calls.Put(p)
	if err != nil {
		return none, err
	}
	return r, nil
}

// telling is a message of Tell on its way through the interceptors of its sender.
type telling[M any] struct{ sending[M] }

// Do implements intercept.Action.
func (p *telling[M]) Do(ctx context.Context) error {
	err := contextError(ctx)
	if err == nil {
		err = tellInside(ctx, handling(ctx), p.t, p.m, p.settings())
	}
	p.sent(err)
	return err
}

// requesting is a message of Call on its way through the interceptors of its sender.
type requesting[M, R any] struct {
	sending[M]
	r R
}

// Do implements intercept.Action.
func (p *requesting[M, R]) Do(ctx context.Context) error {
	err := contextError(ctx)
	if err == nil {
		p.r, err = callInside[M, R](ctx, handling(ctx), p.t, p.m, p.settings())
	}
	if d, ok := any(&p.r).(interface{ pushedUnder() []rpc.Trace }); ok {
		p.op.Pushed = d.pushedUnder()
	}
	p.sent(err)
	return err
}

// sending is a message on its way through the interceptors of its sender, and what they see of it.
type sending[M any] struct {
	op      intercept.Operation
	passage intercept.Passage
	from    *Context // nil: no handler sends it
	t       *target
	mt      *messageType
	m       M
	set     settings
	given   bool // there are options
}

// begin fills in p, which is new or was reset. ask is what m asks for, unless its type says so.
func (p *sending[M]) begin(from *Context, t *target, mt *messageType, m M, set *settings, ask access.Op) {
	p.from, p.t, p.mt, p.m = from, t, mt, m
	p.op.Side, p.op.Op = intercept.Outgoing, ask
	if mt.says {
		p.op.Op = neededOp(m, ask)
	}
	p.op.About(p)
	if set == nil {
		return
	}
	p.set, p.given = *set, true
	for _, h := range set.Headers {
		p.op.Came(h.Key, h.Value)
	}
}

// reset prepares p, which begin fills in, for another message. It is short, because to write pointers is
// expensive while the garbage collector works.
func (p *sending[M]) reset() {
	var none M
	p.op.Reset()
	p.from, p.m = nil, none
	if p.given || p.set.Report != nil || p.set.Headers != nil {
		p.set, p.given = settings{}, false
	}
}

// settings are those that the message is sent with; nil for none.
func (p *sending[M]) settings() *settings {
	far := p.t.cell.Load() == nil || p.set.ByRoad()
	p.set.Headers = slices.Clip(p.set.Headers) // the application may use what lies behind
	p.op.Added(func(key, value string) {
		p.set.Headers = append(p.set.Headers, transport.Header{Key: key, Value: value})
	})
	if far {
		p.set.Report = reportFor(&p.op, p.set.Wants)
	}
	if !far && !p.given && len(p.set.Headers) == 0 {
		return nil
	}
	return &p.set
}

// reportFor is the report of a request that interceptors see. wants is what the sender itself wants to know.
func reportFor(op *intercept.Operation, wants *rpc.Report) *sendopt.Report {
	r := &sendopt.Report{Trail: op.Steps()}
	if r.Trail == nil && wants != nil {
		r.Trail = wants.Trail
	}
	return r
}

// sent says in the operation how the sending went.
func (p *sending[M]) sent(err error) {
	var report sendopt.Report
	if p.set.Report != nil {
		report = *p.set.Report
	}
	if p.set.Wants != nil {
		*p.set.Wants = report
	}
	wentOut(&p.op, report, err)
}

// wentOut says in op how the sending went.
func wentOut(op *intercept.Operation, report sendopt.Report, err error) {
	if op.Attempts, op.Replayed = report.Attempts, report.Replayed; op.Attempts == 0 && (err == nil || rpc.Ran(err) != rpc.NotRun) {
		op.Attempts = 1
	}
}

// To, Type, Message and From implement intercept.Subject.
func (p *sending[M]) To() string   { return p.t.addr.String() }
func (p *sending[M]) Type() string { return p.mt.nameFor(p.t.sys, p) }
func (p *sending[M]) Message() any { return shown(p.m) }
func (p *sending[M]) From() string { return p.from.address() }

// Raise is described at intercept.Operation.
func (p *sending[M]) Raise(typ rpc.EventType, err error) { p.t.sys.raise(p.To(), typ, err) }

// raise makes an event that is about what is sent to an address, and logs it.
func (s *System) raise(to string, typ rpc.EventType, err error) {
	s.log.LogAttrs(context.Background(), slog.LevelWarn, string(typ), slog.String("actor", to), slog.Any("err", err))
	s.event(Event{Type: typ, Actor: to, Err: err})
}

// address is that of the actor of c; empty for nil.
func (c *Context) address() string {
	if c == nil {
		return ""
	}
	return c.cell.self.addr.String()
}

// sentType is what is known about the type of m, or if M is an interface about that of what it holds.
func sentType[M any](s *System, m M) *messageType {
	typ := reflect.TypeFor[M]()
	if typ.Kind() == reflect.Interface {
		if typ = reflect.TypeOf(any(m)); typ == nil {
			return new(messageType)
		}
	}
	return s.types.get(typ)
}

// neededOp is what m asks for; ask if it does not say so.
func neededOp(m any, ask access.Op) access.Op {
	if g, ok := m.(withOp); ok {
		ask, _ = g.neededOp()
	}
	return ask
}

// nameFor is the name of the message, of type mt, that interceptors see.
func (mt *messageType) nameFor(s *System, of intercept.Subject) string {
	if mt.says {
		return s.nameOf(of.Message())
	}
	return mt.name
}

// nameOf is the name of the type of m, which interceptors see; empty for nil.
func (s *System) nameOf(m any) string {
	if m == nil {
		return ""
	}
	if e, ok := m.(Encoded); ok {
		return e.Type
	}
	return s.types.get(reflect.TypeOf(m)).name
}

// carriesItem is a message with which an item is pushed to a queue: interceptors see the item.
type carriesItem interface{ pushed() any }

func (m enqueue[T]) pushed() any { return m.Item }

// shown is what interceptors see of a message.
func shown(m any) any {
	if e, ok := m.(*wrapped); ok {
		return e.Encoded
	}
	if p, ok := m.(carriesItem); ok {
		return p.pushed()
	}
	return m
}

// sight is what interceptors see of a message that another verb than Tell and Call sends.
type sight struct {
	sys           *System
	to, typ, from string
	m             any
}

// To, Type, Message and From implement intercept.Subject.
func (s *sight) To() string   { return s.to }
func (s *sight) Type() string { return s.typ }
func (s *sight) Message() any { return s.m }
func (s *sight) From() string { return s.from }

// Raise is described at intercept.Operation.
func (s *sight) Raise(typ rpc.EventType, err error) { s.sys.raise(s.to, typ, err) }

// sending returns what interceptors see of m, which is sent to an address under ctx. ask is what it
// asks for, unless its type says so.
func (s *System) sending(ctx context.Context, to string, m any, ask access.Op) *intercept.Operation {
	op := &intercept.Operation{Side: intercept.Outgoing, Op: neededOp(m, ask)}
	m = shown(m)
	op.About(&sight{sys: s, to: to, typ: s.nameOf(m), m: m, from: handling(ctx).address()})
	return op
}

// through runs the interceptors around send, which sends m to t under the context and with the options that
// it is given.
func (t *target) through(ctx context.Context, fns []intercept.Func, m any, ask access.Op, opts []rpc.Option, send func(context.Context, []rpc.Option) error) error {
	return t.sys.through(ctx, fns, t.sys.sending(ctx, t.addr.String(), m, ask), opts, send)
}

// through runs the interceptors around send, which does what op says.
func (s *System) through(ctx context.Context, fns []intercept.Func, op *intercept.Operation, opts []rpc.Option, send func(context.Context, []rpc.Option) error) error {
	var wants *rpc.Report
	if set := settingsOf(opts); set != nil {
		for _, h := range set.Headers {
			op.Came(h.Key, h.Value)
		}
		wants = set.Wants
	}
	return intercept.Run(ctx, fns, op, func(ctx context.Context) error {
		with := append([]rpc.Option(nil), opts...)
		op.Added(func(key, value string) { with = append(with, rpc.WithHeader(key, value)) })
		report := reportFor(op, wants)
		err := send(context.WithValue(ctx, passedKey{}, report), with)
		if wants != nil {
			*wants = *report
		}
		wentOut(op, *report, err)
		return err
	})
}

// askThrough is Ask with interceptors. They run in a goroutine that ends with the request.
// askThrough returns when the request was sent or refused, so that requests leave in the order of the calls.
func askThrough[M, R any](ctx context.Context, fns []intercept.Func, t *target, to Ref, m M, opts []rpc.Option) *rpc.Future[R] {
	p, own := new(promise.Promise[R]), append([]rpc.Option(nil), opts...)
	sent := make(chan struct{})
	var f *promise.Promise[R] // the request itself; nil: not sent
	go func() {
		var r, none R
		err := error(rpc.Errorf(rpc.Panicked, rpc.Unknown, "an interceptor of the sender ended its goroutine"))
		defer func() {
			if f == nil {
				close(sent)
			}
			if err != nil {
				r = none
			}
			p.Resolve(r, err)
		}()
		err = t.through(ctx, fns, m, access.Call, own, func(ctx context.Context, opts []rpc.Option) (err error) {
			f = (*promise.Promise[R])(askWith[M, R](ctx, to, m, opts))
			p.Of(f)
			close(sent)
			f.Wait(nil)
			r, err = f.Result()
			return err
		})
	}()
	<-sent
	return future(p)
}

// submitThrough is Submit with interceptors.
func submitThrough[M, R any](ctx context.Context, fns []intercept.Func, t *target, to Ref, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var token, none rpc.Token[R]
	err := t.through(ctx, fns, m, access.Submit, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) (err error) {
		token, err = submitWith[M, R](ctx, to, m, opts)
		return err
	})
	if err != nil {
		return none, err
	}
	return token, nil
}

// openThrough is open with interceptors. They run around the opening only, so the stream itself
// lives under ctx.
func openThrough(ctx context.Context, fns []intercept.Func, t *target, to Ref, m any, typ reflect.Type, opts []rpc.Option) (*clientStream, error) {
	var f *clientStream
	err := t.through(ctx, fns, m, access.Stream, opts, func(under context.Context, opts []rpc.Option) (err error) {
		f, err = open(under, ctx, to, m, typ, opts)
		return err
	})
	if err != nil && f != nil {
		f.close(errBrokenOff)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// publishThrough is Publish with interceptors, which see the message once, whoever gets it.
func (at topicAt) publishThrough(ctx context.Context, fns []intercept.Func, m any, opts []rpc.Option) error {
	op := at.sys.sending(ctx, at.pattern, m, access.Publish)
	op.Topic = at.pattern
	return at.sys.through(ctx, fns, op, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) error {
		return at.publish(ctx, handling(ctx), m, settingsOf(opts))
	})
}

// through runs the interceptors around send, which makes the attempt to send the letter, with the
// headers that they have added.
func (a *letterAttempt) through(ctx context.Context, fns []intercept.Func, s *System, send func(context.Context) error) error {
	op := &intercept.Operation{Side: intercept.Outgoing, Op: access.Send, Cause: intercept.Resent}
	op.About(&sight{sys: s, to: cmp.Or(a.At, a.Asked), typ: a.Type, m: a.Message, from: a.From})
	given := a.Carried.headers()
	for _, h := range given {
		op.Came(h.Key, h.Value)
	}
	return intercept.Run(ctx, fns, op, func(ctx context.Context) error {
		all := slices.Clip(given)
		op.Added(func(key, value string) { all = append(all, transport.Header{Key: key, Value: value}) })
		if len(all) > len(given) {
			a.Carried = a.Carried.with(all)
		}
		err := send(ctx)
		if rpc.Ran(err) != rpc.NotRun {
			op.Attempts = 1
		}
		return err
	})
}

// headers are those of the message of a letter.
func (c letterCarries) headers() []transport.Header {
	switch {
	case c.came != nil && c.came.meta != nil:
		return c.came.meta.Headers
	case c.own != nil:
		return c.own.headers
	}
	return nil
}

// with returns what c carries, with other headers.
func (c letterCarries) with(headers []transport.Header) letterCarries {
	if c.came != nil {
		came := *c.came
		came.meta = &wire.Meta{Headers: headers}
		if c.came.meta != nil {
			*came.meta = *c.came.meta
			came.meta.Headers = headers
		}
		return letterCarries{came: &came}
	}
	return letterCarries{own: c.own.with(&settings{Headers: headers})}
}

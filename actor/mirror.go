package actor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/internal/selection"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Limits of mirrors.
const (
	DefaultMirrorOutstanding = 64
	MaxMirrorOutstanding     = 4096
)

// MirrorHeader is the header of the copies that a mirror gets; its value is the service that the
// original went to. A handler that must not have an effect twice looks at it (Context.Header).
const MirrorHeader = "tandem-mirror"

// The events of mirrors.
const (
	MirrorFailing rpc.EventType = "mirror failing" // at least half of the last copies had no answer; Err is the last error
	MirrorBack    rpc.EventType = "mirror back"    // nearly all copies are answered again
)

// Mirror says where copies of the messages to a service go. The zero value is none.
type Mirror struct {
	To          string  // the service that gets the copies, with what selects its instances: "mailer?version=^2", see System.Service
	Percent     float64 // of the messages that are copied, 0 to 100
	Outstanding int     // how many copies may be under way at a time; default 64, at most 4,096
}

// MirrorStats counts the copies of all mirrors of a system.
type MirrorStats struct {
	Sent     uint64 // copies that were sent
	Answered uint64 // those that ran, whatever they answered; of one-way messages, those that are in the mailbox
	Failed   uint64 // those that had no answer
	Differed uint64 // those of requests that were answered with another code than the original, or another error of the application's own
	Dropped  uint64 // copies that were not sent, because too many were under way, or because the message cannot be encoded
}

// SetMirror has a share of this system's one-way messages and requests to a service copied to
// another service, or to another version of the same one: to try it with real traffic. The zero
// Mirror ends that. What the mirror answers is dropped and counted (Stats.Mirror).
//
// The mirror does not change the original: its sender waits for one more encoding of the
// message, and for nothing else. Beyond Outstanding copies the others are dropped and counted.
// A copy is a request of its own: it has the sender, the principal, the trace, the headers and the deadline of the
// original and a MirrorHeader, but no name in common with it, it is not retried, and it is not copied
// again. Several copies are in no order.
//
// Messages through every ref to the service are copied, whatever it selects, except those to the
// mirror itself. Submit, streams and queues are not, nor is what is sent to one instance
// (System.Instance), such as requests that a gateway gets with a key.
//
// An error is of code rpc.Invalid and lists everything that is wrong; then nothing has changed.
func (s *System) SetMirror(service string, m Mirror) error {
	if err := m.validate(service); err != nil {
		return err
	}
	svc := s.services.get(service)
	if m.To == "" {
		svc.mirror.Store(nil)
		return nil
	}
	if m.Outstanding == 0 {
		m.Outstanding = DefaultMirrorOutstanding
	}
	svc.mirror.Store(&mirror{Mirror: m, sys: s, service: service, to: s.Service(m.To)})
	return nil
}

// validate checks the mirror of a service, and brings To into its canonical form.
func (m *Mirror) validate(service string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := transport.ValidName("service", service); err != nil {
		errs = append(errs, err)
	}
	if m.To != "" {
		name, _, _ := strings.Cut(m.To, selection.Mark)
		if err := transport.ValidName("To", name); err != nil {
			errs = append(errs, err)
		} else if m.To, err = canonicalService(m.To); err != nil {
			errs = append(errs, err)
		} else if m.To == service {
			bad("To is the service itself")
		}
	}
	if !(m.Percent >= 0 && m.Percent <= 100) {
		bad("Percent is %v: want 0 to 100", m.Percent)
	}
	if m.Outstanding < 0 || m.Outstanding > MaxMirrorOutstanding {
		bad("Outstanding is %d: want 0 to %d", m.Outstanding, MaxMirrorOutstanding)
	}
	if len(errs) > 0 {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "mirror of service %s: %w", service, errors.Join(errs...))
	}
	return nil
}

// mirror gets copies of the messages to a service.
type mirror struct {
	Mirror
	sys     *System
	service string
	to      Ref
	out     atomic.Int64 // copies under way

	mu     sync.Mutex // guards what follows
	health mirrorHealth
}

// mirrorHealth decides when a mirror counts as failing. It is pure.
type mirrorHealth struct {
	failed  uint16 // which of the last copies had no answer, a bit for each
	failing bool
}

// Of the last 16 copies, as many without an answer make a mirror count as failing, and as few end that.
const (
	mirrorFailsAt = 8
	mirrorBackAt  = 2
)

// note notes the outcome of a copy, and reports whether the mirror has begun or ceased to fail.
func (h *mirrorHealth) note(failed bool) (changed bool) {
	h.failed <<= 1
	if failed {
		h.failed |= 1
	}
	before := h.failing
	switch n := bits.OnesCount16(h.failed); {
	case n >= mirrorFailsAt:
		h.failing = true
	case n <= mirrorBackAt:
		h.failing = false
	}
	return h.failing != before
}

// mirrorCounts are the counts behind MirrorStats.
type mirrorCounts struct{ sent, answered, failed, differed, dropped atomic.Uint64 }

func (c *mirrorCounts) stats() MirrorStats {
	return MirrorStats{c.sent.Load(), c.answered.Load(), c.failed.Load(), c.differed.Load(), c.dropped.Load()}
}

// copying is a copy of a request whose outcome is compared with the original's. All methods may be called with nil.
type copying struct {
	counts *mirrorCounts

	mu    sync.Mutex // guards what follows
	first *endedAs   // of the two that has come first
	void  bool       // the copy had no answer
}

// endedAs is what is compared of an outcome.
type endedAs struct {
	code rpc.Code
	user string
}

// ended notes the outcome of the original or of the copy. The second one is compared with the first.
func (c *copying) ended(err error) {
	if c == nil {
		return
	}
	a := endedAs{code: rpc.CodeOf(err)}
	if e := (*rpc.Error)(nil); errors.As(err, &e) {
		a.user = e.User
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.first == nil:
		c.first = &a
	case !c.void && *c.first != a:
		c.counts.differed.Add(1)
	}
}

// unanswered says that the copy had no answer, so there is nothing to compare.
func (c *copying) unanswered() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.void = true
}

// copyTo sends a copy of a message to the mirror of its service, if it has one, and this message is in its share.
// The result is nil, or is told how a request ends. oneWay: there is nothing to compare.
func copyTo[M any](ctx context.Context, from *Context, v *routedCall, to *target, m M, opts *settings, oneWay bool) *copying {
	if v.svc == nil {
		return nil
	}
	if mir := v.svc.mirror.Load(); mir != nil {
		return mir.copy(ctx, from, v.key, to, m, opts, oneWay)
	}
	return nil
}

func (r *mirror) copy(ctx context.Context, from *Context, key string, to *target, m any, opts *settings, oneWay bool) *copying {
	if rand.Float64()*100 >= r.Percent || to.addr.name == r.To || isCopy(opts) {
		return nil
	}
	counts := &r.sys.mirrored
	if r.out.Add(1) > int64(r.Outstanding) {
		r.out.Add(-1)
		counts.dropped.Add(1)
		return nil
	}
	e, err := r.sys.encodedCopy(m, opts)
	on, cancel := context.WithDeadline(r.copyContext(ctx, from), r.sys.deadline(ctx))
	with := r.copyOptions(key, opts)
	var c *copying
	if !oneWay {
		c = &copying{counts: counts}
	}
	if err != nil || !r.sys.services.run(func() {
		defer r.out.Add(-1)
		defer cancel()
		defer context.AfterFunc(r.sys.ctx, cancel)()
		counts.sent.Add(1)
		if oneWay {
			err = e.Tell(on, r.to, with...)
		} else {
			_, err = e.Call(on, r.to, with...)
		}
		r.answered(c, err)
	}) {
		cancel()
		r.out.Add(-1)
		counts.dropped.Add(1)
		return nil
	}
	return c
}

// isCopy reports whether a message is a mirror's already.
func isCopy(opts *settings) bool {
	if opts == nil {
		return false
	}
	for _, h := range opts.Headers {
		if h.Key == MirrorHeader {
			return true
		}
	}
	return false
}

// encodedCopy is m as it is now: its sender may change it once the original has ended.
func (s *System) encodedCopy(m any, opts *settings) (Encoded, error) {
	if w, ok := m.(*wrapped); ok {
		return Encoded{Type: w.Type, Codec: w.Codec, Body: bytes.Clone(w.Body)}, nil
	}
	p, err := s.encodeLocal(m, "", opts)
	if err != nil {
		return Encoded{}, err
	}
	return Encoded{Type: p.mt.name, Codec: p.codec, Body: p.body}, nil
}

// copyContext carries the sender and the trace of ctx. It does not end with ctx.
func (r *mirror) copyContext(ctx context.Context, from *Context) context.Context {
	if from != nil {
		return from.Detached()
	}
	return rpc.WithTrace(context.Background(), rpc.TraceOf(ctx))
}

// copyOptions are the options of the copy of a message that was sent with opts.
func (r *mirror) copyOptions(key string, opts *settings) []rpc.Option {
	with := []rpc.Option{rpc.WithHeader(MirrorHeader, r.service), rpc.WithRetry(rpc.Retry{Attempts: 1}), rpc.Affinity(key)}
	if opts == nil {
		return with
	}
	for _, h := range opts.Headers {
		with = append(with, rpc.WithHeader(h.Key, h.Value))
	}
	if opts.Behalf != "" {
		with = append(with, rpc.OnBehalfOf(opts.Behalf))
	}
	if opts.Class != 0 {
		with = append(with, OfClass(mailbox.Class(opts.Class)))
	}
	return with
}

// answered counts the outcome of a copy.
func (r *mirror) answered(c *copying, err error) {
	failed := rpc.Ran(err) != rpc.HasRun
	if failed {
		c.unanswered()
		r.sys.mirrored.failed.Add(1)
	} else {
		r.sys.mirrored.answered.Add(1)
	}
	c.ended(err)
	r.mu.Lock()
	changed, failing := r.health.note(failed), r.health.failing
	r.mu.Unlock()
	switch {
	case !changed:
	case failing:
		r.sys.log.Warn("a mirror does not answer", "service", r.service, "mirror", r.To, "err", err)
		r.sys.event(Event{Type: MirrorFailing, Service: r.service, Err: err})
	default:
		r.sys.log.Info("a mirror answers again", "service", r.service, "mirror", r.To)
		r.sys.event(Event{Type: MirrorBack, Service: r.service})
	}
}

package natshome

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natswait"
)

// Plan says where a store keeps what it has, and how it speaks of that.
type Plan struct {
	Stream      string // name of the stream
	Root        string // its one subject is "<Root>.<birth>.>"
	Made        string // name of the second stream
	Description string // of the stream, if it has to be created
	Replicas    int    // of both, if they have to be created
	Expiring    bool   // single messages may have a life of their own

	// Second, if it is not nil, changes the configuration with which the second stream is created, for
	// a store that keeps there what it can make again. It leaves name and metadata as they are.
	Second func(*natsjs.StreamConfig)

	// API is the prefix under which messages are published, with its dot; "" for the subject
	// alone. See Mapped.
	API string

	For     string // what Open waits for, with an article
	What    string // what is kept, in the plural
	Lost    error  // wrapped by the errors of a loss
	Cure    string // what an operator does after a loss, in the imperative
	Package string // of the store, for its documentation

	StartWait time.Duration // how long Open waits for JetStream if its ctx has no deadline; 0: natswait.DefaultWait
	Logger    *slog.Logger  // gets a line whenever what Open waits for changes, and after a loss
}

// Mapped returns the API of a Plan for a stream whose subjects are reached through the prefix of
// the JetStream API, where it is not the usual one: as those of a bucket are.
func Mapped(o natsjs.JetStreamOptions) string {
	switch {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return ""
}

// Home is a stream that was opened. It does not own the connection. It may be used concurrently.
type Home struct {
	js   natsjs.JetStream
	plan Plan
	place
	high atomic.Uint64 // the largest sequence number that was seen
	loss *loss
	acks acks
}

// Open returns the home that a plan describes, and creates the streams if they were never there.
// While JetStream does not answer, it tries again until ctx ends. The error wraps Plan.Lost if
// there was a home, and it is not there any more, or not as it was.
func Open(ctx context.Context, js natsjs.JetStream, p Plan) (*Home, error) {
	h := &Home{js: js, plan: p, loss: newLoss()}
	wait := natswait.For{What: p.For, Wait: p.StartWait, Logger: p.Logger}
	err := wait.Until(ctx, js.Conn(), func(ctx context.Context) (err error) {
		h.place, err = p.find(ctx, js)
		if f := (Final{}); errors.As(err, &f) {
			return natswait.Stop(f.Err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Birth returns the token that tells the stream from any other of the same name. It keeps it when
// it is restored from a backup.
func (h *Home) Birth() string { return h.birth }

// Last returns the last message under a subject, as the stream's leader has it, or nil if there is
// none; then only Whole can say that it was not lost. ctx should end soon.
func (h *Home) Last(ctx context.Context, subject string) (*natsjs.RawStreamMsg, error) {
	m, err := h.stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case err == nil:
		h.Saw(m.Sequence)
		return m, nil
	case errors.Is(err, natsjs.ErrMsgNotFound):
		return nil, nil
	case errors.Is(err, natsjs.ErrStreamNotFound):
		if lost := h.Whole(ctx); lost != nil {
			return nil, lost
		}
	}
	return nil, err
}

// Publish makes one attempt to store m, whose last message under the subject must be the one with
// the sequence number after; 0 for none. It returns what is proved of this attempt and, if it was
// sent, of those before; see [jserror.Attempts]. The error is Final if another one cannot succeed;
// else Finding.Again says whether to make one.
func (h *Home) Publish(ctx context.Context, m *nats.Msg, after uint64, attempts *jserror.Attempts, opts ...natsjs.PublishOpt) (uint64, jserror.Finding, error) {
	if err := h.Reachable(); err != nil {
		return 0, unreached, err
	}
	before := h.js.Conn().LastError()
	sent := *m
	sent.Subject = h.plan.API + m.Subject
	ack, err := h.js.PublishMsg(ctx, &sent, append(opts, natsjs.WithExpectLastSequencePerSubject(after))...)
	seq := uint64(0)
	if err == nil {
		seq = ack.Sequence
	}
	return h.result(sent.Subject, before, attempts, seq, err)
}

// unreached is the finding of a message that was not sent.
var unreached = jserror.Finding{Proof: jserror.NotDone, Again: true, Cause: jserror.Away}

// result is what Publish returns after an attempt with the result err. before is the last error of the connection before it.
func (h *Home) result(subject string, before error, attempts *jserror.Attempts, seq uint64, err error) (uint64, jserror.Finding, error) {
	if err != nil {
		if now := h.js.Conn().LastError(); now != before && natswait.DeniedSubject(now) == subject {
			return 0, jserror.Finding{Proof: jserror.NotDone, Cause: jserror.Refused}, Final{now}
		}
	}
	found := attempts.Add(err)
	if found.Proof != jserror.Done {
		return 0, found, err
	}
	h.Saw(seq)
	return seq, found, nil
}

// Second returns the second stream. If it is gone and the first one is whole, it is created anew, and
// created is true; otherwise the error is that of Whole. There is also an error if it names another home.
func (h *Home) Second(ctx context.Context) (s natsjs.Stream, created bool, err error) {
	s, err = h.js.Stream(ctx, h.plan.Made)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if err := h.Whole(ctx); err != nil {
			return nil, false, err
		}
		created = true
		s, err = h.plan.createSecond(ctx, h.js, h.place)
	}
	if err != nil {
		return nil, false, err
	}
	if m := s.CachedInfo().Config.Metadata; m[madeBirth] != h.birth || m[madeCreated] != instant(h.created) {
		return nil, false, fmt.Errorf("stream %s is of other %s", h.plan.Made, h.plan.What)
	}
	return s, created, nil
}

// Saw notes that a message was stored under seq, for Whole. Last and Publish call it themselves.
func (h *Home) Saw(seq uint64) {
	for old := h.high.Load(); seq > old && !h.high.CompareAndSwap(old, seq); old = h.high.Load() {
	}
}

// Reachable returns an error if the connection is known to be down, so that nothing waits in a
// reconnect buffer. It is Final if the connection is closed.
func (h *Home) Reachable() error {
	switch status := h.js.Conn().Status(); status {
	case nats.CONNECTED:
		return nil
	case nats.CLOSED, nats.DRAINING_SUBS, nats.DRAINING_PUBS:
		return Final{fmt.Errorf("%w: connection is %v", nats.ErrConnectionClosed, status)}
	default:
		return fmt.Errorf("not connected to NATS: connection is %v", status)
	}
}

// Package intercept has the code that runs around messages: interceptors see what a system sends
// and what its actors get, may refuse it, measure it, add headers, and change the context.
//
//	func Slow(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
//		begun := time.Now()
//		err := next(ctx)
//		if took := time.Since(begun); took > time.Second {
//			slog.Warn("slow", "op", op.Op, "to", op.To(), "message", op.Type(), "took", took, "err", err)
//		}
//		return err
//	}
//
//	actor.NewSystem(actor.Config{Outgoing: []intercept.Func{Slow}})
//
// Config.Outgoing of package actor is for what leaves the senders of a system, also to actors of the
// same system. Config.Incoming is for what its actors get; actor.Incoming adds interceptors to
// one kind of actor, which run inside those of the system. In each list the first is the outermost.
//
// The package decides what the outcome of an operation is (Run); package actor sends and handles.
package intercept

import (
	"context"
	"errors"
	"slices"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// Func is an interceptor. It runs around an operation, and next goes on with it: with the next
// interceptor, and in the end with the sending of the message, or with its handler. next returns
// the outcome: of a request when its reply is there, of a stream when it is open, of a one-way
// message when it was sent, of a handler when it has returned.
//
// ctx ends with the operation. Outgoing, it is the sender's: the context that is given to next
// should be derived from it, and the message is sent under that. Incoming, it is derived from the
// handler's *actor.Context; the handler gets an *actor.Context that has the values of the context
// that was given to next, but neither its deadline nor its end.
//
// To refuse the operation, an interceptor returns an error without a call of next. The error then
// has the verdict NotRun, and its own code if it is an *rpc.Error, else rpc.Denied. A one-way
// message that is refused where it arrives becomes a dead letter. Returning nil without a call
// of next refuses the operation with ErrSkipped.
//
// After next, an interceptor may replace one error by another one, or a success by an error, but
// not an error by a success: then the error stays. Outgoing, an error always has the verdict of
// what next has returned, whatever its own says. What an incoming interceptor returns becomes the
// answer to the caller, as a handler's error, but not if the handler has called actor.Defer, or
// has answered with Context.Reply before.
//
// next may be called once, before the interceptor returns; a second call does nothing and returns
// ErrSecondNext. It should be called in the goroutine of the interceptor. An interceptor that
// returns while another goroutine is in next waits for it. Interceptors are called concurrently, for different
// operations. An incoming one runs in the turn of its actor: while it waits, the actor waits.
//
// A panic of an outgoing interceptor is returned to the sender as rpc.Panicked; its verdict says
// whether the message was sent before. A panic of an incoming one is one of the handler.
type Func func(ctx context.Context, op *Operation, next func(context.Context) error) error

// Side is where an interceptor runs.
type Side uint8

// The two sides.
const (
	Outgoing Side = 1 // where the message is sent
	Incoming Side = 2 // at the actor that it is for
)

var sideNames = [...]string{"none", "outgoing", "incoming"}

// String returns "outgoing" or "incoming".
func (s Side) String() string { return sideNames[int(s)%len(sideNames)] }

// Cause is what has brought a message about.
type Cause uint8

// The causes.
const (
	Sent   Cause = iota // a verb, such as Tell, Call or Publish
	Ticked              // a timer of the actor that gets the message; it is only seen incoming
	Piped               // Pipe, by the actor that gets the message; it is only seen incoming
	Resent              // ResendLetter; it is only seen outgoing, and is Sent where it arrives
)

var causeNames = [...]string{"sent", "ticked", "piped", "resent"}

// String returns "sent", "ticked", "piped" or "resent".
func (c Cause) String() string { return causeNames[int(c)%len(causeNames)] }

// Operation is one message, as an interceptor sees it. It must not be used after the interceptor
// has returned, because its memory then is that of another operation; what its fields and methods have
// given out may be kept. Only its headers may be changed, by SetHeader. To, Type, Message and From are
// methods, so that what no interceptor asks for costs nothing; each call makes the answer anew.
//
// The requests that Tandem makes by itself, such as those for the items of an open stream or for the
// state of a job, are not seen; nor is what the system tells an actor: Terminated and WentIdle.
type Operation struct {
	Side Side

	// Op is what the message asks for, as in access rules: access.Send for Tell, and for what no
	// verb has sent; Call for Call and Ask; Submit; Stream for Stream, Open and Talk; Push; Pull for
	// Pull and for answers to deliveries; Manage; Publish, once for each call of Publish outgoing,
	// and incoming once for each subscriber that gets the message.
	Op    access.Op
	Cause Cause

	Topic string // the topic on which the message was published; empty: it was not
	Kind  string // incoming: the kind of the actor

	// Incoming: where the message comes from, as Context.Principal and Context.Node say. Whether a
	// request is a retry cannot be seen here, because each request runs once.
	Principal, Node string

	// Outgoing, set when next returns. Attempts is how often the request was sent as a new one: 1
	// without retries, 0 if it was not sent. Replayed says that the answer is the stored one of a
	// request that had run before, because its first answer was lost or because of its rpc.Key.
	Attempts int
	Replayed bool

	// Verdict says whether the handler ran; set when next returns. Of a one-way message nobody
	// can say so where it was sent, unless it was refused.
	Verdict rpc.Verdict

	// Outgoing, set when next returns from a Pull: the trace contexts under which its items were pushed, as far
	// as they had one.
	Pushed []rpc.Trace

	trail   *rpc.Trail
	about   Subject
	headers []header
	given   int // how many of headers the sender has given
}

// Subject says what an operation is about, when an interceptor asks. It is for package actor, and for
// tests of interceptors. The methods are those of Operation.
type Subject interface {
	To() string
	Type() string
	Message() any
	From() string
}

// Raise makes an event of the system: its type, the address To, and an error that says more; and
// writes a line into its log. Not each message should raise one. In tests, whose Subject has no method Raise, it does
// nothing.
func (o *Operation) Raise(typ rpc.EventType, err error) {
	if s, ok := o.about.(interface {
		Raise(rpc.EventType, error)
	}); ok {
		s.Raise(typ, err)
	}
}

// About sets what the operation is about. It is for package actor, and for tests of interceptors.
func (o *Operation) About(s Subject) { o.about = s }

// To is the address of the actor, or outgoing that of a service, or the name of a topic.
func (o *Operation) To() string {
	if o.about == nil {
		return ""
	}
	return o.about.To()
}

// Type is the name of the message's type on the wire.
func (o *Operation) Type() string {
	if o.about == nil {
		return ""
	}
	return o.about.Type()
}

// Message is the message, for Push the item. It must not be changed. nil: a Resent one that another
// node has encoded.
func (o *Operation) Message() any {
	if o.about == nil {
		return nil
	}
	return o.about.Message()
}

// From is the address of the actor that has sent the message; empty for none.
func (o *Operation) From() string {
	if o.about == nil {
		return ""
	}
	return o.about.From()
}

// Reset prepares o for another operation. What every operation on its side has stays until it is set
// anew: Side, Op, Kind, Principal, Node, and what it is about. It is for package actor.
func (o *Operation) Reset() {
	if len(o.headers) > 0 {
		clear(o.headers)
		o.headers, o.given = o.headers[:0], 0
	}
	if o.Topic != "" {
		o.Topic = ""
	}
	o.Cause, o.Attempts, o.Replayed, o.Verdict = Sent, 0, false, 0
	if o.trail != nil || o.Pushed != nil {
		o.trail, o.Pushed = nil, nil
	}
}

// Follow has the steps of an outgoing request to another node noted: see Steps. Call it before next. Without
// it nothing is noted, and that costs nothing.
func (o *Operation) Follow() {
	if o.Side == Outgoing && o.trail == nil {
		o.trail = new(rpc.Trail)
	}
}

// Steps has the copies of the request that were sent, and the ends of its attempts, when next has returned; nil without
// Follow. The attempts that a verb makes at instances of a service within the node are not among them, nor
// is a message within the node or a one-way message.
func (o *Operation) Steps() *rpc.Trail { return o.trail }

type header struct{ key, value string }

// Header is the value of the header that the message has under key; empty for none.
func (o *Operation) Header(key string) string {
	if i := slices.IndexFunc(o.headers, func(h header) bool { return h.key == key }); i >= 0 {
		return o.headers[i].value
	}
	return ""
}

// SetHeader adds a header to an outgoing message, unless it has one under that key. Call it before
// next. It does nothing to a message that has arrived.
func (o *Operation) SetHeader(key, value string) {
	if o.Side == Outgoing && !slices.ContainsFunc(o.headers, func(h header) bool { return h.key == key }) {
		o.headers = append(o.headers, header{key, value})
	}
}

// Came adds a header that the message has, whoever has set it. It is for package actor.
func (o *Operation) Came(key, value string) {
	o.headers = append(o.headers, header{key, value})
	o.given = len(o.headers)
}

// Added calls do with the headers that interceptors have set. It is for package actor.
func (o *Operation) Added(do func(key, value string)) {
	for _, h := range o.headers[o.given:] {
		do(h.key, h.value)
	}
}

// oneWay reports whether nobody answers the message.
func (o *Operation) oneWay() bool { return o.Op == access.Send || o.Op == access.Publish }

var (
	// ErrSecondNext is wrapped by the error of a call of next that is not the first one, or comes
	// after the interceptor has returned.
	ErrSecondNext = errors.New("intercept: next was called before, or the interceptor has returned")
	// ErrSkipped is wrapped by the error of an operation that an interceptor neither went on with
	// nor refused.
	ErrSkipped = errors.New("intercept: an interceptor returned nil without a call of next")
)

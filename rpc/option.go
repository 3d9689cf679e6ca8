package rpc

import (
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// Options are the settings of a single send. Their zero value is the default.
type Options struct {
	Acked      bool
	Retry      *Retry // nil: the system's
	Idempotent bool
	Hedge      time.Duration
	Key        *string // nil: none
	Affinity   string  // empty: none
	LinkWait   time.Duration
	Codec      codec.Codec // nil: the system's
	Headers    []transport.Header
}

// Option changes the settings of one send.
type Option func(*Options)

// Acked makes Tell wait until the message is in the actor's mailbox: nil then means
// that it is, and an error says whether it may be.
func Acked() Option { return func(o *Options) { o.Acked = true } }

// WithRetry sets when this request is made anew; Retry{Attempts: 1} is never.
func WithRetry(r Retry) Option { return func(o *Options) { o.Retry = &r } }

// Idempotent says that the request may run twice: it is then made anew also where
// nobody can say whether it ran.
func Idempotent() Option { return func(o *Options) { o.Idempotent = true } }

// Hedge sends a second copy of the request over another road, if there is one, when
// no answer has come after that time. It is safe for any request: the server runs it
// once. A hedged request may lose its place among its sender's others.
func Hedge(after time.Duration) Option { return func(o *Options) { o.Hedge = after } }

// Key gives the request a name of the caller's own, of 1 to 255 bytes, that outlives
// this process: all requests with that key, to that actor, from that principal, are one
// execution and get one outcome, whoever sends them, for rpc.Config.KeyLife after it is
// done; if the actor's kind is durable, also after the server was started anew. Another
// message under the key is refused as IDReused. A one-way message can have a key with
// Acked, but not to an actor of a durable kind, which keeps no record of those.
//
// An attempt that was refused did not run, and leaves the key free for another one: the
// NotRun of one caller says nothing of others' attempts.
func Key(key string) Option { return func(o *Options) { o.Key = &key } }

// Affinity has all requests to a service that are sent with one key go to the same
// instance, whatever the service's policy, as long as that is there and serves. It is a
// preference, not a promise: while the instance is left out they go to another one, which
// is the same for all of them. To one actor it says nothing.
func Affinity(key string) Option { return func(o *Options) { o.Affinity = key } }

// LinkWait bounds how long the request waits for a link to the node before it ends as
// Unavailable, not run. The default is no bound but its deadline; for a service the next
// instance is turned to after a quarter of a second.
func LinkWait(most time.Duration) Option { return func(o *Options) { o.LinkWait = most } }

// WithCodec sends this message in another codec than the system's own; the reply
// comes in the same.
func WithCodec(c codec.Codec) Option { return func(o *Options) { o.Codec = c } }

// WithHeader sends a header beside the message. It may be given several times.
func WithHeader(key, value string) Option {
	return func(o *Options) { o.Headers = append(o.Headers, transport.Header{Key: key, Value: value}) }
}

// Apply returns the settings that opts amount to.
func Apply(opts []Option) (o Options) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

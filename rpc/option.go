package rpc

import (
	"time"

	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Option changes the settings of one send. It is a small value: options may be kept, and
// given to any number of sends. If two options change the same setting, the later one
// counts, except that headers add up. The zero Option changes
// nothing.
type Option sendopt.Option[Retry]

type change = sendopt.Change[Retry]

func option(c change) Option { return Option(sendopt.New(c)) }

// Acked makes Tell wait until the message is in the actor's mailbox: nil then means that
// it is, and an error says whether it may be.
func Acked() Option { return option(change{Which: sendopt.Acked}) }

// WithRetry sets when this request is retried; Retry{Attempts: 1} is never.
func WithRetry(r Retry) Option { return option(change{Which: sendopt.Retry, Retry: &r}) }

// Idempotent says that the request may run twice: it is then retried also where nobody
// can say whether it ran.
func Idempotent() Option { return option(change{Which: sendopt.Idempotent}) }

// Hedge sends a second copy of the request over another road, if there is one, when
// no answer has come after that time. It is safe for any request: the server runs the
// request once. A hedged request may lose its place among its sender's others.
func Hedge(after time.Duration) Option { return option(change{Which: sendopt.Hedge, Time: after}) }

// Key gives the request a name of the caller's own, of 1 to 255 bytes, that outlives this
// process. All requests with one key, to one actor, from one principal are one execution
// and get one outcome, no matter who sends them, for Limits.KeyLife after it is done. If the
// kind of the actor is durable, that holds after the server was started again, too.
//
// Another message under the same key does not run and is refused as IDReused. Messages are
// the same if their bodies, in one codec, are equal, also where they hold maps. The
// verdict of that error is about the request that has the key: HasRun once it is done,
// else Unknown, never NotRun.
//
// A one-way message can have a key only together with Acked, and not if its actor is of a
// durable kind, which keeps no record of one-way messages.
//
// An attempt that was refused did not run, and leaves the key free for another one: the
// NotRun of one caller says nothing about the attempts of others.
func Key(key string) Option { return option(change{Which: sendopt.Key, Text: key}) }

// OnBehalfOf sends the request for another principal than the node's own: it is what Context.Principal says, whose access
// rules and keys count, and to whom jobs and streams belong. It is for gateways, which have found out by their own means who
// asks. The receiving node lets it pass if a rule allows the sending node's principal access.Relay, and without an access
// list if all nodes are anonymous or share a token; to actors of its own node a node may always relay. A name has 1 to 255 bytes.
//
// Requests, job submissions, streams and one-way messages with Acked can be sent so. Also within one node they are then
// encoded, take a road, and are checked as if they came from elsewhere.
func OnBehalfOf(principal string) Option {
	return option(change{Which: sendopt.Behalf, Text: principal})
}

// Report says how a request went that has left its node, or takes a road within it.
type Report = sendopt.Report

// Trail has what was done for a request to another node, step by step: each copy of it and its road, and the end of
// each attempt. It is filled in if a Report has one. It must not be read before the request has ended.
type Trail = sendopt.Trail

// Step is a copy of a request that was handed to a road, or the end of an attempt; see Trail.
type Step = sendopt.Step

// The values of Step.What.
const (
	CopySent     = sendopt.CopySent   // the first copy of an attempt
	CopyResent   = sendopt.CopyResent // a further copy under the same number, because the one before may be lost, or was slow
	AttemptEnded = sendopt.Ended
)

// MaxSteps is how many steps a Trail has at most.
const MaxSteps = sendopt.MaxSteps

// ReportTo has r filled in before the request ends. It is for requests that take a road: those to other nodes, and those
// with a Key or OnBehalfOf. r must not be read before the request has ended.
func ReportTo(r *Report) Option { return option(change{Which: sendopt.Reported, To: r}) }

// Affinity has all requests to a service that are sent with one key go to the same
// instance, whatever the service's policy, as long as that instance is there and serves.
// It is a preference, not a promise: while the instance is left out they go to another
// one, which is the same for all of them. For a request to one actor it changes nothing.
func Affinity(key string) Option { return option(change{Which: sendopt.Affinity, Text: key}) }

// LinkWait bounds how long the request waits for a link to the node before it ends as
// Unavailable, not run. By default only its deadline bounds that; a request to a service
// turns to the next instance after a quarter of a second.
func LinkWait(most time.Duration) Option {
	return option(change{Which: sendopt.LinkWait, Time: most})
}

// WithCodec sends this message in another codec than the system's own; the reply comes in
// the same codec.
func WithCodec(c codec.Codec) Option { return option(change{Which: sendopt.Codec, Codec: c}) }

// WithHeader sends a header beside the message. It may be given several times.
func WithHeader(key, value string) Option {
	return option(change{Which: sendopt.Header, Text: key, Value: value})
}

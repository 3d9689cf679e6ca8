package gateway

import (
	"context"
	"iter"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Request is what a client asks for.
type Request struct {
	Principal string // who asks, as the gateway has found out; empty: Anonymous
	Key       string // see rpc.Key; empty: none
	Body      []byte // JSON; empty: {}
}

// Answer is what a request was answered with.
type Answer struct {
	Body     []byte // JSON; empty if the message has no reply
	Replayed bool   // it is the recorded one of an earlier attempt
}

// Call sends one message to one actor or service.
type Call struct {
	*Endpoint
	to    actor.Ref
	table *Table
}

// message returns the encoded message, and the options that all verbs have.
func (c Call) message(r *Request) (actor.Encoded, []rpc.Option) {
	m := actor.Encoded{Type: c.Message.Name, Codec: codec.IDJSON, Body: r.Body}
	if len(m.Body) == 0 {
		m.Body = []byte("{}")
	}
	if r.Principal == "" {
		r.Principal = Anonymous
	}
	return m, append(make([]rpc.Option, 0, maxOptions), rpc.OnBehalfOf(r.Principal))
}

// maxOptions is how many options a request has at most.
const maxOptions = 3

// errNoKey is the error of a request with a key that nobody could honour.
func (c Call) errNoKey() error {
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a request %s to %s cannot have a key", c.Name, c.Target)
}

// Do sends the request and waits for its reply; of a one-way message, until it is in the actor's mailbox. It waits until ctx
// ends, or for the system's Timeout. The error is an *rpc.Error.
func (c Call) Do(ctx context.Context, r Request) (Answer, error) {
	if c.Message.Items != nil {
		return Answer{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s is answered with a stream", c.Name)
	}
	if r.Key != "" && !c.Keys {
		return Answer{}, c.errNoKey()
	}
	m, opts := c.message(&r)
	if c.Message.Reply == nil {
		return Answer{}, m.Tell(ctx, c.to, opts...)
	}
	to := c.to
	if r.Key != "" {
		opts = append(opts, rpc.Key(r.Key))
		if c.of.any {
			var err error
			if to, err = c.bound(ctx, r); err != nil {
				return Answer{}, err
			}
		}
	}
	var report rpc.Report
	reply, err := m.Call(ctx, to, append(opts, rpc.ReportTo(&report))...)
	return Answer{Body: reply.Body, Replayed: report.Replayed}, err
}

// Stream opens the stream that answers the message, and iterates over its items, each as JSON. After an error nothing
// follows. Leaving the loop ends the stream.
func (c Call) Stream(ctx context.Context, r Request) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		switch {
		case c.Message.Items == nil:
			yield(nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s is not answered with a stream", c.Name))
			return
		case r.Key != "":
			yield(nil, c.errNoKey())
			return
		}
		m, opts := c.message(&r)
		for item, err := range m.Stream(ctx, c.to, opts...) {
			if !yield(item.Body, err) {
				return
			}
		}
	}
}

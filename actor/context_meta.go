package actor

import (
	"context"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/tracekey"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/transport"
)

// meta is what accompanies a message within a system.
type meta struct {
	sender  Ref
	trace   rpc.Trace
	headers []transport.Header
	class   mailbox.Class   // that its sender has given it
	arrival *server.Arrival // how a publication, or a message that was put aside, came from another node; nil for everything else
	turn    *turn           // the turn in which the sender waits; nil: the sender goes on
	stored  *topic.Message  // the message as the store has it, if it is of a durable topic; else nil
	once    transport.Once  // the name of a request to a stored actor; zero: it has none
	cause   *cause          // what interceptors are told; nil: somebody has sent it by a verb, or there are no interceptors
}

// metaOf is what a message carries that is sent under ctx; nil for nothing.
func metaOf(ctx context.Context, from *Context, opts *settings) *meta {
	var m *meta
	if from != nil || ctx.Value(tracekey.Key{}) != nil {
		m = traceMeta(ctx, from)
	}
	return m.with(opts)
}

// with returns m with the headers from opts.
func (m *meta) with(opts *settings) *meta {
	if opts == nil || len(opts.Headers) == 0 && opts.Once.Number == 0 && opts.Class == 0 {
		return m
	}
	var more meta
	if m != nil {
		more = *m
	}
	more.headers, more.once, more.class = opts.Headers, opts.Once, mailbox.Class(opts.Class)
	return &more
}

func traceMeta(ctx context.Context, from *Context) *meta {
	if ctx == context.Context(from) {
		return from.outgoing()
	}
	switch t := rpc.TraceOf(ctx); {
	case from != nil && t == from.span():
		return from.outgoing()
	case from != nil: // the handler has begun a span
		return &meta{sender: from.Self(), trace: t}
	case t != rpc.Trace{}:
		return &meta{trace: t}
	}
	return nil
}

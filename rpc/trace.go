package rpc

import (
	"context"

	"github.com/tandem-go/tandem/internal/tracekey"
	"github.com/tandem-go/tandem/transport"
)

// Trace is a W3C trace context; see transport.Trace.
type Trace = transport.Trace

// WithTrace returns a context under which messages are sent with t. Handlers find t in
// their *actor.Context, and pass it on with what they send.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, tracekey.Key{}, t)
}

// TraceOf returns the trace context of ctx, or the zero Trace.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(tracekey.Key{}).(Trace)
	return t
}

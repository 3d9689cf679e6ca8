package rpc

import (
	"context"

	"github.com/tandem-go/tandem/transport"
)

// Trace is a W3C trace context; see transport.Trace.
type Trace = transport.Trace

type traceKey struct{}

// WithTrace returns a context under which messages are sent with t. Handlers find it
// in their *actor.Context, and pass it on with what they send.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace context of ctx, or the zero Trace.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

// Traced reports whether ctx has a trace context. To ask is much cheaper than to get an
// empty one and look at it.
func Traced(ctx context.Context) bool { return ctx.Value(traceKey{}) != nil }

// IsTraceKey reports whether key is what TraceOf looks for: for contexts that keep a
// Trace without WithTrace.
func IsTraceKey(key any) bool {
	_, ok := key.(traceKey)
	return ok
}

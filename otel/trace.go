package tandemotel

import (
	"context"
	"math"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// tracing makes the spans of one system.
type tracing struct {
	tracer trace.Tracer
	node   string
	below  uint64 // a trace that begins here is recorded if a random number is below it; see threshold
}

// sampled are the interceptors that make the spans.
func (t *tracing) sampled() intercept.Sampled {
	return intercept.Sampled{Wants: t.wants, Outgoing: t.send, Incoming: t.handle}
}

// threshold is the share of the 64-bit numbers that are below it; for 1, all but the largest.
func threshold(share float64) uint64 {
	switch {
	case share <= 0:
		return 0
	case share >= 1:
		return math.MaxUint64
	}
	return uint64(share * math.MaxUint64)
}

// wants says whether a message is of a trace that is recorded.
func (t *tracing) wants(ctx context.Context, w intercept.Where) bool {
	if w.Side == intercept.Outgoing {
		if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
			return sc.IsSampled()
		}
	}
	if of := rpc.TraceOf(ctx); !of.IsZero() {
		return isSampled(of)
	}
	if w.Handler || w.Side == intercept.Incoming && w.Cause != intercept.Ticked {
		return false // who has sent the message that is handled has decided so
	}
	return t.below > 0 && rand.Uint64() <= t.below
}

// under is ctx with the trace context that messages carry on as the span to be the parent, unless there is a span.
func under(ctx context.Context) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	if of := rpc.TraceOf(ctx); !of.IsZero() {
		return trace.ContextWithRemoteSpanContext(ctx, SpanContext(of))
	}
	return ctx
}

const traceFlags = 24 // where a rpc.Trace has its flags

func isSampled(t rpc.Trace) bool { return trace.TraceFlags(t[traceFlags]).IsSampled() }

// SpanContext returns the trace context of a message as one of OpenTelemetry: of a remote span.
func SpanContext(t rpc.Trace) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(t[:16]), SpanID: trace.SpanID(t[16:traceFlags]), TraceFlags: trace.TraceFlags(t[traceFlags]), Remote: true})
}

// TraceOf returns a span's context as messages carry it; the zero Trace if it is not valid.
func TraceOf(sc trace.SpanContext) (t rpc.Trace) {
	if !sc.IsValid() {
		return t
	}
	trace, span := sc.TraceID(), sc.SpanID()
	copy(t[:], trace[:])
	copy(t[16:], span[:])
	t[traceFlags] = byte(sc.TraceFlags())
	return t
}

// Link returns a link to the span under which a message was sent, for a span about the work on an item of a
// queue (actor.Delivery.Trace):
//
//	ctx, span := tracer.Start(ctx, "resize", trace.WithNewRoot(), trace.WithLinks(tandemotel.Link(d.Trace)))
func Link(t rpc.Trace) trace.Link { return trace.Link{SpanContext: SpanContext(t)} }

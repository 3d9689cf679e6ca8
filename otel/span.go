package tandemotel

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// The attributes of spans that no semantic convention has. docs/metrics.md explains them.
const (
	attrPattern  = attribute.Key("tandem.pattern")
	attrNode     = attribute.Key("tandem.node")
	attrTarget   = attribute.Key("tandem.target")
	attrSender   = attribute.Key("tandem.sender")
	attrKind     = attribute.Key("tandem.kind")
	attrService  = attribute.Key("tandem.service")
	attrPeer     = attribute.Key("tandem.peer")
	attrRan      = attribute.Key("tandem.ran")
	attrReplayed = attribute.Key("tandem.replayed")
	attrAttempts = attribute.Key("tandem.attempts")
	attrAttempt  = attribute.Key("tandem.attempt")
	attrRoad     = attribute.Key("tandem.road")
	attrCause    = attribute.Key("tandem.cause")
	attrLost     = attribute.Key("tandem.steps_lost")
)

// The events of a client's span.
const (
	eventSent   = "tandem.sent"
	eventResent = "tandem.sent_again"
	eventEnded  = "tandem.attempt_ended"
)

const systemName = "tandem"

// pattern is how the sender has sent the message.
func pattern(op access.Op) string {
	switch op {
	case access.Send:
		return "tell"
	case access.Call:
		return "call"
	}
	return op.String()
}

// send is the interceptor that makes the spans of senders.
func (t *tracing) send(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
	to := op.To()
	attrs := make([]attribute.KeyValue, 0, 16)
	attrs = append(attrs, attrTarget.String(to))
	if service, ok := strings.CutSuffix(to, "@*"); ok {
		attrs = append(attrs, attrService.String(service))
	}
	kind, name, attrs := t.describe(op, attrs)
	ctx, span := t.tracer.Start(under(ctx), name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	if span.IsRecording() {
		op.Follow()
	}
	err := t.around(ctx, span, op, next)
	if span.IsRecording() {
		steps(span, op)
	}
	span.End()
	return err
}

// handle is the interceptor that makes the spans of actors.
func (t *tracing) handle(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
	attrs := make([]attribute.KeyValue, 0, 16)
	attrs = append(attrs, attrTarget.String(op.To()), attrKind.String(op.Kind))
	if op.Node != "" {
		attrs = append(attrs, attrPeer.String(op.Node))
	}
	kind, name, attrs := t.describe(op, attrs)
	opts := append(make([]trace.SpanStartOption, 0, 4), trace.WithSpanKind(kind))
	of := under(ctx)
	if from := trace.SpanContextFromContext(of); op.Topic != "" && from.IsValid() { // many may get it, and much later
		opts = append(opts, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: from}))
	}
	ctx, span := t.tracer.Start(of, name, append(opts, trace.WithAttributes(attrs...))...)
	err := t.around(ctx, span, op, next)
	span.End()
	return err
}

// around calls next under span, and sets the outcome. A panic ends the span, and goes on.
func (t *tracing) around(ctx context.Context, span trace.Span, op *intercept.Operation, next func(context.Context) error) error {
	returned := false
	defer func() {
		if !returned {
			span.SetStatus(codes.Error, "it panicked")
			span.SetAttributes(semconv.ErrorTypeKey.String(rpc.Panicked.String()))
			span.End()
		}
	}()
	err := next(rpc.WithTrace(ctx, TraceOf(span.SpanContext())))
	returned = true
	if !span.IsRecording() {
		return err
	}
	var room [6]attribute.KeyValue // all at once, because each SetAttributes makes room in the span
	attrs := append(room[:0], attrRan.String(op.Verdict.String()))
	if op.Side == intercept.Outgoing {
		attrs = append(attrs, attrAttempts.Int(op.Attempts))
	}
	if op.Replayed {
		attrs = append(attrs, attrReplayed.Bool(true))
	}
	if n := len(op.Pushed); n > 0 {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(n))
	}
	if err != nil {
		code := codeOf(op, err)
		attrs = append(attrs, semconv.ErrorTypeKey.String(code), semconv.RPCResponseStatusCode(code))
		span.SetStatus(codes.Error, err.Error())
	}
	span.SetAttributes(attrs...)
	return err
}

// describe returns the kind and the name of the span of op, and adds its attributes.
func (t *tracing) describe(op *intercept.Operation, attrs []attribute.KeyValue) (trace.SpanKind, string, []attribute.KeyValue) {
	message, how := op.Type(), pattern(op.Op)
	attrs = append(attrs, attrNode.String(t.node), attrPattern.String(how))
	if from := op.From(); from != "" {
		attrs = append(attrs, attrSender.String(from))
	}
	if op.Cause != intercept.Sent {
		attrs = append(attrs, attrCause.String(op.Cause.String()))
	}
	out := op.Side == intercept.Outgoing
	messaging := func(name string, does attribute.KeyValue, destination string) {
		attrs = append(attrs, semconv.MessagingSystemKey.String(systemName), semconv.MessagingOperationName(name), does, semconv.MessagingDestinationName(destination))
	}
	switch {
	case op.Cause == intercept.Ticked || op.Cause == intercept.Piped:
		return trace.SpanKindInternal, op.Cause.String() + " " + message, attrs
	case op.Op == access.Publish && out:
		messaging("publish", semconv.MessagingOperationTypeSend, op.Topic)
		return trace.SpanKindProducer, "publish " + message, attrs
	case op.Op == access.Publish:
		messaging("process", semconv.MessagingOperationTypeProcess, op.Topic)
		return trace.SpanKindConsumer, "process " + message, attrs
	case op.Op == access.Push && out:
		messaging("push", semconv.MessagingOperationTypeSend, op.To())
		return trace.SpanKindProducer, "push " + message, attrs
	case op.Op == access.Pull && out:
		messaging("pull", semconv.MessagingOperationTypeReceive, op.To())
		return trace.SpanKindConsumer, "pull " + message, attrs
	}
	attrs = append(attrs, semconv.RPCSystemNameKey.String(systemName), semconv.RPCMethod(message))
	switch {
	case op.Op == access.Send && out:
		return trace.SpanKindProducer, "tell " + message, attrs
	case op.Op == access.Send:
		return trace.SpanKindConsumer, "handle " + message, attrs
	case out:
		return trace.SpanKindClient, message, attrs
	}
	return trace.SpanKindServer, message, attrs
}

// steps adds to the span of a sender what became of its message on the way. The end of an only attempt is that of the
// span, and needs no event, if nothing has gone wrong.
func steps(span trace.Span, op *intercept.Operation) {
	for _, pushed := range op.Pushed {
		span.AddLink(Link(pushed))
	}
	trail := op.Steps()
	if trail == nil {
		return
	}
	all := trail.Steps
	if len(all) == 2 && all[1].What == rpc.AttemptEnded && all[1].Err == nil && !all[1].Replayed {
		all = all[:1]
	}
	for _, s := range all {
		attrs := append(make([]attribute.KeyValue, 0, 5), attrAttempt.Int(s.Attempt), attrPeer.String(s.Node))
		event := eventSent
		switch s.What {
		case rpc.CopyResent:
			event = eventResent
		case rpc.AttemptEnded:
			event = eventEnded
		}
		if s.Road != "" {
			attrs = append(attrs, attrRoad.String(s.Road))
		}
		if s.What == rpc.AttemptEnded {
			attrs = append(attrs, attrRan.String(rpc.Ran(s.Err).String()))
		}
		if e := (*rpc.Error)(nil); errors.As(s.Err, &e) {
			attrs = append(attrs, semconv.ErrorTypeKey.String(e.Code.String()))
		}
		if s.Replayed {
			attrs = append(attrs, attrReplayed.Bool(true))
		}
		span.AddEvent(event, trace.WithTimestamp(s.At), trace.WithAttributes(attrs...))
	}
	if trail.Lost > 0 {
		span.SetAttributes(attrLost.Int(trail.Lost))
	}
}
